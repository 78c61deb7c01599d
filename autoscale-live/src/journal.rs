//! Where decisions are kept: JSON lines, and numbers for Prometheus.

mod metrics;

pub use metrics::Metrics;

use crate::controller::DecisionRecord;
use crate::shell::Journal;
use crate::target::TargetRef;
use serde::Serialize;
use std::io::Write;
use std::sync::Arc;

/// One line a decision: the record, with its target.
#[derive(Serialize)]
struct Line<'a> {
    target: &'a TargetRef,
    #[serde(flatten)]
    record: &'a DecisionRecord,
}

/// Writes a line of JSON for each decision.
pub struct JsonLines<W>(W);

impl<W: Write + Send> JsonLines<W> {
    /// To this file, pipe, or standard output.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send + 'static> Journal for JsonLines<W> {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        // A full disk must not keep a service from being scaled; what is lost shows in the metrics, which count on.
        let mut line = serde_json::to_vec(&Line { target, record }).unwrap_or_default();
        line.push(b'\n');
        let _ = self.0.write_all(&line).and_then(|()| self.0.flush());
    }

    /// What is written stays.
    fn forget(&mut self, _: &TargetRef) {}
}

/// All of them, in order.
impl Journal for Vec<Box<dyn Journal>> {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        for journal in self {
            journal.keep(target, record);
        }
    }

    fn forget(&mut self, target: &TargetRef) {
        for journal in self {
            journal.forget(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Block, Effect, Mode, PodCounts, SloState};
    use autoscale_core::guard::Rung;
    use autoscale_core::limits::{Bound, Granted};
    use autoscale_core::policy::{Decision, Reason};
    use autoscale_core::units::{Replicas, Timestamp};
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn record(effect: Effect) -> Arc<DecisionRecord> {
        Arc::new(DecisionRecord {
            version: 1,
            at: Timestamp::from_secs(7),
            policy: "ppo".into(),
            rung: Rung::Policy,
            spec: Replicas::new(5),
            wish: Decision::scale_to(Replicas::new(9), Reason::rule("learned")),
            granted: Granted { replicas: Replicas::new(8), bound: Bound::Max },
            mode: Mode::Active,
            block: match &effect {
                Effect::Blocked(block) => Some(block.clone()),
                _ => None,
            },
            effect,
            slo: SloState::Met,
            measurement: None,
            pods: PodCounts::default(),
        })
    }

    pub(super) fn target() -> TargetRef {
        TargetRef::deployment("shop", "web")
    }

    #[test]
    fn each_decision_is_a_line_and_counted() {
        let (out, metrics) = (Shared::default(), Metrics::new());
        let mut journal: Vec<Box<dyn Journal>> =
            vec![Box::new(JsonLines::new(out.clone())), Box::new(metrics.clone())];
        journal.keep(&target(), &record(Effect::Written));
        journal.keep(&target(), &record(Effect::Blocked(Block::Standby)));
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["target"]["name"], "web");
        assert_eq!(lines[0]["granted"]["bound"], "max");
        let page = metrics.page();
        for line in [
            r#"autoscale_decisions_total{namespace="shop",kind="Deployment",name="web",by="policy",effect="written"} 1"#,
            r#"autoscale_decisions_total{namespace="shop",kind="Deployment",name="web",by="policy",effect="standby"} 1"#,
            r#"autoscale_within_slo{namespace="shop",kind="Deployment",name="web"} 1"#,
            r#"autoscale_replicas{namespace="shop",kind="Deployment",name="web",what="granted"} 8"#,
            r#"autoscale_replicas{namespace="shop",kind="Deployment",name="web",what="wished"} 9"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
        let other = target().sibling("cache");
        journal.keep(&other, &record(Effect::Unchanged));
        journal.forget(&target());
        let page = metrics.page();
        assert!(
            !page.contains("web") && page.contains("cache"),
            "what is not scaled any more has no numbers\n{page}"
        );
    }

    #[test]
    fn a_page_in_parts_has_every_target_once_and_every_head_once() {
        let mut metrics = Metrics::new();
        let name = |k: usize| format!("web-{k:04}");
        for k in 0..750 {
            metrics.keep(&target().sibling(name(k)), &record(Effect::Unchanged));
        }
        assert!(metrics.parts().all(|part| part.len() < 150_000));
        let page = metrics.page();
        for family in ["decisions", "replicas", "measurement_age_seconds", "within_slo"] {
            assert_eq!(page.matches(&format!("# TYPE autoscale_{family} ")).count(), 1, "{family}");
        }
        let granted: Vec<&str> = page.lines().filter(|line| line.contains(r#"what="granted""#)).collect();
        assert_eq!(granted.len(), 750);
        for (k, line) in granted.into_iter().enumerate() {
            assert!(line.contains(&name(k)), "{line}");
        }
        assert!(page.ends_with("\n# EOF\n") && page.matches("EOF").count() == 1);
    }
}
