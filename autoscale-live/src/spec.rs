//! `LearnedAutoscaler`: what to scale, by which policy, how far to trust it. The same as a custom resource and in a file.

use crate::controller::{ContestConfig, ControllerConfig, Mode, Ownership, Percentile, SloConfig};
use crate::target::{ObjectName, TargetRef};
use autoscale_core::guard::{EnvelopeConfig, FreshnessConfig, LadderConfig};
use autoscale_core::limits::LimitsConfig;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

mod file;
mod status;

pub(crate) use file::in_terms_of_the_spec;
pub use file::{Document, read};
pub use status::{
    ConditionType, Finding, LastDecision, LearnedAutoscalerStatus, Standing, conditions, findings, within_slo,
};

/// What to scale, by which policy, how far to trust it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "autoscaleai.dev",
    version = "v1alpha1",
    kind = "LearnedAutoscaler",
    namespaced,
    status = "LearnedAutoscalerStatus",
    derive = "PartialEq",
    shortname = "las",
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.scaleTargetRef.name"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.lastDecision.spec"}"#,
    printcolumn = r#"{"name":"Wanted","type":"integer","jsonPath":".status.lastDecision.granted"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".status.lastDecision.decidedBy"}"#,
    printcolumn = r#"{"name":"Effect","type":"string","jsonPath":".status.lastDecision.effect"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LearnedAutoscalerSpec {
    /// The object whose `scale` subresource is written, in the same namespace.
    pub scale_target_ref: ScaleTargetRef,
    /// Never fewer pods than this.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10000))]
    pub min_replicas: u32,
    /// Never more pods than this.
    #[schemars(range(min = 1, max = 10000))]
    pub max_replicas: u32,
    /// At most so many pods more a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_step_up: Option<u32>,
    /// At most so many pods fewer a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_step_down: Option<u32>,
    /// Who decides.
    pub policy: PolicyRef,
    /// The HPA that decides when the policy's measurements fail; the default one on CPU when absent. An HPA that has nothing but
    /// resources of pods for metrics goes on itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<HpaRules>,
    /// `shadow` decides and records, `active` writes.
    #[serde(default)]
    pub mode: SpecMode,
    /// Take `spec.replicas` over from a manager that has applied it.
    #[serde(default)]
    pub take_over: bool,
    /// What is promised of the service; said of each decision, and in the condition `WithinSlo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloSpec>,
    /// Bounds around what measured CPU use calls for.
    #[serde(default)]
    pub envelope: EnvelopeSpec,
    /// When measurements are not to be acted on.
    #[serde(default)]
    pub freshness: FreshnessSpec,
    /// When to step back from a fight over `spec.replicas`.
    #[serde(default)]
    pub contest: ContestSpec,
    /// The service's clock against UTC, in hours.
    #[serde(default)]
    #[schemars(range(min = -14.0, max = 14.0))]
    pub utc_offset_hours: f64,
}

/// An object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTargetRef {
    /// `apps/v1`, …
    #[serde(default = "apps")]
    pub api_version: String,
    /// `Deployment`, `StatefulSet`, …
    #[serde(default = "deployment")]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Who decides while all is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PolicyRef {
    /// A trained policy.
    Model(ModelRef),
    /// The emulated HPA.
    HorizontalPodAutoscaler(HpaRules),
}

/// A trained policy on disk: from an image, a volume, or a mounted ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelRef {
    /// The folder that `autoscale train` wrote.
    pub path: PathBuf,
}

/// What an HPA manifest says of metrics and behaviour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HpaRules {
    /// `spec.metrics` of `autoscaling/v2`; 80 % of the CPU request when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// `spec.behavior` of `autoscaling/v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

/// See [`Mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecMode {
    /// Decide and record, never write.
    #[default]
    Shadow,
    /// Write `spec.replicas`.
    Active,
}

/// See [`SloConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SloSpec {
    /// Response time in seconds.
    #[schemars(range(min = 0.001, max = 3600.0))]
    pub latency_seconds: f64,
    /// The share of requests that must be answered well within that time.
    pub percentile: Percentile,
}

impl SloSpec {
    fn told(self) -> SloConfig {
        SloConfig { latency_s: self.latency_seconds, percentile: self.percentile }
    }
}

/// See [`EnvelopeConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EnvelopeSpec {
    /// CPU use as a share of the request that the reactive rule aims at.
    #[schemars(range(min = 0.01, max = 10.0))]
    pub target_utilization: f64,
    /// No fewer pods than this times the rule's answer.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
    /// No more pods than this times the rule's answer.
    #[schemars(range(min = 1.0, max = 1000.0))]
    pub ceiling: f64,
    /// Changes of direction within any hour.
    #[schemars(range(min = 0, max = 1000))]
    pub reversals_per_hour: u32,
}

impl Default for EnvelopeSpec {
    fn default() -> Self {
        let EnvelopeConfig { target_utilization, floor, ceiling, reversals_per_hour } =
            EnvelopeConfig::default();
        Self { target_utilization, floor, ceiling, reversals_per_hour }
    }
}

/// See [`LadderConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FreshnessSpec {
    /// Measurements are stale above this age.
    #[schemars(range(min = 1, max = 3600))]
    pub max_age_seconds: u32,
    /// Good looks in a row before a source is trusted again.
    #[schemars(range(min = 1, max = 1000))]
    pub recover_after: u32,
    /// So many equal measurements in a row are a frozen exporter.
    #[schemars(range(min = 2, max = 1000))]
    pub frozen_after: u32,
    /// How long nothing is changed before the fallback decides.
    #[schemars(range(min = 0, max = 3600))]
    pub hold_seconds: u32,
    /// Usage samples of pods are stale above this age.
    #[schemars(range(min = 1, max = 3600))]
    pub usage_max_age_seconds: u32,
}

impl Default for FreshnessSpec {
    fn default() -> Self {
        let LadderConfig { freshness, hold_s, usage_max_age_s } = LadderConfig::default();
        Self {
            max_age_seconds: freshness.max_age_s,
            recover_after: freshness.recover_after,
            frozen_after: freshness.frozen_after,
            hold_seconds: hold_s,
            usage_max_age_seconds: usage_max_age_s,
        }
    }
}

/// See [`ContestConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContestSpec {
    /// So many changes by others are a fight …
    #[schemars(range(min = 1, max = 100))]
    pub reverts: u32,
    /// … within this time.
    #[schemars(range(min = 1, max = 86400))]
    pub within_seconds: u32,
    /// Nothing is written for this long after the last of them.
    #[schemars(range(min = 1, max = 86400))]
    pub step_back_seconds: u32,
}

impl Default for ContestSpec {
    fn default() -> Self {
        let ContestConfig { reverts, within_s, step_back_s } = ContestConfig::default();
        Self { reverts, within_seconds: within_s, step_back_seconds: step_back_s }
    }
}

/// The definition of the custom resource, as the API server wants it.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = LearnedAutoscaler::crd();
    // Between two fields, which no field's own schema can say.
    let ordered = ValidationRule {
        rule: "self.spec.minReplicas <= self.spec.maxReplicas".to_owned(),
        message: Some("must be at most maxReplicas".to_owned()),
        field_path: Some(".spec.minReplicas".to_owned()),
        ..ValidationRule::default()
    };
    let versions = definition.spec.versions.iter_mut();
    for schema in versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut()) {
        schema.x_kubernetes_validations = Some(vec![ordered.clone()]);
        without_unsigned(schema);
    }
    definition
}

/// The API server warns of formats that it does not know; ranges say the same.
fn without_unsigned(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.properties.iter_mut().flat_map(BTreeMap::values_mut).for_each(without_unsigned);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        without_unsigned(items);
    }
}

fn one() -> u32 {
    1
}

fn apps() -> String {
    "apps/v1".to_owned()
}

fn deployment() -> String {
    "Deployment".to_owned()
}

/// The usual words are there once, not once a target.
fn shared(word: &str) -> Arc<str> {
    static USUAL: LazyLock<[Arc<str>; 2]> = LazyLock::new(|| [apps().into(), deployment().into()]);
    USUAL.iter().find(|usual| ***usual == *word).map_or_else(|| word.into(), Arc::clone)
}

impl LearnedAutoscaler {
    /// The object that it scales.
    pub fn target(&self) -> TargetRef {
        self.target_in(self.namespace().as_deref().unwrap_or("default").into())
    }

    /// The same, with this copy of its namespace's name.
    pub(crate) fn target_in(&self, namespace: Arc<str>) -> TargetRef {
        let target = &self.spec.scale_target_ref;
        let named = ObjectName {
            namespace,
            api_version: shared(&target.api_version),
            kind: shared(&target.kind),
            name: target.name.as_str().into(),
        };
        named.into()
    }
}

impl LearnedAutoscalerSpec {
    /// What its controller is told.
    pub fn controller(&self) -> ControllerConfig {
        let EnvelopeSpec { target_utilization, floor, ceiling, reversals_per_hour } = self.envelope;
        let limits = LimitsConfig {
            min_replicas: self.min_replicas,
            max_replicas: self.max_replicas,
            max_step_up: self.max_step_up,
            max_step_down: self.max_step_down,
        };
        let usual = ControllerConfig::within(limits);
        let history = match &self.policy {
            PolicyRef::Model(_) => usual.history,
            // It goes by pods and their samples.
            PolicyRef::HorizontalPodAutoscaler(_) => 1,
        };
        ControllerConfig {
            mode: match self.mode {
                SpecMode::Shadow => Mode::Shadow,
                SpecMode::Active => Mode::Active,
            },
            ownership: if self.take_over { Ownership::TakeOver } else { Ownership::Respect },
            envelope: EnvelopeConfig { target_utilization, floor, ceiling, reversals_per_hour },
            ladder: LadderConfig {
                freshness: FreshnessConfig {
                    max_age_s: self.freshness.max_age_seconds,
                    recover_after: self.freshness.recover_after,
                    frozen_after: self.freshness.frozen_after,
                },
                hold_s: self.freshness.hold_seconds,
                usage_max_age_s: self.freshness.usage_max_age_seconds,
            },
            contest: ContestConfig {
                reverts: self.contest.reverts,
                within_s: self.contest.within_seconds,
                step_back_s: self.contest.step_back_seconds,
            },
            slo: self.slo.map(SloSpec::told),
            utc_offset_hours: self.utc_offset_hours,
            history,
            ..usual
        }
    }

    /// The HPA that these rules make, as an `autoscaling/v2` manifest in JSON.
    pub fn manifest(&self, rules: &HpaRules) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "spec": {
                "scaleTargetRef": self.scale_target_ref,
                "minReplicas": self.min_replicas,
                "maxReplicas": self.max_replicas,
                "metrics": rules.metrics,
                "behavior": rules.behavior,
            },
        })
    }
}
