//! Quantities with their unit in the type.

use crate::validate::ConfigError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A number of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replicas(u32);

impl Replicas {
    /// No pod at all.
    pub const ZERO: Self = Self(0);
    /// One pod.
    pub const ONE: Self = Self(1);

    /// `count` pods.
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The count as a plain integer.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The smallest number of pods that is at least `pods`; NaN and negative numbers give zero.
    pub fn from_ceil(pods: f64) -> Self {
        // `as` saturates and maps NaN to zero, which is just what a proposal needs.
        Self(pods.ceil() as u32)
    }

    /// The distance to another count, in pods.
    pub const fn abs_diff(self, other: Self) -> u32 {
        self.0.abs_diff(other.0)
    }

    /// This count moved by `delta` pods, stopping at zero.
    pub const fn offset(self, delta: i32) -> Self {
        Self(self.0.saturating_add_signed(delta))
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Requests per second; finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestRate(f64);

impl RequestRate {
    /// No requests.
    pub const ZERO: Self = Self(0.0);

    /// A rate of `rps` requests per second.
    ///
    /// # Errors
    /// When `rps` is negative or not finite.
    pub fn new(rps: f64) -> Result<Self, ConfigError> {
        if rps.is_finite() && rps >= 0.0 {
            Ok(Self(rps))
        } else {
            Err(ConfigError::new("rate", rps, "a finite number of requests per second, at least 0"))
        }
    }

    /// `count` requests spread over `span`; zero for an empty span.
    pub fn from_count(count: u64, span: Duration) -> Self {
        if span.is_zero() { Self::ZERO } else { Self(count as f64 / span.as_secs_f64()) }
    }

    /// Requests per second.
    pub const fn per_second(self) -> f64 {
        self.0
    }
}

/// A used share of what a pod requested: 1.0 is 100 % of the request, and it may be more.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Utilization(f64);

impl Utilization {
    /// A utilisation given as a fraction of the request; negative and NaN become zero.
    pub fn from_fraction(fraction: f64) -> Self {
        Self(fraction.max(0.0))
    }

    /// The fraction of the request in use.
    pub const fn fraction(self) -> f64 {
        self.0
    }

    /// The same in percent.
    pub fn percent(self) -> f64 {
        self.0 * 100.0
    }
}

/// A probability, in [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Probability(f64);

impl Probability {
    /// # Errors
    /// When `p` is outside [0, 1] or NaN.
    pub fn new(p: f64) -> Result<Self, ConfigError> {
        if (0.0..=1.0).contains(&p) { Ok(Self(p)) } else { Err(ConfigError::new("probability", p, "0 to 1")) }
    }

    /// The plain number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Thousandths of a metric's unit, the integers that the Kubernetes metrics APIs calculate in:
/// millicores of CPU, thousandths of a byte of memory, thousandths of a custom value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(i64);

impl Milli {
    /// `thousandths` of the unit.
    pub const fn new(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// `units` whole units, rounded **up** to thousandths as a Kubernetes `Quantity` is.
    pub fn from_units_ceil(units: f64) -> Self {
        // The tiny slack keeps 0.1 cores, which no f64 is exactly, from becoming 101 millicores.
        Self((units * 1000.0 - 1e-6).ceil() as i64)
    }

    /// Thousandths of the unit.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whole units.
    pub fn units(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// A moment, counted from an origin that the driver chooses: an episode's start, or the Unix epoch.
/// Resolution is a microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The origin itself.
    pub const ZERO: Self = Self(0);

    /// `secs` whole seconds after the origin.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// The nearest microsecond to `secs` seconds after the origin.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e6).round() as i64)
    }

    /// Seconds since the origin.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Time since `earlier`; zero when `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros((self.0 - earlier.0).max(0).unsigned_abs())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0 + span.as_micros() as i64)
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0 - span.as_micros() as i64)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.as_secs_f64())
    }
}

/// A moment of the week on the service's own clock, for what happens by the clock. Resolution is a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeOfWeek(u32);

impl TimeOfWeek {
    const DAY: u32 = 86_400;
    const WEEK: u32 = 7 * Self::DAY;

    /// The first second of a Monday.
    pub const MONDAY: Self = Self(0);

    /// `secs` seconds after a Monday's midnight, before it if negative; whole weeks do not count.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs.floor() as i64).rem_euclid(i64::from(Self::WEEK)) as u32)
    }

    /// Seconds since Monday's midnight.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// The day, 0 for Monday to 6 for Sunday.
    pub const fn weekday(self) -> u32 {
        self.0 / Self::DAY
    }

    /// Seconds since midnight.
    pub const fn second_of_day(self) -> u32 {
        self.0 % Self::DAY
    }
}

impl Add<Duration> for TimeOfWeek {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(((u64::from(self.0) + span.as_secs()) % u64::from(Self::WEEK)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_round_up_and_never_go_below_zero() {
        assert_eq!(Replicas::from_ceil(2.1), Replicas::new(3));
        assert_eq!(Replicas::from_ceil(-1.0), Replicas::ZERO);
        assert_eq!(Replicas::from_ceil(f64::NAN), Replicas::ZERO);
        assert_eq!(Replicas::ONE.offset(-5), Replicas::ZERO);
    }

    #[test]
    fn rates_and_probabilities_refuse_what_they_cannot_be() {
        assert!(RequestRate::new(-1.0).is_err());
        assert!(RequestRate::new(f64::INFINITY).is_err());
        assert!(Probability::new(1.1).is_err());
        assert!(Probability::new(f64::NAN).is_err());
    }

    #[test]
    fn quantities_round_up_as_kubernetes_does() {
        assert_eq!(Milli::from_units_ceil(0.1), Milli::new(100));
        assert_eq!(Milli::from_units_ceil(0.1004), Milli::new(101));
    }

    #[test]
    fn weeks_begin_on_monday_and_go_round() {
        let sunday = TimeOfWeek::from_secs_f64(-1.0);
        assert_eq!((sunday.weekday(), sunday.second_of_day()), (6, 86_399));
        assert_eq!(sunday + Duration::from_secs(1), TimeOfWeek::MONDAY);
        assert_eq!(TimeOfWeek::from_secs_f64(8.0 * 86_400.0 + 60.9).seconds(), 86_460);
    }

    #[test]
    fn time_differences_do_not_go_negative() {
        let (a, b) = (Timestamp::from_secs(1), Timestamp::from_secs(3));
        assert_eq!(b.since(a), Duration::from_secs(2));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
