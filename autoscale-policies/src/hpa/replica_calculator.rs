//! From pods and metrics to a proposed replica count (`replica_calculator.go`): the same order of rules, integers
//! where it has integers, and Go's conversions where they show.

use autoscale_core::rule::Tolerance;
use autoscale_core::sample::{
    ContainerKind, ContainerUsage, PodPhase, PodSample, Reading, ReadyStatus, ResourceList, UsageSample,
};
use autoscale_core::units::{Milli, Timestamp};
use std::time::Duration;

/// The window of a custom metric that states none.
const CUSTOM_METRIC_WINDOW: Duration = Duration::from_secs(60);

/// A resource of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// CPU, in millicores.
    Cpu,
    /// Memory, in thousandths of a byte.
    Memory,
}

impl Resource {
    fn of(self, list: ResourceList) -> Option<i64> {
        match self {
            Self::Cpu => list.cpu,
            Self::Memory => list.memory,
        }
        .map(Milli::get)
    }
}

/// The controller's settings about young pods; they bear on CPU only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// While a pod is younger than this, its CPU counts only once it has been ready for a whole window.
    pub cpu_initialization_period: Duration,
    /// A pod that turned unready within this time of its start has never been ready.
    pub initial_readiness_delay: Duration,
}

/// Why there is no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProposal {
    /// The metrics API could not be asked.
    FetchFailed,
    /// The metrics API has no sample at all.
    NoMetrics,
    /// The workload has no pods.
    NoPods,
    /// No pod whose sample may be used.
    NoUsablePods,
    /// A pod states no request.
    MissingRequest,
    /// A pod lacks the container that the metric names.
    ContainerNotFound,
    /// No sample belongs to a pod of the workload that requests anything.
    Disjoint,
    /// The metric has no target, or a type that the controller does not know.
    InvalidMetric,
}

impl NoProposal {
    /// The rule's name in a reason.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::FetchFailed => "metric-fetch-failed",
            Self::NoMetrics => "no-metrics",
            Self::NoPods => "no-pods",
            Self::NoUsablePods => "no-usable-pods",
            Self::MissingRequest => "missing-request",
            Self::ContainerNotFound => "container-not-found",
            Self::Disjoint => "metrics-disjoint-from-pods",
            Self::InvalidMetric => "invalid-metric",
        }
    }
}

/// What the status shows of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Use in percent of the requests, and its average per pod.
    Utilization {
        /// Percent, truncated.
        percent: i32,
        /// Per pod.
        average: Milli,
    },
    /// A value, or its average per pod.
    Value(Milli),
}

/// A proposed count and what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The count, before stabilisation, rate limits and bounds.
    pub replicas: i32,
    /// What the status shows.
    pub shown: Shown,
    /// `ratio`, `within-tolerance` or `ambiguous` (missing or unready pods could turn the answer round).
    pub rule: &'static str,
}

/// A pod's value and when it was true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodValue {
    /// In thousandths of its unit.
    pub value: Milli,
    /// The end of its window.
    pub timestamp: Timestamp,
    /// The window's length.
    pub window: Duration,
}

/// Values per pod, as a metrics API returns them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodValues {
    /// One entry a listed pod, in the order of the pods.
    pub listed: Vec<Option<PodValue>>,
    /// Values of pods that are not listed (any more).
    pub others: Vec<Milli>,
}

impl PodValues {
    /// What the resource metrics API says of these pods, or of one container in each.
    ///
    /// # Errors
    /// When it knows none of them.
    pub fn of_resource(
        pods: &[PodSample],
        resource: Resource,
        container: Option<&str>,
    ) -> Result<Self, NoProposal> {
        if pods.iter().all(|pod| pod.usage.is_none()) {
            return Err(NoProposal::NoMetrics);
        }
        let value = |usage: &UsageSample| {
            let value = resource_value(&usage.containers, resource, container)?;
            Some(PodValue { value, timestamp: usage.timestamp, window: usage.window })
        };
        let listed = pods.iter().map(|pod| pod.usage.as_ref().and_then(value)).collect();
        Ok(Self { listed, others: Vec::new() })
    }
}

impl PodValues {
    /// What the custom metrics API says of these pods.
    ///
    /// # Errors
    /// When it has no value of that name.
    pub fn of_series(pods: &[PodSample], series: &[Reading], metric: &str) -> Result<Self, NoProposal> {
        let mut values = Self { listed: vec![None; pods.len()], others: Vec::new() };
        let mut any = false;
        for reading in series.iter().filter(|reading| *reading.metric == *metric) {
            let Some(name) = &reading.pod else { continue };
            any = true;
            match pods.iter().position(|pod| pod.name == *name) {
                None => values.others.push(reading.value),
                Some(index) => {
                    let window = reading.window.unwrap_or(CUSTOM_METRIC_WINDOW);
                    let Reading { value, timestamp, .. } = *reading;
                    values.listed[index] = Some(PodValue { value, timestamp, window });
                }
            }
        }
        if any { Ok(values) } else { Err(NoProposal::NoMetrics) }
    }
}

/// The use of all containers of a sample, or of one; `None` where one of them does not state it.
pub fn resource_value(
    containers: &[ContainerUsage],
    resource: Resource,
    container: Option<&str>,
) -> Option<Milli> {
    if let Some(name) = container {
        let found = containers.iter().find(|c| *c.name == *name)?;
        return resource.of(found.usage).map(Milli::new);
    }
    if containers.is_empty() {
        return None;
    }
    let sum: Option<i64> = containers.iter().map(|c| resource.of(c.usage)).sum();
    sum.map(Milli::new)
}

/// What becomes of a pod in the calculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodClass {
    /// It is on its way out, or has failed.
    Ignored,
    /// It is not ready (yet): it uses nothing if the count were to rise.
    Unready,
    /// It has no sample.
    Missing,
    /// It counts.
    Ready,
}

/// The calculator at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaCalculator<'a> {
    /// The workload's pods.
    pub pods: &'a [PodSample],
    /// The moment.
    pub now: Timestamp,
    /// About young pods.
    pub readiness: Readiness,
    /// How far a ratio may be from 1 without a change.
    pub tolerance: Tolerance,
}

/// Sums over the samples that count.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    used: i64,
    requested: i64,
    /// Samples, and those of listed pods among them.
    samples: i64,
    matched: i64,
}

impl Sums {
    fn add(&mut self, used: i64, request: i64) {
        self.used = self.used.wrapping_add(used);
        self.requested = self.requested.wrapping_add(request);
        self.samples += 1;
        self.matched += 1;
    }
}

/// What the values of pods are compared with.
#[derive(Clone, Copy, Debug)]
enum PodTarget {
    /// Percent of the requests.
    Utilization(i32),
    /// A value per pod.
    Average(i64),
}

impl PodTarget {
    /// Use over target, from the truncated integer, and that integer.
    fn ratio(self, sums: &Sums, others: i64) -> Option<(f64, Shown)> {
        match self {
            Self::Utilization(target) => {
                if sums.requested == 0 {
                    return None;
                }
                let percent = (sums.used.wrapping_mul(100) / sums.requested) as i32;
                let average = Milli::new(sums.used / sums.matched);
                Some((f64::from(percent) / f64::from(target), Shown::Utilization { percent, average }))
            }
            Self::Average(target) => {
                let average = sums.used.wrapping_add(others) / sums.samples;
                Some((average as f64 / target as f64, Shown::Value(Milli::new(average))))
            }
        }
    }

    /// What a missing pod is taken to use on the way down.
    fn busy(self, request: i64) -> i64 {
        match self {
            Self::Utilization(target) => request.wrapping_mul(i64::from(target.max(100))) / 100,
            Self::Average(target) => target,
        }
    }
}

impl ReplicaCalculator<'_> {
    /// What becomes of a pod with this value, of a resource or of a custom metric.
    pub fn classify(
        &self,
        pod: &PodSample,
        value: Option<&PodValue>,
        resource: Option<Resource>,
    ) -> PodClass {
        if pod.deletion.is_some() || pod.phase == PodPhase::Failed {
            return PodClass::Ignored;
        }
        if pod.phase == PodPhase::Pending {
            return PodClass::Unready;
        }
        let Some(value) = value else { return PodClass::Missing };
        if resource != Some(Resource::Cpu) {
            return PodClass::Ready;
        }
        let (Some(ready), Some(started)) = (pod.ready, pod.started) else { return PodClass::Unready };
        let not_ready = ready.status == ReadyStatus::False;
        let unready = if started + self.readiness.cpu_initialization_period > self.now {
            not_ready || value.timestamp < ready.last_transition + value.window
        } else {
            not_ready && started + self.readiness.initial_readiness_delay > ready.last_transition
        };
        if unready { PodClass::Unready } else { PodClass::Ready }
    }

    /// Proposes a count for a target in percent of the requests of `resource`, of all containers or of one.
    /// `current` is `spec.replicas`.
    ///
    /// # Errors
    /// When there is nothing to calculate with; the controller then leaves the workload alone.
    pub fn utilization(
        &self,
        current: i32,
        percent: i32,
        (resource, container): (Resource, Option<&str>),
        values: &PodValues,
    ) -> Result<Proposal, NoProposal> {
        let request = |pod: &PodSample| pod_request(pod, resource, container);
        self.per_pod(current, PodTarget::Utilization(percent), Some(resource), values, request)
    }

    /// Proposes a count for a target per pod, of a resource or (`None`) of a custom metric.
    ///
    /// # Errors
    /// When there is nothing to calculate with.
    pub fn average_of_pods(
        &self,
        current: i32,
        target: Milli,
        resource: Option<Resource>,
        values: &PodValues,
    ) -> Result<Proposal, NoProposal> {
        self.per_pod(current, PodTarget::Average(target.get()), resource, values, |_| Ok(0))
    }

    fn per_pod(
        &self,
        current: i32,
        target: PodTarget,
        resource: Option<Resource>,
        values: &PodValues,
        request: impl Fn(&PodSample) -> Result<i64, NoProposal>,
    ) -> Result<Proposal, NoProposal> {
        if self.pods.is_empty() {
            return Err(NoProposal::NoPods);
        }
        let others = values.others.iter().fold(0i64, |sum, other| sum.wrapping_add(other.get()));
        let mut sums = Sums { samples: values.others.len() as i64, ..Sums::default() };
        // What missing and unready pods would add, which is known only once the first ratio is.
        let (mut unready, mut missing) = (Sums::default(), Sums::default());
        let mut busy = 0i64;
        let mut failed = None;
        for (index, pod) in self.pods.iter().enumerate() {
            let value = values.listed.get(index).and_then(Option::as_ref);
            // Of all listed pods, whether they count or not; but without any sample that is said first.
            let requested = request(pod).unwrap_or_else(|error| {
                failed = failed.or(Some(error));
                0
            });
            match (self.classify(pod, value, resource), value) {
                (PodClass::Ready, Some(value)) => sums.add(value.value.get(), requested),
                (PodClass::Missing, _) => {
                    missing.add(0, requested);
                    busy = busy.wrapping_add(target.busy(requested));
                }
                (PodClass::Unready, _) => unready.add(0, requested),
                (PodClass::Ignored | PodClass::Ready, _) => {}
            }
        }
        let ready = sums.matched;
        if sums.samples == 0 {
            return Err(NoProposal::NoUsablePods);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let (first, shown) = target.ratio(&sums, others).ok_or(NoProposal::Disjoint)?;
        let settle = |replicas, rule| Ok(Proposal { replicas, shown, rule });
        let count_unready = first > 1.0 && unready.samples > 0;
        if !count_unready && missing.samples == 0 {
            if self.tolerance.contains(first) {
                return settle(current, "within-tolerance");
            }
            return settle(ceil_i32(first * ready as f64), "ratio");
        }
        // Missing pods are taken to be fully busy on the way down and idle on the way up.
        let mut count = |group: &Sums, used: i64| {
            sums.used = sums.used.wrapping_add(used);
            sums.requested = sums.requested.wrapping_add(group.requested);
            sums.samples += group.samples;
            sums.matched += group.matched;
        };
        if first < 1.0 {
            count(&missing, busy);
        } else if first > 1.0 {
            count(&missing, 0);
        }
        if count_unready {
            count(&unready, 0);
        }
        let (second, _) = target.ratio(&sums, others).ok_or(NoProposal::Disjoint)?;
        if self.tolerance.contains(second) {
            return settle(current, "within-tolerance");
        }
        let proposed = ceil_i32(second * sums.samples as f64);
        let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        let contrary = (second < 1.0 && proposed > current) || (second > 1.0 && proposed < current);
        if turned || contrary { settle(current, "ambiguous") } else { settle(proposed, "ratio") }
    }

    /// Proposes a count for a value of the whole workload (Object and External metrics, target type Value).
    ///
    /// # Errors
    /// When the workload has no pods.
    pub fn value(&self, current: i32, target: Milli, value: Milli) -> Result<Proposal, NoProposal> {
        let ratio = value.get() as f64 / target.get() as f64;
        let settle = |replicas, rule| Ok(Proposal { replicas, shown: Shown::Value(value), rule });
        if current == 0 {
            return settle(ceil_i32(ratio), "ratio");
        }
        if self.tolerance.contains(ratio) {
            return settle(current, "within-tolerance");
        }
        if self.pods.is_empty() {
            return Err(NoProposal::NoPods);
        }
        let serves = |pod: &&PodSample| {
            pod.phase == PodPhase::Running && pod.ready.is_some_and(|r| r.status == ReadyStatus::True)
        };
        settle(ceil_clamped(ratio * self.pods.iter().filter(serves).count() as f64), "ratio")
    }

    /// Proposes a count for an Object metric of target type `AverageValue`. `status` is `scale.status.replicas`; pods
    /// are not looked at. A count that does not fit becomes the smallest `i32`, as in Go on amd64.
    pub fn object_average_value(&self, status: i32, target: Milli, value: Milli) -> Proposal {
        let average = go_i64((value.get() as f64 / f64::from(status)).ceil());
        self.average_value(status, target, value, average, ceil_i32)
    }

    /// The same for an External metric, where what does not fit becomes the largest number. `Milli` at its largest
    /// stands for a sum that did not fit.
    pub fn external_average_value(&self, status: i32, target: Milli, value: Milli) -> Proposal {
        let average = match value.get() {
            i64::MAX => i64::MAX,
            value => go_i64((value as f64 / f64::from(status)).ceil()),
        };
        self.average_value(status, target, value, average, ceil_clamped)
    }

    fn average_value(
        &self,
        status: i32,
        target: Milli,
        value: Milli,
        average: i64,
        count: fn(f64) -> i32,
    ) -> Proposal {
        let shown = Shown::Value(Milli::new(average));
        let (value, target) = (value.get() as f64, target.get() as f64);
        if self.tolerance.contains(value / (target * f64::from(status))) {
            return Proposal { replicas: status, shown, rule: "within-tolerance" };
        }
        Proposal { replicas: count(value / target), shown, rule: "ratio" }
    }
}

/// The request of a pod, or of one of its containers.
///
/// # Errors
/// When there is no such container, or one that counts states no request.
pub fn pod_request(pod: &PodSample, resource: Resource, container: Option<&str>) -> Result<i64, NoProposal> {
    if let Some(name) = container {
        let counts = |c: &&autoscale_core::sample::ContainerSpec| c.kind != ContainerKind::Init;
        let found = pod.containers.iter().filter(counts).find(|c| *c.name == *name);
        let found = found.ok_or(NoProposal::ContainerNotFound)?;
        return resource.of(found.requests).ok_or(NoProposal::MissingRequest);
    }
    if let Some(request) = pod.pod_level_requests.and_then(|list| resource.of(list)) {
        return Ok(request);
    }
    let counted = pod.containers.iter().filter(|c| c.kind != ContainerKind::Init);
    counted.map(|c| resource.of(c.requests)).sum::<Option<i64>>().ok_or(NoProposal::MissingRequest)
}

/// Go's `int64(x)` on amd64: the smallest number for whatever does not fit.
fn go_i64(x: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&x) { x as i64 } else { i64::MIN }
}

/// Go's `int32(x)` on amd64, likewise.
fn ceil_i32(x: f64) -> i32 {
    let up = x.ceil();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&up) { up as i32 } else { i32::MIN }
}

/// With the clamp that Object and External metrics have.
fn ceil_clamped(x: f64) -> i32 {
    if x.ceil() > f64::from(i32::MAX) { i32::MAX } else { ceil_i32(x) }
}
