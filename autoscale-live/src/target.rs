//! What is scaled: its name, and the cluster that it is in.
//!
//! [`kubernetes`] makes the client and knows kinds. [`executor`] writes `spec.replicas`, [`watch`] keeps a picture of the
//! targets , of who else scales them  and of their pods (`pods`, [`usage`]). [`lease`] says
//! which of several processes writes, [`events`] tells people what was done.

pub mod events;
pub mod executor;
pub mod kubernetes;
pub mod lease;
mod pods;
mod quantity;
mod rivals;
mod selector;
mod table;
pub mod usage;
pub mod watch;
mod workload;

pub use pods::sample as pod_sample;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// An object with a `scale` subresource: a Deployment, a StatefulSet, or anything else that has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its API's group and version: `apps/v1`.
    pub api_version: Arc<str>,
    /// `Deployment`, `StatefulSet`, …
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}
