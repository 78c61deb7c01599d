//! What a scaled object says of itself.

use super::kubernetes::FIELD_MANAGER;
use super::selector;
use crate::controller::Generation;
use autoscale_core::units::Replicas;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry};
use kube::core::{DynamicObject, Selector};
use serde_json::Value;
use std::sync::Arc;

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
    /// A manager other than this program that holds `spec.replicas`.
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
        ..bare(object, &["f:spec", "f:replicas"])
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
        ..bare(object, &["f:spec", "f:replicas"])
    }
}

fn replicas(count: u64) -> Replicas {
    Replicas::new(u32::try_from(count).unwrap_or(u32::MAX))
}

fn bare(object: &DynamicObject, field: &[&str]) -> Seen {
    let metadata = &object.metadata;
    Seen {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        generation: Generation::new(metadata.generation.unwrap_or_default()),
        spec: Replicas::ZERO,
        status: Replicas::ZERO,
        selector: None,
        owner: owner(metadata.managed_fields.as_deref().unwrap_or_default(), field),
    }
}

/// Who else holds the field: one that applies it if there is such a one, since it will do so again; else the last that
/// has updated it. The API server refuses an apply against either.
fn owner(entries: &[ManagedFieldsEntry], field: &[&str]) -> Option<Arc<str>> {
    let other = |entry: &&ManagedFieldsEntry| {
        let ours = entry.manager.as_deref() == Some(FIELD_MANAGER) && applies(entry);
        !ours && holds(entry, field)
    };
    let latest = entries.iter().filter(other).max_by_key(|&entry| (applies(entry), entry.time.clone()))?;
    Some(latest.manager.as_deref().unwrap_or("unnamed").into())
}

fn applies(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Apply")
}

fn holds(entry: &ManagedFieldsEntry, field: &[&str]) -> bool {
    let Some(fields) = &entry.fields_v1 else { return false };
    field.iter().try_fold(&fields.0, |at: &Value, step| at.get(step)).is_some()
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
    fn whoever_applies_the_count_owns_it_before_those_who_updated_it() {
        let count = json!({ "f:spec": { "f:replicas": {} } });
        let image = json!({ "f:spec": { "f:template": {} } });
        let owner = |managers: &[Value]| read_apps(&deployment(managers)).owner;
        let (helm, hand) = (entry("helm", "Apply", 0, &count), entry("kubectl-scale", "Update", 7, &count));
        assert_eq!(owner(&[hand.clone(), helm]).as_deref(), Some("helm"));
        let earlier = entry("kubectl-create", "Update", 3, &count);
        assert_eq!(owner(&[hand, earlier]).as_deref(), Some("kubectl-scale"));
        assert_eq!(owner(&[entry("autoscale", "Apply", 1, &count), entry("helm", "Apply", 2, &image)]), None);
        assert_eq!(owner(&[entry("autoscale", "Update", 1, &count)]).as_deref(), Some("autoscale"));
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
