//! One file a command.

pub(crate) mod compare;
#[cfg(feature = "live")]
pub(crate) mod controller;
#[cfg(feature = "live")]
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod scenario;
pub(crate) mod shadow;
pub(crate) mod simulate;
pub(crate) mod sweep;
pub(crate) mod trace;
pub(crate) mod train;
pub(crate) mod tune;
pub(crate) mod visualize;
