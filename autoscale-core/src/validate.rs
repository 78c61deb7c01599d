//! Raw configuration is checked once; only checked configuration runs.

use std::fmt::Display;
use thiserror::Error;

/// A configured value that cannot be used: which field, what it was, what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {value} is not allowed; expected {expected}")]
pub struct ConfigError {
    /// Path of the field, dots between levels: `service.demand.mean`.
    pub field: String,
    /// The value as it was given.
    pub value: String,
    /// The allowed range or set, in words.
    pub expected: String,
}

impl ConfigError {
    /// An error for `field`, which held `value` where `expected` was needed.
    pub fn new(field: impl Into<String>, value: impl Display, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.to_string(), expected: expected.into() }
    }

    /// The same error seen from one level further out: `field` becomes `parent.field`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// A raw configuration that turns into one that is known to be usable.
pub trait Validate {
    /// What a valid configuration becomes.
    type Checked;

    /// # Errors
    /// Names the first field whose value is out of range.
    fn validate(self) -> Result<Self::Checked, ConfigError>;
}

/// Checks that `value` lies in `low..=high` (so NaN never does).
///
/// # Errors
/// Names `field`, the value and the range.
pub fn in_range(field: &str, value: f64, low: f64, high: f64) -> Result<f64, ConfigError> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::new(field, value, format!("{low} to {high}")))
    }
}

/// Checks that an integer lies in `low..=high`.
///
/// # Errors
/// Names `field`, the value and the range.
pub fn count_in_range(field: &str, value: u64, low: u64, high: u64) -> Result<u64, ConfigError> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::new(field, value, format!("{low} to {high}")))
    }
}
