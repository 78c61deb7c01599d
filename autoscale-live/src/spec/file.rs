//! Reading `LearnedAutoscaler`s from a file, checked as the API server would check them.

use super::LearnedAutoscaler;
use autoscale_core::validate::{ConfigError, Validate};
use kube::ResourceExt;
use std::collections::BTreeSet;
use thiserror::Error;

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is not the YAML of `LearnedAutoscaler`s; the message has line and column.
    #[error("{0}")]
    Yaml(String),
    /// A value of one of them is out of range.
    #[error("{name}: spec.{}", in_terms_of_the_spec(error))]
    Value {
        /// Its name.
        name: String,
        /// Which field, and what would be accepted.
        error: ConfigError,
    },
    /// Two of them scale the same object.
    #[error("{name}: {target} is scaled by another LearnedAutoscaler of this file already")]
    Twice {
        /// The second one's name.
        name: String,
        /// What it scales.
        target: String,
    },
    /// There is none.
    #[error("no LearnedAutoscaler; expected at least one YAML document")]
    Empty,
}

/// Reads the documents of a YAML file.
///
/// # Errors
/// When one cannot be used, or there is none.
pub fn read(yaml: &str) -> Result<Vec<LearnedAutoscaler>, FileError> {
    let found: Vec<LearnedAutoscaler> =
        serde_saphyr::from_multiple(yaml).map_err(|error| FileError::Yaml(error.to_string()))?;
    let mut targets = BTreeSet::new();
    for autoscaler in &found {
        let name = autoscaler.name_any();
        let checked = autoscaler.spec.controller().validate();
        checked.map_err(|error| FileError::Value { name: name.clone(), error })?;
        let target = autoscaler.target();
        if !targets.insert(target.clone()) {
            return Err(FileError::Twice { name, target: target.to_string() });
        }
    }
    if found.is_empty() { Err(FileError::Empty) } else { Ok(found) }
}

/// An error of the controller's configuration with the fields' names of the specification.
pub(crate) fn in_terms_of_the_spec(error: &ConfigError) -> String {
    let text = error.to_string().replace("limits.", "").replace("ladder.freshness.", "freshness.");
    let text = text.replace("ladder.", "freshness.").replace("_s:", "_seconds:");
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
        let found = read(TWO).unwrap();
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

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, parts) in [
            ("minReplicas: 2", "minReplicas: 50", ["web: spec.minReplicas: 50", "maxReplicas (40)"]),
            (
                "mode: active",
                "freshness: {usageMaxAgeSeconds: 0}",
                ["web: spec.freshness.usageMaxAgeSeconds: 0", "1 to 3600"],
            ),
            ("mode: active", "mode: alive", ["alive", "line 9"]),
            ("mode: active", "floor: 1", ["floor", "line 9"]),
            ("{kind: StatefulSet, name: cache}", "{name: web}", ["cache: shop/Deployment/web", "already"]),
        ] {
            let text = TWO.replacen(from, to, 1);
            let said = match read(&text) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("{to} is accepted"),
            };
            assert!(parts.iter().all(|part| said.contains(part)), "{to}: {said}");
        }
        assert!(matches!(read(""), Err(FileError::Empty)));
    }
}
