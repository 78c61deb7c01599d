//! Tables about one pod, made once.

use crate::scenario::{Discipline, Dispatch, Scenario};
use autoscale_core::seed::Seed;
use autoscale_core::validate::ConfigError;

/// Places in a queue that are told apart; of a longer one the rest is never reached or hopeless.
const MOST_PLACES: usize = 400;
/// Points in time at which distributions of response times are known.
pub(super) const GRID: usize = 96;
/// Quantiles by which the demand is known.
const SERVICES: usize = 64;
/// Draws from which they are taken.
const DRAWS: usize = 1 << 16;
/// A pod of a scenario, as far as its queue is concerned.
#[derive(Clone, Debug)]
pub struct FluidModel {
    pub(super) workers: usize,
    pub(super) places: usize,
    pub(super) timeout_s: f64,
    slo_s: f64,
    /// Services per second of one worker.
    pub(super) service_rate: f64,
    /// What births and deaths have more above the first waiting request.
    pub(super) scatter: f64,
    /// Chance that the k-th in the queue (from 1; 0 is in service at once) gets a worker in time.
    pub(super) served: Vec<f64>,
    /// Seconds.
    pub(super) grid: Vec<f64>,
    /// Distribution functions of the response time on the grid, for each place in the queue.
    pub(super) responses: Vec<f64>,
    pub(super) in_time: Vec<f64>,
    pub(super) answered: Vec<f64>,
    pub(super) mean_s: Vec<f64>,
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

    pub(super) fn states(&self) -> usize {
        self.workers + self.places + 1
    }

    /// Place in the queue of an arrival that finds `state` requests.
    pub(super) fn place(&self, state: usize) -> usize {
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
