//! How cheap an episode could have been: a schedule that is feasible, and a bound that nothing can be below.
//!
//! The objective of an episode is its pod-hours at their price plus its violations at theirs; changes of the count cost
//! nothing here. Between the two numbers of an [`Optimum`] lies the least cost that a policy which knows the future can
//! reach; their gap says how well it is known.
//!
//! # The lower bound
//!
//! Take any run of the episode, whatever decided. Let V be the set of its violated requests, W the workers of a pod, m
//! `min_replicas`, p the price of a pod-second, v that of a violation, and sᵢ the time that request i needs on a worker
//! when nothing slows it down. Cut the episode into windows of length Δ.
//!
//! 1. In a window w no fewer than m pods exist at any time, so its pods cost at least p m Δ.
//! 2. A pod works on at most W requests at once, and on each at most at full speed. So while its pods exist for P
//!    pod-seconds, the window's pods do at most W P seconds of work.
//! 3. A request whose arrival and whose deadline both lie in w and that is not violated had all its work done in w,
//!    first attempt or a later one. Hence P ≥ Σ sᵢ / W over the requests of w outside V, and the pods cost at least
//!    Σ p sᵢ / W.
//! 4. A request with sᵢ above the objective is in V, whatever is done.
//! 5. With cᵢ = v if 4. applies and min(v, p sᵢ / W) if not, pods and violations of w cost at least
//!    max(p m Δ, Σ cᵢ): each request of w is paid for, either in V by v, or outside by p sᵢ / W.
//! 6. Windows share neither pod-seconds nor requests, so the sum over windows is a bound for the episode.
//!
//! The bound lets pods be fractions that come and go at once, lets work be divided and put off at will, and chooses
//! freely which requests to give up: all of that only lowers it. [`bound`] takes the best of several Δ.

use crate::arrivals::Arrivals;
use crate::fluid::{FluidFlow, FluidModel, FluidStation};
use crate::scenario::{Discipline, Dispatch, Engine, Scenario, ScenarioConfig};
use crate::world::World;
use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::reward::{RewardTerms, RewardWeights};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_core::validate::ConfigError;
use std::sync::Arc;
use std::time::Duration;

/// What an episode cost: pods and violations.
pub fn cost(terms: &RewardTerms, prices: &RewardWeights) -> f64 {
    let priced = prices.price(terms);
    -(priced.pods + priced.violations)
}

/// How cheap an episode could have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// Replicas for each control interval.
    pub schedule: Vec<Replicas>,
    /// What the schedule cost in the request engine.
    pub feasible: f64,
    /// No policy can be cheaper.
    pub bound: f64,
}

impl Optimum {
    /// The share of the feasible cost that is not explained by the bound, 0 to 1.
    pub fn gap(&self) -> f64 {
        if self.feasible > 0.0 { 1.0 - self.bound / self.feasible } else { 0.0 }
    }
}

/// Lengths of windows that are tried for the bound, in seconds; the whole episode is tried too.
const WINDOWS: [f64; 3] = [60.0, 300.0, 1800.0];

/// What no policy can be below on the episode of this seed; the proof is in the module's documentation.
pub fn bound(scenario: &Scenario, seed: Seed, length: Duration) -> f64 {
    let scenario = scenario.episode(seed);
    let (prices, service) = (scenario.weights(), &scenario.config().service);
    let (slo, stretch) = (scenario.slo().as_secs_f64(), service.stretch());
    let per_worker_second = prices.pod_hour / 3600.0 / f64::from(service.workers);
    let warmup = scenario.config().episode.warmup_s;

    // The first attempts of the episode as the request engine draws them.
    let mut requests = Vec::new();
    let (mut arrivals, mut demands) = (Arrivals::new(seed), seed.child("demand").stream());
    let mut offsets = Vec::new();
    for (second, &rate) in scenario.load_path(seed, length.as_secs() as u32).iter().enumerate() {
        arrivals.second(rate, &mut offsets);
        for offset in &offsets {
            let work = scenario.demand().draw(&mut demands) * stretch;
            let least =
                if work > slo { prices.violation } else { prices.violation.min(work * per_worker_second) };
            requests.push((second as f64 - f64::from(warmup) + offset, least));
        }
    }
    let end = length.as_secs_f64();
    let floor = prices.pod_hour / 3600.0 * f64::from(scenario.limits().min().get());
    let with = |window: f64| {
        let windows = (end / window).ceil() as usize;
        let mut least = vec![0.0; windows];
        for &(arrival, cost) in requests.iter().filter(|(arrival, _)| *arrival >= 0.0) {
            let (first, last) = ((arrival / window) as usize, ((arrival + slo) / window) as usize);
            if first == last && arrival + slo <= end && first < windows {
                least[first] += cost;
            }
        }
        let lengths = (0..windows).map(|w| (end - w as f64 * window).min(window));
        least.iter().zip(lengths).map(|(&least, length)| least.max(floor * length)).sum::<f64>()
    };
    WINDOWS.into_iter().filter(|&w| w < end).chain([end]).map(with).fold(0.0, f64::max)
}

/// What a schedule costs on the episode of this seed, in the request engine.
pub fn replay(world: &mut World, seed: Seed, schedule: &[Replicas]) -> f64 {
    let prices = world.scenario().weights();
    let interval = world.scenario().control_interval();
    world.reset(seed, Cadence::every(interval));
    for &count in schedule {
        let decision = Decision::scale_to(count, Reason::rule("schedule"));
        match world.step(decision) {
            Ok(outcome) if outcome.end.is_none() => {}
            _ => break,
        }
    }
    cost(&world.record().totals, &prices)
}

/// Finds the optimum's two numbers for the episode of this seed. `runs` simulations at most are spent on making the
/// schedule better; the first dozen compare plans, the others change the best one little by little.
///
/// # Errors
/// When not even a simplified copy of the scenario can be simulated as a flow.
pub fn optimum(
    scenario: &Arc<Scenario>,
    seed: Seed,
    length: Duration,
    runs: usize,
) -> Result<Optimum, ConfigError> {
    let mut search = Search::new(scenario, seed, length, runs);
    for plan in plans(scenario, seed, length)? {
        search.consider(plan);
    }
    search.polish();
    let (schedule, feasible) = search.best.unwrap_or_default();
    Ok(Optimum { schedule, feasible, bound: bound(scenario, seed, length) })
}

/// Simulates schedules and keeps the best.
struct Search {
    world: World,
    seed: Seed,
    runs: usize,
    best: Option<(Vec<Replicas>, f64)>,
}

impl Search {
    fn new(scenario: &Arc<Scenario>, seed: Seed, length: Duration, runs: usize) -> Self {
        Self { world: World::new(Arc::clone(scenario), length), seed, runs: runs.max(1), best: None }
    }

    /// Whether the schedule is better than all before.
    fn consider(&mut self, mut schedule: Vec<Replicas>) -> bool {
        let limits = *self.world.scenario().limits();
        for count in &mut schedule {
            *count = (*count).clamp(limits.min(), limits.max());
        }
        let known = self.best.as_ref().is_some_and(|(best, _)| *best == schedule);
        if self.runs == 0 || known {
            return false;
        }
        self.runs -= 1;
        let cost = replay(&mut self.world, self.seed, &schedule);
        let better = self.best.as_ref().is_none_or(|&(_, least)| cost < least);
        if better {
            self.best = Some((schedule, cost));
        }
        better
    }

    /// Adds and removes a pod for ever shorter stretches of the schedule, as long as that helps.
    fn polish(&mut self) {
        let Some(length) = self.best.as_ref().map(|(schedule, _)| schedule.len()) else { return };
        let mut stretch = length;
        while stretch > 0 && self.runs > 0 {
            let mut better = false;
            let starts = (0..length).step_by(stretch.div_ceil(2));
            for (start, delta) in starts.flat_map(|start| [(start, -1), (start, 1)]) {
                let Some((mut schedule, _)) = self.best.clone() else { return };
                let end = (start + stretch).min(length);
                for count in &mut schedule[start..end] {
                    *count = count.offset(delta);
                }
                better |= self.consider(schedule);
            }
            if !better {
                stretch /= 2;
            }
        }
    }
}

/// Plans of dynamic programming, for several views of how long a pod takes and of how bad a violation is.
fn plans(scenario: &Arc<Scenario>, seed: Seed, length: Duration) -> Result<Vec<Vec<Replicas>>, ConfigError> {
    let episode = scenario.episode(seed);
    let shares = Shares::new(&episode)?;
    let interval = episode.control_interval();
    let mut lags: Vec<usize> = [0.0, 1.0]
        .map(|deviations| episode.config().startup.lag_s(deviations) / interval.as_secs_f64())
        .map(|intervals| intervals.ceil() as usize)
        .into_iter()
        .flat_map(|lag| [lag.saturating_sub(1), lag])
        .collect();
    lags.dedup();
    let path = episode.load_path(seed, length.as_secs() as u32);
    let rates = &path[episode.config().episode.warmup_s as usize..];
    let start = initial(scenario, seed, length);
    let plan = |lag| [0.5, 1.0, 2.0].map(|weight| plan(&episode, &shares, rates, start, lag, weight));
    Ok(lags.into_iter().flat_map(plan).collect())
}

/// The replicas that an episode begins with.
fn initial(scenario: &Arc<Scenario>, seed: Seed, length: Duration) -> Replicas {
    let mut world = World::new(Arc::clone(scenario), length);
    world.reset(seed, Cadence::every(scenario.control_interval()));
    world.record().initial_replicas
}

/// The cheapest numbers of ready pods, where a start is paid for from when it is asked for, and the counts to ask for
/// so that they are ready `lag` intervals later.
fn plan(
    scenario: &Scenario,
    shares: &Shares,
    rates: &[f64],
    start: Replicas,
    lag: usize,
    weight: f64,
) -> Vec<Replicas> {
    let prices = scenario.weights();
    let interval = scenario.control_interval().as_secs() as usize;
    let (min, max) = (scenario.limits().min().get() as usize, scenario.limits().max().get() as usize);
    let start = (start.get() as usize).clamp(min, max);
    let counts = max - min + 1;
    let pod = prices.pod_hour * interval as f64 / 3600.0;
    let rise = pod * lag as f64;
    let mut costs: Vec<f64> = (min..=max).map(|n| if n == start { 0.0 } else { f64::INFINITY }).collect();
    // For each interval and count, the count before it.
    let mut before: Vec<usize> = Vec::new();
    for (t, rates) in rates.chunks(interval).enumerate() {
        let mut from: Vec<usize> = (0..counts).collect();
        for n in 1..counts {
            if costs[n - 1] + rise < costs[n] {
                (costs[n], from[n]) = (costs[n - 1] + rise, from[n - 1]);
            }
        }
        for n in (0..counts - 1).rev() {
            if costs[n + 1] < costs[n] {
                (costs[n], from[n]) = (costs[n + 1], from[n + 1]);
            }
        }
        for (n, cost) in costs.iter_mut().enumerate() {
            let ready = min + n;
            if t < lag && ready > start {
                *cost = f64::INFINITY;
                continue;
            }
            let violated: f64 = rates.iter().map(|&rate| rate * shares.of(rate, ready)).sum();
            *cost += pod * ready as f64 + weight * prices.violation * violated;
        }
        before.extend(from);
    }
    let last = (0..counts).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(0);
    let mut ready = vec![0; before.len() / counts];
    let mut n = last;
    for t in (0..ready.len()).rev() {
        ready[t] = min + n;
        n = before[t * counts + n];
    }
    let asked = |t: usize| ready[t..(t + lag + 1).min(ready.len())].iter().copied().max().unwrap_or(min);
    (0..ready.len()).map(|t| Replicas::new(asked(t) as u32)).collect()
}

/// The share of requests that are violated in a steady state, by count of pods and load.
struct Shares {
    pod_capacity: f64,
    counts: Vec<usize>,
    /// For each count, at loads of k / `FINENESS` of its capacity.
    table: Vec<Vec<f64>>,
}

const FINENESS: usize = 16;
const HIGHEST_LOAD: usize = 3;
/// So long a station fills, and so long it is watched, in seconds.
const FILL_S: usize = 120;
const WATCH_S: usize = 30;

impl Shares {
    fn new(scenario: &Scenario) -> Result<Self, ConfigError> {
        let flow = scenario.with_config(as_flow(scenario.config()))?;
        let model = FluidModel::new(&flow)?;
        let pod_capacity = scenario.pod_capacity().per_second();
        let pooled = flow.config().service.dispatch == Dispatch::LeastOutstanding;
        let most = scenario.limits().max().get() as usize;
        // Pods that are queues of their own are all alike.
        let next = |&n: &usize| Some((n + 1).max(n * 5 / 4)).filter(|&n| pooled && n <= most);
        let counts: Vec<usize> = std::iter::successors(Some(1), next).collect();
        let row = |&pods: &usize| {
            let load = |k: usize| violated(&model, pods, pod_capacity * (pods * k) as f64 / FINENESS as f64);
            (0..=HIGHEST_LOAD * FINENESS).map(load).collect()
        };
        let table = counts.iter().map(row).collect();
        Ok(Self { pod_capacity, counts, table })
    }

    fn of(&self, rate: f64, pods: usize) -> f64 {
        if pods == 0 {
            return 1.0;
        }
        let row = &self.table[self.counts.partition_point(|&n| n <= pods) - 1];
        let load = rate / (self.pod_capacity * pods as f64) * FINENESS as f64;
        let k = (load as usize).min(row.len() - 2);
        let share = (load - k as f64).min(1.0);
        row[k] + (row[k + 1] - row[k]) * share
    }
}

fn violated(model: &FluidModel, pods: usize, rate: f64) -> f64 {
    let Ok(rate) = RequestRate::new(rate) else { return 1.0 };
    let mut station = FluidStation::new(model, Replicas::new(pods as u32));
    let mut flow = FluidFlow::new(model);
    station.advance(model, &[rate; FILL_S], &mut flow);
    flow.clear();
    station.advance(model, &[rate; WATCH_S], &mut flow);
    if flow.arrived > 0.0 { (1.0 - flow.in_time(model) / flow.arrived).clamp(0.0, 1.0) } else { 0.0 }
}

/// The nearest configuration that can be simulated as a flow.
fn as_flow(config: &ScenarioConfig) -> ScenarioConfig {
    let mut config = config.clone();
    config.engine = Engine::Fluid;
    let service = &mut config.service;
    service.discipline = Discipline::Fifo;
    if !matches!(service.dispatch, Dispatch::Random | Dispatch::LeastOutstanding) {
        // All others look at the pods before they choose.
        service.dispatch = Dispatch::LeastOutstanding;
    }
    (service.retries, service.slow_start, config.nodes) = (None, None, None);
    (config.failures.crashes_per_hour, config.failures.evictions_per_hour) = (0.0, 0.0);
    config.metrics.scrape_loss = 0.0;
    config
}
