//! What a scaled object says of itself.

use super::kubernetes::FIELD_MANAGER;
use super::selector;
use crate::controller::Generation;
use autoscale_core::units::Replicas;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry, ObjectMeta};
use kube::core::{DynamicObject, Selector};
use serde_json::Value;
use std::sync::Arc;

/// The manager's name, and where it keeps what it was last given.
const CLIENT_SIDE_APPLY: &str = "kubectl-client-side-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A scaled object as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Another object of the same name has another one.
    pub(super) uid: Arc<str>,
    /// Of the whole object.
    pub(super) generation: Generation,
    /// `spec.replicas`.
    pub(super) spec: Replicas,
    /// `status.replicas`.
    pub(super) status: Replicas,
    /// Which pods are its; `None` where it does not say so intelligibly.
    pub(super) selector: Option<Selector>,
    /// A manager other than this program that applies `spec.replicas`.
    pub(super) owner: Option<Arc<str>>,
}

/// Reads an object of the group `apps`, whose fields are known.
pub(super) fn read_apps(object: &DynamicObject) -> Seen {
    let count = |part: &str| object.data[part]["replicas"].as_u64();
    let selector = serde_json::from_value::<LabelSelector>(object.data["spec"]["selector"].clone()).ok();
    Seen {
        // The API server's default where it is not stated.
        spec: replicas(count("spec").unwrap_or(1)),
        status: replicas(count("status").unwrap_or(0)),
        selector: selector.and_then(|selector| selector.try_into().ok()),
        ..bare(object)
    }
}

/// Reads any other object with the help of its `scale` subresource.
pub(super) fn read_scale(object: &DynamicObject, scale: &Scale) -> Seen {
    let count = |replicas: Option<i32>| Replicas::new(replicas.unwrap_or(0).max(0).unsigned_abs());
    let stated = scale.status.as_ref().and_then(|status| status.selector.as_deref());
    Seen {
        spec: count(scale.spec.as_ref().and_then(|spec| spec.replicas)),
        status: count(scale.status.as_ref().map(|status| status.replicas)),
        selector: stated.and_then(selector::parse),
        // Where such an object keeps its count is not known here; the usual place is looked at.
        ..bare(object)
    }
}

fn replicas(count: u64) -> Replicas {
    Replicas::new(u32::try_from(count).unwrap_or(u32::MAX))
}

fn bare(object: &DynamicObject) -> Seen {
    let metadata = &object.metadata;
    Seen {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        generation: Generation::new(metadata.generation.unwrap_or_default()),
        spec: Replicas::ZERO,
        status: Replicas::ZERO,
        selector: None,
        owner: owner(metadata),
    }
}

/// Who else applies the field, and so will do it again. An older kubectl's `apply` counts, which updates: it is known by
/// what it leaves in an annotation. Without `replicas` in that, it holds no more than the API server's default.
fn owner(metadata: &ObjectMeta) -> Option<Arc<str>> {
    let other = |entry: &&ManagedFieldsEntry| {
        let name = entry.manager.as_deref();
        let again = (applies(entry) && name != Some(FIELD_MANAGER))
            || (name == Some(CLIENT_SIDE_APPLY) && applied_by_client(metadata));
        again && holds_replicas(entry)
    };
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let latest = entries.iter().filter(other).max_by_key(|entry| entry.time.clone())?;
    Some(latest.manager.as_deref().unwrap_or("unnamed").into())
}

/// Whether the last client-side apply stated `spec.replicas`.
fn applied_by_client(metadata: &ObjectMeta) -> bool {
    let applied = metadata.annotations.as_ref().and_then(|annotations| annotations.get(LAST_APPLIED));
    let applied = applied.and_then(|text| serde_json::from_str::<Value>(text).ok());
    applied.is_some_and(|object| object["spec"]["replicas"].is_number())
}

fn applies(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Apply")
}

fn holds_replicas(entry: &ManagedFieldsEntry) -> bool {
    entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"]["f:replicas"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, minute: u32, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": format!("2026-03-01T10:{minute:02}:00Z"), "fieldsV1": fields,
        })
    }

    fn deployment(managers: &[Value]) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "uid": "u1", "generation": 4, "managedFields": managers },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } } },
            "status": { "replicas": 2 },
        }))
        .unwrap()
    }

    #[test]
    fn a_deployment_says_all_that_is_asked() {
        let seen = read_apps(&deployment(&[]));
        assert_eq!(
            (seen.generation, seen.spec, seen.status),
            (Generation::new(4), Replicas::new(3), Replicas::new(2))
        );
        assert_eq!(seen.selector.unwrap().to_string(), "app=web");
        assert_eq!((&*seen.uid, seen.owner), ("u1", None));
    }

    #[test]
    fn whoever_applies_the_count_owns_it_and_whoever_once_updated_it_does_not() {
        let count = json!({ "f:spec": { "f:replicas": {} } });
        let image = json!({ "f:spec": { "f:template": {} } });
        let owner = |managers: &[Value]| read_apps(&deployment(managers)).owner;
        let (helm, hand) = (entry("helm", "Apply", 0, &count), entry("kubectl", "Update", 7, &count));
        assert_eq!(owner(&[hand.clone(), helm.clone()]).as_deref(), Some("helm"));
        assert_eq!(
            owner(&[helm, entry("flux", "Apply", 3, &count)]).as_deref(),
            Some("flux"),
            "the last one"
        );
        assert_eq!(owner(&[hand]), None);
        assert_eq!(owner(&[entry("autoscale", "Apply", 1, &count), entry("helm", "Apply", 2, &image)]), None);
    }

    #[test]
    fn a_client_side_apply_owns_the_count_if_it_states_it() {
        let count = json!({ "f:spec": { "f:replicas": {} } });
        let owner = |applied: &str| {
            let mut object = deployment(&[entry(CLIENT_SIDE_APPLY, "Update", 0, &count)]);
            object.metadata.annotations = Some([(LAST_APPLIED.to_owned(), applied.to_owned())].into());
            read_apps(&object).owner
        };
        assert_eq!(owner(r#"{"spec":{"replicas":3}}"#).as_deref(), Some(CLIENT_SIDE_APPLY));
        assert_eq!(owner(r#"{"spec":{}}"#), None);
        assert_eq!(owner("{"), None);
    }

    #[test]
    fn another_kind_speaks_through_its_scale() {
        let object = deployment(&[]);
        let scale: Scale = serde_json::from_value(json!({
            "metadata": {}, "spec": { "replicas": 5 }, "status": { "replicas": 4, "selector": "app=game,!test" },
        }))
        .unwrap();
        let seen = read_scale(&object, &scale);
        assert_eq!((seen.spec, seen.status), (Replicas::new(5), Replicas::new(4)));
        assert_eq!(seen.selector.unwrap().to_string(), "app=game,!test");
    }
}
