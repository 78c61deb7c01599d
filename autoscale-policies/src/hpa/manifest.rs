//! A user's own HPA manifest (`autoscaling/v2`, YAML), refused where the API server refuses it.

use super::behavior::{
    Behavior, BehaviorSpec, PolicyType, ScalingPolicy, ScalingRules, ScalingRulesSpec, SelectPolicy,
};
use super::controller::{HpaSpec, MetricSpec, ResourceTarget, ValueTarget};
use super::normalizer::Range;
use super::quantity::Quantity;
use super::replica_calculator::Resource;
use autoscale_core::units::Milli;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;
use thiserror::Error;

/// What holds without any metric.
const DEFAULT_UTILIZATION: i32 = 80;

/// A manifest that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {path}: {reason}")]
pub struct ManifestError {
    /// The line, from 1; of what the error is about, or of what contains it.
    pub line: u64,
    /// Path of the field: `spec.metrics[0].resource.target`.
    pub path: String,
    /// What is wrong, and what was expected.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Manifest {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    #[serde(rename = "metadata", default)]
    _metadata: IgnoredAny,
    spec: Spanned<Spec>,
    #[serde(rename = "status", default)]
    _status: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "scaleTargetRef")]
    _scale_target_ref: ObjectReference,
    min_replicas: Option<Spanned<i32>>,
    max_replicas: Spanned<i32>,
    #[serde(default)]
    metrics: Vec<Spanned<Metric>>,
    behavior: Option<BehaviorYaml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ObjectReference {
    #[serde(rename = "apiVersion", default)]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Metric {
    #[serde(rename = "type")]
    kind: String,
    resource: Option<ResourceMetric>,
    container_resource: Option<ResourceMetric>,
    pods: Option<NamedMetric>,
    object: Option<NamedMetric>,
    external: Option<NamedMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceMetric {
    name: String,
    container: Option<String>,
    target: Target,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NamedMetric {
    metric: Identifier,
    target: Target,
    described_object: Option<ObjectReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identifier {
    name: String,
    #[serde(rename = "selector", default)]
    _selector: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Target {
    #[serde(rename = "type")]
    kind: String,
    average_utilization: Option<i32>,
    average_value: Option<Quantity>,
    value: Option<Quantity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BehaviorYaml {
    scale_up: Option<Spanned<RulesYaml>>,
    scale_down: Option<Spanned<RulesYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RulesYaml {
    stabilization_window_seconds: Option<u32>,
    select_policy: Option<SelectPolicy>,
    policies: Option<Vec<PolicyYaml>>,
    tolerance: Option<Quantity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PolicyYaml {
    #[serde(rename = "type")]
    kind: PolicyType,
    value: u32,
    period_seconds: u32,
}

/// Errors within something that begins at a line.
struct Place {
    line: u64,
    path: String,
}

impl Place {
    fn of<T>(spanned: &Spanned<T>, path: impl Into<String>) -> Self {
        Self { line: spanned.defined.line(), path: path.into() }
    }

    fn error(&self, field: &str, reason: impl Into<String>) -> ManifestError {
        let dot = if field.is_empty() { "" } else { "." };
        ManifestError { line: self.line, path: format!("{}{dot}{field}", self.path), reason: reason.into() }
    }
}

impl HpaSpec {
    /// Reads a manifest and fills in what the API server would.
    ///
    /// # Errors
    /// Names line, field and reason of the first thing that the API server would refuse, or that is not emulated.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        let mut path = String::new();
        let manifest: Result<Manifest, _> = serde_saphyr::with_deserializer_from_str(text, |yaml| {
            serde_path_to_error::deserialize(yaml).map_err(|error| {
                path = without_wrappers(&error.path().to_string());
                error.into_inner()
            })
        });
        let manifest = manifest.map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let at = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default().trim();
            let told = error.without_snippet().to_string();
            // It ends with its place.
            let told = told.rsplit_once(" at line ").map_or(told.as_str(), |(told, _)| told);
            let reason = format!("{told}, in {at:?}");
            ManifestError { line, path: path.clone(), reason }
        })?;
        manifest.check()
    }
}

/// The path as it is in the manifest: whatever has a line of its own is wrapped, in a `value`.
fn without_wrappers(path: &str) -> String {
    const WRAPPED: [&str; 7] =
        ["apiVersion", "kind", "spec", "minReplicas", "maxReplicas", "scaleUp", "scaleDown"];
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('.') {
        let wrapped = |last: &&str| WRAPPED.contains(last) || last.starts_with("metrics[");
        if segment != "value" || !kept.last().is_some_and(wrapped) {
            kept.push(segment);
        }
    }
    kept.join(".")
}

impl Manifest {
    fn check(self) -> Result<HpaSpec, ManifestError> {
        for (value, field, expected) in [
            (&self.api_version, "apiVersion", "autoscaling/v2"),
            (&self.kind, "kind", "HorizontalPodAutoscaler"),
        ] {
            if value.value != expected {
                let reason = format!("{:?} is not supported; expected {expected}", value.value);
                return Err(Place::of(value, field).error("", reason));
            }
        }
        let spec = self.spec.value;
        let min = spec.min_replicas.as_ref().map_or(1, |min| min.value);
        if let Some(min) = spec.min_replicas.as_ref().filter(|min| min.value < 1) {
            let reason = format!("{} is not allowed; expected 1 or more", min.value);
            return Err(Place::of(min, "spec.minReplicas").error("", reason));
        }
        let max = &spec.max_replicas;
        if max.value < min {
            let reason = format!("{} is not allowed; expected minReplicas ({min}) or more", max.value);
            return Err(Place::of(max, "spec.maxReplicas").error("", reason));
        }
        let range = Range { min, max: max.value };
        // No room for more: there may be thousands of HPAs.
        let mut metrics = Vec::with_capacity(spec.metrics.len().max(1));
        for (index, metric) in spec.metrics.iter().enumerate() {
            metrics.push(metric.value.check(&Place::of(metric, format!("spec.metrics[{index}]")))?);
        }
        if metrics.is_empty() {
            let target = Some(ResourceTarget::Utilization(DEFAULT_UTILIZATION));
            metrics.push(MetricSpec::Resource { resource: Resource::Cpu, container: None, target });
        }
        let behavior = spec.behavior.map(BehaviorYaml::check).transpose()?;
        Ok(HpaSpec { range, metrics, behavior })
    }
}

impl Metric {
    fn check(&self, at: &Place) -> Result<MetricSpec, ManifestError> {
        let sources = [
            ("Resource", "resource", self.resource.is_some()),
            ("ContainerResource", "containerResource", self.container_resource.is_some()),
            ("Pods", "pods", self.pods.is_some()),
            ("Object", "object", self.object.is_some()),
            ("External", "external", self.external.is_some()),
        ];
        let Some(&(_, own, _)) = sources.iter().find(|(kind, ..)| *kind == self.kind) else {
            let kinds = sources.map(|(kind, ..)| kind).join(", ");
            return Err(
                at.error("type", format!("{:?} is not supported; expected one of {kinds}", self.kind))
            );
        };
        for (_, field, present) in sources {
            if present != (field == own) {
                let verb = if present { "must not be there" } else { "is missing" };
                return Err(at.error(field, format!("{verb}: the metric's type is {}", self.kind)));
            }
        }
        let within = Place { line: at.line, path: format!("{}.{own}", at.path) };
        if let Some(metric) = self.resource.as_ref().or(self.container_resource.as_ref()) {
            return metric.check(&within, own);
        }
        let Some(metric) = self.pods.as_ref().or(self.object.as_ref()).or(self.external.as_ref()) else {
            return Err(at.error("", "has no source"));
        };
        metric.check(&within, own)
    }
}

impl ResourceMetric {
    fn check(&self, at: &Place, own: &str) -> Result<MetricSpec, ManifestError> {
        let resource = match self.name.as_str() {
            "cpu" => Resource::Cpu,
            "memory" => Resource::Memory,
            other => {
                return Err(at.error("name", format!("{other:?} is not emulated; expected cpu or memory")));
            }
        };
        match (&self.container, own) {
            (None, "containerResource") => return Err(at.error("container", "is missing")),
            (Some(_), "resource") => {
                return Err(at.error("container", "must not be there: that is for containerResource"));
            }
            _ => {}
        }
        let target = match self.target.only(at, &["Utilization", "AverageValue"])? {
            Kind::Utilization(percent) => ResourceTarget::Utilization(percent),
            Kind::AverageValue(value) | Kind::Value(value) => ResourceTarget::AverageValue(value),
        };
        let container = self.container.as_deref().map(Into::into);
        Ok(MetricSpec::Resource { resource, container, target: Some(target) })
    }
}

impl NamedMetric {
    fn check(&self, at: &Place, own: &str) -> Result<MetricSpec, ManifestError> {
        let name = self.metric.name.as_str().into();
        match (&self.described_object, own) {
            (None, "object") => return Err(at.error("describedObject", "is missing")),
            (Some(_), "pods" | "external") => {
                return Err(at.error("describedObject", "must not be there: that is for object"));
            }
            _ => {}
        }
        let kinds: &[&str] = if own == "pods" { &["AverageValue"] } else { &["Value", "AverageValue"] };
        let target = match self.target.only(at, kinds)? {
            Kind::Value(value) => ValueTarget::Value(value),
            Kind::AverageValue(value) => ValueTarget::AverageValue(value),
            Kind::Utilization(_) => return Err(at.error("target.type", "is not for this metric")),
        };
        Ok(match (own, target) {
            ("pods", ValueTarget::Value(target) | ValueTarget::AverageValue(target)) => {
                MetricSpec::Pods { name, target }
            }
            ("object", target) => MetricSpec::Object { name, target },
            (_, target) => MetricSpec::External { name, target },
        })
    }
}

/// A target whose type and value agree.
enum Kind {
    Utilization(i32),
    AverageValue(Milli),
    Value(Milli),
}

impl Target {
    /// The only value that is there, which must be the one that the type says, of a type that is allowed here.
    fn only(&self, at: &Place, allowed: &[&str]) -> Result<Kind, ManifestError> {
        if !allowed.contains(&self.kind.as_str()) {
            let reason = format!("{:?} is not supported; expected one of {}", self.kind, allowed.join(", "));
            return Err(at.error("target.type", reason));
        }
        let fields = [
            ("Utilization", "averageUtilization", self.average_utilization.is_some()),
            ("AverageValue", "averageValue", self.average_value.is_some()),
            ("Value", "value", self.value.is_some()),
        ];
        for (kind, field, present) in fields {
            if present != (kind == self.kind) {
                let verb = if present { "must not be there" } else { "is missing" };
                return Err(at.error(
                    &format!("target.{field}"),
                    format!("{verb}: the target's type is {}", self.kind),
                ));
            }
        }
        let positive = |field: &str, quantity: Option<Quantity>| {
            let milli = quantity.and_then(Quantity::milli).filter(|milli| milli.get() > 0);
            milli.ok_or_else(|| {
                at.error(&format!("target.{field}"), "must be positive, and fit into 64 bits of thousandths")
            })
        };
        Ok(match self.kind.as_str() {
            "AverageValue" => Kind::AverageValue(positive("averageValue", self.average_value)?),
            "Value" => Kind::Value(positive("value", self.value)?),
            _ => match self.average_utilization {
                Some(percent) if percent >= 1 => Kind::Utilization(percent),
                _ => return Err(at.error("target.averageUtilization", "must be 1 or more")),
            },
        })
    }
}

impl BehaviorYaml {
    fn check(self) -> Result<BehaviorSpec, ManifestError> {
        let rules = |rules: Option<Spanned<RulesYaml>>, name: &str| {
            rules.map(|rules| {
                let at = Place::of(&rules, format!("spec.behavior.{name}"));
                rules.value.check(&at)
            })
        };
        Ok(BehaviorSpec {
            scale_up: rules(self.scale_up, "scaleUp").transpose()?,
            scale_down: rules(self.scale_down, "scaleDown").transpose()?,
        })
    }
}

impl RulesYaml {
    fn check(self, at: &Place) -> Result<ScalingRulesSpec, ManifestError> {
        let range = |field: &str, value: u32, low: u32, high: u32| {
            let allowed = (low..=high).contains(&value);
            let reason = || format!("{value} is not allowed; expected {low} to {high}");
            if allowed { Ok(()) } else { Err(at.error(field, reason())) }
        };
        range("stabilizationWindowSeconds", self.stabilization_window_seconds.unwrap_or(0), 0, 3600)?;
        if self.policies.as_ref().is_some_and(Vec::is_empty) {
            return Err(at.error("policies", "must have at least one policy"));
        }
        for (index, policy) in self.policies.iter().flatten().enumerate() {
            range(&format!("policies[{index}].value"), policy.value, 1, i32::MAX as u32)?;
            range(&format!("policies[{index}].periodSeconds"), policy.period_seconds, 1, 1800)?;
        }
        let tolerance = self.tolerance.map(Quantity::value);
        if let Some(tolerance) = tolerance.filter(|tolerance| !(0.0..=100.0).contains(tolerance)) {
            return Err(at.error("tolerance", format!("{tolerance} is not allowed; expected 0 to 100")));
        }
        let policy =
            |p: PolicyYaml| ScalingPolicy { kind: p.kind, value: p.value, period_seconds: p.period_seconds };
        Ok(ScalingRulesSpec {
            stabilization_window_seconds: self.stabilization_window_seconds,
            select_policy: self.select_policy,
            policies: self.policies.map(|policies| policies.into_iter().map(policy).collect()),
            tolerance,
        })
    }
}

impl HpaSpec {
    /// The manifest of an HPA that keeps the CPU use of a Deployment, as YAML that [`HpaSpec::from_yaml`] and the API
    /// server read.
    pub fn cpu_manifest(deployment: &str, range: Range, target_percent: u32, behavior: &Behavior) -> String {
        let policy = |policy: &ScalingPolicy| {
            format!(
                "        - type: {:?}\n          value: {}\n          periodSeconds: {}\n",
                policy.kind, policy.value, policy.period_seconds
            )
        };
        let rules = |name: &str, rules: &ScalingRules| {
            let tolerance = rules.tolerance.map_or(String::new(), |t| format!("      tolerance: \"{t}\"\n"));
            let policies: Vec<String> = rules.policies.iter().map(policy).collect();
            format!(
                "    {name}:\n      stabilizationWindowSeconds: {}\n      selectPolicy: {:?}\n{tolerance}      \
                 policies:\n{}",
                rules.stabilization_window_seconds,
                rules.select_policy,
                policies.concat()
            )
        };
        format!(
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: {deployment}\nspec:\n  \
             scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {deployment}\n  \
             minReplicas: {}\n  maxReplicas: {}\n  metrics:\n    - type: Resource\n      resource:\n        \
             name: cpu\n        target:\n          type: Utilization\n          \
             averageUtilization: {target_percent}\n  behavior:\n{}{}",
            range.min,
            range.max,
            rules("scaleUp", &behavior.scale_up),
            rules("scaleDown", &behavior.scale_down),
        )
    }
}

#[cfg(test)]
mod tests;
