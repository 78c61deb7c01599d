//! Many policies in many scenarios.

use super::axis::Axis;
use super::episode::{line, over_time, p95_ms, points, slo_ms};
use super::training::{SMOOTHED, numbered, smooth};
use super::{
    BLUE, CYCLE, Entry, GREY, Layout, Legend, MARGIN, MARKS, Mark, NAMES, ORANGE, Panel, Series, WIDTH,
    canvas, draw, extent, header, heading,
};
use anyhow::Result;
use autoscale_core::record::EpisodeRecord;
use autoscale_eval::estimate::Estimate;
use autoscale_eval::study::Role;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::{BLACK, Color, RGBColor};
use std::path::Path;
use std::time::Duration;

/// How a policy looks in every picture of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    colour: RGBColor,
    line: Mark,
    spot: Mark,
}

impl Look {
    fn knows_the_future(self) -> bool {
        matches!(self.spot, Mark::Star(_))
    }
}

/// The looks of all policies: the baseline's is black, the clairvoyant's a grey star, a second one's a black one, and of
/// up to twelve others no two are alike.
pub(crate) fn looks(roles: &[Role]) -> Vec<Look> {
    let (mut contenders, mut seers) = (0, 0);
    let look = |role: &Role| match role {
        Role::Baseline => Look { colour: BLACK, line: Mark::Line(4), spot: Mark::Square(11) },
        Role::Clairvoyant => {
            seers += 1;
            let (colour, line) = if seers == 1 { (GREY, Mark::Line(3)) } else { (BLACK, Mark::Dashes(2)) };
            Look { colour, line, spot: Mark::Star(15) }
        }
        Role::Contender => {
            let k = contenders;
            contenders += 1;
            let (round, colour) = (k / CYCLE.len(), CYCLE[k % CYCLE.len()]);
            let [line, spot] = match round % 2 {
                0 => [Mark::Line(3), Mark::Dot(11)],
                _ => [Mark::Dashes(3), Mark::Triangle(15)],
            };
            Look { colour, line, spot }
        }
    };
    roles.iter().map(look).collect()
}

/// Two panels in a row where there are several.
fn grid(panels: usize, height: u32) -> Layout {
    Layout { wide: 0, columns: if panels > 1 { 2 } else { 1 }, height, legend: Legend::Shared }
}

/// A policy by what it pays for and what it misses.
pub(crate) struct Spot<'a> {
    pub(crate) label: &'a str,
    pub(crate) look: Look,
    pub(crate) pods: Estimate,
    pub(crate) violations: Estimate,
}

/// Less than this is drawn as this, on an axis that has no zero, in percent.
const LEAST_SHARE: f64 = 0.01;

/// Pods against violations, a panel a scenario, with the line of those that nothing beats in both.
pub(crate) fn front(path: &Path, title: &str, scenarios: &[(&str, Vec<Spot<'_>>)]) -> Result<()> {
    let panels: Vec<Panel<'_>> = scenarios.iter().map(|(name, spots)| front_panel(name, spots)).collect();
    draw(path, title, &grid(panels.len(), 620), &panels)
}

fn front_panel<'a>(name: &str, spots: &[Spot<'a>]) -> Panel<'a> {
    let share = |percent: f64| percent.max(LEAST_SHARE);
    let series = spots.iter().map(|spot| Series {
        label: spot.label,
        colour: spot.look.colour,
        mark: spot.look.spot,
        points: vec![(spot.pods.point, share(spot.violations.point))],
    });
    let (fewest, most) = extent(spots.iter().map(|spot| spot.pods.point));
    let (best, worst) = extent(spots.iter().map(|spot| share(spot.violations.point)));
    let room = 0.06 * (most - fewest).max(0.1);
    // Intervals are shown whole unless they would squeeze the points together.
    let reach = 0.4 * (most - fewest);
    let (low, high) = extent(spots.iter().flat_map(|spot| [spot.pods.low, spot.pods.high]));
    let (fewest, most) = (low.max(fewest - reach), high.min(most + reach));
    let mut panel = Panel::new(
        name,
        Axis::between("pod-hours per hour", (fewest - room, most + room)),
        Axis::log("violations [%]", (share(0.5 * best), 1.4 * worst.max(3.0 * best))),
        series.collect(),
    );
    let reached = spots.iter().filter(|spot| !spot.look.knows_the_future());
    let frontier = frontier(&reached.map(|s| (s.pods.point, share(s.violations.point))).collect::<Vec<_>>());
    panel.series.insert(0, Series { label: "", colour: GREY, mark: Mark::Line(2), points: frontier });
    for spot in spots {
        let (x, y, colour) = (spot.pods, spot.violations, spot.look.colour);
        panel.whiskers.push((colour, [(x.low, share(y.point)), (x.high, share(y.point))]));
        panel.whiskers.push((colour, [(x.point, share(y.low)), (x.point, share(y.high))]));
    }
    panel
}

/// Those that no other is below in both, as steps from left to right.
fn frontier(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (x, y) in sorted {
        match steps.last() {
            Some(&(_, lowest)) if y >= lowest => {}
            Some(&(_, lowest)) => steps.extend([(x, lowest), (x, y)]),
            None => steps.push((x, y)),
        }
    }
    steps
}

/// Response times by percentile, a panel a scenario: its title, the objective, and of each policy the share of requests
/// below each response time in ms.
pub(crate) fn ecdf(path: &Path, title: &str, scenarios: &[Distributions<'_>]) -> Result<()> {
    let panels: Vec<Panel<'_>> = scenarios.iter().map(ecdf_panel).collect();
    draw(path, title, &grid(panels.len(), 620), &panels)
}

/// A policy's name, its look, and its points.
pub(crate) type Curve<'a> = (&'a str, Look, Vec<(f64, f64)>);

/// The response times of all policies in a scenario.
pub(crate) struct Distributions<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) slo: Duration,
    /// Points are a share of requests and a response time in ms.
    pub(crate) policies: Vec<Curve<'a>>,
}

fn ecdf_panel<'a>(of: &Distributions<'a>) -> Panel<'a> {
    let slo = of.slo.as_secs_f64() * 1e3;
    // The very fastest say nothing and would take half of the axis.
    let points = of.policies.iter().flat_map(|policy| &policy.2);
    let times = points.filter(|(share, _)| *share >= 0.1).map(|(_, time)| *time);
    let (least, most) = extent(times.chain([slo]));
    let mut series: Vec<Series<'_>> = of
        .policies
        .iter()
        .map(|(label, look, points)| Series {
            label,
            colour: look.colour,
            mark: look.line,
            points: points.clone(),
        })
        .collect();
    series.push(Series {
        label: "SLO",
        colour: BLACK,
        mark: Mark::Dashes(2),
        points: vec![(0.0, slo), (1.0, slo)],
    });
    let y = Axis::log("response time [ms]", (least.max(1.0), most));
    Panel::new(of.scenario, Axis::percentiles("percentile of answered requests"), y, series)
}

/// The share of episodes whose relative cost is below each threshold, a line a policy.
pub(crate) fn profiles(path: &Path, title: &str, curves: &[Curve<'_>]) -> Result<()> {
    let series = curves.iter().map(|(label, look, points)| Series {
        label,
        colour: look.colour,
        mark: look.line,
        points: points.iter().map(|&(cost, share)| (cost, 100.0 * share)).collect(),
    });
    let x = extent(curves.iter().flat_map(|curve| &curve.2).map(|point| point.0));
    let panel = Panel::new(
        "",
        Axis::between("cost of an episode, as a multiple of the baseline's mean in its scenario", x),
        Axis::between("share of episodes that cost less [%]", (0.0, 100.0)),
        series.collect(),
    );
    let layout = Layout { wide: 0, columns: 1, height: 800, legend: Legend::Shared };
    draw(path, title, &layout, &[panel])
}

/// Returns of training, a line and a band an algorithm: the mean and the range over its runs of the mean of the last
/// twenty episodes. What is worse than all that comes after the first twenty is drawn at the lower edge.
pub(crate) fn curves(path: &Path, title: &str, groups: &[(String, Vec<Vec<f64>>)]) -> Result<()> {
    let mut series = Vec::new();
    for ((label, runs), colour) in groups.iter().zip(CYCLE.iter().cycle()) {
        let smooth: Vec<Vec<f64>> = runs.iter().map(|run| smooth(run)).collect();
        let length = smooth.iter().map(Vec::len).min().unwrap_or(0);
        let over = |of: fn(&[f64]) -> f64| -> Vec<f64> {
            (0..length).map(|k| of(&smooth.iter().map(|run| run[k]).collect::<Vec<_>>())).collect()
        };
        if runs.len() > 1 {
            for ends in [over(|v| extent(v.iter().copied()).0), over(|v| extent(v.iter().copied()).1)] {
                series.push(Series {
                    label: "",
                    colour: *colour,
                    mark: Mark::Dashes(1),
                    points: numbered(&ends),
                });
            }
        }
        series.push(line(label, *colour, 5, numbered(&over(|v| v.iter().sum::<f64>() / v.len() as f64))));
    }
    let last = series.iter().map(|series| series.points.len()).max().unwrap_or(1);
    // The first episodes may cost ten times what later ones do, and would leave these no height.
    let after = if last > 2 * SMOOTHED { SMOOTHED as f64 } else { 0.0 };
    let points = || series.iter().flat_map(|series| &series.points);
    let (low, _) = extent(points().filter(|point| point.0 > after).map(|point| point.1));
    let (_, high) = extent(points().map(|point| point.1));
    let panel = Panel::new(
        "",
        Axis::between("training episode", (1.0, last as f64)),
        Axis::linear("return of an episode [price]", (low, high)),
        series,
    );
    draw(path, title, &Layout { wide: 0, columns: 1, height: 800, legend: Legend::Shared }, &[panel])
}

/// A policy on the episode that is shown.
pub(crate) struct PolicyEpisode<'a> {
    pub(crate) label: &'a str,
    pub(crate) record: &'a EpisodeRecord,
}

/// One episode under each policy: the load, then a row a policy with its pods and its latency.
pub(crate) fn timelines(path: &Path, title: &str, episodes: &[PolicyEpisode<'_>]) -> Result<()> {
    let Some(first) = episodes.first() else { return Ok(()) };
    let offered = line("", GREY, 3, points(first.record, |i| Some(i.offered.per_second())));
    let mut panels = vec![over_time("load [requests/s]", "", first.record, vec![offered])];
    panels[0].x = Axis::time(first.record.duration()).unnamed();
    // The same axes for all, so that rows can be compared.
    let most =
        |value: fn(&EpisodeRecord) -> f64| episodes.iter().map(|e| value(e.record)).fold(0.0, f64::max);
    let pods = most(|record| {
        let desired = record.intervals.iter().map(|i| f64::from(i.replicas.desired.get()));
        extent(desired.chain(record.intervals.iter().map(|i| i.mean_ready))).1
    });
    let slowest = most(|record| extent(record.intervals.iter().filter_map(p95_ms)).1);
    let (quickest, _) = extent(episodes.iter().flat_map(|e| e.record.intervals.iter().filter_map(p95_ms)));
    for (k, PolicyEpisode { label, record }) in episodes.iter().enumerate() {
        let last = k + 1 == episodes.len();
        let time = || {
            let axis = Axis::time(record.duration());
            if last { axis } else { axis.unnamed() }
        };
        let replicas = vec![
            line("desired", ORANGE, 5, points(record, |i| Some(f64::from(i.replicas.desired.get())))),
            line("ready", BLUE, 3, points(record, |i| Some(i.mean_ready))),
        ];
        let title = format!("{label}: pods");
        panels.push(Panel::new(title, time(), Axis::linear("", (0.0, pods)), replicas));
        let slo = points(record, |_| Some(slo_ms(record)));
        let latency = vec![
            line("", BLUE, 3, points(record, p95_ms)),
            Series { label: "", colour: BLACK, mark: Mark::Dashes(2), points: slo },
        ];
        let title = format!("{label}: p95 [ms], SLO dashed");
        panels.push(Panel::new(title, time(), Axis::log("", (quickest.max(1.0), slowest)), latency));
    }
    draw(path, title, &Layout { wide: 1, columns: 2, height: 270, legend: Legend::Second }, &panels)
}

/// What a policy asked for on average in a cell of a heat map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heat {
    /// Ends of the cell: CPU use as a share of the request.
    pub(crate) busy: (f64, f64),
    /// Ends of the cell: by how much the load changed, as a share.
    pub(crate) trend: (f64, f64),
    /// Binary logarithm of wanted over current replicas.
    pub(crate) change: f64,
}

/// What a policy does, by what it sees.
pub(crate) struct HeatMap<'a> {
    pub(crate) label: &'a str,
    pub(crate) cells: Vec<Heat>,
}

/// A panel a policy; colours saturate at half and at twice the replicas.
pub(crate) fn heat_maps(path: &Path, title: &str, maps: &[HeatMap<'_>]) -> Result<()> {
    const HEIGHT: u32 = 470;
    let columns = if maps.len() > 1 { 2 } else { 1 };
    let rows = maps.len().div_ceil(columns);
    let all = || maps.iter().flat_map(|map| &map.cells);
    let (left, right) = extent(all().flat_map(|heat| [heat.busy.0, heat.busy.1]).map(|v| 100.0 * v));
    let (bottom, top) = extent(all().flat_map(|heat| [heat.trend.0, heat.trend.1]).map(|v| 100.0 * v));
    let head = header(title, &[] as &[Entry<'_>]) + 90;
    canvas(path, (WIDTH, head + HEIGHT * rows as u32), |root| {
        let (above, body) = root.split_vertically(head);
        heading(&above, title, &[])?;
        scale(&above)?;
        for (area, map) in body.split_evenly((rows, columns)).iter().zip(maps) {
            let (name, area) = area.split_vertically(50);
            name.draw(&Text::new(map.label.to_owned(), (MARGIN, 12), ("sans-serif", NAMES + 4)))?;
            let x = Axis::between("CPU use [% of the request]", (left, right));
            let y = Axis::between("load change [%]", (bottom, top));
            let mut chart = ChartBuilder::on(&area)
                .margin(12)
                .margin_right(50)
                .x_label_area_size(74)
                .y_label_area_size(126)
                .build_cartesian_2d(x.clone(), y.clone())?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_desc(x.name.clone())
                .y_desc(y.name.clone())
                .x_labels(x.marks())
                .y_labels(y.marks())
                .x_label_formatter(&|v| x.text(*v))
                .y_label_formatter(&|v| y.text(*v))
                .label_style(("sans-serif", MARKS))
                .axis_desc_style(("sans-serif", NAMES))
                .draw()?;
            chart.draw_series(map.cells.iter().map(|heat| {
                let corner = |busy: f64, trend: f64| (100.0 * busy, 100.0 * trend);
                let corners = [corner(heat.busy.0, heat.trend.0), corner(heat.busy.1, heat.trend.1)];
                Rectangle::new(corners, shade(heat.change).filled())
            }))?;
            // Where nothing asks for a change, whatever is seen.
            chart.draw_series([PathElement::new(
                [(left, 0.0), (right, 0.0)],
                BLACK.mix(0.5).stroke_width(2),
            )])?;
        }
        Ok(())
    })
}

/// The colours and what they mean.
fn scale(area: &super::Area<'_>) -> super::Drawn {
    const STEPS: i32 = 34;
    let (left, top, width) = (MARGIN + 330, 86, 22);
    area.draw(&Text::new("asks for half the replicas", (MARGIN, top + 4), ("sans-serif", MARKS)))?;
    for step in 0..STEPS {
        let change = 2.0 * f64::from(step) / f64::from(STEPS - 1) - 1.0;
        let corners = [(left + step * width, top), (left + (step + 1) * width, top + 36)];
        area.draw(&Rectangle::new(corners, shade(change).filled()))?;
    }
    let end = left + STEPS * width + 16;
    area.draw(&Text::new(
        "for twice; grey: for no change; blank: hardly ever seen",
        (end, top + 4),
        ("sans-serif", MARKS),
    ))?;
    Ok(())
}

/// From blue (half) over white to orange (twice).
fn shade(change: f64) -> RGBColor {
    let (end, share) = if change < 0.0 { (BLUE, -change) } else { (super::VERMILLION, change) };
    let share = share.min(1.0).powf(0.6);
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    // A touch off white, so that cells without a change differ from those hardly ever seen.
    let none = RGBColor(235, 235, 235);
    RGBColor(mix(none.0, end.0), mix(none.1, end.1), mix(none.2, end.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nothing_is_below_in_both() {
        let points = [(3.0, 1.0), (1.0, 5.0), (2.0, 6.0), (4.0, 1.0), (2.5, 2.0)];
        assert_eq!(frontier(&points), [(1.0, 5.0), (2.5, 5.0), (2.5, 2.0), (3.0, 2.0), (3.0, 1.0)]);
        assert!(frontier(&[]).is_empty());
    }

    #[test]
    fn no_two_policies_look_alike() {
        let mut roles = vec![Role::Baseline];
        roles.extend([Role::Contender; 12]);
        roles.extend([Role::Clairvoyant; 2]);
        let seen: std::collections::BTreeSet<String> =
            looks(&roles).iter().map(|look| format!("{look:?}")).collect();
        assert_eq!(seen.len(), roles.len());
    }
}
