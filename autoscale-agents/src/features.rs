//! What a learned policy sees: ratios, never absolute load levels, which overfit the load trained on.

use autoscale_core::measurement::{Measurement, cpu_utilization};
use autoscale_core::policy::{Observation, Target};
use autoscale_core::units::Utilization;

/// Version of the list below; weights of another version cannot be used.
pub const FEATURES_VERSION: u32 = 1;

/// Rates below this many requests per second count as none.
const RATE_FLOOR: f64 = 0.05;
/// Every feature stays within ± this.
const CLIP: f64 = 5.0;
/// Upper bounds of the age classes of pods that are not serving yet, in seconds.
const AGES: [f64; 4] = [15.0, 30.0, 60.0, 120.0];

const NAMES: [&str; 46] = [
    "load_vs_mean_2",
    "load_vs_mean_4",
    "load_vs_mean_8",
    "load_vs_mean_20",
    "load_vs_mean_60",
    "load_vs_previous",
    "load_vs_max_20",
    "load_vs_min_20",
    "load_slope_4",
    "load_slope_12",
    "load_variation_20",
    "cpu",
    "cpu_previous",
    "cpu_mean_4",
    "cpu_known",
    "cpu_all_pods",
    "cpu_once_started",
    "cpu_at_trend",
    "latency_tail_vs_best",
    "latency_median_vs_best",
    "latency_tail_vs_median",
    "latency_known",
    "queue_per_pod",
    "queue_per_pod_change",
    "in_flight_per_pod",
    "failures",
    "failures_mean_4",
    "ready_share",
    "starting_share",
    "draining_share",
    "status_share",
    "booting_15s",
    "booting_30s",
    "booting_60s",
    "booting_120s",
    "booting_older",
    "sampled_share",
    "base_vs_spec",
    "base_vs_ready",
    "base_holds",
    "log_spec",
    "room_above",
    "room_below",
    "spec_vs_4_ago",
    "spec_vs_20_ago",
    "measurement_age",
];

/// Names of the features, in order.
pub const fn feature_names() -> &'static [&'static str] {
    &NAMES
}

/// Turns observations into features.
#[derive(Clone, Debug, Default)]
pub struct FeatureEncoder {
    values: Vec<f32>,
}

impl FeatureEncoder {
    /// The features of `observation`, shape `[feature_names().len()]`, all finite; `base` is what the base
    /// policy answers to it.
    pub fn encode(&mut self, observation: &Observation<'_>, base: Target) -> &[f32] {
        self.values.clear();
        let history = observation.history;
        self.load(history);
        self.utilization(observation);
        self.latency(history);
        self.replicas(observation, base);
        debug_assert_eq!(self.values.len(), NAMES.len());
        &self.values
    }

    fn push(&mut self, value: f64) {
        let value = if value.is_finite() { value.clamp(-CLIP, CLIP) } else { 0.0 };
        self.values.push(value as f32);
    }

    fn load(&mut self, history: &[Measurement]) {
        let now = rate(history.last());
        let previous = rate(latest(history, 2).first());
        for window in [2, 4, 8, 20, 60] {
            self.push(log_ratio(now, mean_rate(latest(history, window))));
        }
        self.push(log_ratio(now, previous));
        let rates = || latest(history, 20).iter().map(|m| rate(Some(m)));
        self.push(log_ratio(now, rates().fold(0.0, f64::max)));
        self.push(log_ratio(now, rates().fold(f64::INFINITY, f64::min)));
        self.push(4.0 * slope(latest(history, 4)));
        self.push(12.0 * slope(latest(history, 12)));
        let mean = mean_rate(latest(history, 20));
        let count = rates().count().max(1) as f64;
        let variance = rates().map(|r| (r - mean).powi(2)).sum::<f64>() / count;
        self.push(variance.sqrt() / mean.max(RATE_FLOOR));
    }

    fn utilization(&mut self, observation: &Observation<'_>) {
        let history = observation.history;
        let cpu = |m: &Measurement| m.cpu_utilization.map(Utilization::fraction);
        let now = history.last().and_then(cpu);
        let previous = latest(history, 2).first().and_then(cpu).or(now);
        let recent = || latest(history, 4).iter().filter_map(cpu);
        let used = now.unwrap_or(0.0);
        self.push(used);
        self.push(previous.unwrap_or(0.0));
        self.push(recent().sum::<f64>() / recent().count().max(1) as f64);
        self.push(f64::from(u8::from(now.is_some())));
        self.push(cpu_utilization(observation.pods).map_or(0.0, Utilization::fraction));
        let counts = history.last().map(|m| m.replicas).unwrap_or_default();
        let (ready, starting) = (f64::from(counts.ready.get()), f64::from(counts.starting.get()));
        self.push(used * ready / (ready + starting).max(1.0));
        self.push(used * (1.0 + 2.0 * slope(latest(history, 4))).max(0.0));
    }

    fn latency(&mut self, history: &[Measurement]) {
        let best = history
            .iter()
            .filter_map(|m| Some(m.latency?.p50.as_secs_f64()))
            .filter(|&p50| p50 > 0.0)
            .fold(f64::INFINITY, f64::min);
        let latency = history.last().and_then(|m| m.latency);
        let tail = latency.map_or(best, |l| l.p95.as_secs_f64());
        let median = latency.map_or(best, |l| l.p50.as_secs_f64());
        self.push((tail / best).ln());
        self.push((median / best).ln());
        self.push((tail / median).ln());
        self.push(f64::from(u8::from(latency.is_some())));
        let per_pod = |m: &Measurement, x: f64| x / f64::from(m.replicas.ready.get().max(1));
        let queue = |m: Option<&Measurement>| m.map_or(0.0, |m| per_pod(m, m.queued).max(0.0).ln_1p());
        self.push(queue(history.last()));
        self.push(queue(history.last()) - queue(latest(history, 2).first()));
        self.push(history.last().map_or(0.0, |m| per_pod(m, m.in_flight).max(0.0).ln_1p()));
        let failures = |m: &Measurement| {
            (m.error_rate.per_second() + m.timeout_rate.per_second()) / rate(Some(m)).max(RATE_FLOOR)
        };
        self.push(history.last().map_or(0.0, failures));
        let recent = latest(history, 4);
        self.push(recent.iter().map(failures).sum::<f64>() / recent.len().max(1) as f64);
    }

    fn replicas(&mut self, observation: &Observation<'_>, base: Target) {
        let count = observation.workload.spec;
        let spec = f64::from(count.get().max(1));
        let (mut serving, mut draining, mut sampled) = (0.0, 0.0, 0.0);
        let mut booting = [0.0; AGES.len() + 1];
        for pod in observation.pods {
            if pod.deletion.is_some() {
                draining += 1.0;
            } else if pod.is_serving() {
                serving += 1.0;
                sampled += f64::from(u8::from(pod.usage.is_some()));
            } else {
                let age = observation.now.since(pod.created).as_secs_f64();
                booting[AGES.iter().take_while(|&&bound| age >= bound).count()] += 1.0;
            }
        }
        self.push(serving / spec);
        self.push(booting.iter().sum::<f64>() / spec);
        self.push(draining / spec);
        self.push(f64::from(observation.workload.status.get()) / spec);
        for class in booting {
            self.push(class / spec);
        }
        self.push(sampled / f64::max(serving, 1.0));
        let wish = f64::from(base.or(count).get()).max(0.5);
        self.push((wish / spec).ln());
        self.push((wish / f64::max(serving, 0.5)).ln());
        self.push(f64::from(u8::from(base == Target::Hold)));
        self.push(spec.ln() / 5.0);
        let limits = observation.limits;
        self.push((f64::from(limits.max().get()) / spec).ln());
        self.push((spec / f64::from(limits.min().get().max(1))).ln());
        for back in [4, 20] {
            let then = latest(observation.history, back)
                .first()
                .map_or(spec, |m| f64::from(m.replicas.desired.get()));
            self.push((spec / then.max(1.0)).ln());
        }
        self.push(observation.history.last().map_or(0.0, |m| m.age.as_secs_f64() / 30.0));
    }
}

/// The last `count` measurements, or as many as there are.
fn latest(history: &[Measurement], count: usize) -> &[Measurement] {
    &history[history.len().saturating_sub(count)..]
}

fn rate(measurement: Option<&Measurement>) -> f64 {
    measurement.map_or(0.0, |m| m.arrival_rate.per_second())
}

fn mean_rate(window: &[Measurement]) -> f64 {
    window.iter().map(|m| rate(Some(m))).sum::<f64>() / window.len().max(1) as f64
}

pub(crate) fn log_ratio(a: f64, b: f64) -> f64 {
    (a.max(RATE_FLOOR) / b.max(RATE_FLOOR)).ln()
}

/// Least-squares slope of the arrival rate per interval, as a share of its mean.
fn slope(window: &[Measurement]) -> f64 {
    let middle = (window.len().max(1) - 1) as f64 / 2.0;
    let mean = mean_rate(window);
    let (along, squares) = window.iter().enumerate().fold((0.0, 0.0), |(a, s), (k, m)| {
        let x = k as f64 - middle;
        (a + x * (rate(Some(m)) - mean), s + x * x)
    });
    if squares > 0.0 { along / squares / mean.max(RATE_FLOOR) } else { 0.0 }
}
