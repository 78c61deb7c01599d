//! KEDA's external scaler within the process, where this build has one.

use super::ServiceError;
use crate::keda::Board;
use std::future::Future;
use std::net::SocketAddr;

/// Answers there until `end`.
#[cfg(feature = "keda")]
pub(super) async fn start(
    address: SocketAddr,
    board: Board,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.map_err(|error| super::system(&address, error))?;
    tokio::spawn(crate::keda::serve(listener, board, crate::shell::SystemClock, end));
    Ok(())
}

/// Cannot.
#[cfg(not(feature = "keda"))]
#[expect(clippy::unused_async, reason = "the same as that of a build with KEDA")]
pub(super) async fn start(
    address: SocketAddr,
    _: Board,
    _: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let missing = std::io::Error::new(std::io::ErrorKind::Unsupported, "this build has no `keda` feature");
    Err(super::system(&format!("{address}: KEDA's external scaler"), missing))
}
