//! Writes `spec.replicas`, by server-side apply of the `scale` subresource, and nothing else.
//!
//! What is applied belongs to its field manager: another one that wants another number gets a conflict, and so do we. Only
//! where a target is to be taken over is the field taken from whoever holds it.

use super::TargetRef;
use super::kubernetes::{ANSWER_WITHIN, FIELD_MANAGER, Kinds, cut, late, words};
use crate::controller::{Ownership, WriteFailure};
use crate::shell::Scaler;
use autoscale_core::units::Replicas;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::{DynamicObject, Request, Resource, Status};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long to stay away where a busy server does not say.
const BUSY: Duration = Duration::from_secs(1);
/// A server that wants to be left alone for longer is asked again after this.
const LONGEST_BUSY: Duration = Duration::from_secs(300);

/// At most so many writes begin within any `window`; the rest wait their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimit {
    /// The number of writes.
    pub writes: u32,
    /// The time that they may take up.
    pub window: Duration,
}

impl Default for WriteLimit {
    /// 100 writes in 5 s: 20 a second, in bursts of up to 100.
    fn default() -> Self {
        Self { writes: 100, window: Duration::from_secs(5) }
    }
}

/// See the [module](self).
pub struct Executor {
    client: Client,
    kinds: Kinds,
    window: Duration,
    turns: Arc<Semaphore>,
    taken_over: RwLock<BTreeSet<TargetRef>>,
}

impl Executor {
    /// Writes by way of a client from [`connect`](super::kubernetes::connect), and respects all owners until it is told
    /// otherwise.
    pub fn new(client: Client, limit: WriteLimit) -> Self {
        Self {
            kinds: Kinds::new(client.clone()),
            client,
            window: limit.window,
            turns: Arc::new(Semaphore::new(limit.writes.max(1) as usize)),
            taken_over: RwLock::default(),
        }
    }

    /// Whether `spec.replicas` of this target may be taken from another manager.
    pub fn respect(&self, target: &TargetRef, ownership: Ownership) {
        let mut taken_over = self.taken_over.write().unwrap_or_else(PoisonError::into_inner);
        match ownership {
            Ownership::Respect => taken_over.remove(target),
            Ownership::TakeOver => taken_over.insert(target.clone()),
        };
    }

    /// Sets `spec.replicas` of the target.
    ///
    /// # Errors
    /// When another manager owns the field, the server is busy, or anything else is in the way; then nothing has changed,
    /// except that a server that did not answer may have done it all the same.
    pub async fn scale(&self, target: &TargetRef, to: Replicas) -> Result<(), WriteFailure> {
        self.turn().await;
        let send = async {
            let resource =
                self.kinds.resource(target).await.map_err(|e| WriteFailure::Failed(e.to_string().into()))?;
            let path = DynamicObject::url_path(&resource, Some(&target.namespace));
            let scale = json!({
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": { "name": &target.name, "namespace": &target.namespace },
                "spec": { "replicas": to },
            });
            let force = self.taken_over.read().unwrap_or_else(PoisonError::into_inner).contains(target);
            let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
            let patch = Patch::Apply(&scale);
            let request = Request::new(path)
                .patch_subresource("scale", &target.name, &params, &patch)
                .map_err(|e| WriteFailure::Failed(cut(&e.to_string())))?;
            let answer = self.client.send(request.map(Body::from)).await.map_err(failed)?;
            if answer.status().is_success() {
                return Ok(());
            }
            let code = answer.status().as_u16();
            // The header says it where a proxy or the server's own flow control answers, which send no Status.
            let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let body = answer.into_body().collect_bytes().await.map_err(failed)?;
            Err(refusal(code, retry_after, &body))
        };
        tokio::time::timeout(ANSWER_WITHIN, send).await.unwrap_or_else(|_| Err(WriteFailure::Failed(late())))
    }

    /// Waits until a write may begin.
    async fn turn(&self) {
        // The semaphore is never closed.
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return };
        let window = self.window;
        tokio::spawn(async move {
            tokio::time::sleep(window).await;
            drop(turn);
        });
    }
}

impl Scaler for Executor {
    /// What it was before does not matter to server-side apply.
    async fn scale(&self, target: TargetRef, _from: Replicas, to: Replicas) -> Result<(), WriteFailure> {
        Executor::scale(self, &target, to).await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn failed(error: kube::Error) -> WriteFailure {
    WriteFailure::Failed(words(&error))
}

/// What an answer that is no success means.
fn refusal(code: u16, retry_after: Option<Duration>, body: &[u8]) -> WriteFailure {
    let status = serde_json::from_slice::<Status>(body).ok();
    match code {
        409 => WriteFailure::Conflict,
        429 => {
            let stated = status.and_then(|s| s.details).map(|d| d.retry_after_seconds).filter(|&s| s > 0);
            let stated = retry_after.or(stated.map(|seconds| Duration::from_secs(seconds.into())));
            WriteFailure::Busy(stated.unwrap_or(BUSY).clamp(BUSY, LONGEST_BUSY))
        }
        _ => {
            let said = status.map_or_else(|| String::from_utf8_lossy(body).into_owned(), |s| s.message);
            WriteFailure::Failed(cut(&format!("{said} ({code})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Config;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn no_more_writes_begin_within_a_window_than_may() {
        let client = super::super::kubernetes::connect(Config::new("http://127.0.0.1:1".parse().unwrap()));
        let limit = WriteLimit { writes: 2, window: Duration::from_secs(5) };
        let executor = Executor::new(client.unwrap(), limit);
        let (start, mut begun) = (Instant::now(), Vec::new());
        for _ in 0..5 {
            executor.turn().await;
            begun.push(start.elapsed().as_secs());
        }
        assert_eq!(begun, [0, 0, 5, 5, 10]);
    }

    #[test]
    fn a_busy_server_is_believed_within_reason() {
        let body = br#"{"kind":"Status","status":"Failure","message":"busy","code":429,"details":{"retryAfterSeconds":7}}"#;
        let (header, seconds) = (Some(Duration::from_secs(3)), Duration::from_secs);
        assert_eq!(refusal(429, None, body), WriteFailure::Busy(seconds(7)));
        assert_eq!(refusal(429, header, b"Too many requests"), WriteFailure::Busy(seconds(3)));
        assert_eq!(refusal(429, None, b""), WriteFailure::Busy(BUSY));
        assert_eq!(refusal(429, Some(seconds(90_000)), b""), WriteFailure::Busy(LONGEST_BUSY));
    }

    #[test]
    fn other_refusals_keep_the_servers_words() {
        let body = br#"{"kind":"Status","message":"deployments.apps \"web\" not found","code":404}"#;
        let expected = "deployments.apps \"web\" not found (404)";
        assert_eq!(refusal(404, None, body), WriteFailure::Failed(expected.into()));
        assert_eq!(
            refusal(502, None, b"<h1>Bad\ngateway"),
            WriteFailure::Failed("<h1>Bad gateway (502)".into())
        );
        assert_eq!(refusal(409, None, b""), WriteFailure::Conflict);
    }
}
