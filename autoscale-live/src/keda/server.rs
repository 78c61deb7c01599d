//! KEDA's calls, answered from the board.

use super::board::{AutoscalerRef, Board, Unanswered};
use super::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};
use super::{AUTOSCALER, METRIC, SERVICE};
use crate::shell::Clock;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use axum::serve::ListenerExt;
use futures_util::stream::{self, Stream};
use prost::Message;
use std::future::{Future, ready};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

type HttpResponse = http::Response<Body>;

#[derive(Clone)]
struct Scaler<C> {
    board: Board,
    clock: C,
    closing: watch::Receiver<bool>,
}

/// Answers until `end`, over HTTP/2 in plain text.
///
/// # Errors
/// When the listener fails.
pub async fn serve<C: Clock + Clone + Sync>(
    listener: TcpListener,
    board: Board,
    clock: C,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (close, closing) = watch::channel(false);
    let path = |call: &str| format!("/{SERVICE}/{call}");
    let router = Router::new()
        .route(&path("IsActive"), post(is_active::<C>))
        .route(&path("StreamIsActive"), post(stream_is_active::<C>))
        .route(&path("GetMetricSpec"), post(get_metric_spec))
        .route(&path("GetMetrics"), post(get_metrics::<C>))
        .fallback(async |request: Request| {
            let path = request.uri().path();
            Status::unimplemented(format!("{path}: expected a call of {SERVICE}")).into_http::<Body>()
        })
        .with_state(Scaler { board, clock, closing });
    let end = async move {
        end.await;
        // Streams would keep the server from ending.
        let _ = close.send(true);
    };
    // Small answers must not wait for one another.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

async fn is_active<C: Clock + Sync>(State(scaler): State<Scaler<C>>, request: Request) -> HttpResponse {
    unary(request, |object: ScaledObjectRef| {
        let granted = scaler.board.granted(&autoscaler(&object)?, scaler.clock.now())?;
        Ok(IsActiveResponse { result: granted.get() > 0 })
    })
    .await
}

async fn get_metric_spec(request: Request) -> HttpResponse {
    unary(request, |object: ScaledObjectRef| {
        autoscaler(&object)?;
        let spec = MetricSpec { metric_name: METRIC.to_owned(), target_size: 1, target_size_float: 1.0 };
        Ok(GetMetricSpecResponse { metric_specs: vec![spec] })
    })
    .await
}

async fn get_metrics<C: Clock + Sync>(State(scaler): State<Scaler<C>>, request: Request) -> HttpResponse {
    unary(request, |asked: GetMetricsRequest| {
        let object = asked
            .scaled_object_ref
            .ok_or_else(|| Status::invalid_argument("scaledObjectRef: missing, expected a ScaledObject"))?;
        let autoscaler = autoscaler(&object)?;
        if asked.metric_name != METRIC {
            let message = format!("metricName: {:?}, expected {METRIC}", asked.metric_name);
            return Err(Status::invalid_argument(message));
        }
        let granted = scaler.board.granted(&autoscaler, scaler.clock.now())?.get();
        let value = MetricValue {
            metric_name: METRIC.to_owned(),
            metric_value: i64::from(granted),
            metric_value_float: f64::from(granted),
        };
        Ok(GetMetricsResponse { metric_values: vec![value] })
    })
    .await
}

async fn stream_is_active<C: Clock + Sync>(
    State(scaler): State<Scaler<C>>,
    request: Request,
) -> HttpResponse {
    let service = service_fn(move |request: tonic::Request<ScaledObjectRef>| {
        let changes = autoscaler(request.get_ref()).and_then(|autoscaler| {
            scaler.board.is_active(&autoscaler)?;
            Ok(Response::new(changes(scaler.board.clone(), autoscaler, scaler.closing.clone())))
        });
        ready(changes)
    });
    Grpc::new(ProstCodec::<IsActiveResponse, ScaledObjectRef>::default())
        .server_streaming(service, request)
        .await
}

async fn unary<Q, A>(request: Request, answer: impl Fn(Q) -> Result<A, Status>) -> HttpResponse
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let service =
        service_fn(|request: tonic::Request<Q>| ready(answer(request.into_inner()).map(Response::new)));
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}

/// Whether there should be pods, whenever that changes, until `closing` or until the autoscaler is gone.
fn changes(
    board: Board,
    autoscaler: AutoscalerRef,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = Result<IsActiveResponse, Status>> + Send + 'static {
    struct Listener {
        board: Board,
        changes: watch::Receiver<()>,
        closing: watch::Receiver<bool>,
        sent: Option<bool>,
    }
    let listener = Listener { changes: board.changes(), board, closing, sent: None };
    stream::unfold(Some((listener, autoscaler)), async |listening| {
        let (mut listener, autoscaler) = listening?;
        loop {
            // Before looking, so that what changes meanwhile is looked at again.
            listener.changes.mark_unchanged();
            match listener.board.is_active(&autoscaler) {
                Err(gone) => return Some((Err(gone.into()), None)),
                Ok(Some(active)) if listener.sent != Some(active) => {
                    listener.sent = Some(active);
                    return Some((Ok(IsActiveResponse { result: active }), Some((listener, autoscaler))));
                }
                Ok(_) => {}
            }
            tokio::select! {
                _ = listener.closing.wait_for(|&closing| closing) => return None,
                _ = listener.changes.changed() => {}
            }
        }
    })
}

/// Which autoscaler a ScaledObject means.
fn autoscaler(object: &ScaledObjectRef) -> Result<AutoscalerRef, Status> {
    let bad = |field: &str, value: &str, expected: &str| {
        Status::invalid_argument(format!("{field}: {value:?}, expected {expected}"))
    };
    for (field, value) in [("name", &object.name), ("namespace", &object.namespace)] {
        if value.is_empty() {
            return Err(bad(field, value, "that of a ScaledObject"));
        }
    }
    let metadata = &object.scaler_metadata;
    // Of what is nearly right and would be passed over, the first by name.
    let nearly = metadata.keys().filter(|key| *key != AUTOSCALER);
    let nearly = nearly.filter(|key| key.to_ascii_lowercase().starts_with(AUTOSCALER)).min();
    if let Some(key) = nearly {
        return Err(bad("metadata", key, "the key `autoscaler`, with the name of a LearnedAutoscaler"));
    }
    let name = metadata.get(AUTOSCALER).unwrap_or(&object.name);
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(is_name) {
        let expected = "the name of a LearnedAutoscaler in the ScaledObject's namespace";
        return Err(bad("metadata.autoscaler", name, expected));
    }
    Ok(AutoscalerRef { namespace: object.namespace.as_str().into(), name: name.as_str().into() })
}

/// What KEDA logs. All but a wrong name may be well at the next call.
impl From<Unanswered> for Status {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unknown { .. } => Self::not_found(unanswered.to_string()),
            Unanswered::Undecided { .. } | Unanswered::Stale { .. } | Unanswered::HandsOff { .. } => {
                Self::unavailable(unanswered.to_string())
            }
        }
    }
}
