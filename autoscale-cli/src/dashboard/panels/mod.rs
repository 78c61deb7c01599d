//! What is written around the charts.

pub(super) mod actions;
pub(super) mod decisions;
pub(super) mod totals;

use super::playback::{Playback, State};
use super::theme;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, LineGauge, Widget};
use std::time::Duration;

/// Hours, minutes and seconds.
fn clock(time: Duration) -> String {
    let s = time.as_secs();
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// A part of the dashboard under its title.
fn section(title: &str) -> Block<'static> {
    let title = Span::styled(format!("{title} "), theme::strong(theme::TEXT));
    Block::new().borders(Borders::TOP).border_style(theme::ink(theme::GRID)).title(title)
}

/// What is shown, and how far it is.
pub(super) fn head(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    let [first, second] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let heading = &playback.heading;
    let mut spans = vec![
        Span::styled(format!("{}   ", heading.scenario), theme::strong(theme::TEXT)),
        Span::styled(playback.policy.policy.clone(), theme::strong(theme::POLICY)),
    ];
    if let Some(baseline) = &playback.baseline {
        spans.push(Span::styled(" beside ", theme::ink(theme::FAINT)));
        spans.push(Span::styled(baseline.policy.clone(), theme::strong(theme::BASELINE)));
    }
    spans.push(Span::styled(format!("   {}", heading.episode), theme::ink(theme::FAINT)));
    Line::from(spans).render(first, buffer);

    let speed = format!(" {} x real time", playback.speed);
    let speed = match playback.state {
        State::Paused => speed + ", paused",
        State::Playing if playback.at_end() => speed + ", at its end",
        State::Playing | State::Filmed => speed,
        State::Still => String::new(),
    };
    let (time, length) = (clock(playback.time), clock(playback.length()));
    let columns = [Constraint::Min(1), Constraint::Length(speed.len() as u16)];
    let [left, right] = Layout::horizontal(columns).areas(second);
    let done = playback.time.as_secs_f64() / playback.length().as_secs_f64().max(1.0);
    LineGauge::default()
        .ratio(done.clamp(0.0, 1.0))
        .label(format!("{time} of {length}"))
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(theme::ink(theme::TEXT))
        .unfilled_style(theme::ink(theme::GRID))
        .render(left, buffer);
    Span::styled(speed, theme::ink(theme::FAINT)).render(right, buffer);
}

/// The keys.
pub(super) fn foot(area: Rect, buffer: &mut Buffer) {
    const KEYS: [(&str, &str); 5] =
        [("space", "pause"), ("← →", "step"), ("↓ ↑", "seek"), ("+ -", "speed"), ("q", "quit")];
    let spans = KEYS.iter().flat_map(|(key, what)| {
        [
            Span::styled(*key, theme::strong(theme::TEXT)),
            Span::styled(format!(" {what}    "), theme::ink(theme::FAINT)),
        ]
    });
    spans.collect::<Line<'_>>().render(area, buffer);
}
