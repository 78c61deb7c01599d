//! Running moments of the features, and of the returns.

use autoscale_core::environment::EpisodeEnd;

/// Normalised numbers stay within ± this.
const CLIP: f32 = 10.0;

/// Mean and variance of everything seen so far, per feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    pub(crate) count: f64,
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
    /// What is subtracted and what the rest is multiplied by, kept beside the moments so that acting has no roots to take.
    shift: Vec<f32>,
    scale: Vec<f32>,
}

impl Normalizer {
    /// Only clips features until something was seen.
    pub fn new(features: usize) -> Self {
        Self::of(0.0, vec![0.0; features], vec![1.0; features])
    }

    pub(crate) fn of(count: f64, mean: Vec<f64>, variance: Vec<f64>) -> Self {
        let mut normalizer =
            Self { count, shift: vec![0.0; mean.len()], scale: vec![1.0; mean.len()], mean, variance };
        normalizer.prepare();
        normalizer
    }

    fn prepare(&mut self) {
        if self.count > 0.0 {
            for k in 0..self.mean.len() {
                self.shift[k] = self.mean[k] as f32;
                // A feature that hardly moves must not be blown up.
                self.scale[k] = (1.0 / (self.variance[k] + 1e-4).sqrt()) as f32;
            }
        }
    }

    /// Takes in `rows`, row-major `[n, features]`, by the parallel update of Chan, Golub and `LeVeque` (1983).
    pub fn observe(&mut self, rows: &[f32]) {
        let width = self.mean.len();
        let n = (rows.len() / width.max(1)) as f64;
        if n == 0.0 {
            return;
        }
        let total = self.count + n;
        for k in 0..width {
            let column = || rows.iter().skip(k).step_by(width).map(|&x| f64::from(x));
            let mean = column().sum::<f64>() / n;
            let squares = column().map(|x| (x - mean).powi(2)).sum::<f64>();
            let delta = mean - self.mean[k];
            // The initial variance of 1 stands for no data at all, so it has no weight.
            let before = if self.count == 0.0 { 0.0 } else { self.variance[k] * self.count };
            self.variance[k] = (before + squares + delta * delta * self.count * n / total) / total;
            self.mean[k] += delta * n / total;
        }
        self.count = total;
        self.prepare();
    }

    /// Appends the normalised `features`, `[features]`, to `out`.
    pub fn append(&self, features: &[f32], out: &mut Vec<f32>) {
        let each = features.iter().zip(&self.shift).zip(&self.scale);
        out.extend(each.map(|((x, shift), scale)| ((x - shift) * scale).clamp(-CLIP, CLIP)));
    }

    /// The same for the first `features` only.
    pub(crate) fn first(&self, features: usize) -> Self {
        Self::of(self.count, self.mean[..features].to_vec(), self.variance[..features].to_vec())
    }
}

/// Divides rewards by the deviation of the discounted return that they add up to (Engstrom et al., 2020, section 3), one
/// sum an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct ReturnNormalizer {
    gamma: f64,
    pub(crate) moments: Normalizer,
    pub(crate) returns: Vec<f64>,
}

impl ReturnNormalizer {
    /// For a discount γ.
    pub fn new(gamma: f64) -> Self {
        Self { gamma, moments: Normalizer::new(1), returns: Vec::new() }
    }

    /// The reward of a step in environment `env`, divided.
    pub fn apply(&mut self, env: usize, reward: f32, end: Option<EpisodeEnd>) -> f32 {
        if self.returns.len() <= env {
            self.returns.resize(env + 1, 0.0);
        }
        let sum = self.returns[env] * self.gamma + f64::from(reward);
        // A sum that is no number would spoil all later ones.
        if sum.is_finite() {
            self.moments.observe(&[sum as f32]);
            self.returns[env] = if end.is_some() { 0.0 } else { sum };
        }
        let deviation = (self.moments.variance[0] + 1e-8).sqrt();
        let divided = (f64::from(reward) / deviation) as f32;
        divided.clamp(-CLIP, CLIP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_to_the_whole() {
        let data: Vec<f32> = (0..300).map(|i| ((i * 37) % 101) as f32 * 0.3 - 7.0).collect();
        let mut whole = Normalizer::new(3);
        whole.observe(&data);
        let mut parts = Normalizer::new(3);
        parts.observe(&data[..60]);
        parts.observe(&data[60..90]);
        parts.observe(&data[90..]);
        for k in 0..3 {
            assert!((whole.mean[k] - parts.mean[k]).abs() < 1e-9);
            assert!((whole.variance[k] - parts.variance[k]).abs() < 1e-9);
        }
        let column: Vec<f64> = data.iter().step_by(3).map(|&x| f64::from(x)).collect();
        let mean = column.iter().sum::<f64>() / 100.0;
        assert!((whole.mean[0] - mean).abs() < 1e-9);
        let mut out = Vec::new();
        whole.append(&[1e9, f32::MIN, whole.mean[2] as f32], &mut out);
        assert_eq!((out[0], out[1]), (CLIP, -CLIP));
        assert!(out[2].abs() < 1e-5);
    }

    #[test]
    fn rewards_are_divided_by_the_deviation_of_returns() {
        let mut normalizer = ReturnNormalizer::new(0.5);
        // Returns of 4 and 8 in turn: 4, 4 / 2 + 6, then from the start.
        let mut last = [0.0; 2];
        for _ in 0..1000 {
            last = [normalizer.apply(0, 4.0, None), normalizer.apply(0, 6.0, Some(EpisodeEnd::Truncated))];
        }
        assert!((last[0] - 2.0).abs() < 0.01 && (last[1] - 3.0).abs() < 0.01, "{last:?}");
        assert!(normalizer.apply(1, f32::NAN, None).is_nan(), "it is shown, and not remembered");
        assert!((normalizer.apply(0, 4.0, None) - 2.0).abs() < 0.01);
    }
}
