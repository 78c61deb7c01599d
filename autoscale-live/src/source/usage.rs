//! What containers use, from Prometheus, as samples like those of the resource metrics API.

use super::answer;
use super::prometheus::Answer;
use crate::target::usage::Samples;
use autoscale_core::sample::{ContainerUsage, ResourceList, UsageSample};
use autoscale_core::units::{Milli, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A metric's value of each container, by the place of its namespace, its pod and its name.
pub(super) type ByContainer = BTreeMap<(usize, Arc<str>, Arc<str>), f64>;

/// The values of an answer; series without the labels are nobody's.
pub(super) fn read(
    body: &[u8],
    namespace_label: &str,
    namespaces: &[Arc<str>],
) -> serde_json::Result<Answer<ByContainer>> {
    let (mut values, mut twice) = (ByContainer::new(), None);
    let said = answer::read(body, |series| {
        let label = |name| series.label(name);
        let (Some(namespace), Some(pod), Some(container)) =
            (label(namespace_label), label("pod"), label("container"))
        else {
            return;
        };
        let Some(place) = namespaces.iter().position(|known| **known == *namespace) else { return };
        let value = series.value().unwrap_or(f64::NAN);
        if values.insert((place, pod.into(), container.into()), value).is_some() {
            twice = Some(format!(
                "two series for {container} of {namespace}/{pod}; expected one, as by max by ({{namespace}}, pod, container)"
            ));
        }
    })?;
    Ok(Answer { said, read: values, twice })
}

/// Samples of cores and bytes. A container of which one is not known has none of it, as in the metrics API.
pub(super) fn samples(
    namespaces: &[Arc<str>],
    (cpu, memory): (ByContainer, ByContainer),
    (timestamp, window): (Timestamp, Duration),
) -> BTreeMap<Arc<str>, Arc<Samples>> {
    let mut used: BTreeMap<(usize, Arc<str>, Arc<str>), ResourceList> = BTreeMap::new();
    for (container, cores) in cpu {
        used.entry(container).or_default().cpu = thousandths(cores);
    }
    for (container, bytes) in memory {
        used.entry(container).or_default().memory = thousandths(bytes);
    }
    let mut all: Vec<Samples> = namespaces.iter().map(|_| Samples::new()).collect();
    for ((place, pod, name), usage) in used {
        let sample = || UsageSample { timestamp, window, containers: Vec::new() };
        all[place].entry(pod).or_insert_with(sample).containers.push(ContainerUsage { name, usage });
    }
    namespaces.iter().cloned().zip(all.into_iter().map(Arc::new)).collect()
}

/// Rounded up, as quantities are; `None` of what no container can use.
fn thousandths(value: f64) -> Option<Milli> {
    let thousandths = (value * 1000.0).ceil();
    (0.0..i64::MAX as f64).contains(&thousandths).then(|| Milli::new(thousandths as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &str, value: &str) -> String {
        format!(r#"{{"metric":{{"namespace":"shop",{labels}}},"value":[1,"{value}"]}}"#)
    }

    fn values(all: &[String]) -> Answer<ByContainer> {
        let body = format!(r#"{{"data":{{"resultType":"vector","result":[{}]}}}}"#, all.join(","));
        read(body.as_bytes(), "namespace", &["depot".into(), "shop".into()]).unwrap()
    }

    #[test]
    fn a_pod_has_what_all_its_containers_use_or_nothing() {
        let web = r#""pod":"web-0","container":"app""#;
        let side = r#""pod":"web-1","container":"side""#;
        let app = r#""pod":"web-1","container":"app""#;
        let cpu = values(&[series(web, "0.2501"), series(app, "0.1"), series(r#""pod":"web-2""#, "9")]);
        let memory = values(&[series(web, "1048576"), series(app, "7"), series(side, "NaN")]);
        let at = (Timestamp::from_secs(60), Duration::from_secs(30));
        let all = samples(&["depot".into(), "shop".into()], (cpu.read, memory.read), at);
        assert!(all["depot"].is_empty() && !all["shop"].contains_key("web-2"));
        let web = &all["shop"]["web-0"];
        assert_eq!((web.timestamp, web.window), at);
        assert_eq!((web.cpu(), web.memory()), (Some(Milli::new(251)), Some(Milli::new(1_048_576_000))));
        assert_eq!((all["shop"]["web-1"].cpu(), all["shop"]["web-1"].memory()), (None, None));
        let twice = values(&[series(app, "1"), series(app, "2")]);
        assert!(twice.twice.unwrap().contains("two series for app of shop/web-1"));
    }

    #[test]
    fn nobody_uses_less_than_nothing() {
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(thousandths(odd), None, "{odd}");
        }
    }
}
