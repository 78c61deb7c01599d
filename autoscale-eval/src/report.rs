//! Results as people and programs read them.
//!
//! Of two or a few policies in one scenario: [`text_table`], [`policy_table`] and [`write_csv`]. Of an
//! [`Analysis`]: [`text`] for the terminal, [`differences`] as tidy CSV, [`markdown`], and [`html`] that needs no other
//! file. The latter two show the same [`Document`]; equal documents give equal bytes.

mod content;
pub mod differences;
pub mod html;
pub mod markdown;
mod paired;
mod table;
pub mod text;

pub use paired::{policy_table, text_table, write_csv};

use crate::analysis::Analysis;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// What is said.
    pub analysis: &'a Analysis,
    /// How each policy was asked for, in the order of [`Analysis::policies`]; an empty one is shown as a dash.
    pub specs: &'a [String],
    /// In the order in which they are shown.
    pub pictures: &'a [Picture],
    /// How to get the same again: command, commit, seeds. Nothing that differs from one run of these to the next.
    pub provenance: &'a [String],
}

/// A picture of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The file, relative to the report.
    pub file: String,
    /// Its heading.
    pub title: String,
    /// What is to be seen, and how to read it.
    pub caption: String,
    /// The position of the scenario under which it is shown; `None` for one of all scenarios.
    pub scenario: Option<usize>,
    /// The file's content.
    pub png: Vec<u8>,
}

#[cfg(test)]
mod tests;
