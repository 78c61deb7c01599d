//! When requests are to be sent.

use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use rand_distr::{Distribution, Exp1};
use std::time::Duration;

/// How many requests a second, over time: constant within each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    step: Duration,
    rates: Vec<RequestRate>,
}

/// How requests lie in time at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// As many independent clients send: a Poisson process.
    Poisson,
    /// At equal distances.
    Even,
}

impl Rates {
    /// A rate for each step.
    ///
    /// # Errors
    /// When a step takes no time or there is none.
    pub fn new(step: Duration, rates: Vec<RequestRate>) -> Result<Self, ConfigError> {
        if step.is_zero() {
            return Err(ConfigError::new("step", "0 s", "more than 0 s"));
        }
        if rates.is_empty() {
            return Err(ConfigError::new("rates", "none", "at least one"));
        }
        Ok(Self { step, rates })
    }

    /// The same rate for all of `time`.
    ///
    /// # Errors
    /// When that is no time at all.
    pub fn constant(rate: RequestRate, time: Duration) -> Result<Self, ConfigError> {
        Self::new(time, vec![rate])
    }

    /// From the start to the end of the last step.
    pub fn length(&self) -> Duration {
        self.step * self.rates.len() as u32
    }

    /// The moments to send at, counted from the start, in order. The same seed gives the same moments.
    pub fn moments(&self, spacing: Spacing, seed: Seed) -> Moments<'_> {
        let gaps = match spacing {
            Spacing::Even => Gaps::Even,
            Spacing::Poisson => Gaps::Poisson(seed.stream()),
        };
        // Evenly spaced requests lie in the middle of their shares of time.
        let expected = if spacing == Spacing::Even { -0.5 } else { 0.0 };
        Moments { rates: self, gaps, step: 0, before: 0.0, expected }
    }
}

enum Gaps {
    Even,
    Poisson(Stream),
}

/// See [`Rates::moments`].
pub struct Moments<'a> {
    rates: &'a Rates,
    gaps: Gaps,
    step: usize,
    /// Requests expected before this step.
    before: f64,
    /// Requests expected before the last moment: time, stretched so that the rate is one.
    expected: f64,
}

impl Iterator for Moments<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.expected += match &mut self.gaps {
            Gaps::Even => 1.0,
            Gaps::Poisson(stream) => Exp1.sample(stream),
        };
        let Rates { step, rates } = self.rates;
        loop {
            let rate = rates.get(self.step)?.per_second();
            let within = rate * step.as_secs_f64();
            if self.expected < self.before + within {
                let since = Duration::from_secs_f64((self.expected - self.before) / rate);
                return Some(*step * self.step as u32 + since);
            }
            self.before += within;
            self.step += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(step_s: u64, rates: &[f64]) -> Rates {
        let rates = rates.iter().map(|&rate| RequestRate::new(rate).unwrap()).collect();
        Rates::new(Duration::from_secs(step_s), rates).unwrap()
    }

    #[test]
    fn even_requests_are_as_many_as_the_rates_say() {
        let rates = rates(2, &[2.0, 0.0, 1.0]);
        let at: Vec<f64> =
            rates.moments(Spacing::Even, Seed::root(1)).map(|moment| moment.as_secs_f64()).collect();
        assert_eq!(at, [0.25, 0.75, 1.25, 1.75, 4.5, 5.5]);
        assert_eq!(rates.length(), Duration::from_secs(6));
    }

    #[test]
    fn poisson_requests_follow_the_rates_and_their_gaps_are_exponential() {
        let rates = rates(1000, &[40.0, 0.0, 10.0]);
        let at = |seed| rates.moments(Spacing::Poisson, Seed::root(seed)).collect::<Vec<_>>();
        let first = at(1);
        let within = |from, to| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            first.iter().filter(|&&moment| from <= moment && moment < to).count() as f64
        };
        // Five standard deviations of a Poisson count.
        assert!((within(0, 1000) - 40_000.0).abs() < 5.0 * 200.0);
        assert!((within(2000, 3000) - 10_000.0).abs() < 5.0 * 100.0);
        assert!(within(1000, 2000) < 1e-9);
        assert!(first.is_sorted());
        // Of exponential gaps, exp(-1) are longer than their mean.
        let gaps: Vec<f64> =
            first.windows(2).take(39_000).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
        let longer = gaps.iter().filter(|&&gap| gap > 0.025).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.0125, "{longer}");
        assert_eq!(first, at(1));
        assert_ne!(first, at(2));
    }

    #[test]
    fn nothing_lasts_no_time() {
        let refused = Rates::constant(RequestRate::ZERO, Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains("step: 0 s"), "{refused}");
        assert!(
            Rates::new(Duration::from_secs(1), Vec::new()).unwrap_err().to_string().contains("at least one")
        );
    }
}
