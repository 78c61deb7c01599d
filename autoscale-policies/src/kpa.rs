//! The Knative Pod Autoscaler's decision: average concurrency over a stable and a panic window (Knative serving,
//! `pkg/autoscaler/scaling/autoscaler.go` and `pkg/autoscaler/aggregation`), and the policy that makes of it.

mod policy;
mod window;

pub use policy::KpaPolicy;
pub use window::Averaging;

use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use window::Window;

/// Decisions come every two seconds; so long is a slot of the scale-down delay.
const TICK_S: i64 = 2;

/// What can be set on a revision and on the autoscaler, with Knative's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KpaConfig {
    /// Concurrent requests that a pod should have.
    pub target: f64,
    /// Concurrent requests that a pod can have.
    pub total: f64,
    /// `stable-window`.
    pub stable_window_s: u32,
    /// The panic window; `panic-window-percentage` of the stable one.
    pub panic_window_s: u32,
    /// `panic-threshold-percentage`, as a factor.
    pub panic_threshold: f64,
    /// `max-scale-up-rate`.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`.
    pub max_scale_down_rate: f64,
    /// `target-burst-capacity`; −1: without bound.
    pub target_burst_capacity: f64,
    /// `scale-down-delay`.
    pub scale_down_delay_s: u32,
    /// `activation-scale`: fewest pods when there are any.
    pub activation_scale: u32,
    /// How a window is averaged.
    pub averaging: Averaging,
}

impl Default for KpaConfig {
    fn default() -> Self {
        Self {
            target: 70.0,
            total: 100.0,
            stable_window_s: 60,
            panic_window_s: 6,
            panic_threshold: 2.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            target_burst_capacity: 211.0,
            scale_down_delay_s: 0,
            activation_scale: 1,
            averaging: Averaging::Linear,
        }
    }
}

/// Whether routes lead to the revision; one without never waits before it scales down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Some do.
    Reachable,
    /// None does.
    Unreachable,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KpaDecision {
    /// Pods, before minimum and maximum scale.
    pub desired: i64,
    /// Concurrency that could come on top before requests queue; negative: the activator should buffer them.
    pub excess_burst_capacity: f64,
    /// Average concurrency over the stable window.
    pub stable: f64,
    /// Average concurrency over the panic window.
    pub panic: f64,
    /// Whether it is in panic.
    pub panicking: bool,
}

/// The autoscaler of one revision. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct Kpa {
    config: KpaConfig,
    stable: Window,
    panic: Window,
    panic_since: Option<i64>,
    most_in_panic: i64,
    /// Largest wish in each two-second slot of the scale-down delay, oldest first.
    delayed: VecDeque<(i64, i64)>,
}

impl Kpa {
    /// An autoscaler that comes up at `now` and finds `ready` pods. With more than one it begins in panic, so that
    /// a restart does not scale down on what it has not seen.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: KpaConfig, now: i64, ready: u32) -> Result<Self, ConfigError> {
        in_range("target", config.target, 0.01, 1e9)?;
        in_range("total", config.total, 0.01, 1e9)?;
        count_in_range("stable_window_s", u64::from(config.stable_window_s), 6, 3600)?;
        let stable = u64::from(config.stable_window_s);
        count_in_range("panic_window_s", u64::from(config.panic_window_s), 1, stable)?;
        in_range("panic_threshold", config.panic_threshold, 1.0, 1000.0)?;
        in_range("max_scale_up_rate", config.max_scale_up_rate, 1.01, 1e9)?;
        in_range("max_scale_down_rate", config.max_scale_down_rate, 1.01, 1e9)?;
        in_range("target_burst_capacity", config.target_burst_capacity, -1.0, 1e9)?;
        count_in_range("scale_down_delay_s", u64::from(config.scale_down_delay_s), 0, 3600)?;
        let restarted = ready > 1;
        Ok(Self {
            stable: Window::new(config.stable_window_s, config.averaging),
            panic: Window::new(config.panic_window_s, config.averaging),
            config,
            panic_since: restarted.then_some(now),
            most_in_panic: if restarted { i64::from(ready) } else { 0 },
            delayed: VecDeque::new(),
        })
    }

    /// In the second `now` so many requests were in progress in all pods. Reports of one second add up.
    pub fn observe(&mut self, now: i64, concurrency: f64) {
        self.stable.record(now, concurrency);
        self.panic.record(now, concurrency);
    }

    /// Decides for `ready` pods; `None` while nothing has been observed within a window.
    pub fn scale(&mut self, now: i64, ready: u32, reachability: Reachability) -> Option<KpaDecision> {
        if self.stable.is_empty(now) {
            return None;
        }
        let config = self.config;
        let (stable, panic) = (self.stable.average(now), self.panic.average(now));
        let pods = f64::from(ready.max(1));
        let most = (config.max_scale_up_rate * pods).ceil();
        let least = match reachability {
            Reachability::Reachable => (pods / config.max_scale_down_rate).floor(),
            Reachability::Unreachable => 0.0,
        };
        let (wanted, wanted_in_panic) = ((stable / config.target).ceil(), (panic / config.target).ceil());
        let bounded = |wanted: f64| {
            let activation = f64::from(config.activation_scale);
            let within = wanted.max(least).min(most);
            let activates = activation > 1.0 && wanted > 0.0;
            if activates { within.max(activation) as i64 } else { within as i64 }
        };
        let (calm, hurried) = (bounded(wanted), bounded(wanted_in_panic));

        let over = wanted_in_panic / pods >= config.panic_threshold;
        let calmed = |since: i64| since + i64::from(config.stable_window_s) < now;
        if over {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(calmed) {
            (self.panic_since, self.most_in_panic) = (None, 0);
        }
        let mut desired = calm;
        if self.panic_since.is_some() {
            // Never down in panic.
            self.most_in_panic = self.most_in_panic.max(calm.max(hurried));
            desired = self.most_in_panic;
        }
        if reachability == Reachability::Reachable && config.scale_down_delay_s > 0 {
            desired = self.delay(now, desired);
        }
        Some(KpaDecision {
            desired,
            excess_burst_capacity: match config.target_burst_capacity {
                0.0 => 0.0,
                unbounded if unbounded < 0.0 => -1.0,
                burst => (f64::from(ready) * config.total - burst - panic).floor(),
            },
            stable,
            panic,
            panicking: self.panic_since.is_some(),
        })
    }

    /// The largest wish within the scale-down delay.
    fn delay(&mut self, now: i64, desired: i64) -> i64 {
        let slot = now.div_euclid(TICK_S);
        let slots = i64::from(self.config.scale_down_delay_s.div_ceil(TICK_S as u32));
        while self.delayed.front().is_some_and(|&(old, _)| old <= slot - slots) {
            self.delayed.pop_front();
        }
        self.delayed.push_back((slot, desired));
        self.delayed.iter().map(|&(_, wish)| wish).max().unwrap_or(desired)
    }
}
