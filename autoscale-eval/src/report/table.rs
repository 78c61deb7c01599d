//! A table before anybody decided how it is written.

use crate::verdict::Verdict;

pub(super) struct Table {
    pub(super) caption: String,
    /// The first is that of the rows' names.
    pub(super) head: Vec<Head>,
    pub(super) rows: Vec<Row>,
}

/// The head of a column, in up to two lines.
pub(super) struct Head {
    pub(super) name: String,
    /// Smaller, below it: a unit, a figure's name.
    pub(super) below: String,
}

pub(super) struct Row {
    pub(super) name: String,
    /// Smaller, below it: what is special about it.
    pub(super) below: String,
    pub(super) cells: Vec<Shown>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) value: String,
    /// What stands below the value: a difference, and what it means.
    pub(super) below: Option<(Option<Verdict>, String)>,
}

impl Head {
    pub(super) fn new(name: impl Into<String>, below: impl Into<String>) -> Self {
        Self { name: name.into(), below: below.into() }
    }
}

impl Shown {
    pub(super) fn text(value: impl Into<String>) -> Self {
        Self { value: value.into(), below: None }
    }
}

/// The sign of a verdict, which needs no colour.
pub(super) fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "▲",
        Verdict::Worse => "▼",
        Verdict::WithinNoise => "·",
        Verdict::Identical => "=",
    }
}
