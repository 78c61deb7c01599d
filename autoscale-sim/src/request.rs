//! Requests: what a client wants, the attempts it makes, and the books about them.

use autoscale_core::units::Timestamp;
use std::time::Duration;

/// One request, for tests and close looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestTrace {
    /// Which one, counted from 0 in order of arrival.
    pub ordinal: u64,
    /// When it arrived.
    pub arrived: Timestamp,
    /// Its work in seconds on an idle, warm worker.
    pub demand: Duration,
    /// Attempts made.
    pub attempts: u32,
    /// When it left the system, as its client sees it.
    pub left: Timestamp,
    /// How.
    pub end: RequestEnd,
    /// The pod that answered it, by the order of creation.
    pub pod: Option<u64>,
}

/// How a request, or an attempt at one, ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// With an answer.
    Answered,
    /// The client gave up.
    TimedOut,
    /// At once, with an error.
    Refused,
    /// Its pod died.
    Lost,
}

/// The books of the world: arrived = answered + refused + timed out + lost + in the system, always. A request
/// with several attempts is one request, which ends as its last attempt does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Requests that arrived, those of the warm-up included.
    pub arrived: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests whose client gave up.
    pub timed_out: u64,
    /// Requests lost with their pod.
    pub lost: u64,
    /// Requests whose client still waits, or waits to try again.
    pub in_system: u64,
    /// Attempts made beyond the first.
    pub retries: u64,
}

/// A request on its way. Times are seconds on the world's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) ordinal: u64,
    /// When the client first asked.
    pub(crate) first: f64,
    /// Seconds of work on an idle, warm worker.
    pub(crate) demand: f64,
    /// The current attempt, from 1.
    pub(crate) attempt: u32,
}

/// An attempt in a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) request: Request,
    /// When it reached the pod.
    pub(crate) arrived: f64,
}

/// What becomes of an attempt in a pod, as far as is known when it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// Will be answered at this time, unless the pod dies before.
    Answered { at: f64 },
    /// Its client will give up at this time, waiting or in service.
    TimedOut { at: f64 },
    /// The queue was full.
    Refused,
    /// Depends on what else arrives.
    Open,
}
