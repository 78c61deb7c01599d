//! The last decisions, and why they were made.

use super::super::episode::{Actions, Measure, Step, Weighed};
use super::super::playback::Playback;
use super::super::theme;
use super::actions::percent;
use super::{clock, section};
use autoscale_core::limits::Bound;
use autoscale_core::units::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Row, Table, Widget};

/// Columns between two columns, where there is room.
const SPACING: usize = 2;

/// A column: its name, its width, and what stands in it.
struct Column<'a> {
    name: String,
    width: usize,
    cell: Box<dyn Fn(&Step) -> String + 'a>,
}

fn column<'a>(name: &str, width: usize, cell: impl Fn(&Step) -> String + 'a) -> Column<'a> {
    Column { name: name.to_owned(), width, cell: Box::new(cell) }
}

pub(in super::super) fn render(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    let policy = &playback.policy;
    let block = section(&format!(
        "Decisions of {}: the latest, and before it those that changed the count",
        policy.policy
    ));
    let mut columns = vec![column("time", 8, |step| clock(time_of(step))), column("pods", 9, change)];
    if let Some(baseline) = &playback.baseline {
        let name = format!("{} has", baseline.policy);
        let width = name.chars().count().clamp(4, 10);
        columns.push(column(&name, width, |step| {
            baseline.desired(time_of(step)).map_or(String::new(), |r| r.to_string())
        }));
    }
    match &policy.actions {
        Some(actions) => {
            let taken: usize = columns.iter().map(|c| c.width + SPACING).sum();
            columns.extend(learned(actions, usize::from(area.width).saturating_sub(taken)));
        }
        None => columns.extend(ruled()),
    }
    let (latest, earlier) = match policy.decided(playback.time) {
        [earlier @ .., latest] => (Some(latest), earlier),
        [] => (None, &[][..]),
    };
    let changes = earlier.iter().rev().filter(|step| step.from != step.to);
    let rows =
        latest.into_iter().chain(changes).take(usize::from(area.height)).enumerate().map(|(k, step)| {
            let style = if k == 0 { theme::strong(theme::TEXT) } else { theme::ink(theme::FAINT) };
            Row::new(columns.iter().map(|column| (column.cell)(step))).style(style)
        });
    let needed: usize = columns.iter().map(|c| c.width + SPACING).sum();
    let spacing = if needed <= usize::from(area.width) + SPACING { SPACING } else { 1 };
    let header = Row::new(columns.iter().map(|c| c.name.clone())).style(theme::ink(theme::FAINT));
    let widths = columns.iter().map(|c| Constraint::Length(c.width as u16));
    let table = Table::new(rows.collect::<Vec<_>>(), widths)
        .header(header)
        .column_spacing(spacing as u16)
        .block(block);
    Widget::render(table, area, buffer);
}

fn time_of(step: &Step) -> std::time::Duration {
    step.at.since(Timestamp::default())
}

fn change(step: &Step) -> String {
    if step.from == step.to { step.to.to_string() } else { format!("{} → {}", step.from, step.to) }
}

/// Why a rule answered as it did.
fn ruled<'a>() -> Vec<Column<'a>> {
    vec![
        column("rule", 16, |step| step.reason.rule.replace('-', " ")),
        column("metric", 12, |step| step.reason.metric.unwrap_or("").replace('_', " ")),
        column("wanted", 6, |step| step.reason.raw.map_or(String::new(), |raw| raw.to_string())),
        column("held back by", 13, |step| in_words(step.bound).to_owned()),
    ]
}

/// What a learned policy did with its base rule's answer, and what else it might have done.
fn learned(actions: &Actions, room: usize) -> Vec<Column<'_>> {
    // What the base rule says stands in the column before.
    let name = |k: usize| actions.names[k].trim_start_matches("base rule ").to_owned();
    let weight = |w: f64| match actions.measure {
        Measure::Probability => percent(w),
        Measure::Value => format!("{w:+.4}"),
    };
    let weighed =
        |step: &Step, text: &dyn Fn(&Weighed) -> String| step.weighed.as_ref().map_or(String::new(), text);
    let next = move |w: &Weighed| {
        w.runner_up()
            .map_or("none".to_owned(), |(k, value)| format!("{} ({})", name(k), weight(value).trim()))
    };
    let taken = move |w: &Weighed| match (actions.measure, w.weights[w.action]) {
        (Measure::Probability, Some(value)) => format!("{} ({})", name(w.action), weight(value).trim()),
        _ => name(w.action),
    };
    let mut columns = vec![
        column("base rule", 9, |step| step.reason.raw.map_or(String::new(), |raw| raw.to_string())),
        column("action", 18, move |step| weighed(step, &taken)),
    ];
    columns.push(column("held back by", 12, |step| in_words(step.bound).to_owned()));
    let next = column("next best", 20, move |step| weighed(step, &next));
    if columns.iter().map(|c| c.width + SPACING).sum::<usize>() + next.width <= room {
        columns.insert(columns.len() - 1, next);
    }
    columns
}

fn in_words(bound: Bound) -> &'static str {
    match bound {
        Bound::None => "",
        Bound::Min => "fewest pods",
        Bound::Max => "most pods",
        Bound::StepUp | Bound::StepDown => "step limit",
        Bound::Stabilization => "stabilization",
        Bound::Floor => "guard floor",
        Bound::Ceiling => "guard ceiling",
        Bound::FlapBudget => "flap budget",
        Bound::StartUp => "start-up",
    }
}
