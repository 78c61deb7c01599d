//! A custom resource as it is kept. There may be thousands, most of which are never looked at twice.

use crate::spec::{LearnedAutoscaler, LearnedAutoscalerSpec, Standing};
use crate::target::TargetRef;
use crate::target::kubernetes::timestamp;
use autoscale_core::units::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// Which resource it is, in which state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resource {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    /// Another one of the same name has another one.
    pub(super) uid: Option<Arc<str>>,
    pub(super) generation: Option<i64>,
    pub(super) standing: Standing,
}

/// Namespace and name.
pub(super) type Key = (Arc<str>, Arc<str>);

/// What was read of a specification.
#[derive(Clone, Debug)]
struct Read {
    target: TargetRef,
    /// JSON of what is said in it: a fraction of the room that it takes when it is taken apart.
    spec: Arc<str>,
}

/// A custom resource.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) resource: Arc<Resource>,
    pub(super) created: Option<Timestamp>,
    /// Or why it cannot be read. The API server's schema lets nothing pass that cannot, unless it is another version's.
    read: Result<Read, Arc<str>>,
}

impl Resource {
    fn new(metadata: &ObjectMeta, namespace: Arc<str>, conditions: &[Condition]) -> Self {
        Self {
            namespace,
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().map(Into::into),
            generation: metadata.generation,
            standing: Standing::of(conditions),
        }
    }

    pub(super) fn key(&self) -> Key {
        (Arc::clone(&self.namespace), Arc::clone(&self.name))
    }

    /// Whether it is the same object with the same specification. A status that is written, by this process most of all,
    /// changes neither.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        (&self.uid, self.generation) == (&other.uid, other.generation)
    }
}

impl Sheet {
    /// What matters of an object in this namespace, of which a part may be known from before.
    pub(super) fn read(object: &DynamicObject, namespace: Arc<str>, before: Option<&Self>) -> Self {
        let conditions = Vec::deserialize(&object.data["status"]["conditions"]).unwrap_or_default();
        let mut resource = Resource::new(&object.metadata, namespace, &conditions);
        if let Some(before) = before {
            resource.name = Arc::clone(&before.resource.name);
        }
        // One that could not be read may be readable by now: its definition or its status was mended.
        let before = before.filter(|before| before.read.is_ok() && before.resource.is_as(&resource));
        if let Some(before) = before {
            let resource = Resource { standing: resource.standing, ..(*before.resource).clone() };
            return Self { resource: Arc::new(resource), ..before.clone() };
        }
        let parsed: Result<LearnedAutoscaler, _> = object.clone().try_parse();
        let read = parsed.map(|autoscaler| Read::of(&autoscaler, &resource.namespace));
        let read = read.map_err(|error| error.to_string().into());
        Self::new(resource, &object.metadata, read)
    }

    /// One that did not come from the API server.
    pub(super) fn of(autoscaler: &LearnedAutoscaler) -> Self {
        let conditions = autoscaler.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let namespace = Arc::clone(&autoscaler.target().namespace);
        let read = Read::of(autoscaler, &namespace);
        Self::new(Resource::new(&autoscaler.metadata, namespace, conditions), &autoscaler.metadata, Ok(read))
    }

    fn new(resource: Resource, metadata: &ObjectMeta, read: Result<Read, Arc<str>>) -> Self {
        let created = metadata.creation_timestamp.as_ref().map(|at| timestamp(at.0));
        Self { resource: Arc::new(resource), created, read }
    }

    /// What it scales, or why nobody can say.
    pub(super) fn target(&self) -> Result<&TargetRef, &str> {
        self.read.as_ref().map(|read| &read.target).map_err(|why| &**why)
    }

    /// What a controller is made of: its name, its specification, and which state of it that is.
    pub(super) fn autoscaler(&self) -> Result<LearnedAutoscaler, String> {
        let read = self.read.as_ref().map_err(ToString::to_string)?;
        let spec: LearnedAutoscalerSpec =
            serde_json::from_str(&read.spec).map_err(|error| error.to_string())?;
        let mut autoscaler = LearnedAutoscaler::new(&self.resource.name, spec);
        let metadata = &mut autoscaler.metadata;
        metadata.namespace = Some(self.resource.namespace.to_string());
        metadata.uid = self.resource.uid.as_deref().map(ToOwned::to_owned);
        metadata.generation = self.resource.generation;
        Ok(autoscaler)
    }
}

impl Read {
    fn of(autoscaler: &LearnedAutoscaler, namespace: &Arc<str>) -> Self {
        // A specification is plain data, which is always written.
        let mut said = serde_json::to_value(&autoscaler.spec).unwrap_or_default();
        if let Value::Object(fields) = &mut said {
            fields.retain(|name, value| USUAL.get(name) != Some(value));
        }
        Self { target: autoscaler.target_in(Arc::clone(namespace)), spec: said.to_string().into() }
    }
}

/// What the fields are that may be left out when they are: nearly all of each specification.
static USUAL: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let needed = json!({
        "scaleTargetRef": { "name": "" }, "maxReplicas": 1, "policy": { "horizontalPodAutoscaler": {} },
    });
    let usual = LearnedAutoscalerSpec::deserialize(&needed).and_then(serde_json::to_value);
    let Ok(Value::Object(mut usual)) = usual else { return Map::new() };
    usual.retain(|name, _| needed.get(name).is_none());
    usual
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_said() {
        let spec = json!({
            "scaleTargetRef": { "name": "web", "kind": "StatefulSet" }, "minReplicas": 2, "maxReplicas": 9, "mode": "active",
            "policy": { "model": { "path": "/models/web" } }, "fallback": {}, "takeOver": true,
            "slo": { "latencySeconds": 0.3, "percentile": "p95" }, "envelope": { "floor": 0.1 }, "utcOffsetHours": -5.5,
        });
        let plain = json!({
            "scaleTargetRef": { "name": "web" }, "maxReplicas": 1, "policy": { "horizontalPodAutoscaler": {} },
        });
        for (spec, most) in [(spec, 600), (plain, 160)] {
            let mut autoscaler =
                LearnedAutoscaler::new("web", LearnedAutoscalerSpec::deserialize(&spec).unwrap());
            autoscaler.metadata.namespace = Some("shop".to_owned());
            let sheet = Sheet::of(&autoscaler);
            assert_eq!(sheet.autoscaler().unwrap(), autoscaler);
            let text = &sheet.read.unwrap().spec;
            assert!(text.len() < most, "{text}");
        }
    }
}
