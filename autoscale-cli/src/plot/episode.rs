//! One episode, and a trace.

use super::axis::Axis;
use super::{BLUE, GREY, Layout, Legend, Mark, ORANGE, Panel, Series, draw, extent};
use anyhow::Result;
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_sim::trace::Trace;
use plotters::style::{BLACK, RGBColor};
use std::path::Path;

/// Points of an episode, in seconds.
pub(super) fn points(
    record: &EpisodeRecord,
    value: impl Fn(&IntervalRecord) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let at = |i: &IntervalRecord| Some((i.start.as_secs_f64(), value(i)?));
    record.intervals.iter().filter_map(at).collect()
}

/// The 95th percentile of the response time in an interval, in ms.
pub(super) fn p95_ms(interval: &IntervalRecord) -> Option<f64> {
    interval.latency.map(|l| l.p95.as_secs_f64() * 1e3)
}

pub(super) fn slo_ms(record: &EpisodeRecord) -> f64 {
    record.slo.as_secs_f64() * 1e3
}

/// A panel over the time of an episode whose vertical axis fits its lines.
pub(super) fn over_time<'a>(
    title: &str,
    y: &str,
    record: &EpisodeRecord,
    series: Vec<Series<'a>>,
) -> Panel<'a> {
    let values = series.iter().flat_map(|series| &series.points).map(|point| point.1);
    let y = Axis::linear(y, extent(values));
    Panel::new(title, Axis::time(record.duration()), y, series)
}

pub(super) fn line(label: &str, colour: RGBColor, width: u32, points: Vec<(f64, f64)>) -> Series<'_> {
    Series { label, colour, mark: Mark::Line(width), points }
}

fn load(record: &EpisodeRecord) -> Panel<'static> {
    let offered = line("offered load", GREY, 3, points(record, |i| Some(i.offered.per_second())));
    over_time("Load", "requests/s", record, vec![offered])
}

fn slo(record: &EpisodeRecord) -> Series<'static> {
    Series {
        label: "SLO",
        colour: BLACK,
        mark: Mark::Dashes(2),
        points: points(record, |_| Some(slo_ms(record))),
    }
}

/// One episode from load to latency.
pub(crate) fn timeline(path: &Path, title: &str, record: &EpisodeRecord) -> Result<()> {
    let pods = vec![
        line("paid for", ORANGE, 5, points(record, |i| Some(i.mean_pods))),
        line("ready", BLUE, 3, points(record, |i| Some(i.mean_ready))),
    ];
    let latency = vec![line("p95", BLUE, 3, points(record, p95_ms)), slo(record)];
    let panels = [
        load(record),
        over_time("Pods", "pods", record, pods),
        over_time("95th percentile of the response time", "ms", record, latency),
    ];
    draw(path, title, &Layout { wide: 0, columns: 1, height: 400, legend: Legend::Own }, &panels)
}

/// `final_latency.png` and `final_replicas.png`: two policies on the same episode. The first is drawn broad, so that it
/// shows where the second covers it.
pub(crate) fn pair(folder: &Path, title: &str, policies: [(&str, &EpisodeRecord); 2]) -> Result<()> {
    let [first, second] = policies;
    let both = |value: fn(&IntervalRecord) -> Option<f64>| {
        vec![
            line(first.0, ORANGE, 7, points(first.1, value)),
            line(second.0, BLUE, 3, points(second.1, value)),
        ]
    };
    let record = first.1;
    let mut latency = both(p95_ms);
    latency.push(slo(record));
    let latency = over_time("95th percentile of the response time", "ms", record, latency);
    let layout = Layout { wide: 0, columns: 1, height: 480, legend: Legend::Own };
    draw(&folder.join("final_latency.png"), title, &layout, &[load(record), latency])?;
    let replicas = both(|i| Some(i.mean_pods));
    let replicas = over_time("Pods paid for (starting, ready and draining)", "pods", record, replicas);
    draw(&folder.join("final_replicas.png"), title, &layout, &[load(record), replicas])
}

/// A whole trace.
pub(crate) fn trace(path: &Path, trace: &Trace) -> Result<()> {
    let step = trace.step();
    let rates = trace.rates().enumerate();
    let points: Vec<_> = rates.map(|(k, rate)| (k as f64 * step.as_secs_f64(), rate.per_second())).collect();
    let y = Axis::linear("requests/s", extent(points.iter().map(|point| point.1)));
    let length = step * u32::try_from(points.len()).unwrap_or(u32::MAX);
    let panel = Panel::new("", Axis::time(length), y, vec![line("", BLUE, 1, points)]);
    let layout = Layout { wide: 0, columns: 1, height: 900, legend: Legend::Own };
    draw(path, "Load of the whole trace, mean of each step", &layout, &[panel])
}
