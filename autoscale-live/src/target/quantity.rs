//! Kubernetes quantities: `250m`, `1.5Gi`, `12e3`.

use autoscale_core::units::Milli;

/// Thousandths of the unit, rounded up as Kubernetes' own `MilliValue` is; `None` for what is no quantity, or too large.
pub(super) fn milli(text: &str) -> Option<Milli> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let digits = if text.starts_with('-') { -digits } else { digits };
    let (binary, power) = scale(suffix)?;
    let places = i32::try_from(fraction.len()).ok()?;
    // digits × binary × 10^(power − places), in thousandths.
    let exponent = power.checked_sub(places)?.checked_add(3)?;
    let scaled = digits.checked_mul(binary)?;
    let ten = 10_i128.checked_pow(exponent.unsigned_abs());
    let thousandths = if exponent >= 0 {
        scaled.checked_mul(ten?)?
    } else {
        // A divisor beyond all numbers leaves less than one thousandth.
        ten.map_or(i128::from(scaled > 0), |ten| {
            scaled.div_euclid(ten) + i128::from(scaled.rem_euclid(ten) > 0)
        })
    };
    i64::try_from(thousandths).ok().map(Milli::new)
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i64> {
        milli(text).map(Milli::get)
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        assert_eq!(of("250m"), Some(250));
        assert_eq!(of("2"), Some(2_000));
        assert_eq!(of("0.1"), Some(100));
        assert_eq!(of(".5"), Some(500));
        assert_eq!(of("1.5Gi"), Some(1_610_612_736_000));
        assert_eq!(of("12e3"), Some(12_000_000));
        assert_eq!(of("1E2"), Some(100_000));
        assert_eq!(of("1E"), None, "more thousandths than fit");
    }

    #[test]
    fn fractions_of_a_thousandth_are_rounded_up() {
        assert_eq!(of("1n"), Some(1));
        assert_eq!(of("1000001n"), Some(2));
        assert_eq!(of("156250000n"), Some(157), "156.25m");
        assert_eq!(of("0.0001"), Some(1));
        assert_eq!(of("-1500u"), Some(-1));
        assert_eq!(of("1e-60"), Some(1));
        assert_eq!(of("0n"), Some(0));
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in [
            "",
            "m",
            ".",
            "1.2.3",
            "5x",
            "1 Gi",
            "--1",
            "NaN",
            "1e",
            "9999999999999999999999",
            "1e99999999999",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
