//! YAML that people write: each value keeps its line, and is held against the schema of what it is to become, so that an error
//! names line, field, value and what would be allowed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::{Spanned, UserMessageFormatter};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {}{reason}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct YamlError {
    /// The line, from 1; of what contains it where something is missing.
    pub line: u64,
    /// Path of the field, `spec.policy.model.path`; empty where it is no field's fault.
    pub field: String,
    /// What is wrong, and what was expected.
    pub reason: String,
}

/// The schema of a file of these.
pub(crate) fn schema_of<T: JsonSchema>() -> JSONSchemaProps {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    serde_json::from_value(schema.to_value()).expect("a schema of a type of ours")
}

/// A value, and the line that it is on.
pub(crate) struct Node {
    line: u64,
    content: Content,
}

enum Content {
    Scalar(Value),
    Sequence(Vec<Node>),
    /// In the order of the file; a value's line is that of its key.
    Mapping(Vec<(String, Node)>),
}

/// The documents of a file; empty ones are none.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    // The file may hold thousands, and is trusted as far as the flag that names it.
    let options = serde_saphyr::options! { budget: None };
    let found: Result<Vec<Spanned<Content>>, _> = serde_saphyr::from_multiple_with_options(text, options);
    let found = found.map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let bare = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        // It ends with its place.
        let reason = bare.rsplit_once(" at line ").map_or(bare.as_str(), |(reason, _)| reason);
        YamlError { line, field: String::new(), reason: reason.to_owned() }
    })?;
    Ok(found.into_iter().map(Node::from).collect())
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { line: spanned.defined.line(), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                let mut found = Vec::new();
                while let Some(item) = items.next_element::<Spanned<Content>>()? {
                    found.push(item.into());
                }
                Ok(Content::Sequence(found))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
                let mut found = Vec::new();
                while let Some(key) = entries.next_key::<Spanned<String>>()? {
                    let Spanned { value, .. } = entries.next_value::<Spanned<Content>>()?;
                    found.push((key.value, Node { line: key.defined.line(), content: value }));
                }
                Ok(Content::Mapping(found))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Node {
    /// What the value is to become, once it fits the schema of it.
    pub(crate) fn read<T: DeserializeOwned>(&self, schema: &JSONSchemaProps) -> Result<T, YamlError> {
        self.check(schema, "")?;
        serde_path_to_error::deserialize(self.json()).map_err(|error| {
            let field = error.path().to_string();
            self.error(&field, error.into_inner().to_string())
        })
    }

    /// An error about this field, or about what is to contain it.
    pub(crate) fn error(&self, field: &str, reason: impl Into<String>) -> YamlError {
        let mut at = self;
        for step in field.split(['.', '[']) {
            let inner = match (&at.content, step.strip_suffix(']').and_then(|index| index.parse().ok())) {
                (Content::Mapping(entries), None) => {
                    entries.iter().find(|(key, _)| key == step).map(|(_, node)| node)
                }
                (Content::Sequence(items), Some::<usize>(index)) => items.get(index),
                _ => None,
            };
            let Some(inner) = inner else { break };
            at = inner;
        }
        YamlError { line: at.line, field: field.to_owned(), reason: reason.into() }
    }

    /// The parts of what `kubectl get -o yaml` shows of several, or itself.
    pub(crate) fn unwrapped(self) -> Vec<Self> {
        let Content::Mapping(entries) = &self.content else { return vec![self] };
        let is_list = |(key, node): &(String, Self)| {
            key == "kind" && matches!(&node.content, Content::Scalar(kind) if kind == "List")
        };
        if !entries.iter().any(is_list) {
            return vec![self];
        }
        let Content::Mapping(entries) = self.content else { return Vec::new() };
        let items = entries.into_iter().filter(|(key, _)| key == "items");
        let items =
            items.filter_map(
                |(_, node)| if let Content::Sequence(items) = node.content { Some(items) } else { None },
            );
        items.flatten().collect()
    }

    /// Whether it says nothing, which is as if it were not there.
    fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    fn json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => items.iter().map(Self::json).collect(),
            Content::Mapping(entries) => {
                let said = entries.iter().filter(|(_, node)| !node.is_null());
                said.map(|(key, node)| (key.clone(), node.json())).collect()
            }
        }
    }

    /// Holds it against a structural schema, as the API server does.
    fn check(&self, schema: &JSONSchemaProps, path: &str) -> Result<(), YamlError> {
        let refused = |reason: String| YamlError { line: self.line, field: path.to_owned(), reason };
        let unexpected = || refused(format!("{self} is not allowed; expected {}", expected(schema)));
        match &self.content {
            _ if schema.one_of.is_some() => self.check_alternatives(schema, path),
            Content::Scalar(value) if fits(value, schema) => Ok(()),
            Content::Sequence(items) if is(schema, "array") => {
                let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items else { return Ok(()) };
                let mut items = items.iter().enumerate();
                items.try_for_each(|(k, item)| item.check(each, &format!("{path}[{k}]")))
            }
            Content::Mapping(entries) if is(schema, "object") => {
                check_fields(entries, schema, path)?;
                let missing = |field: &&String| !entries.iter().any(|(key, _)| key == *field);
                match schema.required.iter().flatten().find(missing) {
                    Some(field) => {
                        let inner = schema.properties.as_ref().and_then(|all| all.get(field));
                        let expected =
                            inner.map_or_else(String::new, |inner| format!("; expected {}", expected(inner)));
                        Err(YamlError {
                            field: within(path, field),
                            ..refused(format!("is missing{expected}"))
                        })
                    }
                    None => Ok(()),
                }
            }
            _ => Err(unexpected()),
        }
    }

    /// One of several words, or an object with one of several fields.
    fn check_alternatives(&self, schema: &JSONSchemaProps, path: &str) -> Result<(), YamlError> {
        let branches = || schema.one_of.iter().flatten();
        let unexpected = YamlError {
            line: self.line,
            field: path.to_owned(),
            reason: format!("{self} is not allowed; expected {}", expected(schema)),
        };
        match &self.content {
            Content::Scalar(value)
                if branches().any(|branch| branch.enum_.is_some() && fits(value, branch)) =>
            {
                Ok(())
            }
            Content::Mapping(entries) => {
                let mut said = entries.iter().filter(|(_, node)| !node.is_null());
                let (Some((only, _)), None) = (said.next(), said.next()) else { return Err(unexpected) };
                let named = |branch: &&JSONSchemaProps| branch.required.iter().flatten().eq([only]);
                let branch = branches().find(named).ok_or(unexpected)?;
                // Its fields are there, or beside the alternatives.
                let inner = if branch.properties.is_some() { branch } else { schema };
                check_fields(entries, inner, path)
            }
            _ => Err(unexpected),
        }
    }
}

fn check_fields(entries: &[(String, Node)], schema: &JSONSchemaProps, path: &str) -> Result<(), YamlError> {
    let none = BTreeMap::new();
    let known = schema.properties.as_ref().unwrap_or(&none);
    let others = schema.additional_properties.as_ref();
    let open = known.is_empty() || schema.x_kubernetes_preserve_unknown_fields == Some(true);
    for (key, node) in entries {
        let field = within(path, &shown(key));
        let required = schema.required.iter().flatten().any(|required| required == key);
        match (known.get(key), others) {
            (Some(_), _) if node.is_null() && !required => {}
            (Some(inner), _) => node.check(inner, &field)?,
            (None, Some(JSONSchemaPropsOrBool::Schema(inner))) => node.check(inner, &field)?,
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            _ if open => {}
            _ => {
                let reason = format!("is no field; expected {}", either(known.keys()));
                return Err(YamlError { line: node.line, field, reason });
            }
        }
    }
    Ok(())
}

/// The value as it is said in an error.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Scalar(Value::Null) => f.write_str("nothing"),
            Content::Scalar(value) => f.write_str(&cut(&value.to_string())),
            Content::Sequence(_) => f.write_str("a list"),
            Content::Mapping(entries) if entries.is_empty() => f.write_str("{}"),
            Content::Mapping(entries) => {
                write!(f, "an object of {}", cut(&listed(entries.iter().map(|(key, _)| shown(key)), "and")))
            }
        }
    }
}

/// A key in a message: without what a terminal would obey.
fn shown(key: &str) -> String {
    cut(&key.escape_debug().to_string())
}

/// Of a length that a line has room for.
fn cut(text: &str) -> String {
    const ROOM: usize = 80;
    let end = text.char_indices().nth(ROOM).map(|(end, _)| end);
    end.map_or_else(|| text.to_owned(), |end| format!("{}…", &text[..end]))
}

fn within(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn is(schema: &JSONSchemaProps, kind: &str) -> bool {
    let either = schema.x_kubernetes_int_or_string == Some(true);
    schema.type_.as_deref().map_or(!either, |of| of == kind)
}

fn fits(value: &Value, schema: &JSONSchemaProps) -> bool {
    if let Some(words) = &schema.enum_ {
        return words.iter().any(|word| word.0 == *value);
    }
    let either = schema.x_kubernetes_int_or_string == Some(true);
    match value {
        Value::Number(number) => {
            let whole = number.is_u64() || number.is_i64();
            let of_kind = is(schema, "number") || whole && (either || is(schema, "integer"));
            let value = number.as_f64().unwrap_or(f64::NAN);
            of_kind
                && schema.minimum.is_none_or(|low| value >= low)
                && schema.maximum.is_none_or(|high| value <= high)
        }
        Value::String(text) => {
            let long_enough = schema.min_length.is_none_or(|least| text.chars().count() as i64 >= least);
            (either || is(schema, "string")) && long_enough
        }
        Value::Bool(_) => is(schema, "boolean"),
        _ => false,
    }
}

/// What a schema allows, in words.
fn expected(schema: &JSONSchemaProps) -> String {
    if let Some(words) = &schema.enum_ {
        return either(words.iter().filter_map(|word| word.0.as_str()));
    }
    if let Some(branches) = &schema.one_of {
        let word = |branch: &JSONSchemaProps| {
            let words = branch.enum_.iter().flatten().filter_map(|word| Some(word.0.as_str()?.to_owned()));
            words.chain(branch.required.iter().flatten().cloned()).collect::<Vec<_>>()
        };
        return either(branches.iter().flat_map(word));
    }
    let number = |what: &str| match (schema.minimum, schema.maximum) {
        (Some(low), Some(high)) => format!("{what} of {low} to {high}"),
        (Some(low), None) => format!("{what} of at least {low}"),
        _ => what.to_owned(),
    };
    match schema.type_.as_deref() {
        Some("integer") => number("a whole number"),
        Some("number") => number("a number"),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("object") => match &schema.properties {
            Some(fields) if !fields.is_empty() => format!("an object of {}", listed(fields.keys(), "and")),
            _ => "an object".to_owned(),
        },
        Some("string") if schema.min_length.is_some() => "a text that is not empty".to_owned(),
        Some("string") => "a text".to_owned(),
        _ => "a whole number or a text".to_owned(),
    }
}

fn either<S: ToString>(words: impl IntoIterator<Item = S>) -> String {
    listed(words, "or")
}

fn listed<S: ToString>(words: impl IntoIterator<Item = S>, last: &str) -> String {
    let mut words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    match (words.pop(), words.is_empty()) {
        (Some(word), false) => format!("{} {last} {word}", words.join(", ")),
        (word, _) => word.unwrap_or_default(),
    }
}
