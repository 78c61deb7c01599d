//! Quantities as Kubernetes writes them: `500m`, `1.5`, `2k`, `100Mi`, `1e3`.

use autoscale_core::units::Milli;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// A quantity: mantissa × base^exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    mantissa: i64,
    /// Of ten.
    exponent: i32,
    /// Times so many 1024s.
    binary: u32,
}

/// Decimal suffixes with their powers of ten, binary ones with their powers of 1024.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4), ("Pi", 5), ("Ei", 6)];

impl Quantity {
    /// Reads one; `None` of what is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if !number.contains(|c: char| c.is_ascii_digit()) || fraction.contains(['+', '-']) {
            return None;
        }
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        let shift = -i32::try_from(fraction.len()).ok()?;
        let decimal = |power: i32| Some(Self { mantissa, exponent: shift + power, binary: 0 });
        if let Some(&(_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return decimal(power);
        }
        if let Some(&(_, binary)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            return Some(Self { mantissa, exponent: shift, binary });
        }
        decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|power: &i32| power.abs() <= 30)?)
    }

    /// In thousandths, rounded away from zero; `None` where that does not fit.
    pub(super) fn milli(self) -> Option<Milli> {
        let mut value = i128::from(self.mantissa);
        for _ in 0..self.binary {
            value = value.checked_mul(1024)?;
        }
        let power = self.exponent + 3;
        for _ in 0..power.max(0) {
            value = value.checked_mul(10)?;
        }
        let divisor = 10i128.checked_pow(power.min(0).unsigned_abs())?;
        let (quotient, rest) = (value / divisor, value % divisor);
        i64::try_from(quotient + rest.signum()).ok().map(Milli::new)
    }

    /// As a number.
    pub(super) fn value(self) -> f64 {
        let mantissa = self.mantissa as f64 * 1024f64.powi(self.binary as i32);
        mantissa * 10f64.powi(self.exponent)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m, 1.5, 2k or 100Mi")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                let invalid =
                    || E::custom(format!("{text:?} is no quantity; expected one such as 500m, 1.5 or 100Mi"));
                Quantity::parse(text).ok_or_else(invalid)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity { mantissa: number, exponent: 0, binary: 0 })
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("500m", 500),
            ("1", 1000),
            ("1.5", 1500),
            ("0.0001", 1),
            ("-0.0001", -1),
            ("1500u", 2),
            ("1n", 1),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("100Mi", 104_857_600_000),
            ("1.5Gi", 1_610_612_736_000),
            (".5", 500),
        ] {
            assert_eq!(Quantity::parse(text).and_then(Quantity::milli), Some(Milli::new(milli)), "{text}");
        }
        for text in ["", "m", "1x", "1mm", "--1", "1.2.3", "1e99", "one", "1 "] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
        assert_eq!(Quantity::parse("9E").and_then(Quantity::milli), None);
        // As the controller reads a tolerance: 7 × 10⁻².
        assert!((Quantity::parse("0.07").unwrap().value() - 0.07).abs() < 1e-15);
    }
}
