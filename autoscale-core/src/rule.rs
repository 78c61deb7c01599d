//! The ratio rule: usage over target, times pods. The only copy.

use crate::units::Replicas;
use crate::validate::{ConfigError, in_range};

/// A ratio inside the tolerance calls for no change.
///
/// As the Kubernetes controller since v1.33: `1 - down <= ratio <= 1 + up`, inclusive, and NaN is never
/// within (`replica_calculator.go`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    down: f64,
    up: f64,
}

impl Tolerance {
    /// The controller's default, 10 % either way.
    pub const DEFAULT: Self = Self { down: 0.1, up: 0.1 };

    /// Tolerances as fractions of the target.
    ///
    /// # Errors
    /// When one is negative, above 100, or NaN.
    pub fn new(down: f64, up: f64) -> Result<Self, ConfigError> {
        Ok(Self {
            down: in_range("tolerance.down", down, 0.0, 100.0)?,
            up: in_range("tolerance.up", up, 0.0, 100.0)?,
        })
    }

    /// Whether `ratio` is close enough to 1 to leave things as they are.
    pub fn contains(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// `ceil(ratio × pods)`, where `ratio` is usage over target and `pods` are those that the usage was
/// averaged over; NaN and negative ratios give zero.
pub fn ratio_rule(ratio: f64, pods: u32) -> Replicas {
    Replicas::from_ceil(ratio * f64::from(pods))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_is_inclusive_on_both_sides() {
        // 55 % of a 50 % target: with the two-sided comparison exactly 1.1 means stay.
        assert!(Tolerance::DEFAULT.contains(55.0 / 50.0));
        assert!(Tolerance::DEFAULT.contains(0.9));
        assert!(!Tolerance::DEFAULT.contains(0.899));
        assert!(!Tolerance::DEFAULT.contains(f64::NAN));
    }

    #[test]
    fn the_rule_rounds_up() {
        assert_eq!(ratio_rule(1.2, 5), Replicas::new(6));
        assert_eq!(ratio_rule(1.01, 5), Replicas::new(6));
        assert_eq!(ratio_rule(0.0, 5), Replicas::ZERO);
    }
}
