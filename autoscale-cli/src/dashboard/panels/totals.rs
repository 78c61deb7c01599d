//! Sums since the episode's start.

use super::super::episode::{Episode, Totals};
use super::super::playback::Playback;
use super::super::theme;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Row, Table, Widget};

const HEADER: [&str; 5] = ["violations [%]", "pod-hours", "scale events", "return [price]", "requests"];
/// Columns for a policy's name where there is room.
const NAME: u16 = 24;
/// From so many rows of the whole on there is one for the differences.
const ROOMY: u16 = 30;

/// Rows that it takes.
pub(in super::super) fn rows(playback: &Playback, height: u16) -> u16 {
    let policies = if playback.baseline.is_some() { 2 + u16::from(height >= ROOMY) } else { 1 };
    1 + policies
}

fn last(episode: &Episode, playback: &Playback) -> Totals {
    episode.past(playback.time).last().map_or_else(Totals::default, |moment| moment.totals)
}

fn row(name: &str, figures: [String; 5], style: Style) -> Row<'static> {
    let figures = figures.into_iter().map(|figure| Text::from(figure).alignment(Alignment::Right));
    Row::new(std::iter::once(Text::from(name.to_owned())).chain(figures)).style(style)
}

fn figures(t: &Totals) -> [String; 5] {
    [
        format!("{:.3}", t.violations_percent()),
        format!("{:.2}", t.pod_hours),
        t.scale_events.to_string(),
        format!("{:.2}", t.earned),
        t.requests.to_string(),
    ]
}

pub(in super::super) fn render(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    let policy = last(&playback.policy, playback);
    let mut rows = vec![row(&playback.policy.policy, figures(&policy), theme::ink(theme::POLICY))];
    if let Some(baseline) = &playback.baseline {
        let other = last(baseline, playback);
        rows.push(row(&baseline.policy, figures(&other), theme::ink(theme::BASELINE)));
        let differences = [
            format!("{:+.3}", policy.violations_percent() - other.violations_percent()),
            format!("{:+.2}", policy.pod_hours - other.pod_hours),
            format!("{:+}", policy.scale_events as i64 - other.scale_events as i64),
            format!("{:+.2}", policy.earned - other.earned),
            String::new(),
        ];
        rows.push(row("difference", differences, theme::ink(theme::TEXT)));
    }
    let figures = HEADER.map(|name| (name.len() as u16 + 1).max(11));
    // As wide as the column, so that nothing of the title's line stays between two names.
    let names = HEADER.iter().zip(figures).map(|(name, width)| {
        Line::styled(format!("{name:>width$}", width = usize::from(width)), theme::ink(theme::FAINT))
    });
    let header = Row::new(std::iter::once(Line::from("")).chain(names));
    let room = area.width.saturating_sub(figures.iter().sum());
    let widths = [room.min(NAME)].into_iter().chain(figures).map(Constraint::Length);
    // The names of the columns stand in the line of the title.
    super::section("Totals so far").render(area, buffer);
    Widget::render(Table::new(rows, widths).header(header).column_spacing(0), area, buffer);
}
