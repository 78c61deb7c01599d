//! What there is to do, second by second: recorded beforehand, the same in every run.

use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Timestamp};
use rand_distr::{Distribution, Uniform};

/// How far a value is from its level at most, as a fraction: enough to walk in and out of a tolerance of 0.1.
const NOISE: f64 = 0.15;

/// A value a second, from a moment on; the last one stays.
#[derive(Clone, Debug)]
pub(super) struct Series {
    begun: Timestamp,
    values: Vec<Option<f64>>,
}

impl Series {
    /// Levels in `unit`, each for so many seconds, none where nothing can be measured.
    pub(super) fn record(begun: Timestamp, seed: Seed, unit: f64, levels: &[(u32, Option<f64>)]) -> Self {
        let (mut random, noise) = (seed.stream(), Uniform::new(1.0 - NOISE, 1.0 + NOISE).unwrap());
        let mut values = Vec::new();
        for &(seconds, level) in levels {
            for _ in 0..seconds {
                let noise = noise.sample(&mut random);
                values.push(level.map(|level| level * unit * noise));
            }
        }
        Self { begun, values }
    }

    pub(super) fn at(&self, now: Timestamp) -> Option<Milli> {
        let second = now.since(self.begun).as_secs() as usize;
        let value = self.values.get(second).or(self.values.last()).copied().flatten();
        value.map(Milli::from_units_ceil)
    }
}
