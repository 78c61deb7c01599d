//! Tables about a scenario's pods, made once.

use super::check;
use crate::scenario::{Dispatch, Scenario};
use autoscale_core::seed::Seed;
use autoscale_core::validate::ConfigError;

/// Places in a pod's queue that are told apart; of a longer one the rest is never reached or hopeless.
const MOST_PLACES: usize = 400;
/// Waits that are told apart where all pods are one queue.
const WAITS: usize = 96;
/// Points in time at which distributions of response times are known.
pub(super) const GRID: usize = 96;
/// Points at which the distribution of a wait is known, and how many standard deviations they reach.
const WAIT_GRID: usize = 128;
const DEVIATIONS: f64 = 8.0;
/// Equally likely parts of the demand; the last of them is halved again and again, for objectives lie in the tail.
const PARTS: usize = 64;
const HALVINGS: usize = 9;
/// Draws by which the demand is known; the smallest part has two of them.
const DRAWS: usize = 1 << 16;

/// How requests find a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Every pod is a queue of its own.
    Apart,
    /// All pods are one.
    Together,
}

impl Pooling {
    /// Under this dispatch.
    pub(super) fn of(dispatch: Dispatch) -> Self {
        if dispatch == Dispatch::LeastOutstanding { Self::Together } else { Self::Apart }
    }
}

/// The pods of a scenario, as far as queues are concerned.
///
/// What becomes of a request depends on its position: the place in its pod's queue that it gets (0: a worker), or,
/// where all pods are one queue, its wait.
#[derive(Clone, Debug)]
pub struct FluidModel {
    pub(super) pooling: Pooling,
    pub(super) workers: usize,
    /// Places in a pod's queue.
    pub(super) places: usize,
    pub(super) timeout_s: f64,
    slo_s: f64,
    /// Services per second of one worker.
    pub(super) service_rate: f64,
    /// Squared coefficient of variation of the demand.
    pub(super) cv2: f64,
    /// Chance that the k-th in a pod's queue (from 1; 0 is in service at once) gets a worker in time.
    pub(super) served: Vec<f64>,
    /// The longest wait that is told apart.
    longest_s: f64,
    /// Seconds.
    pub(super) grid: Vec<f64>,
    /// Distribution functions of the response time on the grid, for each position.
    pub(super) responses: Vec<f64>,
    /// Bounds of histogram buckets in seconds, and the shares answered within them, for each position.
    pub(super) bounds: Vec<f64>,
    pub(super) buckets: Vec<f64>,
    pub(super) in_time: Vec<f64>,
    pub(super) answered: Vec<f64>,
    /// Mean response time of those answered times their share.
    pub(super) answered_s: Vec<f64>,
}

/// The demand as it is served, in seconds.
struct Services {
    /// Draws, rising.
    draws: Vec<f64>,
    /// Means of parts, rising, and their probabilities.
    parts: Vec<(f64, f64)>,
    mean: f64,
    cv2: f64,
}

impl FluidModel {
    /// The pods of this scenario.
    ///
    /// # Errors
    /// Names the field that the fluid engine cannot express.
    pub fn new(scenario: &Scenario) -> Result<Self, ConfigError> {
        let config = scenario.config();
        check(config)?;
        let service = &config.service;
        let services = Services::of(scenario);
        let timeout_s = service.timeout_ms.map_or(f64::INFINITY, |ms| ms / 1000.0);
        let mut model = Self {
            pooling: Pooling::of(service.dispatch),
            workers: service.workers as usize,
            places: service.queue_capacity.map_or(MOST_PLACES, |k| (k as usize).min(MOST_PLACES)),
            timeout_s,
            slo_s: scenario.slo().as_secs_f64(),
            service_rate: 1.0 / services.mean,
            cv2: services.cv2,
            served: Vec::new(),
            longest_s: 0.0,
            grid: Vec::new(),
            responses: Vec::new(),
            bounds: config.metrics.latency_buckets_ms.iter().map(|ms| ms / 1000.0).collect(),
            buckets: Vec::new(),
            in_time: Vec::new(),
            answered: Vec::new(),
            answered_s: Vec::new(),
        };
        model.tabulate(&services);
        Ok(model)
    }

    fn tabulate(&mut self, services: &Services) {
        let slowest = services.parts[PARTS - 1].0;
        let between = 1.0 / (self.workers as f64 * self.service_rate);
        // A full queue and a slow service; a longer timeout would only make the grids coarse.
        self.longest_s = self.timeout_s.min(slowest * 4.0 + between * self.places as f64 * 2.0);
        let shortest = services.parts[0].0.max(1e-5) / 2.0;
        let growth = libm::log(self.longest_s / shortest) / (GRID - 1) as f64;
        self.grid = (0..GRID).map(|k| shortest * libm::exp(growth * k as f64)).collect();
        match self.pooling {
            Pooling::Apart => {
                for place in 0..=self.places {
                    let wait = Wait::of_place(place, between, self.cv2);
                    self.served.push(wait.within(self.timeout_s));
                    self.add_position(services, wait.mean, |t| match place {
                        0 => services.within(t),
                        _ => services.parts.iter().map(|(s, share)| share * wait.within(t - s)).sum::<f64>(),
                    });
                }
            }
            Pooling::Together => {
                for k in 0..=WAITS {
                    let share = k as f64 / WAITS as f64;
                    let wait = self.longest_s * share * share;
                    self.add_position(services, wait, |t| services.within(t - wait));
                }
            }
        }
    }

    /// Adds what becomes of requests of the next position, whose response times are distributed so.
    fn add_position(&mut self, services: &Services, wait: f64, response: impl Fn(f64) -> f64) {
        let row: Vec<f64> = self.grid.iter().map(|&t| response(t)).collect();
        let answered = if self.timeout_s.is_finite() { response(self.timeout_s) } else { 1.0 };
        self.answered_s.push(if self.timeout_s.is_finite() {
            // The mean of what is answered before the timeout, by parts on the grid.
            let head = self.grid[0] * (answered - 0.5 * row[0]);
            let pairs = self.grid.windows(2).zip(row.windows(2));
            head + pairs
                .map(|(t, f)| (t[1] - t[0]) * (answered - f64::midpoint(f[0], f[1])).max(0.0))
                .sum::<f64>()
        } else {
            wait + services.mean
        });
        self.answered.push(answered);
        self.in_time.push(response(self.slo_s.min(self.timeout_s)));
        self.buckets.extend(self.bounds.iter().map(|&bound| response(bound.min(self.timeout_s))));
        self.responses.extend(row);
    }

    pub(super) fn positions(&self) -> usize {
        self.answered.len()
    }

    /// Where this wait lies among the positions of pods that are one queue.
    pub(super) fn position_of(&self, wait_s: f64) -> f64 {
        ((wait_s / self.longest_s).sqrt() * WAITS as f64).min(WAITS as f64)
    }
}

impl Services {
    fn of(scenario: &Scenario) -> Self {
        let mut stream = Seed::root(0).child("fluid").stream();
        let stretch = scenario.config().service.stretch();
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| scenario.demand().draw(&mut stream) * stretch).collect();
        draws.sort_by(f64::total_cmp);
        let mean = scenario.demand().mean_s() * stretch;
        // The mean is known better than by drawing.
        let off = mean * DRAWS as f64 / draws.iter().sum::<f64>();
        for draw in &mut draws {
            *draw *= off;
        }
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / DRAWS as f64;
        let mut parts = Vec::new();
        let mut rest = &draws[..];
        while !rest.is_empty() {
            let whole = DRAWS / PARTS;
            let n = match rest.len() {
                more if more > whole => whole,
                few if few > whole >> HALVINGS => few / 2,
                few => few,
            };
            let (part, later) = rest.split_at(n);
            parts.push((part.iter().sum::<f64>() / n as f64, n as f64 / DRAWS as f64));
            rest = later;
        }
        Self { draws, parts, mean, cv2: variance / (mean * mean) }
    }

    /// Distribution function.
    fn within(&self, t: f64) -> f64 {
        self.draws.partition_point(|&draw| draw <= t) as f64 / DRAWS as f64
    }
}

/// The wait of a request that finds so many before it: a gamma variable, tabulated.
struct Wait {
    mean: f64,
    step: f64,
    within: Vec<f64>,
}

impl Wait {
    /// Departures come every `between` seconds on average while all workers of the pod are busy; the first one
    /// ends a residual.
    fn of_place(place: usize, between: f64, cv2: f64) -> Self {
        if place == 0 {
            return Self { mean: 0.0, step: 1.0, within: Vec::new() };
        }
        let (residual, stages) = (f64::midpoint(1.0, cv2), place as f64 - 1.0);
        let mean = (residual + stages) * between;
        let variance = (residual * residual + stages * cv2) * between * between;
        let step = (mean + DEVIATIONS * variance.sqrt()) / WAIT_GRID as f64;
        let cdf = |k: usize| gamma_cdf(mean * mean / variance, k as f64 * step * mean / variance);
        Self { mean, step, within: (0..=WAIT_GRID).map(cdf).collect() }
    }

    fn within(&self, t: f64) -> f64 {
        if t < 0.0 {
            return 0.0;
        }
        let x = t / self.step;
        match self.within.get(x as usize..) {
            Some([below, above, ..]) => below + (above - below) * x.fract(),
            _ => 1.0,
        }
    }
}

/// Distribution function of a gamma variable with this shape and scale 1 (Numerical analysis as in Gautschi 1979:
/// the series below the shape, Lentz' continued fraction above).
pub(super) fn gamma_cdf(shape: f64, x: f64) -> f64 {
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
