//! Axes with marks at round values.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;
use std::time::Duration;

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    /// Equal ratios are equally long.
    Log,
    /// Shares below one: 0, 0.9, 0.99 and 0.999 are equally far apart.
    Tail,
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
            Self::Tail => -(1.0 - value).log10(),
        }
    }
}

/// One axis: its range, where its marks are, and what they say.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What it shows, with its unit.
    pub(super) name: String,
    scale: Scale,
    range: (f64, f64),
    marks: Vec<(f64, String)>,
}

/// Marks on an axis as wide as a picture, at most.
const MARKS: f64 = 8.0;
/// Marks on one that may be a low panel's height.
const FEW_MARKS: f64 = 5.0;

impl Axis {
    /// From `low` to `high`, with some room above; from zero if `low` is not below.
    pub(super) fn linear(name: impl Into<String>, (low, high): (f64, f64)) -> Self {
        let low = low.min(0.0);
        let high = if high > low { high + 0.06 * (high - low) } else { low + 1.0 };
        Self::marked(name, (low, high), FEW_MARKS)
    }

    /// Exactly from `low` to `high`.
    pub(super) fn between(name: impl Into<String>, ends: (f64, f64)) -> Self {
        Self::marked(name, ends, MARKS)
    }

    fn marked(name: impl Into<String>, (low, high): (f64, f64), marks: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = round_step((high - low) / marks);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let mark = |k: i64| {
            let value = k as f64 * step;
            (value, format!("{value:.decimals$}"))
        };
        Self {
            name: name.into(),
            scale: Scale::Linear,
            range: (low, high),
            marks: (first..=last).map(mark).collect(),
        }
    }

    /// Powers of ten and, where there are few, twice and five times these. `low` has to be above zero.
    pub(super) fn log(name: impl Into<String>, (low, high): (f64, f64)) -> Self {
        let high = high.max(low * 2.0) * 1.15;
        let decades = (high / low).log10();
        let steps: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| (power, step)));
        let mark = |(power, step): (i32, &f64)| {
            let value = step * 10_f64.powi(power);
            (value, format!("{value:.*}", usize::try_from(-power).unwrap_or(0)))
        };
        let inside = |(value, _): &(f64, String)| (low * 0.999..=high).contains(value);
        let marks = all.map(mark).filter(inside).collect();
        Self { name: name.into(), scale: Scale::Log, range: (low, high), marks }
    }

    /// Shares from none to all but one in ten thousand, as percentiles.
    pub(super) fn percentiles(name: impl Into<String>) -> Self {
        let marks = [
            (0.0, "0"),
            (0.5, "50"),
            (0.9, "90"),
            (0.95, "95"),
            (0.99, "99"),
            (0.999, "99.9"),
            (0.9999, "99.99"),
        ];
        Self {
            name: name.into(),
            scale: Scale::Tail,
            range: (0.0, 0.9999),
            marks: marks.map(|(value, text)| (value, text.to_owned())).to_vec(),
        }
    }

    /// From the start to `length`, in the unit that suits it; values are in seconds.
    pub(super) fn time(length: Duration) -> Self {
        let seconds = length.as_secs_f64().max(1.0);
        let (unit, of) = match seconds {
            s if s <= 4.0 * 3600.0 => ("min", 60.0),
            s if s <= 3.0 * 86_400.0 => ("h", 3600.0),
            _ => ("days", 86_400.0),
        };
        // Clocks have marks of their own.
        let steps: &[f64] = match unit {
            "min" => &[0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0],
            "h" => &[0.5, 1.0, 2.0, 3.0, 6.0, 12.0],
            _ => &[1.0, 2.0, 7.0, 14.0, 28.0],
        };
        let wanted = seconds / of / MARKS;
        let step = steps.iter().copied().find(|step| *step >= wanted).unwrap_or(wanted.ceil());
        let decimals = usize::from(step < 1.0);
        let mark = |k: u32| {
            let value = f64::from(k) * step;
            (value * of, format!("{value:.decimals$}"))
        };
        let last = (seconds / of / step + 1e-9) as u32;
        Self {
            name: format!("time [{unit}]"),
            scale: Scale::Linear,
            range: (0.0, seconds),
            marks: (0..=last).map(mark).collect(),
        }
    }

    /// Without its name, where a neighbour says it.
    pub(super) fn unnamed(self) -> Self {
        Self { name: String::new(), ..self }
    }

    /// What the mark at a value says.
    pub(super) fn text(&self, value: f64) -> String {
        let mark = self.marks.iter().find(|(at, _)| at.total_cmp(&value).is_eq());
        mark.map_or_else(String::new, |(_, text)| text.clone())
    }

    pub(super) fn marks(&self) -> usize {
        self.marks.len()
    }

    /// The nearest value within the range.
    pub(super) fn clamp(&self, value: f64) -> f64 {
        value.clamp(self.range.0, self.range.1)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= least * 0.999);
    step.unwrap_or(10.0) * power
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let [low, high, at] = [self.range.0, self.range.1, *value].map(|v| self.scale.at(v));
        from + ((at - low) / (high - low) * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        // Lines between marks are not drawn.
        let marks = if hint.weight().allow_light_points() { &[] } else { &self.marks[..] };
        marks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.text(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn marks_are_round_and_told_apart() {
        assert_eq!(marks(&Axis::linear("", (0.0, 3.0))), ["0", "1", "2", "3"]);
        assert_eq!(marks(&Axis::between("", (0.0, 0.04))).len(), 9);
        assert_eq!(marks(&Axis::linear("", (-5.0, 8.0))), ["-5", "0", "5"]);
        assert_eq!(marks(&Axis::linear("", (7.0, 7.0))), ["0", "2", "4", "6"]);
        assert_eq!(marks(&Axis::log("", (0.01, 20.0)))[..3], ["0.01", "0.02", "0.05"]);
        assert_eq!(marks(&Axis::log("", (0.01, 300.0)))[..3], ["0.01", "0.1", "1"]);
    }

    #[test]
    fn time_has_the_unit_that_suits_it() {
        let hours = |h: u64| Axis::time(Duration::from_hours(h));
        assert_eq!((hours(1).name.as_str(), marks(&hours(1))[1]), ("time [min]", "10"));
        assert_eq!((hours(3).name.as_str(), marks(&hours(3))[1]), ("time [min]", "30"));
        assert_eq!((hours(24).name.as_str(), marks(&hours(24))[1]), ("time [h]", "3"));
        assert_eq!((hours(168).name.as_str(), marks(&hours(168))[6]), ("time [days]", "6"));
    }

    #[test]
    fn scales_are_even_where_they_should_be() {
        let at = |axis: &Axis, values: [f64; 3]| values.map(|v| axis.map(&v, (0, 4000)));
        assert_eq!(at(&Axis::percentiles(""), [0.0, 0.9, 0.99]), [0, 1000, 2000]);
        let axis = Axis::log("", (1.0, 1000.0));
        let [a, b, c] = at(&axis, [1.0, 10.0, 100.0]);
        assert_eq!(b - a, c - b);
        assert_eq!(a, 0);
    }
}
