//! The connection to an API server, and what it calls its kinds.

use super::TargetRef;
use autoscale_core::units::Timestamp;
use k8s_openapi::jiff;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, Config};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// The field manager that everything is applied as.
pub const FIELD_MANAGER: &str = "autoscale";
/// An answer that takes longer is none. Watches are not bound by it: they have deadlines of their own.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A watch is begun anew after this, and a dead connection is found out soon after.
pub(super) const WATCH_FOR: Duration = Duration::from_secs(60);
/// Longer words of a server are cut.
const WORDS: usize = 500;

/// Why the cluster could not be asked.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No usable configuration, or TLS cannot be set up.
    #[error("no connection to a cluster: {0}")]
    Connection(Arc<str>),
    /// The API server does not serve such a kind in a namespace.
    #[error("{api_version} has no kind {kind:?} that lives in a namespace")]
    Kind {
        /// Group and version.
        api_version: Arc<str>,
        /// The kind.
        kind: Arc<str>,
    },
    /// The API server refused, in its own words.
    #[error("{0}")]
    Refused(Arc<str>),
}

/// A client that hands failures on at once. A controller that decides anew every few seconds must not have old writes
/// repeated for it, and wants to know of a `Retry-After` instead of waiting it out.
///
/// Tokens that are read from files are read again by the client itself about once a minute.
///
/// # Errors
/// When TLS or credentials cannot be set up.
pub fn connect(mut config: Config) -> Result<Client, ClusterError> {
    config.default_retry = false;
    config.connect_timeout = Some(ANSWER_WITHIN);
    // Watches end by themselves before that, so that silence for longer is a connection that is dead.
    config.read_timeout = Some(WATCH_FOR + ANSWER_WITHIN);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|e| ClusterError::Connection(e.to_string().into()))
}

/// From `KUBECONFIG` or `~/.kube/config`, else from the pod that this runs in.
///
/// # Errors
/// When there is neither, or it is unusable.
pub async fn connect_as_usual() -> Result<Client, ClusterError> {
    connect(Config::infer().await.map_err(|e| ClusterError::Connection(e.to_string().into()))?)
}

/// By version and kind.
type Known = BTreeMap<(Arc<str>, Arc<str>), ApiResource>;

/// What the API server calls its kinds, asked once for each.
#[derive(Clone)]
pub struct Kinds {
    client: Client,
    known: Arc<Mutex<Known>>,
}

impl Kinds {
    /// None known yet.
    pub fn new(client: Client) -> Self {
        Self { client, known: Arc::default() }
    }

    /// The resource of the target's kind.
    ///
    /// # Errors
    /// When there is no such kind, or the API server cannot be asked.
    pub async fn resource(&self, target: &TargetRef) -> Result<ApiResource, ClusterError> {
        let key = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = target.api_version.rsplit_once('/').unwrap_or(("", &target.api_version));
        let kind = GroupVersionKind::gvk(group, version, &target.kind);
        let unknown = || ClusterError::Kind { api_version: key.0.clone(), kind: key.1.clone() };
        let found = tokio::time::timeout(ANSWER_WITHIN, pinned_kind(&self.client, &kind));
        let (resource, capabilities) = match found.await {
            Err(_) => return Err(ClusterError::Refused(late())),
            Ok(Err(kube::Error::Discovery(_))) => return Err(unknown()),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Err(unknown()),
            Ok(Err(e)) => return Err(ClusterError::Refused(words(&e))),
            Ok(Ok(found)) => found,
        };
        if capabilities.scope != Scope::Namespaced {
            return Err(unknown());
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, resource.clone());
        Ok(resource)
    }

    /// The objects of the target's kind in its namespace.
    ///
    /// # Errors
    /// As [`Self::resource`].
    pub async fn objects(&self, target: &TargetRef) -> Result<Api<DynamicObject>, ClusterError> {
        let resource = self.resource(target).await?;
        Ok(Api::namespaced_with(self.client.clone(), &target.namespace, &resource))
    }
}

/// Whether the API server itself knows the target's kind, and keeps its replicas and its selector where a Deployment does.
pub(super) fn in_apps(target: &TargetRef) -> bool {
    target.api_version.starts_with("apps/")
}

/// What is said of a server that does not answer in time.
pub(crate) fn late() -> Arc<str> {
    format!("no answer within {} s", ANSWER_WITHIN.as_secs()).into()
}

/// What went wrong, in words: the server's own message where it sent one, never a request with its headers.
pub(crate) fn words(error: &kube::Error) -> Arc<str> {
    match error {
        kube::Error::Api(status) => cut(&format!("{} ({})", status.message, status.code)),
        other => cut(&chain(other)),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.ends_with(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said
}

/// On one line, of bounded length.
pub(super) fn cut(text: &str) -> Arc<str> {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS).collect::<String>().into()
}

/// Kubernetes' time in ours, which counts from the Unix epoch.
pub(crate) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let whole = Timestamp::from_secs(time.as_second());
    // Before 1970 the fraction is negative; nobody's pod is that old.
    whole + Duration::from_nanos(u64::try_from(time.subsec_nanosecond()).unwrap_or(0))
}

/// Our time in Kubernetes'; `None` where its calendar ends.
pub(crate) fn jiff_time(at: Timestamp) -> Option<jiff::Timestamp> {
    let micros = at.since(Timestamp::ZERO).as_micros();
    jiff::Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_microseconds() {
        let time: jiff::Timestamp = "2026-03-01T10:00:00.250001Z".parse().unwrap();
        assert_eq!(timestamp(time), Timestamp::from_secs(1_772_359_200) + Duration::from_micros(250_001));
        assert_eq!(jiff_time(timestamp(time)), Some(time));
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(&*cut("a\n  b"), "a b");
        assert_eq!(cut(&"x".repeat(9_000)).len(), WORDS);
    }
}
