//! The fluid engine's kernel: pods as probabilities instead of requests.
//!
//! Under random dispatch every pod gets a Poisson stream of its own, so all pods are copies of one queue, and the
//! share of pods with x requests in them is the probability that one has x. With exponential demand that is a
//! birth-death chain, and its transient distribution is exact; the mixture of older pods and fresh, empty ones
//! obeys the same equation, since it is linear. Three things make it fit real pods:
//!
//! * **Demand of any variability.** Above the first waiting request, births and deaths both get cμ (cv² − 1)/2 more.
//!   That leaves the drift as it is and gives the queue the variance of the demand; for one worker the stationary
//!   mean is then Pollaczek and Khinchine's, exactly.
//! * **Clients that give up.** A request that would wait longer than its timeout never gets a worker, so it is not
//!   born into the chain (Baccelli, Boyer and Hébuterne 1984: the wait of an arrival decides); it holds a place
//!   in the queue until it leaves.
//! * **Response times.** What an arrival that finds x will wait is gamma distributed with the mean and variance of its
//!   x − c + 1 departures, the first of them of a residual; the service is added from quantiles of the demand. These
//!   tables are made once.
//!
//! The chain is advanced by TR-BDF2 (Bank et al. 1985; Hosea and Shampine 1996), which takes steps of seconds however
//! short the services are, over the states that hold any probability.

use crate::scenario::{Discipline, Dispatch, Scenario};
use autoscale_core::measurement::LatencySummary;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_core::validate::ConfigError;
use std::time::Duration;

/// Places in a queue that are told apart; of a longer one the rest is never reached or hopeless.
const MOST_PLACES: usize = 400;
/// Points in time at which distributions of response times are known.
const GRID: usize = 96;
/// Quantiles by which the demand is known.
const SERVICES: usize = 64;
/// Draws from which they are taken.
const DRAWS: usize = 1 << 16;
/// States with less probability than this are left alone.
const NEGLIGIBLE: f64 = 1e-11;
/// Longest step, and how much the load may change within one.
const LONGEST_STEP: usize = 5;
const SAME_RATE: f64 = 0.1;

/// A pod of a scenario, as far as its queue is concerned.
#[derive(Clone, Debug)]
pub struct FluidModel {
    workers: usize,
    places: usize,
    timeout_s: f64,
    slo_s: f64,
    /// Services per second of one worker.
    service_rate: f64,
    /// What births and deaths have more above the first waiting request.
    scatter: f64,
    /// Chance that the k-th in the queue (from 1; 0 is in service at once) gets a worker in time.
    served: Vec<f64>,
    /// Seconds.
    grid: Vec<f64>,
    /// Distribution functions of the response time on the grid, for each place in the queue.
    responses: Vec<f64>,
    in_time: Vec<f64>,
    answered: Vec<f64>,
    mean_s: Vec<f64>,
}

impl FluidModel {
    /// The pod of this scenario.
    ///
    /// # Errors
    /// Names the field that the fluid engine cannot express.
    pub fn new(scenario: &Scenario) -> Result<Self, ConfigError> {
        let service = &scenario.config().service;
        let refuse = |field: &str, value: &dyn std::fmt::Debug, expected: &str| {
            Err(ConfigError::new(format!("service.{field}"), format!("{value:?}"), expected))
        };
        if service.discipline != Discipline::Fifo {
            return refuse("discipline", &service.discipline, "fifo in the fluid engine");
        }
        if service.dispatch != Dispatch::Random {
            return refuse("dispatch", &service.dispatch, "random in the fluid engine");
        }
        if service.retries.is_some() {
            return refuse("retries", &"present", "absence in the fluid engine");
        }
        if service.slow_start.is_some() {
            return refuse("slow_start", &"present", "absence in the fluid engine");
        }
        let mut stream = Seed::root(0).child("fluid").stream();
        let stretch = service.stretch();
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| scenario.demand().draw(&mut stream) * stretch).collect();
        draws.sort_by(f64::total_cmp);
        let mean = scenario.demand().mean_s() * stretch;
        // The mean is known better than by drawing.
        let off = mean * DRAWS as f64 / draws.iter().sum::<f64>();
        for draw in &mut draws {
            *draw *= off;
        }
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / DRAWS as f64;
        let stride = DRAWS / SERVICES;
        let services: Vec<f64> =
            draws.chunks(stride).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();

        let workers = service.workers as usize;
        let places = service.queue_capacity.map_or(MOST_PLACES, |k| (k as usize).min(MOST_PLACES));
        let timeout_s = service.timeout_ms.map_or(f64::INFINITY, |ms| ms / 1000.0);
        let mut model = Self {
            workers,
            places,
            timeout_s,
            slo_s: scenario.slo().as_secs_f64(),
            service_rate: 1.0 / mean,
            scatter: workers as f64 / mean * (variance / (mean * mean) - 1.0) / 2.0,
            served: Vec::new(),
            grid: Vec::new(),
            responses: Vec::new(),
            in_time: Vec::new(),
            answered: Vec::new(),
            mean_s: Vec::new(),
        };
        model.tabulate(&services, variance / (mean * mean));
        Ok(model)
    }

    /// Waits and response times for each place in the queue.
    fn tabulate(&mut self, services: &[f64], cv2: f64) {
        let between = 1.0 / (self.workers as f64 * self.service_rate);
        let residual = f64::midpoint(1.0, cv2);
        let shortest = services[0].max(1e-5) / 2.0;
        let longest = if self.timeout_s.is_finite() {
            self.timeout_s
        } else {
            services[services.len() - 1] * 4.0 + between * self.places as f64 * 2.0
        };
        let growth = libm::log(longest / shortest) / (GRID - 1) as f64;
        self.grid = (0..GRID).map(|k| shortest * libm::exp(growth * k as f64)).collect();
        for place in 0..=self.places {
            let stages = place as f64 - 1.0;
            let mean = (residual + stages) * between;
            let variance = (residual * residual + stages * cv2) * between * between;
            let wait = |t: f64| match place {
                0 => f64::from(t >= 0.0),
                _ => gamma_cdf(mean * mean / variance, t * mean / variance),
            };
            let response = |t: f64| {
                if place > 0 && t < mean - 8.0 * variance.sqrt() {
                    return 0.0;
                }
                services.iter().take_while(|&&s| s <= t).map(|s| wait(t - s)).sum::<f64>() / SERVICES as f64
            };
            self.served.push(if self.timeout_s.is_finite() { wait(self.timeout_s) } else { 1.0 });
            self.responses.extend(self.grid.iter().map(|&t| smooth_first(place, t, services, &response)));
            self.in_time.push(smooth_first(place, self.slo_s.min(self.timeout_s), services, &response));
            self.answered.push(if self.timeout_s.is_finite() {
                smooth_first(place, self.timeout_s, services, &response)
            } else {
                1.0
            });
            let wait_mean = if place == 0 { 0.0 } else { mean };
            self.mean_s.push(wait_mean + services.iter().sum::<f64>() / SERVICES as f64);
        }
    }

    fn states(&self) -> usize {
        self.workers + self.places + 1
    }

    /// Place in the queue of an arrival that finds `state` requests.
    fn place(&self, state: usize) -> usize {
        (state + 1).saturating_sub(self.workers)
    }
}

/// The distribution of services alone is a staircase of their quantiles: straight lines between them.
fn smooth_first(place: usize, t: f64, services: &[f64], response: &impl Fn(f64) -> f64) -> f64 {
    if place > 0 {
        return response(t);
    }
    let n = services.len() as f64;
    let above = services.partition_point(|&s| s <= t);
    let (before, after) = match above {
        0 => return (t / services[0]).max(0.0) * 0.5 / n,
        k if k == services.len() => {
            // The last quantile is the mean of the uppermost draws, whose tail is taken for exponential.
            let last = services[k - 1];
            let scale = (last - services[k - 2]).max(1e-12);
            return 1.0 - 0.5 / n * libm::exp(-(t - last) / scale);
        }
        k => (services[k - 1], services[k]),
    };
    (above as f64 - 0.5 + (t - before) / (after - before).max(1e-12)) / n
}

/// Distribution function of a gamma variable with this shape and scale 1 (Numerical analysis as in Gautschi 1979:
/// the series below the shape, Lentz' continued fraction above).
fn gamma_cdf(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = libm::exp(shape * libm::log(x) - x - libm::lgamma(shape));
    if x < shape + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / shape, 1.0 / shape, shape);
        while term > sum * 1e-12 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return front * sum;
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - shape;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..500 {
        let a = -f64::from(i) * (f64::from(i) - shape);
        b += 2.0;
        d = 1.0 / (a * d + b).abs().max(tiny).copysign(a * d + b);
        c = (b + a / c).abs().max(tiny).copysign(b + a / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-12 {
            break;
        }
    }
    1.0 - front * h
}

/// What flowed through the pods since it was last cleared: expected numbers of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidFlow {
    /// Requests that arrived.
    pub arrived: f64,
    /// Requests refused.
    pub refused: f64,
    /// Worker-seconds in use.
    pub busy_s: f64,
    /// Requests that came in, by the place in the queue that they got; 0 is a worker.
    places: Vec<f64>,
}

impl FluidFlow {
    /// Nothing yet.
    pub fn new(model: &FluidModel) -> Self {
        Self { arrived: 0.0, refused: 0.0, busy_s: 0.0, places: vec![0.0; model.places + 1] }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        (self.arrived, self.refused, self.busy_s) = (0.0, 0.0, 0.0);
        self.places.fill(0.0);
    }

    fn sum(&self, table: &[f64]) -> f64 {
        self.places.iter().zip(table).map(|(n, share)| n * share).sum()
    }

    /// Requests that will be answered within the objective.
    pub fn in_time(&self, model: &FluidModel) -> f64 {
        self.sum(&model.in_time)
    }

    /// Requests that will be answered, in time or late.
    pub fn answered(&self, model: &FluidModel) -> f64 {
        self.sum(&model.answered)
    }

    /// Requests whose clients will give up.
    pub fn timed_out(&self, model: &FluidModel) -> f64 {
        self.places.iter().sum::<f64>() - self.answered(model)
    }

    /// Mean and quantiles of the response times of those answered; `None` when there are next to none.
    pub fn latency(&self, model: &FluidModel) -> Option<LatencySummary> {
        let answered = self.answered(model);
        if answered < 1e-9 {
            return None;
        }
        let mut below = [0.0; GRID];
        for (n, row) in self.places.iter().zip(model.responses.chunks_exact(GRID)) {
            if *n > NEGLIGIBLE * answered {
                below.iter_mut().zip(row).for_each(|(below, share)| *below += n * share);
            }
        }
        let quantile = |q: f64| {
            let wanted = q * answered;
            let k = below.partition_point(|&n| n < wanted).clamp(1, GRID - 1);
            let share = ((wanted - below[k - 1]) / (below[k] - below[k - 1]).max(1e-300)).clamp(0.0, 1.0);
            Duration::from_secs_f64(model.grid[k - 1] + share * (model.grid[k] - model.grid[k - 1]))
        };
        // The mean of what is answered before the timeout, by parts on the grid.
        let mean = if model.timeout_s.is_finite() {
            let pairs = model.grid.windows(2).zip(below.windows(2));
            let head = model.grid[0] * (answered - 0.5 * below[0]);
            let rest: f64 =
                pairs.map(|(t, n)| (t[1] - t[0]) * (answered - f64::midpoint(n[0], n[1])).max(0.0)).sum();
            (head + rest) / answered
        } else {
            self.sum(&model.mean_s) / answered
        };
        Some(LatencySummary {
            mean: Duration::from_secs_f64(mean),
            p50: quantile(0.50),
            p90: quantile(0.90),
            p95: quantile(0.95),
            p99: quantile(0.99),
        })
    }
}

/// The pods of a service: how many, and how probable each number of requests in one is.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidStation {
    pods: f64,
    /// By number of requests that are, or will be, worked on.
    states: Vec<f64>,
    /// Requests in a pod that wait in vain.
    doomed: f64,
    /// Pods have just come: the probabilities have an edge, at which the second-order rule would overshoot.
    edged: bool,
    work: Work,
}

/// Room for a step.
#[derive(Clone, Debug, Default, PartialEq)]
struct Work {
    up: Vec<f64>,
    down: Vec<f64>,
    admitted: Vec<f64>,
    factor: Vec<f64>,
    pivot: Vec<f64>,
    half: Vec<f64>,
    next: Vec<f64>,
}

impl FluidStation {
    /// Empty pods.
    pub fn new(model: &FluidModel, pods: Replicas) -> Self {
        let mut states = vec![0.0; model.states()];
        states[0] = 1.0;
        Self { pods: f64::from(pods.get()), states, doomed: 0.0, edged: true, work: Work::default() }
    }

    /// Pods come, empty, or go, with what they still have to do.
    pub fn scale(&mut self, pods: Replicas) {
        let pods = f64::from(pods.get());
        if pods > self.pods {
            let old = self.pods / pods;
            for p in &mut self.states {
                *p *= old;
            }
            self.states[0] += 1.0 - old;
            self.doomed *= old;
            self.edged = true;
        }
        self.pods = pods;
    }

    /// Mean number of requests in a pod.
    pub fn mean_in_system(&self) -> f64 {
        self.doomed + self.states.iter().enumerate().map(|(x, p)| x as f64 * p).sum::<f64>()
    }

    /// Lets the seconds pass that have these mean rates of arrivals over all pods, and adds to `flow`.
    pub fn advance(&mut self, model: &FluidModel, rates: &[RequestRate], flow: &mut FluidFlow) {
        let mut rates = rates;
        while let Some(first) = rates.first() {
            let first = first.per_second();
            let same = |r: &&RequestRate| (r.per_second() - first).abs() <= SAME_RATE * first;
            let longest = if self.edged { 1 } else { LONGEST_STEP };
            let n = rates.iter().take(longest).take_while(same).count().max(1);
            let mean = rates[..n].iter().map(|r| r.per_second()).sum::<f64>() / n as f64;
            self.step(model, mean, n as f64, flow);
            rates = &rates[n..];
        }
    }

    /// One step of `h` seconds with `rate` requests per second.
    fn step(&mut self, model: &FluidModel, rate: f64, h: f64, flow: &mut FluidFlow) {
        flow.arrived += rate * h;
        if self.pods == 0.0 {
            flow.refused += rate * h;
            return;
        }
        let arrivals = rate / self.pods;
        let mut reach = self.reach(model);
        loop {
            self.transitions(model, arrivals, reach);
            if self.edged {
                self.work.backward_euler(&self.states[..reach], h);
            } else {
                self.work.tr_bdf2(&self.states[..reach], h);
            }
            if reach == model.states() || self.work.next[reach - 1].abs() < NEGLIGIBLE {
                break;
            }
            reach = (2 * reach).min(model.states());
        }
        self.edged = false;
        let (c, mut refused, mut doomed) = (model.workers, 0.0, 0.0);
        for x in 0..reach {
            let mean = f64::midpoint(self.states[x], self.work.next[x]);
            let (seen, place) = (rate * h * mean, model.place(x));
            let admitted = self.work.admitted[x];
            refused += seen * (1.0 - admitted);
            if admitted > 0.0 {
                flow.places[place] += seen * admitted;
                doomed += mean * admitted * (1.0 - model.served[place]);
            }
            flow.busy_s += self.pods * h * mean * x.min(c) as f64;
            self.states[x] = self.work.next[x];
        }
        flow.refused += refused;
        if model.timeout_s.is_finite() {
            // They stay for a timeout: d doomed / dt = rate in − doomed / timeout, implicitly.
            self.doomed = (self.doomed + h * arrivals * doomed) / (1.0 + h / model.timeout_s);
        }
    }

    /// How many states a step is tried with: a few more than those that hold probability.
    fn reach(&self, model: &FluidModel) -> usize {
        let highest = self.states.iter().rposition(|p| p.abs() > NEGLIGIBLE).unwrap_or(0);
        (highest + 8).max(model.workers + 4).min(model.states())
    }

    /// Rates of births and deaths in each state.
    fn transitions(&mut self, model: &FluidModel, arrivals: f64, reach: usize) {
        let Work { up, down, admitted, .. } = &mut self.work;
        for v in [&mut *up, &mut *down, &mut *admitted] {
            v.clear();
        }
        let c = model.workers;
        let full = c as f64 * model.service_rate;
        let scatter = model.scatter.max(-arrivals).max(-0.999 * full);
        for x in 0..reach {
            let waiting = x as f64 - c as f64;
            let free =
                if x < c { 1.0 } else { (model.places as f64 - waiting - self.doomed).clamp(0.0, 1.0) };
            admitted.push(free);
            let born = if free > 0.0 { arrivals * free * model.served[model.place(x)] } else { 0.0 };
            let more = if x > c { scatter } else { 0.0 };
            up.push(if x + 1 < reach { (born + more).max(0.0) } else { 0.0 });
            down.push(model.service_rate * x.min(c) as f64 + more);
        }
    }
}

impl Work {
    /// Advances `before` by `h` into `next`.
    fn tr_bdf2(&mut self, before: &[f64], h: f64) {
        let gamma = 2.0 - std::f64::consts::SQRT_2;
        let n = before.len();
        // I − γ/2 h L serves both stages, factorised once.
        let a = gamma / 2.0 * h;
        self.factorise(n, a);
        // The trapezoidal rule to γh …
        self.half.clear();
        for x in 0..n {
            let from_below = if x > 0 { self.up[x - 1] * before[x - 1] } else { 0.0 };
            let from_above = if x + 1 < n { self.down[x + 1] * before[x + 1] } else { 0.0 };
            self.half
                .push(before[x] + a * (from_below + from_above - (self.up[x] + self.down[x]) * before[x]));
        }
        let mut half = std::mem::take(&mut self.half);
        self.solve(&mut half, a);
        // … and the second-order backward formula to h.
        let weight = 1.0 / (gamma * (2.0 - gamma));
        let past = (1.0 - gamma) * (1.0 - gamma) * weight;
        self.next.clear();
        self.next.extend(half.iter().zip(before).map(|(half, before)| weight * half - past * before));
        let mut next = std::mem::take(&mut self.next);
        self.solve(&mut next, a);
        (self.half, self.next) = (half, next);
    }

    /// Advances `before` by `h` into `next` with first-order accuracy, never below zero.
    fn backward_euler(&mut self, before: &[f64], h: f64) {
        self.factorise(before.len(), h);
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        next.extend_from_slice(before);
        self.solve(&mut next, h);
        self.next = next;
    }

    /// Prepares [`Self::solve`] for n states.
    fn factorise(&mut self, n: usize, a: f64) {
        self.factor.clear();
        self.pivot.clear();
        for x in 0..n {
            let diagonal = 1.0 + a * (self.up[x] + self.down[x]);
            if x == 0 {
                self.factor.push(0.0);
                self.pivot.push(1.0 / diagonal);
            } else {
                let factor = -a * self.up[x - 1] * self.pivot[x - 1];
                self.factor.push(factor);
                self.pivot.push(1.0 / (diagonal + factor * a * self.down[x]));
            }
        }
    }

    /// Solves (I − a L) v = v in place.
    fn solve(&self, v: &mut [f64], a: f64) {
        for x in 1..v.len() {
            v[x] -= self.factor[x] * v[x - 1];
        }
        let n = v.len();
        v[n - 1] *= self.pivot[n - 1];
        for x in (0..n - 1).rev() {
            v[x] = (v[x] + a * self.down[x + 1] * v[x + 1]) * self.pivot[x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{erlang_b, mg1_mean_wait, mmc_mean_wait, mmc_wait_quantile, mmck};

    fn model(workers: u32, queue: Option<u32>, timeout_ms: Option<u32>, demand: &str) -> FluidModel {
        let optional = |name: &str, v: Option<u32>| v.map_or(String::new(), |v| format!("{name} = {v}\n"));
        let text = format!(
            r#"
name = "fluid"
limits = {{ min_replicas = 1, max_replicas = 9 }}
load = {{ kind = "constant", rps = 10 }}
[service]
workers = {workers}
dispatch = "random"
cpu_request_milli = 1000
cpu_limit_milli = 1000000
demand = {demand}
{}{}"#,
            optional("queue_capacity", queue),
            optional("timeout_ms", timeout_ms),
        );
        FluidModel::new(&Scenario::from_toml(&text, "fluid").unwrap()).unwrap()
    }

    const EXPONENTIAL: &str = "{ distribution = \"exponential\", mean_ms = 100 }";

    /// The flow of a minute once a pod with this load per worker is in equilibrium.
    fn settled(model: &FluidModel, busy: f64) -> FluidFlow {
        let rate = RequestRate::new(busy * model.workers as f64 * model.service_rate).unwrap();
        let mut station = FluidStation::new(model, Replicas::ONE);
        let mut flow = FluidFlow::new(model);
        for _ in 0..100 {
            station.advance(model, &[rate; 60], &mut flow);
        }
        flow.clear();
        station.advance(model, &[rate; 60], &mut flow);
        flow
    }

    fn close(name: &str, found: f64, expected: f64, share: f64) {
        assert!((found / expected - 1.0).abs() <= share, "{name}: {found} against {expected}");
    }

    #[test]
    fn in_equilibrium_it_is_queueing_theory() {
        let service = Duration::from_millis(100);
        for (workers, busy) in [(1, 0.5), (1, 0.9), (2, 0.8), (4, 0.7), (8, 0.9)] {
            let model = model(workers, None, None, EXPONENTIAL);
            let latency = settled(&model, busy).latency(&model).unwrap();
            let theory = service + mmc_mean_wait(workers, service, busy);
            close("mean", latency.mean.as_secs_f64(), theory.as_secs_f64(), 0.005);
            if workers == 1 {
                let p95 = 0.1 / (1.0 - busy) * -libm::log(0.05);
                close("p95", latency.p95.as_secs_f64(), p95, 0.01);
            }
            assert!(latency.p95 > mmc_wait_quantile(workers, service, busy, 0.95));
        }
        for (workers, places, busy) in [(1, 4, 0.8), (2, 10, 0.9), (8, 8, 1.2), (4, 2, 2.0)] {
            let model = model(workers, Some(places), None, EXPONENTIAL);
            let flow = settled(&model, busy);
            let (loss, wait) = mmck(workers, places, service, busy);
            close("refused", flow.refused / flow.arrived, loss, 1e-3);
            let mean = flow.latency(&model).unwrap().mean.as_secs_f64();
            close("mean", mean, 0.1 + wait.as_secs_f64(), 0.005);
        }
        let model = model(8, Some(0), None, EXPONENTIAL);
        let flow = settled(&model, 0.9);
        close("Erlang B", flow.refused / flow.arrived, erlang_b(8, 7.2), 1e-3);
    }

    #[test]
    fn one_worker_waits_as_pollaczek_and_khinchine_say() {
        for (demand, cv, busy) in [
            ("{ distribution = \"deterministic\", mean_ms = 100 }", 0.0, 0.8),
            ("{ distribution = \"gamma\", mean_ms = 100, cv = 0.5 }", 0.5, 0.7),
            ("{ distribution = \"gamma\", mean_ms = 100, cv = 2.0 }", 2.0, 0.7),
            ("{ distribution = \"lognormal\", mean_ms = 100, cv = 1.0 }", 1.0, 0.9),
        ] {
            let model = model(1, None, None, demand);
            let mean = settled(&model, busy).latency(&model).unwrap().mean.as_secs_f64();
            let theory = 0.1 + mg1_mean_wait(Duration::from_millis(100), busy, cv).as_secs_f64();
            // The demand's moments come from draws.
            close(demand, mean, theory, 0.02);
        }
    }

    #[test]
    fn nothing_gets_lost_while_the_load_swings_and_pods_come_and_go() {
        let model = model(2, Some(100), Some(2000), EXPONENTIAL);
        let mut station = FluidStation::new(&model, Replicas::new(5));
        let mut flow = FluidFlow::new(&model);
        for second in 0..2000u32 {
            let rate = 100.0 + 90.0 * libm::sin(f64::from(second) / 100.0);
            station.advance(&model, &[RequestRate::new(rate).unwrap()], &mut flow);
            if second % 300 == 299 {
                station.scale(Replicas::new(3 + (second / 300) % 5));
            }
            let sum: f64 = station.states.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "probabilities add up to {sum}");
            let least = station.states.iter().copied().fold(0.0, f64::min);
            // A narrow peak that moves many states in a step leaves a ripple behind.
            assert!(least > -0.05, "{least} at second {second}");
        }
        let ended = flow.answered(&model) + flow.timed_out(&model) + flow.refused;
        close("arrived", ended, flow.arrived, 1e-6);
        assert!(flow.in_time(&model) <= flow.answered(&model));
        assert!(flow.timed_out(&model) > 0.01 * flow.arrived);
    }

    #[test]
    fn large_steps_are_as_good_as_small_ones() {
        let model = model(2, Some(100), None, EXPONENTIAL);
        let run = |parts: usize| {
            let mut station = FluidStation::new(&model, Replicas::ONE);
            let mut flow = FluidFlow::new(&model);
            for rate in [10.0, 15.0, 21.0, 12.0] {
                for _ in 0..8 * parts {
                    station.step(&model, rate, 5.0 / parts as f64, &mut flow);
                }
            }
            (station.mean_in_system(), flow.latency(&model).unwrap().p95.as_secs_f64())
        };
        let ((coarse, p95), (fine, exact)) = (run(1), run(100));
        close("in the system", coarse, fine, 0.01);
        close("p95", p95, exact, 0.01);
    }

    #[test]
    fn the_gamma_distribution_is_right() {
        // Erlang with 3 stages, and the square of a normal variable at 1.
        close("Erlang 3", gamma_cdf(3.0, 2.5), 1.0 - libm::exp(-2.5) * (1.0 + 2.5 + 3.125), 1e-10);
        close("Erlang 3 tail", 1.0 - gamma_cdf(3.0, 20.0), libm::exp(-20.0) * (1.0 + 20.0 + 200.0), 1e-4);
        close("chi square", gamma_cdf(0.5, 0.5), 0.682_689_492_137, 1e-10);
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let text = Scenario::builtin_source("match-day").unwrap();
        for (from, to, field) in [
            ("discipline = \"fifo\"", "discipline = \"processor-sharing\"", "service.discipline"),
            ("dispatch = \"random\"", "dispatch = \"round-robin\"", "service.dispatch"),
            ("[service.demand]", "retries = { attempts = 2 }\n[service.demand]", "service.retries"),
        ] {
            assert!(text.contains(from));
            let scenario = Scenario::from_toml(&text.replace(from, to), "f").unwrap();
            assert_eq!(FluidModel::new(&scenario).unwrap_err().field, field);
        }
    }
}
