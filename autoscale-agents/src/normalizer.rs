//! Running mean and variance of the features.

/// Normalised features stay within ± this.
const CLIP: f32 = 10.0;

/// Mean and variance of everything seen so far, per feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    pub(crate) count: f64,
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

impl Normalizer {
    /// Leaves features as they are until something was seen.
    pub fn new(features: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; features], variance: vec![1.0; features] }
    }

    /// Takes in `rows`, row-major `[n, features]`, by the parallel update of Chan, Golub and `LeVeque` (1983).
    pub fn observe(&mut self, rows: &[f32]) {
        let width = self.mean.len();
        let n = (rows.len() / width.max(1)) as f64;
        if n == 0.0 {
            return;
        }
        for k in 0..width {
            let column = || rows.iter().skip(k).step_by(width).map(|&x| f64::from(x));
            let mean = column().sum::<f64>() / n;
            let squares = column().map(|x| (x - mean).powi(2)).sum::<f64>();
            let (total, delta) = (self.count + n, mean - self.mean[k]);
            // The initial variance of 1 stands for no data at all, so it has no weight.
            let before = if self.count == 0.0 { 0.0 } else { self.variance[k] * self.count };
            self.variance[k] = (before + squares + delta * delta * self.count * n / total) / total;
            self.mean[k] += delta * n / total;
        }
        self.count += n;
    }

    /// Writes the normalised `features` to `out`; both `[features]`.
    pub fn apply(&self, features: &[f32], out: &mut [f32]) {
        for (((x, y), mean), variance) in features.iter().zip(out).zip(&self.mean).zip(&self.variance) {
            // A feature that hardly moves must not be blown up.
            let deviation = (variance + 1e-4).sqrt();
            *y = (((f64::from(*x) - mean) / deviation) as f32).clamp(-CLIP, CLIP);
        }
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
        let mut out = [0.0; 3];
        whole.apply(&[1e9, f32::MIN, whole.mean[2] as f32], &mut out);
        assert_eq!((out[0], out[1]), (CLIP, -CLIP));
        assert!(out[2].abs() < 1e-5);
    }
}
