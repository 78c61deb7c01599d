//! Kubernetes Events: what `kubectl describe` shows below an object.

use super::TargetRef;
use super::kubernetes::{ANSWER_WITHIN, ClusterError, FIELD_MANAGER, late, words};
use autoscale_core::units::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use std::sync::Arc;

/// The API server refuses longer notes, in bytes.
const NOTE: usize = 1024;

/// Whether people should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to worry about.
    Normal,
    /// Worth a look.
    Warning,
}

/// Writes Events of this program about targets. Each call makes one: whoever calls says each thing once.
pub struct Announcer {
    client: Client,
    /// Which of several processes it was: its pod's name.
    instance: Arc<str>,
}

impl Announcer {
    /// For the process of that name.
    pub fn new(client: Client, instance: Arc<str>) -> Self {
        Self { client, instance }
    }

    /// Says `note` of the target. The reason is a word in `PascalCase`; `uid` ties the Event to the very object, so that
    /// it goes when the object goes.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn say(
        &self,
        (target, uid): (&TargetRef, Option<&str>),
        now: Timestamp,
        (severity, reason): (Severity, &'static str),
        note: &str,
    ) -> Result<(), ClusterError> {
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", target.name)),
                namespace: Some(target.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: super::kubernetes::jiff_time(now).map(MicroTime),
            type_: Some(format!("{severity:?}")),
            action: Some("Scale".into()),
            reason: Some(reason.into()),
            note: Some(shortened(note).into()),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(self.instance.to_string()),
            regarding: Some(ObjectReference {
                api_version: Some(target.api_version.to_string()),
                kind: Some(target.kind.to_string()),
                namespace: Some(target.namespace.to_string()),
                name: Some(target.name.to_string()),
                uid: uid.map(str::to_owned),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), &target.namespace);
        let params = PostParams::default();
        let sent = tokio::time::timeout(ANSWER_WITHIN, events.create(&params, &event));
        match sent.await {
            Err(_) => Err(ClusterError::Refused(late())),
            Ok(Err(e)) => Err(ClusterError::Refused(words(&e))),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

/// As much as fits.
fn shortened(note: &str) -> &str {
    &note[..note.floor_char_boundary(NOTE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_end_between_letters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ü".repeat(600)).len(), 1024);
        assert_eq!(shortened(&format!("x{}", "ü".repeat(600))).len(), 1023);
    }
}
