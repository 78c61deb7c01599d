//! Numbers as people read them: no more digits than the interval bears.

use crate::estimate::Estimate;
use std::fmt;

/// `point [low, high]`, all with as many decimals as show two digits of the longer arm of the interval; `{:+}` puts signs
/// before all three.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.decimals();
        let show = |value| if f.sign_plus() { signed(value, decimals) } else { plain(value, decimals) };
        if self.n == 1 {
            // One value says nothing of how far others are from it.
            return f.pad(&format!("{} (n = 1)", show(self.point)));
        }
        f.pad(&format!("{} [{}, {}]", show(self.point), show(self.low), show(self.high)))
    }
}

impl Estimate {
    fn decimals(&self) -> usize {
        let arm = (self.high - self.point).max(self.point - self.low);
        // Without an interval but that of rounding, four digits of the number itself.
        let (size, digits) = if arm > 1e-9 * self.point.abs() { (arm, 2) } else { (self.point.abs(), 4) };
        decimals(size, digits)
    }
}

/// A number that is no estimate, such as a price or a p-value: with so many significant digits at most.
pub(crate) fn number(value: f64, digits: i32) -> String {
    let text = plain(value, decimals(value.abs(), digits));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How many decimals show so many significant digits of `size`.
fn decimals(size: f64, digits: i32) -> usize {
    if !(size.is_finite() && size > 0.0) {
        return 0;
    }
    (digits - 1 - size.log10().floor() as i32).clamp(0, 6) as usize
}

/// With the minus sign of print, which stands out where a hyphen is lost.
fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let negative = value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if negative { format!("−{text}") } else { text }
}

fn signed(value: f64, decimals: usize) -> String {
    let text = plain(value, decimals);
    let positive = value > 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if positive { format!("+{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(point: f64, low: f64, high: f64) -> Estimate {
        Estimate { point, low, high, n: 30 }
    }

    #[test]
    fn the_interval_says_how_many_digits_there_are() {
        assert_eq!(estimate(412.345, 400.1, 424.9).to_string(), "412 [400, 425]");
        assert_eq!(estimate(1.234_56, 1.2, 1.27).to_string(), "1.235 [1.200, 1.270]");
        assert_eq!(format!("{:+}", estimate(-0.5, -1.25, 0.25)), "−0.50 [−1.25, +0.25]");
        assert_eq!(estimate(3.0, 3.0, 3.0).to_string(), "3.000 [3.000, 3.000]");
        assert_eq!(estimate(0.0, 0.0, 0.0).to_string(), "0 [0, 0]");
    }

    #[test]
    fn what_rounds_to_nothing_has_no_sign() {
        assert_eq!(format!("{:+}", estimate(-1e-9, -0.5, 0.5)), "0.00 [−0.50, +0.50]");
        assert_eq!(format!("{:+}", estimate(1e-9, -0.5, 0.5)), "0.00 [−0.50, +0.50]");
    }

    #[test]
    fn plain_numbers_end_with_their_last_digit() {
        assert_eq!(number(5e-4, 3), "0.0005");
        assert_eq!(number(100.0, 3), "100");
        assert_eq!(number(0.048_79, 2), "0.049");
        assert_eq!(number(0.0, 2), "0");
    }
}
