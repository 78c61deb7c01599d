//! One file a command.

pub(crate) mod evaluate;
pub(crate) mod scenario;
pub(crate) mod trace;
pub(crate) mod train;
