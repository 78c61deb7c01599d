//! What a learned policy weighed for its last decision.

use super::super::episode::Measure;
use super::super::playback::Playback;
use super::super::theme;
use super::{clock, section};
use autoscale_core::units::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

/// Columns that it takes.
pub(in super::super) const WIDTH: u16 = 44;
const NAME: usize = 16;
const BAR: u16 = 16;

/// Rows that it takes; none unless the policy is a learned one.
pub(in super::super) fn rows(playback: &Playback) -> u16 {
    playback.policy.actions.as_ref().map_or(0, |actions| 1 + actions.names.len() as u16)
}

pub(in super::super) fn render(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    let Some(actions) = &playback.policy.actions else { return };
    let decided = playback.policy.decided(playback.time).last();
    let Some((step, weighed)) = decided.and_then(|step| Some((step, step.weighed.as_ref()?))) else { return };
    let what = match actions.measure {
        Measure::Probability => "probability",
        Measure::Value => "value, less the best's",
    };
    let block = section(&format!("Actions at {}: {what}", clock(step.at.since(Timestamp::default()))));
    let inner = block.inner(area);
    block.render(area, buffer);
    let least = weighed.weights.iter().flatten().copied().fold(0.0, f64::min);
    for ((k, name), row) in actions.names.iter().enumerate().zip(inner.rows()) {
        let style = if k == weighed.action { theme::strong(theme::POLICY) } else { theme::ink(theme::FAINT) };
        buffer.set_stringn(row.x, row.y, name, NAME, style);
        let x = row.x + NAME as u16 + 1;
        let Some(weight) = weighed.weights[k] else {
            buffer.set_string(x, row.y, "same count as another", theme::ink(theme::FAINT));
            continue;
        };
        let (text, share) = match actions.measure {
            Measure::Probability => (percent(weight), weight),
            Measure::Value => (format!("{weight:>+8.4}"), 1.0 - weight / least.min(-1e-12)),
        };
        buffer.set_string(x, row.y, &text, style);
        let bar = bar(share, BAR);
        buffer.set_string(x + text.chars().count() as u16 + 1, row.y, bar, style);
    }
}

/// A share of one in at most five characters.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 { "< 1 %".to_owned() } else { format!("{percent:>3.0} %") }
}

/// A bar of at most `columns`, to an eighth of one.
fn bar(share: f64, columns: u16) -> String {
    let eighths = (share.clamp(0.0, 1.0) * f64::from(columns) * 8.0).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}
