//! Writes `spec.replicas` by way of the `scale` subresource, and nothing else.
//!
//! Objects of the group `apps` are written by server-side apply: the number then belongs to our field manager, and another
//! one that applies another number gets a conflict, as we do. Whoever merely updated it once (a person's `kubectl scale`, an
//! HPA that is gone) holds it too in the eyes of the API server, without any wish to keep it so; from those it is taken,
//! and from one that applies it only where the target is to be taken over.
//!
//! For custom kinds the API server knows no server-side apply of `scale`. They are read and replaced, if nobody has changed
//! them meanwhile.

use super::TargetRef;
use super::kubernetes::{ANSWER_WITHIN, FIELD_MANAGER, Kinds, cut, in_apps, late, words};
use super::lease::Term;
use crate::controller::{Ownership, WriteFailure};
use crate::shell::{Clock, Scaler, SystemClock};
use autoscale_core::units::Replicas;
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::response::StatusCause;
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

/// A request as the client library makes it.
type Plain = http::Request<Vec<u8>>;

/// See the [module](self).
pub struct Executor {
    client: Client,
    kinds: Kinds,
    window: Duration,
    turns: Arc<Semaphore>,
    taken_over: RwLock<BTreeSet<TargetRef>>,
    term: Term,
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
            term: Term::for_ever(),
        }
    }

    /// The same, which writes during this term alone.
    #[must_use]
    pub fn during(self, term: Term) -> Self {
        Self { term, ..self }
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
    pub async fn scale(&self, target: &TargetRef, from: Replicas, to: Replicas) -> Result<(), WriteFailure> {
        self.turn().await;
        if !self.term.holds(SystemClock.now()) {
            return Err(WriteFailure::Failed("the Lease has run out meanwhile".into()));
        }
        let write = async {
            let resource =
                self.kinds.resource(target).await.map_err(|e| WriteFailure::Failed(e.to_string().into()))?;
            let objects = Request::new(DynamicObject::url_path(&resource, Some(&target.namespace)));
            if in_apps(target) {
                self.apply(&objects, target, to).await
            } else {
                self.replace(&objects, target, from, to).await
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, write).await.unwrap_or_else(|_| Err(WriteFailure::Failed(late())))
    }

    async fn apply(&self, objects: &Request, target: &TargetRef, to: Replicas) -> Result<(), WriteFailure> {
        let scale = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": { "name": &target.name, "namespace": &target.namespace },
            "spec": { "replicas": to },
        });
        let patch = Patch::Apply(&scale);
        let send = async |force| {
            let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
            self.send(objects.patch_subresource("scale", &target.name, &params, &patch)).await
        };
        let taken_over = self.taken_over.read().unwrap_or_else(PoisonError::into_inner).contains(target);
        match send(taken_over).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is_by_updates_alone() => {
                send(true).await.map(drop).map_err(Refusal::meaning)
            }
            Err(refusal) => Err(refusal.meaning()),
        }
    }

    async fn replace(
        &self,
        objects: &Request,
        target: &TargetRef,
        from: Replicas,
        to: Replicas,
    ) -> Result<(), WriteFailure> {
        let body =
            self.send(objects.get_subresource("scale", &target.name)).await.map_err(Refusal::meaning)?;
        let unreadable = |e: serde_json::Error| WriteFailure::Failed(cut(&e.to_string()));
        let mut scale: Scale = serde_json::from_slice(&body).map_err(unreadable)?;
        let spec = scale.spec.get_or_insert_default();
        if spec.replicas.unwrap_or(0) != count(from) {
            return Err(WriteFailure::Conflict);
        }
        spec.replicas = Some(count(to));
        // It carries the version that was read.
        let body = serde_json::to_vec(&scale).map_err(unreadable)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let replaced = self.send(objects.replace_subresource("scale", &target.name, &params, body)).await;
        replaced.map(drop).map_err(Refusal::meaning)
    }

    /// The body of an answer that is a success.
    async fn send<E: std::fmt::Display>(&self, request: Result<Plain, E>) -> Result<Vec<u8>, Refusal> {
        let request = request.map_err(|e| Refusal::Unsent(cut(&e.to_string())))?;
        let unsent = |e: kube::Error| Refusal::Unsent(words(&e));
        let answer = self.client.send(request.map(Body::from)).await.map_err(unsent)?;
        let (code, success) = (answer.status().as_u16(), answer.status().is_success());
        // The header says it where a proxy or the server's own flow control answers, which send no Status.
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body = answer.into_body().collect_bytes().await.map_err(unsent)?.to_vec();
        if success { Ok(body) } else { Err(Refusal::Answered { code, retry_after, body }) }
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

impl Scaler for Arc<Executor> {
    async fn scale(&self, target: TargetRef, from: Replicas, to: Replicas) -> Result<(), WriteFailure> {
        Executor::scale(self, &target, from, to).await
    }
}

/// As Kubernetes counts.
fn count(replicas: Replicas) -> i32 {
    i32::try_from(replicas.get()).unwrap_or(i32::MAX)
}

/// Why there is no success.
enum Refusal {
    /// The server did not answer, for this reason.
    Unsent(Arc<str>),
    Answered {
        code: u16,
        retry_after: Option<Duration>,
        body: Vec<u8>,
    },
}

impl Refusal {
    fn meaning(self) -> WriteFailure {
        let (code, retry_after, body) = match self {
            Self::Unsent(words) => return WriteFailure::Failed(words),
            Self::Answered { code, retry_after, body } => (code, retry_after, body),
        };
        let status = serde_json::from_slice::<Status>(&body).ok();
        match code {
            409 => WriteFailure::Conflict,
            429 => {
                let stated = status.and_then(|s| s.details).map(|d| d.retry_after_seconds).filter(|&s| s > 0);
                let stated = retry_after.or(stated.map(|seconds| Duration::from_secs(seconds.into())));
                WriteFailure::Busy(stated.unwrap_or(BUSY).clamp(BUSY, LONGEST_BUSY))
            }
            _ => {
                let said = status.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), |s| s.message);
                WriteFailure::Failed(cut(&format!("{said} ({code})")))
            }
        }
    }

    /// Whether all who stand against an apply have updated the field and none applies it. The first apply to a `scale`
    /// meets such a one at any rate: an object whose count nobody has set stands for itself, as `before-first-apply`.
    fn is_by_updates_alone(&self) -> bool {
        let Self::Answered { code: 409, body, .. } = self else { return false };
        let status = serde_json::from_slice::<Status>(body).ok();
        let causes =
            status.and_then(|status| status.details).map(|details| details.causes).unwrap_or_default();
        // `conflict with "NAME"`, then perhaps a subresource, and of an update alone `using VERSION`.
        let update =
            |message: &str| message.rsplit_once('"').is_some_and(|(_, rest)| rest.starts_with(" using "));
        let updates = |cause: &StatusCause| cause.reason == "FieldManagerConflict" && update(&cause.message);
        !causes.is_empty() && causes.iter().all(updates)
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

    fn answer(code: u16, retry_after: Option<u64>, body: &str) -> Refusal {
        let retry_after = retry_after.map(Duration::from_secs);
        Refusal::Answered { code, retry_after, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_busy_server_is_believed_within_reason() {
        let body = r#"{"kind":"Status","status":"Failure","message":"busy","code":429,"details":{"retryAfterSeconds":7}}"#;
        let busy = |seconds| WriteFailure::Busy(Duration::from_secs(seconds));
        assert_eq!(answer(429, None, body).meaning(), busy(7));
        assert_eq!(answer(429, Some(3), "Too many requests").meaning(), busy(3));
        assert_eq!(answer(429, None, "").meaning(), busy(1));
        assert_eq!(answer(429, Some(90_000), "").meaning(), busy(300));
    }

    #[test]
    fn other_refusals_keep_the_servers_words() {
        let failed = |words: &str| WriteFailure::Failed(words.into());
        let body = r#"{"kind":"Status","message":"deployments.apps \"web\" not found","code":404}"#;
        assert_eq!(answer(404, None, body).meaning(), failed("deployments.apps \"web\" not found (404)"));
        assert_eq!(answer(502, None, "<h1>Bad\ngateway").meaning(), failed("<h1>Bad gateway (502)"));
        assert_eq!(answer(409, None, "").meaning(), WriteFailure::Conflict);
    }

    #[test]
    fn managers_that_apply_are_told_from_those_that_update() {
        let conflict = |messages: &[&str]| {
            let cause = |message: &&str| json!({ "reason": "FieldManagerConflict", "message": message });
            let causes: Vec<_> = messages.iter().map(cause).collect();
            answer(409, None, &json!({ "code": 409, "details": { "causes": causes } }).to_string())
        };
        let nobody = r#"conflict with "before-first-apply" with subresource "scale" using autoscaling/v1"#;
        let hand =
            r#"conflict with "kubectl" with subresource "scale" using apps/v1 at 2026-03-01T10:00:00Z"#;
        assert!(conflict(&[nobody, hand]).is_by_updates_alone());
        assert!(!conflict(&[nobody, r#"conflict with "helm""#]).is_by_updates_alone());
        assert!(!conflict(&[r#"conflict with "a\" using " with subresource "scale""#]).is_by_updates_alone());
        assert!(!conflict(&[]).is_by_updates_alone());
        assert!(!answer(409, None, "the object has been modified").is_by_updates_alone());
    }
}
