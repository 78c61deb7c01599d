//! Is a mean difference more than chance?

use super::{StatisticsError, all_finite};
use autoscale_core::seed::Seed;
use rand::RngExt;
use serde::Serialize;

/// Up to so many differences (zeros apart) every assignment of signs is counted: 2⁴⁰ of them, by way of two lists of 2²⁰.
const MOST_COUNTED: usize = 40;

/// Random assignments beyond that.
const DRAWS: u32 = 99_999;

/// Sums this close to the observed one, relative to the largest possible, are equal to it: rounding is no evidence.
const TIE: f64 = 1e-12;

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignFlipTest {
    /// The mean difference, in its unit.
    pub mean: f64,
    /// The two-sided p-value.
    pub p: f64,
    /// How many differences it comes from.
    pub n: usize,
    /// How the assignments were counted.
    pub counting: Counting,
}

/// How the assignments of signs were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// All of them.
    Exact,
    /// So many random ones.
    MonteCarlo(u32),
}

/// Tests that paired differences are symmetric about zero, as they are when both policies do equally well on every
/// seed (Fisher 1935, section 21): the share of the 2ⁿ assignments of signs whose mean is at least as far from zero as
/// the observed one. It needs no distribution; with n pairs p cannot be below 2¹⁻ⁿ.
///
/// Exact up to 40 differences other than zero: all sums of the two halves are sorted, and pairs that reach the observed
/// sum are counted by walking one list up and the other down (Horowitz and Sahni 1974), which takes √2ⁿ steps. Beyond
/// that from 99,999 random assignments, where p = (b + 1) / (m + 1) (Phipson and Smyth 2010) and `seed` decides.
///
/// # Errors
/// When there is no difference, or one is not finite.
pub fn sign_flip_test(differences: &[f64], seed: Seed) -> Result<SignFlipTest, StatisticsError> {
    if differences.is_empty() {
        return Err(StatisticsError::Empty);
    }
    all_finite(differences)?;
    // A zero has no sign to flip: it would only count each assignment twice.
    let flipped: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let sum: f64 = flipped.iter().sum();
    let sizes: Vec<f64> = flipped.iter().map(|d| d.abs()).collect();
    let reach = sum.abs() - TIE * sizes.iter().sum::<f64>();
    let (p, counting) = if sizes.len() <= MOST_COUNTED {
        (exact(&sizes, reach), Counting::Exact)
    } else {
        (monte_carlo(&sizes, reach, seed), Counting::MonteCarlo(DRAWS))
    };
    let n = differences.len();
    Ok(SignFlipTest { mean: sum / n as f64, p, n, counting })
}

/// The share of assignments whose sum is at least `reach` away from zero.
fn exact(sizes: &[f64], reach: f64) -> f64 {
    if reach <= 0.0 {
        return 1.0;
    }
    let (left, right) = sizes.split_at(sizes.len() / 2);
    let (left, right) = (sorted_sums(left), sorted_sums(right));
    // The larger the sum of the left half, the more sums of the right half reach far enough together with it.
    let mut first = right.len();
    let mut above = 0_u64;
    for sum in left {
        while first > 0 && sum + right[first - 1] >= reach {
            first -= 1;
        }
        above += (right.len() - first) as u64;
    }
    // For each sum above there is one as far below. Counts stay below 2^53.
    (2 * above) as f64 / 2.0_f64.powi(sizes.len() as i32)
}

/// The sums of all assignments of signs, ascending. Two sorted lists make the next, so that nothing has to be sorted.
fn sorted_sums(sizes: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for size in sizes {
        let mut next = Vec::with_capacity(2 * sums.len());
        let mut raised = sums.iter().map(|sum| sum + size).peekable();
        for lowered in sums.iter().map(|sum| sum - size) {
            while let Some(sum) = raised.next_if(|&sum| sum < lowered) {
                next.push(sum);
            }
            next.push(lowered);
        }
        next.extend(raised);
        sums = next;
    }
    sums
}

fn monte_carlo(sizes: &[f64], reach: f64, seed: Seed) -> f64 {
    let mut stream = seed.child("sign-flip").stream();
    let mut reached = 0_u32;
    for _ in 0..DRAWS {
        let mut sum = 0.0;
        for sizes in sizes.chunks(64) {
            let signs: u64 = stream.random();
            let signed =
                sizes.iter().enumerate().map(|(k, size)| if signs >> k & 1 == 1 { *size } else { -size });
            sum += signed.sum::<f64>();
        }
        reached += u32::from(sum.abs() >= reach);
    }
    f64::from(reached + 1) / f64::from(DRAWS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(differences: &[f64]) -> f64 {
        sign_flip_test(differences, Seed::root(1)).unwrap().p
    }

    /// Every assignment, one after the other.
    fn enumerated(differences: &[f64]) -> f64 {
        let n = differences.len();
        let observed = differences.iter().sum::<f64>().abs();
        let tie = TIE * differences.iter().map(|d| d.abs()).sum::<f64>();
        let sum = |signs: usize| -> f64 {
            (0..n).map(|k| if signs >> k & 1 == 1 { -differences[k] } else { differences[k] }).sum()
        };
        let reached = (0..1_usize << n).filter(|&signs| sum(signs).abs() >= observed - tie).count();
        reached as f64 / (1_u64 << n) as f64
    }

    #[test]
    fn small_tests_as_on_paper() {
        // Only ++++ and ---- are as far out.
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0]).to_bits(), (2.0_f64 / 16.0).to_bits());
        // The sum of 8 is reached by ++++ (10) and -+++ (8), and by their opposites.
        assert_eq!(p(&[-1.0, 2.0, 3.0, 4.0]).to_bits(), (4.0_f64 / 16.0).to_bits());
        // A sum of zero is reached by all; one difference and its opposite by both.
        assert!([p(&[1.0, -1.0]), p(&[5.0]), p(&[0.0, 0.0])].iter().all(|p| *p >= 1.0));
    }

    #[test]
    fn zeros_and_ties_count_as_they_should() {
        assert_eq!(p(&[0.0, 1.0, 2.0, 0.0, 3.0, 4.0]).to_bits(), p(&[1.0, 2.0, 3.0, 4.0]).to_bits());
        // Ten equal differences, one of the other sign: as far out are 0, 1, 9 and 10 of one sign. 0.1 has no exact
        // binary value, so that sums in other orders differ in their last bits.
        let mut tenths = [0.1; 10];
        tenths[3] = -0.1;
        assert_eq!(p(&tenths).to_bits(), (22.0_f64 / 1024.0).to_bits());
    }

    #[test]
    fn thirty_and_forty_are_exact() {
        // As many as one likes of equal size: the binomial distribution. At most two of 30 with the rare sign.
        let mut thirty = [1.5; 30];
        thirty[7] = -1.5;
        thirty[20] = -1.5;
        let test = sign_flip_test(&thirty, Seed::root(1)).unwrap();
        let of_30 = 2.0 * f64::from(1 + 30 + 435) / 2.0_f64.powi(30);
        assert_eq!((test.p, test.counting, test.n), (of_30, Counting::Exact, 30));
        assert!((test.mean - 1.3).abs() < 1e-12);
        assert_eq!(p(&[2.0; 40]).to_bits(), 2.0_f64.powi(-39).to_bits());
    }

    #[test]
    fn beyond_forty_random_assignments_come_close_and_are_never_zero() {
        let mut many = [1.0; 45];
        many[..15].fill(-1.0);
        let test = sign_flip_test(&many, Seed::root(1)).unwrap();
        assert_eq!(test.counting, Counting::MonteCarlo(99_999));
        // At most 15 or at least 30 of 45 fair coins; four standard errors of 99,999 draws.
        let chooses = |k: u32| (0..k).fold(1.0, |c, j| c * f64::from(45 - j) / f64::from(j + 1));
        let truth = 2.0 * (0..=15).map(chooses).sum::<f64>() / 2.0_f64.powi(45);
        let error = (truth * (1.0 - truth) / 99_999.0).sqrt();
        assert!((test.p - truth).abs() < 4.0 * error, "{} instead of {truth}", test.p);
        assert_eq!(p(&[1.0; 70]).to_bits(), 1e-5_f64.to_bits());
        assert_eq!(sign_flip_test(&many, Seed::root(1)), sign_flip_test(&many, Seed::root(1)));
    }

    #[test]
    fn nothing_and_what_is_not_finite_is_refused() {
        assert_eq!(sign_flip_test(&[], Seed::root(1)).unwrap_err(), StatisticsError::Empty);
        let error = sign_flip_test(&[1.0, f64::INFINITY], Seed::root(1)).unwrap_err();
        assert_eq!(error, StatisticsError::NotFinite(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn counting_by_halves_is_enumeration(differences in prop::collection::vec(-5.0..5.0_f64, 1..=10)) {
            prop_assert_eq!(p(&differences).to_bits(), enumerated(&differences).to_bits());
        }

        /// Differences of a few sizes, in tenths, so that many sums are equal.
        #[test]
        fn so_it_is_with_ties_and_zeros(tenths in prop::collection::vec(-3_i8..=3, 1..=12)) {
            let differences: Vec<f64> = tenths.into_iter().map(|d| f64::from(d) * 0.1).collect();
            prop_assert_eq!(p(&differences).to_bits(), enumerated(&differences).to_bits());
        }
    }
}
