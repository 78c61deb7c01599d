//! The messages of KEDA's `externalscaler.proto` (kedacore/keda, `pkg/scalers/externalscaler`; the same in v2.17 and
//! v2.20): its names and numbers, written by hand so that no protocol compiler is needed.
//!
//! Numbers come twice, as an integer and as a double; KEDA reads the double where it is above zero.

use prost::Message;
use std::collections::HashMap;

/// Which ScaledObject asks.
#[derive(Clone, PartialEq, Message)]
pub struct ScaledObjectRef {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// `metadata` of its trigger.
    #[prost(map = "string, string", tag = "3")]
    pub scaler_metadata: HashMap<String, String>,
}

/// Whether there should be pods at all.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct IsActiveResponse {
    /// Yes or no.
    #[prost(bool, tag = "1")]
    pub result: bool,
}

/// What the HPA is to be made of.
#[derive(Clone, PartialEq, Message)]
pub struct GetMetricSpecResponse {
    /// One for each metric.
    #[prost(message, repeated, tag = "1")]
    pub metric_specs: Vec<MetricSpec>,
}

/// A metric and its target.
#[derive(Clone, PartialEq, Message)]
pub struct MetricSpec {
    /// Its name.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// The target for a pod.
    #[prost(int64, tag = "2")]
    pub target_size: i64,
    /// The same.
    #[prost(double, tag = "3")]
    pub target_size_float: f64,
}

/// Which value is asked for.
#[derive(Clone, PartialEq, Message)]
pub struct GetMetricsRequest {
    /// Who asks.
    #[prost(message, optional, tag = "1")]
    pub scaled_object_ref: Option<ScaledObjectRef>,
    /// The metric's name.
    #[prost(string, tag = "2")]
    pub metric_name: String,
}

/// Values.
#[derive(Clone, PartialEq, Message)]
pub struct GetMetricsResponse {
    /// One for each metric.
    #[prost(message, repeated, tag = "1")]
    pub metric_values: Vec<MetricValue>,
}

/// A value.
#[derive(Clone, PartialEq, Message)]
pub struct MetricValue {
    /// The metric's name.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// For all pods together.
    #[prost(int64, tag = "2")]
    pub metric_value: i64,
    /// The same.
    #[prost(double, tag = "3")]
    pub metric_value_float: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protocol buffers by hand: a field is `number << 3 | type`, type 0 a number, 1 eight bytes, 2 a length and bytes.
    #[test]
    fn fields_have_kedas_numbers_and_types() {
        let asks = GetMetricsRequest {
            scaled_object_ref: Some(ScaledObjectRef {
                name: "web".into(),
                namespace: "shop".into(),
                scaler_metadata: [("k".to_owned(), "v".to_owned())].into(),
            }),
            metric_name: "m".into(),
        };
        let object = b"\x0a\x03web\x12\x04shop\x1a\x06\x0a\x01k\x12\x01v";
        assert_eq!(asks.encode_to_vec(), [b"\x0a\x13".as_slice(), object, b"\x12\x01m"].concat());
        let value = MetricValue { metric_name: "m".into(), metric_value: 300, metric_value_float: 1.0 };
        let bytes = b"\x0a\x01m\x10\xac\x02\x19\0\0\0\0\0\0\xf0\x3f".as_slice();
        assert_eq!(value.encode_to_vec(), bytes);
        let all = GetMetricsResponse { metric_values: vec![value] };
        assert_eq!(all.encode_to_vec(), [b"\x0a\x0f", bytes].concat());
        let spec = MetricSpec { metric_name: "m".into(), target_size: 300, target_size_float: 1.0 };
        assert_eq!(spec.encode_to_vec(), bytes);
        let all = GetMetricSpecResponse { metric_specs: vec![spec] };
        assert_eq!(all.encode_to_vec(), [b"\x0a\x0f", bytes].concat());
        assert_eq!(IsActiveResponse { result: true }.encode_to_vec(), b"\x08\x01");
    }
}
