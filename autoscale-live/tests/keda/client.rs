//! KEDA's side: a gRPC client over a real connection.

use autoscale_live::keda::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, ScaledObjectRef,
};
use autoscale_live::keda::{METRIC, SERVICE};
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use std::net::SocketAddr;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Asks one server.
#[derive(Clone)]
pub(crate) struct Client(Grpc<Http<HttpConnector, Body>>);

impl Client {
    pub(crate) fn of(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Http::builder(TokioExecutor::new()).http2_only(true).build(connector);
        Self(Grpc::with_origin(http, format!("http://{address}").parse().unwrap()))
    }

    pub(crate) async fn is_active(&self, object: ScaledObjectRef) -> Result<bool, Status> {
        let answer: IsActiveResponse = self.call("IsActive", object).await?;
        Ok(answer.result)
    }

    pub(crate) async fn metric_spec(&self, object: ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        self.call("GetMetricSpec", object).await
    }

    pub(crate) async fn metrics(&self, asked: GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
        self.call("GetMetrics", asked).await
    }

    /// The one value of the one metric.
    pub(crate) async fn replicas(&self, object: ScaledObjectRef) -> Result<i64, Status> {
        let asked = GetMetricsRequest { scaled_object_ref: Some(object), metric_name: METRIC.to_owned() };
        let values = self.metrics(asked).await?.metric_values;
        let [value] = values.as_slice() else { panic!("{values:?}") };
        assert_eq!(value.metric_name, METRIC);
        assert!((value.metric_value_float - value.metric_value as f64).abs() < 1e-9);
        Ok(value.metric_value)
    }

    pub(crate) async fn stream(
        &self,
        object: ScaledObjectRef,
    ) -> Result<Streaming<IsActiveResponse>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::default();
        let answer = grpc.server_streaming(Request::new(object), path("StreamIsActive"), codec).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn call<Q, A>(&self, call: &str, asked: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.unary(Request::new(asked), path(call), codec).await?.into_inner())
    }
}

fn path(call: &str) -> PathAndQuery {
    format!("/{SERVICE}/{call}").parse().unwrap()
}

/// A ScaledObject of the namespace `shop`.
pub(crate) fn object(name: &str, metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        scaler_metadata: metadata.collect(),
    }
}
