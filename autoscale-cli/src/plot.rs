//! Pictures; the only module that knows plotters.

mod axis;
mod comparison;
mod episode;
mod training;

pub(crate) use comparison::{
    Distributions, Heat, HeatMap, Look, PolicyEpisode, Spot, curves, ecdf, front, heat_maps, looks, profiles,
    timelines,
};
pub(crate) use episode::{pair, timeline, trace};
pub(crate) use training::{rewards, tuning_front};

use anyhow::{Result, anyhow};
use axis::Axis;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::fs;
use std::path::Path;

/// Drawn at twice the size it is meant to be seen at.
const WIDTH: u32 = 1800;
// Okabe and Ito's palette, told apart by colour-blind eyes too, without its yellow, which white swallows.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const VERMILLION: RGBColor = RGBColor(213, 94, 0);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const SKY: RGBColor = RGBColor(86, 180, 233);
const GREY: RGBColor = RGBColor(120, 120, 120);
const CYCLE: [RGBColor; 6] = [BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY];

const TITLE: u32 = 34;
const NAMES: u32 = 26;
const MARKS: u32 = 24;

/// How a series is drawn.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Line(u32),
    Dashes(u32),
    Dot(i32),
    Triangle(i32),
    Square(i32),
    Star(i32),
}

/// Points with their legend.
struct Series<'a> {
    /// Not in the legend where empty.
    label: &'a str,
    colour: RGBColor,
    mark: Mark,
    points: Vec<(f64, f64)>,
}

/// One set of axes.
struct Panel<'a> {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series<'a>>,
    /// Horizontal and vertical intervals, as the ends of lines.
    whiskers: Vec<(RGBColor, [(f64, f64); 2])>,
}

impl<'a> Panel<'a> {
    fn new(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series<'a>>) -> Self {
        Self { title: title.into(), x, y, series, whiskers: Vec::new() }
    }
}

/// The least and the greatest of finite values; zero and one without any.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = values.filter(|v| v.is_finite()).fold(None, |ends: Option<(f64, f64)>, v| {
        Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    });
    ends.unwrap_or((0.0, 1.0))
}

/// The legend of several panels is shared or each one's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Legend {
    /// That of the first panel, above all.
    Shared,
    /// That of the second, above all.
    Second,
    Own,
}

/// How panels are laid out.
struct Layout {
    /// So many of the first have a row of their own.
    wide: usize,
    columns: usize,
    /// Of a panel, in pixels.
    height: u32,
    legend: Legend,
}

/// Draws panels in rows into `path`, whole or not at all.
fn draw(path: &Path, title: &str, layout: &Layout, panels: &[Panel<'_>]) -> Result<()> {
    let (wide, narrow) = panels.split_at(layout.wide.min(panels.len()));
    let rows = narrow.len().div_ceil(layout.columns);
    let entries = match layout.legend {
        Legend::Shared => panels.first(),
        Legend::Second => panels.get(1),
        Legend::Own => None,
    };
    let entries = entries.map_or_else(Vec::new, |panel| entries_of(&panel.series));
    let height = header(title, &entries) + layout.height * (wide.len() + rows) as u32;
    canvas(path, (WIDTH, height), |root| {
        let (head, mut body) = root.split_vertically(header(title, &entries));
        heading(&head, title, &entries)?;
        for panel in wide {
            let (area, rest) = body.split_vertically(layout.height);
            draw_panel(&area, panel, layout.legend)?;
            body = rest;
        }
        for (area, panel) in body.split_evenly((rows.max(1), layout.columns)).iter().zip(narrow) {
            draw_panel(area, panel, layout.legend)?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// A white picture that `fill` draws on, whole or not at all.
fn canvas(path: &Path, size: (u32, u32), fill: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the embedded font cannot be read"))?;
    let partial = path.with_extension("partial.png");
    let picture = || -> Drawn {
        let root = BitMapBackend::new(&partial, size).into_drawing_area();
        root.fill(&WHITE)?;
        fill(&root)?;
        Ok(root.present()?)
    };
    picture().map_err(|e| anyhow!("{}: cannot be drawn: {e}", path.display()))?;
    fs::rename(&partial, path)?;
    Ok(())
}

/// A series in a legend.
#[derive(Clone, Copy)]
struct Entry<'a> {
    label: &'a str,
    colour: RGBColor,
    mark: Mark,
}

fn entries_of<'a>(series: &[Series<'a>]) -> Vec<Entry<'a>> {
    let named = series.iter().filter(|series| !series.label.is_empty());
    named.map(|series| Entry { label: series.label, colour: series.colour, mark: series.mark }).collect()
}

const LINE: i32 = 40;

/// Where each entry of a legend stands, and how many lines they take.
fn flow(entries: &[Entry<'_>], width: i32) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut y) = (0, 0);
    let mut places = Vec::new();
    for entry in entries {
        // Letters of the font are 0.65 of its height wide at most, in the mean.
        let taken = 100 + (entry.label.chars().count() as f64 * f64::from(MARKS) * 0.62) as i32;
        if x > 0 && x + taken > width {
            (x, y) = (0, y + LINE);
        }
        places.push((x, y));
        x += taken;
    }
    (places, if entries.is_empty() { 0 } else { y + LINE })
}

const MARGIN: i32 = 40;

fn header(title: &str, entries: &[Entry<'_>]) -> u32 {
    let title = if title.is_empty() { 0 } else { 70 };
    (title + flow(entries, WIDTH as i32 - 2 * MARGIN).1) as u32 + 10
}

fn heading(area: &Area<'_>, title: &str, entries: &[Entry<'_>]) -> Drawn {
    let mut top = 10;
    if !title.is_empty() {
        area.draw(&Text::new(title, (MARGIN, 24), ("sans-serif", TITLE)))?;
        top = 80;
    }
    legend(area, (MARGIN, top), WIDTH as i32 - 2 * MARGIN, entries)
}

fn legend(area: &Area<'_>, (left, top): (i32, i32), width: i32, entries: &[Entry<'_>]) -> Drawn {
    let (places, _) = flow(entries, width);
    for (entry, (x, y)) in entries.iter().zip(places) {
        let (x, middle) = (left + x, top + y + LINE / 2);
        symbol(area, entry, (x, middle))?;
        let style =
            TextStyle::from(("sans-serif", MARKS).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(entry.label.to_owned(), (x + 58, middle), style))?;
    }
    Ok(())
}

fn symbol(area: &Area<'_>, entry: &Entry<'_>, (x, y): (i32, i32)) -> Drawn {
    let (colour, centre) = (entry.colour, (x + 24, y));
    match entry.mark {
        Mark::Line(width) => {
            area.draw(&PathElement::new([(x, y), (x + 48, y)], colour.stroke_width(width.max(4))))?;
        }
        Mark::Dashes(width) => {
            for from in [x, x + 18, x + 36] {
                area.draw(&PathElement::new([(from, y), (from + 11, y)], colour.stroke_width(width.max(4))))?;
            }
        }
        Mark::Dot(size) => area.draw(&Circle::new(centre, size, colour.filled()))?,
        Mark::Triangle(size) => area.draw(&TriangleMarker::new(centre, size, colour.filled()))?,
        Mark::Square(size) => area.draw(&square(centre, size, colour))?,
        Mark::Star(size) => {
            for line in star(size) {
                let path = line.map(|(dx, dy)| (centre.0 + dx, centre.1 + dy));
                area.draw(&PathElement::new(path, colour.stroke_width(4)))?;
            }
        }
    }
    Ok(())
}

fn square((x, y): (i32, i32), size: i32, colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x - size, y - size), (x + size, y + size)], colour.filled())
}

/// Three strokes through the middle.
fn star(size: i32) -> [[(i32, i32); 2]; 3] {
    let slant = size * 7 / 10;
    [[(0, -size), (0, size)], [(-slant, -slant), (slant, slant)], [(-slant, slant), (slant, -slant)]]
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, kind: Legend) -> Drawn {
    let own = match kind {
        Legend::Own if panel.series.len() > 1 => entries_of(&panel.series),
        _ => Vec::new(),
    };
    let width = area.dim_in_pixel().0 as i32 - 2 * MARGIN;
    let below = if panel.title.is_empty() { 16 } else { 60 };
    let (head, body) = area.split_vertically(below + flow(&own, width).1);
    if !panel.title.is_empty() {
        head.draw(&Text::new(panel.title.clone(), (MARGIN, 16), ("sans-serif", NAMES + 4)))?;
    }
    legend(&head, (MARGIN, below - 4), width, &own)?;
    let mut chart = ChartBuilder::on(&body)
        .margin(12)
        .margin_right(50)
        .x_label_area_size(if panel.x.name.is_empty() { 44 } else { 74 })
        .y_label_area_size(if panel.y.name.is_empty() { 90 } else { 126 })
        .build_cartesian_2d(panel.x.clone(), panel.y.clone())?;
    chart
        .configure_mesh()
        .x_desc(panel.x.name.clone())
        .y_desc(panel.y.name.clone())
        .x_labels(panel.x.marks())
        .y_labels(panel.y.marks())
        .x_label_formatter(&|x| panel.x.text(*x))
        .y_label_formatter(&|y| panel.y.text(*y))
        .label_style(("sans-serif", MARKS))
        .axis_desc_style(("sans-serif", NAMES))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for &(colour, ends) in &panel.whiskers {
        let ends = ends.map(|(x, y)| (panel.x.clamp(x), panel.y.clamp(y)));
        chart.draw_series([PathElement::new(ends, colour.mix(0.6).stroke_width(2))])?;
    }
    for series in &panel.series {
        let colour = series.colour;
        let points = series.points.iter().map(|&(x, y)| (panel.x.clamp(x), panel.y.clamp(y)));
        match series.mark {
            Mark::Line(width) => {
                chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
            }
            Mark::Dashes(width) => {
                let points: Vec<_> = points.collect();
                chart.draw_series(DashedLineSeries::new(points, 14, 10, colour.stroke_width(width)))?;
            }
            Mark::Dot(size) => {
                chart.draw_series(points.map(|at| Circle::new(at, size, colour.filled())))?;
            }
            Mark::Triangle(size) => {
                chart.draw_series(points.map(|at| TriangleMarker::new(at, size, colour.filled())))?;
            }
            Mark::Square(size) => {
                chart.draw_series(points.map(|at| EmptyElement::at(at) + square((0, 0), size, colour)))?;
            }
            Mark::Star(size) => {
                let stroke = colour.stroke_width(4);
                let [a, b, c] = star(size);
                chart.draw_series(points.map(|at| {
                    EmptyElement::at(at)
                        + PathElement::new(a, stroke)
                        + PathElement::new(b, stroke)
                        + PathElement::new(c, stroke)
                }))?;
            }
        }
    }
    Ok(())
}
