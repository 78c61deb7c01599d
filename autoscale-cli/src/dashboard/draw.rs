//! Any moment of a playback, drawn into cells.

use super::chart::{Chart, Series, Shape, Times, round_up};
use super::episode::{Episode, Moment};
use super::panels::{actions, decisions, foot, head, totals};
use super::playback::Playback;
use super::theme;
use autoscale_core::units::Replicas;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::widgets::{Block, Paragraph, Widget};
use std::time::Duration;

/// Below this nothing is readable.
const LEAST: (u16, u16) = (70, 20);
/// Rows of the usual small window; of what is above, decisions get half.
const SMALL: u16 = 24;
/// From this width on, tables stand beside the charts instead of below.
const BESIDE: u16 = 160;
/// Latencies above so many times the SLO are drawn at the upper edge, so that the SLO stays visible.
const MOST_SLOS: f64 = 2.0;

/// Draws the playback as it is now.
pub(crate) fn draw(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    Block::new().style(theme::ink(theme::TEXT).bg(theme::GROUND)).render(area, buffer);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("The window is too small: {} x {} are needed.", LEAST.0, LEAST.1);
        Paragraph::new(text).render(area, buffer);
        return;
    }
    let foot_rows = u16::from(playback.has_keys());
    let rows = [Constraint::Length(2), Constraint::Min(1), Constraint::Length(foot_rows)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(area);
    head(playback, top, buffer);
    if playback.has_keys() {
        foot(bottom, buffer);
    }
    let (wide, totals_rows) = (area.width >= BESIDE, totals::rows(playback, area.height));
    if wide {
        let [left, _, right] = Layout::horizontal([
            Constraint::Min(1),
            Constraint::Length(2),
            Constraint::Length(area.width * 12 / 25),
        ])
        .areas(middle);
        charts(playback, left, buffer);
        let rows = [
            Constraint::Length(totals_rows),
            Constraint::Length(actions::rows(playback)),
            Constraint::Min(1),
        ];
        let [first, second, third] = Layout::vertical(rows).areas(right);
        totals::render(playback, first, buffer);
        actions::render(playback, second, buffer);
        decisions::render(playback, third, buffer);
    } else {
        let decided = 5 + area.height.saturating_sub(SMALL) / 2;
        let rows = [Constraint::Min(1), Constraint::Length(totals_rows), Constraint::Length(decided)];
        let [first, second, third] = Layout::vertical(rows).areas(middle);
        charts(playback, first, buffer);
        totals::render(playback, second, buffer);
        let beside =
            area.width >= 118 && third.height >= actions::rows(playback) && actions::rows(playback) > 0;
        let width = if beside { actions::WIDTH } else { 0 };
        let gap = u16::from(beside) * 2;
        let columns = [Constraint::Min(1), Constraint::Length(gap), Constraint::Length(width)];
        let [left, _, right] = Layout::horizontal(columns).areas(third);
        decisions::render(playback, left, buffer);
        if beside {
            actions::render(playback, right, buffer);
        }
    }
}

/// Load, pods and latency below each other, on the same axis of time.
fn charts(playback: &Playback, area: Rect, buffer: &mut Buffer) {
    // The lowest has the times.
    let [all, times] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(area);
    let [load, pods, latency] = Layout::vertical([3, 4, 3].map(Constraint::Fill)).areas(all);
    let latency = Rect { height: latency.height + times.height, ..latency };
    let chart = |title, top, series, times| Chart {
        title,
        top,
        series,
        length: playback.length(),
        now: playback.time,
        times,
    };
    let (loads, load_top) = load_series(playback);
    chart("Load [requests/s]".to_owned(), load_top, loads, Times::None).render(load, buffer);
    let (counts, pods_top) = pods_series(playback);
    chart("Pods".to_owned(), pods_top, counts, Times::None).render(pods, buffer);
    let (latencies, latency_top, title) = latency_series(playback);
    chart(title, latency_top, latencies, Times::Below).render(latency, buffer);
}

/// The upper end of an axis that shows all of the episode, the part to come, too.
fn top(playback: &Playback, value: impl Fn(&Moment) -> f64) -> f64 {
    let episodes = std::iter::once(&playback.policy).chain(&playback.baseline);
    round_up(episodes.flat_map(|e| &e.moments).map(value).fold(1.0, f64::max))
}

/// A value at each end of an interval.
fn line(
    episode: &Episode,
    time: Duration,
    (label, colour): (String, Color),
    value: impl Fn(&Moment) -> Option<f64>,
) -> Series {
    let interval = episode.interval.as_secs_f64();
    let ends = episode.past(time).iter().enumerate();
    let points = ends.map(|(k, moment)| ((k + 1) as f64 * interval, value(moment))).collect();
    Series { label, colour, shape: Shape::Line, points }
}

fn load_series(playback: &Playback) -> (Vec<Series>, f64) {
    let (episode, time) = (&playback.policy, playback.time);
    let rate = |moment: &Moment| moment.offered.per_second();
    let now = episode.past(time).last().map_or_else(String::new, |m| format!("{:>6.1}", rate(m)));
    let label = (format!("offered {now}"), theme::LOAD);
    (vec![line(episode, time, label, |m| Some(rate(m)))], top(playback, rate))
}

fn pods_series(playback: &Playback) -> (Vec<Series>, f64) {
    let time = playback.time;
    let wished = |episode: &Episode, name: String, colour| {
        let now = episode.desired(time).map_or(0, Replicas::get);
        // From each decision to the next, and the last until now.
        let steps = episode.decided(time);
        let ends = steps.iter().skip(1).map(|next| next.at.as_secs_f64()).chain([time.as_secs_f64()]);
        let points = steps.iter().zip(ends).flat_map(|(step, end)| {
            let pods = Some(f64::from(step.to.get()));
            [(step.at.as_secs_f64(), pods), (end, pods)]
        });
        let label = format!("{name} desired {now:>2}");
        Series { label, colour, shape: Shape::Line, points: points.collect() }
    };
    let policy = &playback.policy;
    let ready = |moment: &Moment| f64::from(moment.ready.get());
    let now = policy.past(time).last().map_or_else(|| "-".to_owned(), |m| m.ready.to_string());
    let label = (format!("ready {now:>2}"), theme::READY);
    let mut series = vec![line(policy, time, label, |m| Some(ready(m)))];
    if let Some(baseline) = &playback.baseline {
        series.push(wished(baseline, baseline.policy.clone(), theme::BASELINE));
    }
    series.push(wished(policy, policy.policy.clone(), theme::POLICY));
    (series, top(playback, |m| ready(m).max(f64::from(m.desired.get()))))
}

/// Beside lines and axis its title, which says where the axis is cut off.
fn latency_series(playback: &Playback) -> (Vec<Series>, f64, String) {
    let time = playback.time;
    let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
    let slo = millis(playback.policy.slo);
    let highest = top(playback, |m| m.p95.map_or(slo, millis).max(slo * 1.5));
    let edge = highest.min(round_up(slo * MOST_SLOS));
    let p95 = |episode: &Episode, colour| {
        let now = episode.past(time).last().and_then(|m| m.p95);
        let now = now.map_or_else(|| "   -".to_owned(), |p95| format!("{:>4.0}", millis(p95)));
        line(episode, time, (format!("{} {now}", episode.policy), colour), |m| m.p95.map(millis))
    };
    let cut = if highest > edge { format!(", cut off at {edge}") } else { String::new() };
    let title = format!("p95 latency [ms]{cut}");
    let limit = Series {
        label: format!("SLO {slo}"),
        colour: theme::LIMIT,
        shape: Shape::Dashed,
        points: vec![(0.0, Some(slo))],
    };
    let baseline = playback.baseline.as_ref().map(|baseline| p95(baseline, theme::BASELINE));
    let series = [limit].into_iter().chain(baseline).chain([p95(&playback.policy, theme::POLICY)]).collect();
    (series, edge, title)
}
