//! An analysis for the terminal: the table over all scenarios, and the verdicts.

use super::content;
use super::table::{Shown, Table, mark};
use crate::analysis::Analysis;
use std::fmt::Write;

/// The table over all scenarios, the verdict of each, the one over all, and what has to be known.
pub fn table(analysis: &Analysis) -> String {
    let mut text = lines(&content::overall(analysis));
    text.push('\n');
    let width = analysis.scenarios.iter().map(|s| s.scenario.name.chars().count()).max().unwrap_or(0);
    for scenario in &analysis.scenarios {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  {}", scenario.scenario.name, scenario.verdict);
    }
    let _ = writeln!(text, "\n{}", analysis.verdict);
    for note in analysis.notes.iter().chain(&content::failures(analysis)) {
        let _ = writeln!(text, "Note: {note}");
    }
    text
}

/// Columns under their heads, a line a row.
fn lines(table: &Table) -> String {
    let head = [0, 1].map(|line| table.head.iter().map(|h| [&h.name, &h.below][line].clone()).collect());
    let rows = table.rows.iter().map(|row| {
        let cells = row.cells.iter().map(one_line);
        std::iter::once(row.name.clone()).chain(cells).collect()
    });
    let all: Vec<Vec<String>> = head.into_iter().chain(rows).collect();
    let widths: Vec<usize> = (0..table.head.len())
        .map(|k| all.iter().map(|row| row[k].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (k, row) in all.iter().enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
        if k == 1 {
            text += &"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
            text.push('\n');
        }
    }
    text
}

fn one_line(shown: &Shown) -> String {
    match &shown.below {
        None => shown.value.clone(),
        Some((None, below)) => format!("{}  {below}", shown.value),
        Some((Some(verdict), below)) => format!("{}  {} {below}", shown.value, mark(*verdict)),
    }
}
