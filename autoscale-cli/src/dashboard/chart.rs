//! A quantity over the time of an episode, as lines of braille dots.

use super::theme;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};
use ratatui::widgets::{Block, Borders, Widget};
use std::time::Duration;

/// Columns left of the plot: a label and the axis.
const GUTTER: u16 = 8;

/// A line, and what it is called in the chart's title.
pub(super) struct Series {
    pub(super) label: String,
    pub(super) colour: Color,
    pub(super) shape: Shape,
    /// In seconds since the start and in the chart's unit, `None` where there is no value.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Line,
    /// At the height of its first point, over all of the time.
    Dashed,
}

/// A set of axes with its lines; later ones are drawn over earlier ones.
pub(super) struct Chart {
    pub(super) title: String,
    /// The upper end of the vertical axis; what is above is drawn there.
    pub(super) top: f64,
    pub(super) series: Vec<Series>,
    /// The end of the horizontal axis.
    pub(super) length: Duration,
    /// The moment that is shown.
    pub(super) now: Duration,
    pub(super) times: Times,
}

/// Whether times stand below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Below,
    None,
}

impl Widget for Chart {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let block =
            Block::new().borders(Borders::TOP).border_style(theme::ink(theme::GRID)).title(self.legend());
        let inner = block.inner(area);
        block.render(area, buffer);
        let below = u16::from(self.times == Times::Below);
        let [plot, labels] = Layout::vertical([Constraint::Min(1), Constraint::Length(below)]).areas(inner);
        let [gutter, plot] = Layout::horizontal([Constraint::Length(GUTTER), Constraint::Min(1)]).areas(plot);
        self.values(gutter, buffer);
        self.plot(plot, buffer);
        if self.times == Times::Below {
            self.times(plot, labels, buffer);
        }
    }
}

impl Chart {
    fn legend(&self) -> Line<'static> {
        let mut spans = vec![Span::styled(format!("{} ", self.title), theme::strong(theme::TEXT))];
        // Read in the order in which they lie on top of each other.
        for series in self.series.iter().rev() {
            let mark = if series.shape == Shape::Dashed { " - -" } else { " ━━" };
            spans.push(Span::styled(format!("{mark} {} ", series.label), theme::ink(series.colour)));
        }
        Line::from(spans)
    }

    /// The vertical axis: its ends, and the middle if there is room.
    fn values(&self, area: Rect, buffer: &mut Buffer) {
        for row in area.rows() {
            buffer.set_string(row.right() - 1, row.y, "│", theme::ink(theme::GRID));
        }
        let (last, room) = (area.height.saturating_sub(1), usize::from(GUTTER) - 2);
        let mut label = |row: u16, value: f64| {
            buffer.set_string(
                area.x,
                area.y + row,
                format!("{:>room$}", short(value)),
                theme::ink(theme::FAINT),
            );
        };
        label(0, self.top);
        label(last, 0.0);
        if area.height >= 5 {
            label(last.div_ceil(2), self.top / 2.0);
        }
    }

    fn plot(&self, area: Rect, buffer: &mut Buffer) {
        let (end, top) = (self.length.as_secs_f64(), self.top);
        // Two dots a column, four a row.
        let dots = (f64::from(area.width) * 2.0).max(2.0);
        let across = |every: f64| -> Vec<f64> {
            (0..(dots / every) as u32).map(|k| f64::from(k) * every / (dots - 1.0) * end).collect()
        };
        let level = |y: f64| -> Vec<(f64, f64)> { across(4.0).into_iter().map(|x| (x, y)).collect() };
        let grid = [level(0.0), level(top / 2.0), level(top)].concat();
        let now = self.now.as_secs_f64();
        Canvas::default()
            .marker(Marker::Braille)
            .background_color(theme::GROUND)
            .x_bounds([0.0, end])
            .y_bounds([0.0, top])
            .paint(|canvas| {
                canvas.draw(&Points { coords: &grid, color: theme::GRID });
                if self.now < self.length {
                    canvas.draw(&Stroke { x1: now, y1: 0.0, x2: now, y2: top, color: theme::GRID });
                }
                // Layers, so that neither a dot of the grid takes a line's colour nor a line that of a dash.
                canvas.layer();
                for Series { colour, shape, points, .. } in &self.series {
                    let color = *colour;
                    if *shape == Shape::Dashed {
                        let level = points.first().and_then(|p| p.1).unwrap_or(0.0).min(top);
                        let all = across(1.0).into_iter().enumerate();
                        let dashes: Vec<_> =
                            all.filter(|(k, _)| k % 4 < 2).map(|(_, x)| (x, level)).collect();
                        canvas.draw(&Points { coords: &dashes, color });
                        canvas.layer();
                        continue;
                    }
                    for pair in points.windows(2) {
                        if let [(x1, Some(y1)), (x2, Some(y2))] = *pair {
                            canvas.draw(&Stroke { x1, y1: y1.min(top), x2, y2: y2.min(top), color });
                        }
                    }
                }
            })
            .render(area, buffer);
    }

    /// Times at round distances below the plot.
    fn times(&self, plot: Rect, row: Rect, buffer: &mut Buffer) {
        let room = usize::from(GUTTER) - 2;
        buffer.set_string(row.x, row.y, format!("{:>room$}", "h:mm"), theme::ink(theme::FAINT));
        let most = (plot.width / 10).max(1);
        let minutes = self.length.as_secs_f64() / 60.0;
        let fits = |&&step: &&u32| minutes / f64::from(step) <= f64::from(most);
        let step = STEPS_MIN.iter().find(fits).unwrap_or(&STEPS_MIN[STEPS_MIN.len() - 1]);
        for minute in (0..=minutes as u32).step_by(*step as usize) {
            let text = format!("{}:{:02}", minute / 60, minute % 60);
            let width = text.len() as u16;
            let column =
                (f64::from(minute) / minutes * f64::from(plot.width.saturating_sub(1))).round() as u16;
            let left = column.saturating_sub(width / 2).min(plot.width.saturating_sub(width));
            buffer.set_string(plot.x + left, row.y, text, theme::ink(theme::FAINT));
        }
    }
}

/// Distances between two times, in minutes.
const STEPS_MIN: [u32; 13] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 10_080];

/// The least round number that is not below `value`: one digit, or 15 or 25, before zeros.
pub(super) fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let found = steps.iter().map(|step| step * decade).find(|&round| round >= value * (1.0 - 1e-9));
    found.unwrap_or(10.0 * decade)
}

/// A label of at most six characters.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e5 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn axes_end_at_round_numbers_not_below_what_they_show() {
        let ends: Vec<f64> = [0.0, 7.0, 10.0, 11.0, 16.5, 231.0, 980.0].into_iter().map(round_up).collect();
        assert_eq!(ends, [1.0, 8.0, 10.0, 15.0, 20.0, 250.0, 1000.0]);
    }
}
