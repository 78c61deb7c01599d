//! Student's distribution.

use std::f64::consts::FRAC_2_PI;

/// The 97.5 % quantile of Student's t with so many degrees of freedom (at least one): between minus this and this lies
/// 95 % of it. By bisection, to the last bits.
pub fn student_quantile(degrees: usize) -> f64 {
    // One degree has 12.71, infinitely many have 1.96.
    let (mut low, mut high) = (1.9, 13.0);
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        if central_probability(middle, degrees) < 0.95 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The probability of lying between −t and t. For whole degrees of freedom it is a finite sum over the angle
/// θ = atan(t / √ν) (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
fn central_probability(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // Odd degrees: cos θ + 2/3 cos³θ + 2·4/(3·5) cos⁵θ …; even: 1 + 1/2 cos²θ + 1·3/(2·4) cos⁴θ …
    let mut term = if degrees % 2 == 1 { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut below = if degrees % 2 == 1 { 3.0 } else { 2.0 };
    for _ in 0..degrees / 2 {
        sum += term;
        term *= cosine * cosine * (below - 1.0) / below;
        below += 2.0;
    }
    if degrees % 2 == 1 { FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_any_table() {
        let table = [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (9, 2.262),
            (29, 2.045),
            (30, 2.042),
            (120, 1.980),
        ];
        for (degrees, quantile) in table {
            assert!((student_quantile(degrees) - quantile).abs() < 5.1e-4, "{degrees}");
        }
        // One degree is Cauchy's distribution; with two the quantile has a closed form.
        assert!((student_quantile(1) - (0.475 * std::f64::consts::PI).tan()).abs() < 1e-10);
        assert!((student_quantile(2) - 0.95 * (2.0 / (1.0 - 0.95 * 0.95_f64)).sqrt()).abs() < 1e-10);
        // Cornish and Fisher's first correction of the normal distribution.
        let z = 1.959_963_984_540_054_f64;
        assert!((student_quantile(5000) - (z + (z.powi(3) + z) / 20_000.0)).abs() < 1e-6);
    }
}
