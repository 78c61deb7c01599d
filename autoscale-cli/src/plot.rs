//! Pictures; the only module that knows plotters.

use anyhow::{Result, anyhow};
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_sim::trace::Trace;
use plotters::prelude::*;
use plotters::style::register_font;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Drawn at twice the size it is meant to be seen at.
const SIZE: (u32, u32) = (1800, 1000);
// Okabe and Ito's palette, told apart by colour-blind eyes too.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREY: RGBColor = RGBColor(120, 120, 120);
const POLICY_COLOURS: [RGBColor; 2] = [ORANGE, BLUE];

/// A line with its legend.
struct Line<'a> {
    label: &'a str,
    colour: RGBColor,
    width: u32,
    points: Vec<(f64, f64)>,
}

/// One set of axes.
struct Panel<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    legend: SeriesLabelPosition,
    lines: Vec<Line<'a>>,
}

impl Panel<'_> {
    fn range(&self, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = self.lines.iter().flat_map(|l| &l.points).map(of);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if !(low.is_finite() && high.is_finite()) {
            return 0.0..1.0;
        }
        low..high.max(low + 1e-9)
    }
}

/// Draws `panels` below each other into `path`, whole or not at all.
fn draw(path: &Path, panels: &[Panel<'_>]) -> Result<()> {
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the embedded font cannot be read"))?;
    let partial = path.with_extension("partial.png");
    {
        let root = BitMapBackend::new(&partial, SIZE).into_drawing_area();
        let failed = |e: &dyn std::fmt::Display| anyhow!("{}: cannot be drawn: {e}", path.display());
        root.fill(&WHITE).map_err(|e| failed(&e))?;
        for (area, panel) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
            draw_panel(area, panel).map_err(|e| failed(&e))?;
        }
        root.present().map_err(|e| failed(&e))?;
    }
    fs::rename(&partial, path)?;
    Ok(())
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let (x, y) = (panel.range(|p| p.0), panel.range(|p| p.1));
    let floor = if y.start >= 0.0 { 0.0 } else { y.start * 1.05 };
    // Room for the legend above the highest line: what is left of the height beside title and axis, and how much
    // of it the legend's lines take, in pixels.
    let plot = f64::from(area.dim_in_pixel().1) - 155.0;
    let legend = 20.0 + 31.0 * panel.lines.len() as f64;
    let top = if y.end > 0.0 { y.end * 1.05 / (1.0 - legend / plot) } else { 0.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 34))
        .margin(24)
        .margin_right(50)
        .x_label_area_size(70)
        .y_label_area_size(120)
        .build_cartesian_2d(x, floor..top)?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc(panel.y)
        .x_labels(10)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .y_labels(6)
        .label_style(("sans-serif", 24))
        .axis_desc_style(("sans-serif", 26))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for line in &panel.lines {
        let style = ShapeStyle { color: line.colour.to_rgba(), filled: false, stroke_width: line.width };
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 40, y)], style.stroke_width(4)));
    }
    chart
        .configure_series_labels()
        .position(panel.legend.clone())
        .legend_area_size(50)
        .label_font(("sans-serif", 24))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    Ok(())
}

/// `episode_rewards.png`: the return of each training episode and its mean over the last twenty.
pub(crate) fn rewards(folder: &Path, returns: &[f64]) -> Result<()> {
    let points = |values: &[f64]| values.iter().enumerate().map(|(k, &v)| ((k + 1) as f64, v)).collect();
    let smooth: Vec<f64> = (0..returns.len())
        .map(|k| {
            let window = &returns[k.saturating_sub(19)..=k];
            window.iter().sum::<f64>() / window.len() as f64
        })
        .collect();
    let lines = vec![
        Line { label: "episode", colour: GREY, width: 1, points: points(returns) },
        Line { label: "mean of the last 20", colour: BLUE, width: 5, points: points(&smooth) },
    ];
    let panel = Panel {
        title: "Training: return of each episode (−cost, nearer to 0 is better)",
        x: "training episode",
        y: "return [price]",
        legend: SeriesLabelPosition::LowerRight,
        lines,
    };
    draw(&folder.join("episode_rewards.png"), &[panel])
}

/// One episode from load to latency.
pub(crate) fn timeline(path: &Path, policy: &str, record: &EpisodeRecord) -> Result<()> {
    let line = |label, colour, width, value: &dyn Fn(&IntervalRecord) -> Option<f64>| Line {
        label,
        colour,
        width,
        points: series(record, value),
    };
    let slo_ms = record.slo.as_secs_f64() * 1e3;
    let title = format!("Pods under {policy}");
    let panel =
        |title, y, lines| Panel { title, x: "time [min]", y, legend: SeriesLabelPosition::UpperRight, lines };
    draw(
        path,
        &[
            panel(
                "Load",
                "requests/s",
                vec![line("offered load", GREY, 3, &|i| Some(i.offered.per_second()))],
            ),
            panel(
                &title,
                "pods",
                vec![
                    line("paid for", ORANGE, 3, &|i| Some(i.mean_pods)),
                    line("ready", BLUE, 3, &|i| Some(i.mean_ready)),
                ],
            ),
            panel(
                "95th percentile of the response time",
                "ms",
                vec![
                    line("p95", BLUE, 3, &|i| i.latency.map(|l| l.p95.as_secs_f64() * 1e3)),
                    line("SLO", BLACK, 2, &|_| Some(slo_ms)),
                ],
            ),
        ],
    )
}

/// A whole trace.
pub(crate) fn trace(path: &Path, trace: &Trace) -> Result<()> {
    let hours = trace.step().as_secs_f64() / 3600.0;
    let points = trace.rates().enumerate().map(|(k, r)| (k as f64 * hours, r.per_second())).collect();
    let panel = Panel {
        title: "Load of the whole trace",
        x: "time [h]",
        y: "requests/s",
        legend: SeriesLabelPosition::UpperRight,
        lines: vec![Line { label: "mean of each step", colour: BLUE, width: 1, points }],
    };
    draw(path, &[panel])
}

/// Points of an episode, in minutes.
fn series(record: &EpisodeRecord, value: &dyn Fn(&IntervalRecord) -> Option<f64>) -> Vec<(f64, f64)> {
    let at = |i: &IntervalRecord| Some((i.start.as_secs_f64() / 60.0, value(i)?));
    record.intervals.iter().filter_map(at).collect()
}

/// `final_latency.png` and `final_replicas.png`: two policies on the same episode.
pub(crate) fn episode(folder: &Path, policies: [(&String, &EpisodeRecord); 2]) -> Result<()> {
    let per_policy = |value: &dyn Fn(&IntervalRecord) -> Option<f64>| -> Vec<Line<'_>> {
        let lines = policies.iter().zip(POLICY_COLOURS);
        lines
            .map(|(&(name, record), colour)| Line {
                label: name,
                colour,
                width: 3,
                points: series(record, value),
            })
            .collect()
    };
    let record = policies[0].1;
    let load = || Panel {
        title: "Load",
        x: "time [min]",
        y: "requests/s",
        legend: SeriesLabelPosition::UpperRight,
        lines: vec![Line {
            label: "offered load",
            colour: GREY,
            width: 3,
            points: series(record, &|i| Some(i.offered.per_second())),
        }],
    };
    let slo_ms = record.slo.as_secs_f64() * 1e3;
    let mut latency = per_policy(&|i| i.latency.map(|l| l.p95.as_secs_f64() * 1e3));
    latency.push(Line { label: "SLO", colour: BLACK, width: 2, points: series(record, &|_| Some(slo_ms)) });
    let latency = Panel {
        title: "95th percentile of the response time",
        x: "time [min]",
        y: "ms",
        legend: SeriesLabelPosition::UpperRight,
        lines: latency,
    };
    draw(&folder.join("final_latency.png"), &[load(), latency])?;
    let replicas = Panel {
        title: "Pods paid for (starting, ready and draining)",
        x: "time [min]",
        y: "pods",
        legend: SeriesLabelPosition::UpperRight,
        lines: per_policy(&|i| Some(i.mean_pods)),
    };
    draw(&folder.join("final_replicas.png"), &[load(), replicas])
}

/// `front.png`: candidates by pods and violations, and the line of those that nothing beats in both.
pub(crate) fn front(
    path: &Path,
    title: &str,
    groups: &[(&str, Vec<(f64, f64)>)],
    front: &[(f64, f64)],
) -> Result<()> {
    const COLOURS: [RGBColor; 4] = [GREY, BLUE, ORANGE, RGBColor(213, 94, 0)];
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the embedded font cannot be read"))?;
    let partial = path.with_extension("partial.png");
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let root = BitMapBackend::new(&partial, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let all = || groups.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max) * 1.08 + 1e-3;
        let fewest = all().map(|p| p.0).fold(f64::INFINITY, f64::min);
        let from = if fewest.is_finite() { (fewest * 0.95).floor() } else { 0.0 };
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 34))
            .margin(24)
            .margin_right(50)
            .x_label_area_size(70)
            .y_label_area_size(120)
            .build_cartesian_2d(from..most(|p| p.0), 0.0..most(|p| p.1))?;
        chart
            .configure_mesh()
            .x_desc("mean number of pods")
            .y_desc("violations [% of requests]")
            .label_style(("sans-serif", 24))
            .axis_desc_style(("sans-serif", 26))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        let mut line = front.to_vec();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.5).stroke_width(2)))?;
        for (k, (label, points)) in groups.iter().enumerate() {
            let (colour, size) = (COLOURS[k % COLOURS.len()], if k < 2 { 7 } else { 13 });
            chart
                .draw_series(points.iter().map(|&point| Circle::new(point, size, colour.filled())))?
                .label(*label)
                .legend(move |at| Circle::new((at.0 + 20, at.1), size, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(50)
            .label_font(("sans-serif", 24))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        root.present()?;
        Ok(())
    };
    draw().map_err(|e| anyhow!("{}: cannot be drawn: {e}", path.display()))?;
    fs::rename(&partial, path)?;
    Ok(())
}
