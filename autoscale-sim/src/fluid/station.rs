//! The chain and how it is advanced.

use super::flow::FluidFlow;
use super::model::{FluidModel, Pooling};
use autoscale_core::units::{Replicas, RequestRate};

/// States with less probability than this are left alone.
pub(super) const NEGLIGIBLE: f64 = 1e-9;
/// Longest step in seconds, and how much the load may change within one.
const LONGEST_STEP: usize = 5;
const SAME_RATE: f64 = 0.1;
/// The largest negative probability that a step of second order may leave; the shortest is then one of first order.
const RIPPLE: f64 = 1e-3;
const SHORTEST_STEP: f64 = 0.5;
/// From twice as many workers on, states of one queue are taken together.
const FINE_WORKERS: usize = 64;
/// Where TR-BDF2 has its middle, as a share of the step: both of its halves then have the same matrix.
const GAMMA: f64 = 2.0 - std::f64::consts::SQRT_2;
/// Standard deviations after which the normal distribution is over.
const TAIL: f64 = 6.0;

/// The pods of a service: how many, and how probable each number of requests is, in one of them or in all.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidStation {
    pods: Replicas,
    /// Alike queues, and workers in each.
    queues: f64,
    workers: f64,
    /// Requests from one state to the next.
    width: usize,
    /// By number of requests that are, or will be, worked on.
    pub(super) states: Vec<f64>,
    /// States that have any probability: the first, and the one after the last.
    low: usize,
    high: usize,
    /// Requests in a queue that wait in vain.
    doomed: f64,
    /// Pods have just come: the probabilities have an edge, at which the second-order rule would overshoot.
    edged: bool,
    work: Work,
}

/// What a pod's gauges show at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Glance {
    pub(super) in_flight: f64,
    pub(super) queued: f64,
}

/// A state during a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Row {
    /// Rates of births and deaths.
    up: f64,
    down: f64,
    /// Share of the arrivals that gets in, and that gets a worker in time.
    admitted: f64,
    served: f64,
    /// Of I − a L, factorised.
    factor: f64,
    pivot: f64,
}

/// Room for a step, for the states from `low` on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Work {
    rows: Vec<Row>,
    half: Vec<f64>,
    next: Vec<f64>,
}

impl FluidStation {
    /// Empty pods.
    pub fn new(model: &FluidModel, pods: Replicas) -> Self {
        let mut station = Self {
            pods: Replicas::ZERO,
            queues: 0.0,
            workers: 0.0,
            width: 1,
            states: vec![1.0],
            low: 0,
            high: 1,
            doomed: 0.0,
            edged: true,
            work: Work::default(),
        };
        station.scale(model, pods);
        station
    }

    /// Pods come, empty, or go, with what they still have to do.
    pub fn scale(&mut self, model: &FluidModel, pods: Replicas) {
        if pods == self.pods {
            return;
        }
        let (before, now) = (f64::from(self.pods.get()), f64::from(pods.get()));
        self.pods = pods;
        self.edged |= now > before;
        match model.pooling {
            Pooling::Apart => {
                if now > before {
                    let old = before / now;
                    for p in &mut self.states {
                        *p *= old;
                    }
                    self.states.resize(model.workers + model.places + 1, 0.0);
                    self.states[0] += 1.0 - old;
                    (self.low, self.high) = (0, self.high.max(1));
                    self.doomed *= old;
                }
                (self.queues, self.workers) = (now, model.workers as f64);
            }
            Pooling::Together => {
                let kept = if now < before { now / before } else { 1.0 };
                let pods = pods.get() as usize;
                let workers = pods * model.workers;
                (self.queues, self.workers) = (1.0, workers as f64);
                self.doomed *= kept;
                self.regrid(workers, workers + pods * model.places, kept);
            }
        }
    }

    /// Makes the grid of states fit so many workers; of the requests the share `kept` stays.
    fn regrid(&mut self, workers: usize, most: usize, kept: f64) {
        let width = (workers / FINE_WORKERS).max(1).next_power_of_two();
        let length = most.div_ceil(width) + 1;
        let mut states = vec![0.0; length];
        let scale = kept * self.width as f64 / width as f64;
        for (state, p) in self.states.iter().enumerate().take(self.high).skip(self.low) {
            let x = (state as f64 * scale).min((length - 1) as f64);
            let (k, share) = (x as usize, x.fract());
            states[k] += p * (1.0 - share);
            if share > 0.0 {
                states[k + 1] += p * share;
            }
        }
        (self.width, self.states) = (width, states);
        (self.low, self.high) = (0, length);
        self.narrow();
    }

    /// Mean number of requests in all pods.
    pub fn in_system(&self) -> f64 {
        self.queues * (self.doomed + self.mean(|x, _| x))
    }

    /// Mean number of requests that wait for a worker in all pods.
    pub fn waiting(&self) -> f64 {
        self.queues * (self.doomed + self.mean(|x, workers| (x - workers).max(0.0)))
    }

    /// Whole requests that a pod's gauges show at a moment: as many as its queue has by the draw `u`, uniform in 0 to 1.
    /// Where all pods are one queue, a pod has its part of them, rounded by the draw `rounding`.
    pub(super) fn glance(&self, u: f64, rounding: f64) -> Glance {
        let window = &self.states[self.low..self.high];
        let mut left = u * window.iter().map(|p| p.max(0.0)).sum::<f64>();
        let below = |p: &f64| {
            left -= p.max(0.0);
            left < 0.0
        };
        let k = self.low + window.iter().position(below).unwrap_or(window.len().saturating_sub(1));
        let (x, part) = ((k * self.width) as f64, self.queues / f64::from(self.pods.get()).max(1.0));
        let in_flight = (part * (self.doomed + x) + rounding).floor();
        Glance { in_flight, queued: (in_flight - part * self.workers).max(0.0) }
    }

    /// Mean time in which the workers get to those that wait, in seconds.
    pub(super) fn backlog_s(&self, model: &FluidModel) -> f64 {
        self.waiting() / (self.queues * self.workers * model.service_rate).max(1e-9)
    }

    /// Probabilities below zero count as nothing.
    fn mean(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let state = |k: usize| self.states[k].max(0.0) * of((k * self.width) as f64, self.workers);
        (self.low..self.high).map(state).sum()
    }

    /// Lets the seconds pass that have these mean rates of arrivals over all pods, and adds to `flow`.
    pub fn advance(&mut self, model: &FluidModel, rates: &[RequestRate], flow: &mut FluidFlow) {
        let mut rates = rates;
        while !rates.is_empty() {
            rates = &rates[self.advance_once(model, rates, flow)..];
        }
    }

    /// Lets the first seconds of these pass in one step, and returns how many they were.
    pub(super) fn advance_once(
        &mut self,
        model: &FluidModel,
        rates: &[RequestRate],
        flow: &mut FluidFlow,
    ) -> usize {
        let first = rates[0].per_second();
        let same = |r: &&RequestRate| (r.per_second() - first).abs() <= SAME_RATE * first;
        let longest = if self.edged { 1 } else { LONGEST_STEP };
        let n = rates.iter().take(longest).take_while(same).count().max(1);
        let mean = rates[..n].iter().map(|r| r.per_second()).sum::<f64>() / n as f64;
        self.step(model, mean, n as f64, flow);
        n
    }

    /// Lets `h` seconds pass with `rate` requests per second.
    pub(super) fn step(&mut self, model: &FluidModel, rate: f64, h: f64, flow: &mut FluidFlow) {
        if self.pods == Replicas::ZERO {
            flow.arrived += rate * h;
            flow.refused += rate * h;
            return;
        }
        let mut window = self.try_step(model, rate, h);
        // Where a narrow peak moves far in a step, the second-order rule leaves negative ripples behind.
        let rippled = self.work.next.iter().any(|&p| p < -RIPPLE);
        if rippled && h > SHORTEST_STEP {
            self.step(model, rate, h / 2.0, flow);
            self.step(model, rate, h / 2.0, flow);
            return;
        }
        if rippled {
            self.edged = true;
            window = self.try_step(model, rate, h);
        }
        flow.arrived += rate * h;
        self.edged = false;
        self.account(model, rate, h, window, flow);
    }

    /// Computes a step, and returns the states that it is for.
    fn try_step(&mut self, model: &FluidModel, rate: f64, h: f64) -> (usize, usize) {
        let arrivals = rate / self.queues;
        let end = self.states.len();
        let (mut low, mut high) = (self.low.saturating_sub(4), (self.high + 4).min(end));
        loop {
            let a = if self.edged { h } else { GAMMA / 2.0 * h };
            self.transitions(model, arrivals, a, low, high);
            if self.edged {
                self.work.backward_euler(&self.states[low..high], a);
            } else {
                self.work.tr_bdf2(&self.states[low..high], a);
            }
            let next = &self.work.next;
            let below = low > 0 && next[0].abs() > NEGLIGIBLE;
            let above = high < end && next[high - low - 1].abs() > NEGLIGIBLE;
            if !below && !above {
                return (low, high);
            }
            let more = (high - low) / 2;
            low -= if below { more.min(low) } else { 0 };
            high += if above { more.min(end - high) } else { 0 };
        }
    }

    /// Takes over the step that was computed for these states, and what flowed in it.
    fn account(
        &mut self,
        model: &FluidModel,
        rate: f64,
        h: f64,
        (low, high): (usize, usize),
        flow: &mut FluidFlow,
    ) {
        let (mut refused, mut doomed, mut busy) = (0.0, 0.0, 0.0);
        // What is below zero counts as nothing, and the rest as a little less.
        let positive = |before: f64, after: f64| f64::midpoint(before, after).max(0.0);
        let pairs = self.states[low..high].iter().zip(&self.work.next);
        let all: f64 = pairs.map(|(&before, &after)| positive(before, after)).sum();
        for k in low..high {
            let mean = positive(self.states[k], self.work.next[k - low]) / all;
            self.states[k] = self.work.next[k - low];
            let Row { admitted, served, .. } = self.work.rows[k - low];
            let seen = rate * h * mean;
            let x = (k * self.width) as f64;
            refused += seen * (1.0 - admitted);
            doomed += mean * admitted * (1.0 - served);
            busy += mean * x.min(self.workers);
            let waiting = x + 1.0 - self.workers;
            if waiting <= 0.0 {
                flow.put(0, seen);
            } else if admitted > 0.0 {
                match model.pooling {
                    Pooling::Apart => flow.put(waiting as usize, seen * admitted),
                    Pooling::Together => self.wait(model, waiting, seen * admitted, flow),
                }
            }
        }
        flow.busy_s += self.queues * h * busy;
        flow.refused += refused;
        if model.timeout_s.is_finite() {
            // They stay for a timeout: d doomed / dt = rate in − doomed / timeout, implicitly.
            let arrivals = rate / self.queues;
            self.doomed = (self.doomed + h * arrivals * doomed.max(0.0)) / (1.0 + h / model.timeout_s);
        }
        (self.low, self.high) = (low, high);
        self.narrow();
    }

    fn narrow(&mut self) {
        let held = |p: &f64| p.abs() > NEGLIGIBLE;
        let window = &self.states[self.low..self.high];
        let last = window.iter().rposition(held).unwrap_or(0);
        let first = window.iter().position(held).unwrap_or(0);
        (self.low, self.high) = (self.low + first, self.low + last + 1);
    }

    /// Mean and variance of the wait for the `k`-th departure while all workers are busy. The first departures
    /// of many workers come at random, later ones as regularly as the demand is.
    fn departures(&self, model: &FluidModel, k: f64) -> (f64, f64) {
        let between = 1.0 / (self.workers * model.service_rate);
        let variation = (self.workers + k * model.cv2) / (self.workers + k);
        (k * between, k * variation * between * between)
    }

    /// Adds requests that find `k - 1` waiting: their wait is gamma distributed, here two points with its first
    /// three moments (Gauss and Laguerre's).
    fn wait(&self, model: &FluidModel, k: f64, requests: f64, flow: &mut FluidFlow) {
        let (mean, variance) = self.departures(model, k);
        let (shape, scale) = (mean * mean / variance, variance / mean);
        let root = (shape + 1.0).sqrt();
        let lower = requests * (1.0 + root) / (2.0 * root);
        flow.put_between(model.position_of(scale * (shape + 1.0 - root)), lower);
        flow.put_between(model.position_of(scale * (shape + 1.0 + root)), requests - lower);
    }

    /// Chance that an arrival that waits for the `k`-th departure sees it in time.
    fn served(&self, model: &FluidModel, k: f64) -> f64 {
        match model.pooling {
            _ if k <= 0.0 => 1.0,
            Pooling::Apart => model.served[k as usize],
            Pooling::Together if model.timeout_s.is_infinite() => 1.0,
            Pooling::Together => {
                let (mean, variance) = self.departures(model, k);
                let deviations = (model.timeout_s - mean) / variance.sqrt();
                if deviations.abs() > TAIL {
                    return f64::from(deviations > 0.0);
                }
                0.5 * libm::erfc(-deviations * std::f64::consts::FRAC_1_SQRT_2)
            }
        }
    }

    /// Rates of births and deaths in each state, L, and I − a L, factorised. All in one loop: each pivot waits for the
    /// division before it, and the rates are computed meanwhile.
    fn transitions(&mut self, model: &FluidModel, arrivals: f64, a: f64, low: usize, high: usize) {
        let mut rows = std::mem::take(&mut self.work.rows);
        rows.clear();
        // Of a power of two, so that a product is the quotient to the last bit.
        let narrow = 1.0 / self.width as f64;
        let full = self.workers * model.service_rate;
        let places = model.places as f64 * f64::from(self.pods.get()) / self.queues;
        let scatter = (full * (model.cv2 - 1.0) / 2.0).max(-arrivals).max(-0.999 * full);
        let mut below = Row::default();
        for k in low..high {
            let x = (k * self.width) as f64;
            let waiting = x - self.workers;
            let free =
                if waiting < 0.0 { 1.0 } else { ((places - waiting - self.doomed) * narrow).clamp(0.0, 1.0) };
            let served = if free > 0.0 { self.served(model, waiting + 1.0) } else { 0.0 };
            let more = if waiting > 0.0 { scatter } else { 0.0 };
            let born = (arrivals * free * served + more).max(0.0);
            let died = model.service_rate * x.min(self.workers) + more;
            // Drift and variance of single requests, in steps of the width.
            let (spread, drift) = ((born + died) * (0.5 * narrow * narrow), (born - died) * (0.5 * narrow));
            let (up, down) = match (spread + drift, spread - drift) {
                (up, down) if up < 0.0 => (0.0, down - up),
                (up, down) if down < 0.0 => (up - down, 0.0),
                both => both,
            };
            let (up, down) = (if k + 1 < high { up } else { 0.0 }, if k > low { down } else { 0.0 });
            let factor = -a * below.up * below.pivot;
            let pivot = 1.0 / (1.0 + a * (up + down) + factor * a * down);
            below = Row { up, down, admitted: free, served, factor, pivot };
            rows.push(below);
        }
        self.work.rows = rows;
    }
}

impl Work {
    /// Advances `before` by the step h into `next`, for which I − γ/2 h L was factorised.
    fn tr_bdf2(&mut self, before: &[f64], a: f64) {
        // The trapezoidal rule to γh …
        self.half.clear();
        let mut from_below = 0.0;
        for (x, (row, p)) in self.rows.iter().zip(before).enumerate() {
            let from_above = self.rows.get(x + 1).map_or(0.0, |above| above.down * before[x + 1]);
            self.half.push(p + a * (from_below + from_above - (row.up + row.down) * p));
            from_below = row.up * p;
        }
        let mut half = std::mem::take(&mut self.half);
        self.solve(&mut half, a);
        // … and the second-order backward formula to h.
        let weight = 1.0 / (GAMMA * (2.0 - GAMMA));
        let past = (1.0 - GAMMA) * (1.0 - GAMMA) * weight;
        self.next.clear();
        self.next.extend(half.iter().zip(before).map(|(half, before)| weight * half - past * before));
        let mut next = std::mem::take(&mut self.next);
        self.solve(&mut next, a);
        (self.half, self.next) = (half, next);
    }

    /// Advances `before` by the step h into `next` with first-order accuracy, never below zero; I − h L was factorised.
    fn backward_euler(&mut self, before: &[f64], h: f64) {
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        next.extend_from_slice(before);
        self.solve(&mut next, h);
        self.next = next;
    }

    /// Solves (I − a L) v = v in place.
    fn solve(&self, v: &mut [f64], a: f64) {
        let mut below = 0.0;
        for (v, row) in v.iter_mut().zip(&self.rows) {
            *v -= row.factor * below;
            below = *v;
        }
        let (mut above, mut from_above) = (0.0, 0.0);
        for (v, row) in v.iter_mut().zip(&self.rows).rev() {
            *v = (*v + from_above * above) * row.pivot;
            (above, from_above) = (*v, a * row.down);
        }
    }
}
