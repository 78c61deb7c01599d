//! One first-come, first-served station without a world around it: for long runs against queueing theory, and
//! to see how fast the engine is by itself.

use crate::draw;
use crate::pod::{Fifo, PodModel};
use crate::request::Fate;
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::RequestRate;
use std::time::Duration;

/// M/M/c: Poisson arrivals, exponential demands, c workers, one queue without bound.
#[derive(Clone, Debug)]
pub struct Station {
    model: PodModel,
    fifo: Fifo,
    gap_s: f64,
    demand_s: f64,
    arrivals: Stream,
    demands: Stream,
    now: f64,
}

impl Station {
    /// An empty station with this many workers (at least one).
    pub fn new(workers: usize, arrivals: RequestRate, mean_demand: Duration, seed: Seed) -> Self {
        let model = PodModel::bare(workers.max(1));
        Self {
            fifo: Fifo::new(&model),
            model,
            gap_s: 1.0 / arrivals.per_second(),
            demand_s: mean_demand.as_secs_f64(),
            arrivals: seed.child("arrivals").stream(),
            demands: seed.child("demand").stream(),
            now: 0.0,
        }
    }

    /// Serves that many more requests, and returns how long they waited on average.
    pub fn serve(&mut self, requests: u32) -> Duration {
        let mut waited = 0.0;
        for _ in 0..requests {
            self.now += self.gap_s * draw::exponential(&mut self.arrivals);
            let demand = self.demand_s * draw::exponential(&mut self.demands);
            if let (Fate::Answered { at }, _) = self.fifo.admit(&self.model, self.now, demand) {
                waited += at - demand - self.now;
            }
        }
        Duration::from_secs_f64((waited / f64::from(requests.max(1))).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::mmc_mean_wait;

    #[test]
    fn it_waits_as_long_as_erlang_says() {
        let service = Duration::from_millis(64);
        let rate = RequestRate::new(100.0).unwrap();
        let waits: Vec<f64> = (0..10)
            .map(|k| Station::new(8, rate, service, Seed::root(k)).serve(1_000_000).as_secs_f64())
            .collect();
        let mean = waits.iter().sum::<f64>() / 10.0;
        let sd = (waits.iter().map(|w| (w - mean) * (w - mean)).sum::<f64>() / 9.0).sqrt();
        let theory = mmc_mean_wait(8, service, 0.8).as_secs_f64();
        assert!((mean - theory).abs() < 3.0 * sd / 10f64.sqrt(), "{mean} against {theory}, sd {sd}");
    }
}
