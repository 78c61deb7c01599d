//! Reading `LearnedAutoscaler`s from a file, checked as the API server would check them.

use super::{LearnedAutoscaler, definition};
use crate::yaml::{Node, YamlError, documents};
use autoscale_core::validate::{ConfigError, Validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrBool,
};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The longest name of an object, and of a namespace.
const NAME: usize = 253;
const LABEL: usize = 63;
/// What of `apps/v1` has a `scale`.
const SCALABLE: [&str; 3] = ["Deployment", "ReplicaSet", "StatefulSet"];

/// An autoscaler, and where it is written.
pub struct Document {
    /// What is written there.
    pub autoscaler: LearnedAutoscaler,
    node: Node,
}

impl Document {
    /// An error about one of its fields.
    pub fn error(&self, field: &str, reason: impl Into<String>) -> YamlError {
        self.node.error(field, reason)
    }

    /// What the API server's schema cannot say, or says by rules.
    fn check(&self) -> Result<(), YamlError> {
        let LearnedAutoscaler { metadata, spec, .. } = &self.autoscaler;
        let target = &spec.scale_target_ref;
        let names = [
            ("metadata.name", metadata.name.as_deref(), Name::Subdomain),
            ("metadata.namespace", metadata.namespace.as_deref(), Name::Label),
            ("spec.scaleTargetRef.name", Some(target.name.as_str()), Name::Subdomain),
        ];
        for (field, name, kind) in names {
            let refused = |name| format!("{name:?} is not allowed; expected {}", kind.expected());
            name.filter(|name| !kind.allows(name))
                .map_or(Ok(()), |name| Err(self.error(field, refused(name))))?;
        }
        let group_and_version: Vec<&str> = target.api_version.split('/').collect();
        if group_and_version.len() > 2 || group_and_version.contains(&"") {
            let reason =
                format!("{:?} is not allowed; expected GROUP/VERSION or VERSION", target.api_version);
            return Err(self.error("spec.scaleTargetRef.apiVersion", reason));
        }
        if target.kind.is_empty() {
            return Err(self.error("spec.scaleTargetRef.kind", "\"\" is not allowed; expected a kind"));
        }
        if target.api_version == "apps/v1" && !SCALABLE.contains(&target.kind.as_str()) {
            let [one, another, last] = SCALABLE;
            let reason = format!(
                "{:?} is no kind of apps/v1 with a scale; expected {one}, {another} or {last}",
                target.kind
            );
            return Err(self.error("spec.scaleTargetRef.kind", reason));
        }
        let checked = spec.controller().validate().map_err(|error| in_terms_of_the_spec(&error));
        checked.map(drop).map_err(|ConfigError { field, value, expected }| {
            self.error(&field, format!("{value} is not allowed; expected {expected}"))
        })
    }
}

/// How Kubernetes wants names (RFC 1123).
#[derive(Clone, Copy)]
enum Name {
    Label,
    Subdomain,
}

impl Name {
    fn allows(self, name: &str) -> bool {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let label = |label: &str| {
            label.starts_with(fine) && label.ends_with(fine) && label.chars().all(|c| fine(c) || c == '-')
        };
        match self {
            Self::Label => name.len() <= LABEL && label(name),
            Self::Subdomain => name.len() <= NAME && name.split('.').all(label),
        }
    }

    fn expected(self) -> String {
        let (most, characters) = match self {
            Self::Label => (LABEL, "a to z, 0 to 9 and -"),
            Self::Subdomain => (NAME, "a to z, 0 to 9, - and ."),
        };
        format!("at most {most} of {characters}, with a letter or a digit at either end")
    }
}

/// Reads the documents of a YAML file.
///
/// # Errors
/// When one cannot be used, there is none, or two of them scale the same object.
pub fn read(yaml: &str) -> Result<Vec<Document>, YamlError> {
    static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(schema);
    let (mut found, mut targets, mut names) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for node in documents(yaml)?.into_iter().flat_map(Node::unwrapped) {
        let document = Document { autoscaler: node.read(&SCHEMA)?, node };
        document.check()?;
        let target = document.autoscaler.target();
        if !targets.insert(target.clone()) {
            let reason = format!("{target} is scaled by another LearnedAutoscaler of this file already");
            return Err(document.error("spec.scaleTargetRef.name", reason));
        }
        let name = (target.namespace.to_string(), document.autoscaler.name_any());
        if let Some((namespace, name)) = names.replace(name) {
            let reason = format!("another LearnedAutoscaler of this file is {namespace}/{name} already");
            return Err(document.error("metadata.name", reason));
        }
        found.push(document);
    }
    let none = "no LearnedAutoscaler; expected at least one YAML document";
    let empty = YamlError { line: 1, field: String::new(), reason: none.to_owned() };
    if found.is_empty() { Err(empty) } else { Ok(found) }
}

/// That of the definition, with what every object has.
fn schema() -> JSONSchemaProps {
    let text = || JSONSchemaProps { type_: Some("string".to_owned()), ..JSONSchemaProps::default() };
    let word = |word: &str| JSONSchemaProps { enum_: Some(vec![JSON(word.into())]), ..text() };
    let texts = || JSONSchemaProps {
        type_: Some("object".to_owned()),
        additional_properties: Some(JSONSchemaPropsOrBool::Schema(Box::new(text()))),
        ..JSONSchemaProps::default()
    };
    let fields = [("name", text()), ("namespace", text()), ("labels", texts()), ("annotations", texts())];
    let metadata = JSONSchemaProps {
        type_: Some("object".to_owned()),
        properties: Some(BTreeMap::from(fields.map(|(field, schema)| (field.to_owned(), schema)))),
        required: Some(vec!["name".to_owned()]),
        x_kubernetes_preserve_unknown_fields: Some(true),
        ..JSONSchemaProps::default()
    };
    let mut versions = definition().spec.versions.into_iter();
    let mut schema = versions.find_map(|version| version.schema?.open_api_v3_schema).unwrap_or_default();
    schema.properties.get_or_insert_default().extend([
        ("apiVersion".to_owned(), word(&LearnedAutoscaler::api_version(&()))),
        ("kind".to_owned(), word(&LearnedAutoscaler::kind(&()))),
        ("metadata".to_owned(), metadata),
    ]);
    let all = ["apiVersion", "kind", "metadata", "spec"].map(str::to_owned);
    JSONSchemaProps { required: Some(all.to_vec()), ..schema }
}

/// An error of the controller's configuration with the fields' names of the specification.
pub(crate) fn in_terms_of_the_spec(error: &ConfigError) -> ConfigError {
    let field = error
        .field
        .replace("limits.", "")
        .replace("ladder.freshness.", "freshness.")
        .replace("ladder.", "freshness.");
    let field = field.strip_suffix("_s").map_or(field.clone(), |time| format!("{time}_seconds"));
    ConfigError::new(format!("spec.{}", camel_case(&field)), &error.value, camel_case(&error.expected))
}

fn camel_case(text: &str) -> String {
    let mut words = text.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |so_far, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        so_far + &capital.map(String::from).unwrap_or_default() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Mode;
    use crate::spec::PolicyRef;

    const TWO: &str = "
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {name: web}
  minReplicas: 2
  maxReplicas: 40
  mode: active
  policy:
    model: {path: /models/web}
---
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {name: cache, namespace: shop}
spec:
  scaleTargetRef: {kind: StatefulSet, name: cache}
  maxReplicas: 9
  policy:
    horizontalPodAutoscaler:
      metrics:
        - type: Resource
          resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
";

    #[test]
    fn a_file_holds_several() {
        let found: Vec<LearnedAutoscaler> =
            read(TWO).unwrap().into_iter().map(|document| document.autoscaler).collect();
        assert_eq!(
            found.iter().map(|a| a.target().to_string()).collect::<Vec<_>>(),
            ["shop/Deployment/web", "shop/StatefulSet/cache"]
        );
        assert_eq!(found[0].spec.controller().mode, Mode::Active);
        assert_eq!(found[1].spec.controller().mode, Mode::Shadow);
        let PolicyRef::HorizontalPodAutoscaler(rules) = &found[1].spec.policy else { panic!("an HPA") };
        let manifest = found[1].spec.manifest(rules);
        assert_eq!(manifest["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 60);
    }

    /// What is replaced, by what, and how the error begins.
    const REFUSED: &[(&str, &str, &str)] = &[
        (
            "minReplicas: 2",
            "minReplicas: 50",
            "line 7: spec.minReplicas: 50 is not allowed; expected 1 to maxReplicas (40)",
        ),
        (
            "mode: active",
            "freshness: {usageMaxAgeSeconds: 0}",
            "line 9: spec.freshness.usageMaxAgeSeconds: 0 is not allowed; expected a whole number of 1 to 3600",
        ),
        (
            "mode: active",
            "mode: alive",
            "line 9: spec.mode: \"alive\" is not allowed; expected shadow or active",
        ),
        ("mode: active", "floor: 1", "line 9: spec.floor: is no field; expected contest, envelope, "),
        (
            "{kind: StatefulSet, name: cache}",
            "{name: web}",
            "line 17: spec.scaleTargetRef.name: shop/Deployment/web is scaled by another",
        ),
        (
            "maxReplicas: 40",
            "maxReplicas: many",
            "line 8: spec.maxReplicas: \"many\" is not allowed; expected a whole number of 1 to 10000",
        ),
        (
            "  maxReplicas: 40\n",
            "",
            "line 5: spec.maxReplicas: is missing; expected a whole number of 1 to 10000",
        ),
        (
            "  maxReplicas: 40\n",
            "  maxReplicas:\n",
            "line 8: spec.maxReplicas: nothing is not allowed; expected a whole",
        ),
        (
            "    model: {path: /models/web}",
            "    {}",
            "line 10: spec.policy: {} is not allowed; expected model or horizontalPodAutoscaler",
        ),
        (
            "    model: {path: /models/web}",
            "    modle: {path: /models/web}",
            "line 10: spec.policy: an object of modle is not allowed; expected model or",
        ),
        (
            "model: {path: /models/web}",
            "model: {file: /models/web}",
            "line 11: spec.policy.model.file: is no field; expected path",
        ),
        (
            "averageUtilization: 60",
            "averageUtilization: most",
            "line 23: spec.policy.horizontalPodAutoscaler.metrics[0].resource.target.averageUtilization: \"most\"",
        ),
        ("name: web, namespace", "namespace", "line 4: metadata.name: is missing; expected a text"),
        (
            "namespace: shop",
            "namespace: Shop_1",
            "line 4: metadata.namespace: \"Shop_1\" is not allowed; expected at most 63 of a to z, 0 to 9 and -",
        ),
        (
            "kind: LearnedAutoscaler",
            "kind: HorizontalPodAutoscaler",
            "line 3: kind: \"HorizontalPodAutoscaler\" is not allowed; expected LearnedAutoscaler",
        ),
        (
            "autoscaleai.dev/v1alpha1",
            "autoscaling/v2",
            "line 2: apiVersion: \"autoscaling/v2\" is not allowed",
        ),
        ("kind: LearnedAutoscaler\n", "", "line 2: kind: is missing; expected LearnedAutoscaler"),
        (
            "scaleTargetRef: {name: web}",
            "scaleTargetRef: {kind: Deplyment, name: web}",
            "line 6: spec.scaleTargetRef.kind: \"Deplyment\" is no kind of apps/v1",
        ),
        ("mode: active", "mode: [active", "line 10: illegal placement of ':'"),
        (
            "namespace: shop",
            "namespace: shop, labels: {app.kubernetes.io/version: 1.2}",
            "line 4: metadata.labels.app.kubernetes.io/version: 1.2 is not allowed; expected a text",
        ),
        (
            "name: cache, namespace",
            "name: web, namespace",
            "line 15: metadata.name: another LearnedAutoscaler",
        ),
        (
            "mode: active",
            "fallback: {behavior: {scaleDown: {tolerance: 0.05}}}",
            "line 9: spec.fallback.behavior.scaleDown.tolerance: 0.05 is",
        ),
        ("{kind: StatefulSet,", "{kind: \"\",", "line 17: spec.scaleTargetRef.kind: \"\" is not allowed"),
        (
            "{kind: StatefulSet,",
            "{apiVersion: a/b/c,",
            "line 17: spec.scaleTargetRef.apiVersion: \"a/b/c\" is not allowed",
        ),
        ("mode: active", "minReplicas: 3", "line 9: duplicate mapping key `minReplicas` is not allowed here"),
    ];

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, said) in REFUSED {
            let text = TWO.replacen(from, to, 1);
            let error = read(&text).err().unwrap_or_else(|| panic!("{to} is accepted")).to_string();
            assert!(error.starts_with(said), "{to}: {error}");
        }
        assert!(read("").err().unwrap().to_string().contains("no LearnedAutoscaler"));
        assert!(
            read("just words")
                .err()
                .unwrap()
                .to_string()
                .starts_with("line 1: \"just words\" is not allowed")
        );
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        for (from, to) in [
            ("{name: web, namespace: shop}", "{name: web, namespace: shop, labels: {a: b}, generation: 3}"),
            ("mode: active", "slo: {latencySeconds: 1, percentile: p95}"),
            ("mode: active", "maxStepUp: ~"),
            ("minReplicas: 2", "minReplicas:"),
            ("mode: active", "envelope: {floor: ~}"),
            ("model: {path: /models/web}", "{model: {path: a}, horizontalPodAutoscaler: ~}"),
            (
                "scaleTargetRef: {name: web}",
                "scaleTargetRef: {apiVersion: acme.dev/v1, kind: Fleet, name: web}",
            ),
            ("mode: active", "fallback: {behavior: {scaleDown: {tolerance: \"0.05\", selectPolicy: Max}}}"),
            (
                "mode: active",
                "fallback: {behavior: {scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 9}]}}}",
            ),
            ("averageUtilization: 60", "averageValue: 500m"),
        ] {
            let text = TWO.replacen(from, to, 1);
            assert_eq!(read(&text).map(|found| found.len()), Ok(2), "{to}");
        }
        let items =
            TWO.replace("\n---", "").replace('\n', "\n  ").replace("\n  apiVersion", "\n- apiVersion");
        let list = format!("apiVersion: v1\nkind: List\nitems:{items}");
        assert_eq!(read(&list).map(|found| found.len()), Ok(2), "{list}");
        let many = (0..1100)
            .map(|k| TWO[..TWO.find("---").unwrap()].replace("name: web", &format!("name: web-{k}")) + "---");
        assert_eq!(read(&many.collect::<String>()).map(|found| found.len()), Ok(1100));
    }
}
