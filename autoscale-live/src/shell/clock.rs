//! The one clock.

use autoscale_core::units::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time since the Unix epoch.
pub trait Clock: Send + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is as good as one that stands at it.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO + since
    }
}
