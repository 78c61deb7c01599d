//! The chain and how it is advanced.

use super::flow::FluidFlow;
use super::model::FluidModel;
use autoscale_core::units::{Replicas, RequestRate};

/// States with less probability than this are left alone.
pub(super) const NEGLIGIBLE: f64 = 1e-11;
/// Longest step, and how much the load may change within one.
const LONGEST_STEP: usize = 5;
const SAME_RATE: f64 = 0.1;

/// The pods of a service: how many, and how probable each number of requests in one is.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidStation {
    pods: f64,
    /// By number of requests that are, or will be, worked on.
    pub(super) states: Vec<f64>,
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
    pub(super) fn step(&mut self, model: &FluidModel, rate: f64, h: f64, flow: &mut FluidFlow) {
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
