//! What is scaled: its name, and the cluster that it is in.
//!
//! [`kubernetes`] makes the client and knows kinds. [`executor`] writes `spec.replicas`, [`watch`] keeps a picture of the
//! targets, of who else scales them and of their pods; [`usage`] asks what those use. [`lease`] says which of several
//! processes writes, [`events`] tells people what was done.

pub mod events;
pub mod executor;
pub mod kubernetes;
pub mod lease;
mod pods;
mod quantity;
mod rivals;
mod selector;
pub(crate) mod shared;
pub(crate) mod table;
pub mod usage;
pub mod watch;
mod workload;

pub use pods::sample as pod_sample;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An object with a `scale` subresource: a Deployment, a StatefulSet, or anything else that has one. Whoever has something to
/// do with it keeps one of these, so that a clone is but a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetRef(Arc<ObjectName>);

/// What an object in a namespace is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its API's group and version: `apps/v1`.
    pub api_version: Arc<str>,
    /// `Deployment`, `StatefulSet`, …
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl TargetRef {
    /// The Deployment of that name.
    pub fn deployment(namespace: &str, name: &str) -> Self {
        let (api_version, kind) = ("apps/v1".into(), "Deployment".into());
        ObjectName { namespace: namespace.into(), api_version, kind, name: name.into() }.into()
    }

    /// The object of that name and of this one's kind and namespace.
    pub fn sibling(&self, name: impl Into<Arc<str>>) -> Self {
        ObjectName { name: name.into(), ..(**self).clone() }.into()
    }
}

impl From<ObjectName> for TargetRef {
    fn from(name: ObjectName) -> Self {
        Self(Arc::new(name))
    }
}

impl Deref for TargetRef {
    type Target = ObjectName;

    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}
