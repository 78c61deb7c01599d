//! An answer of Prometheus' query API, read series by series: of ten thousand only the values are kept.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What an answer says beside its series.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Why there are none.
    pub(super) error: Option<String>,
    /// What is wrong with those that there are.
    pub(super) warnings: Vec<String>,
    /// `vector`, `matrix`, `scalar` or `string`.
    pub(super) result_type: Option<String>,
}

/// One series of an instant vector.
#[derive(Deserialize)]
pub(super) struct Series<'a> {
    #[serde(borrow)]
    metric: Labels<'a>,
    /// Moment and value; that of a range has others.
    #[serde(borrow, default)]
    value: Option<(f64, Text<'a>)>,
}

/// An element of `result`: those of a scalar are none.
enum Element<'a> {
    Series(Series<'a>),
    Other,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Series<'_> {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.metric.0.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_ref())
    }

    /// Its value, if it has one and that is a number.
    pub(super) fn value(&self) -> Option<f64> {
        self.value.as_ref().and_then(|(_, Text(value))| value.parse().ok())
    }
}

/// Reads an answer and shows each series of an instant vector to `take`.
///
/// # Errors
/// When it is no such answer, which says where.
pub(super) fn read(body: &[u8], mut take: impl FnMut(&Series<'_>)) -> serde_json::Result<Said> {
    let mut said = Said::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_map(Answer { said: &mut said, take: &mut take })?;
    json.end()?;
    Ok(said)
}

/// `{"status": …, "data": …, "error": …, "warnings": …}`, and `data` itself: `{"resultType": …, "result": …}`.
struct Answer<'a> {
    said: &'a mut Said,
    take: &'a mut dyn FnMut(&Series<'_>),
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of Prometheus")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "data" => map.next_value_seed(Nested(Answer { said: self.said, take: self.take }))?,
                "error" => self.said.error = map.next_value()?,
                "warnings" => self.said.warnings = map.next_value()?,
                "resultType" => self.said.result_type = map.next_value()?,
                "result" => map.next_value_seed(Each(self.take))?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

struct Nested<'a>(Answer<'a>);

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self.0)
    }
}

struct Each<'a>(&'a mut dyn FnMut(&Series<'_>));

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<Element<'_>>()? {
            let Element::Series(series) = element else { continue };
            match (&series.value, series.value()) {
                (Some((_, Text(value))), None) => {
                    return Err(A::Error::custom(format!("{value:?} is no number")));
                }
                (None, _) => {}
                (Some(_), Some(_)) => (self.0)(&series),
            }
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Element<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series, or a part of a scalar")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Series::deserialize(MapAccessDeserializer::new(map)).map(Element::Series)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Element::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Element::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Element::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Pairs).map(Labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Values = Vec<(Option<String>, f64)>;

    fn seen(body: &str) -> serde_json::Result<(Said, Values)> {
        let mut all = Vec::new();
        let said = read(body.as_bytes(), |series| {
            all.push((series.label("app").map(str::to_owned), series.value().unwrap()));
        })?;
        Ok((said, all))
    }

    #[test]
    fn series_are_read_one_by_one() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"zone":"a","app":"we\u0062"},"value":[1.5,"2"]},{"metric":{},"value":[1,"NaN"]}
        ],"stats":{"x":[1]}},"warnings":["one"]}"#;
        let (said, all) = seen(body).unwrap();
        assert_eq!((said.warnings, said.error), (vec!["one".to_owned()], None));
        assert_eq!(all[0], (Some("web".to_owned()), 2.0));
        assert!(all[1].0.is_none() && all[1].1.is_nan());
    }

    #[test]
    fn what_is_no_vector_or_no_answer_is_told_apart() {
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#;
        let (said, all) = seen(scalar).unwrap();
        assert_eq!((said.result_type.as_deref(), all.len()), (Some("scalar"), 0));
        let range = r#"{"data":{"result":[{"metric":{},"values":[[1,"2"]]}],"resultType":"matrix"}}"#;
        let (said, all) = seen(range).unwrap();
        assert_eq!((said.result_type.as_deref(), all.len()), (Some("matrix"), 0));
        let (said, _) = seen(r#"{"status":"error","errorType":"bad_data","error":"no"}"#).unwrap();
        assert_eq!(said.error.as_deref(), Some("no"));
        for (bad, part) in [
            ("later", "expected value"),
            ("[1]", "an answer of Prometheus"),
            (
                r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}"#,
                "\"x\" is no number",
            ),
            (r#"{"data":{"resultType":"vector","result":[{"metric":{"#, "EOF"),
            (r#"{"status":"success"} more"#, "trailing"),
        ] {
            let told = seen(bad).unwrap_err().to_string();
            assert!(told.contains(part), "{bad}: {told}");
        }
    }
}
