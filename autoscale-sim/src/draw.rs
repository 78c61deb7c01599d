//! Random draws that are the same on every machine.
//!
//! Distribution libraries call the platform's `ln` and `exp`, whose last bit differs between platforms, and
//! with it the bytes of an episode. Here everything transcendental comes from the crate `libm`, which is
//! Rust all through.

use rand::{Rng, RngExt};
use std::sync::LazyLock;

const LAYERS: usize = 256;

/// The tables of a ziggurat with 256 layers of equal area under a decreasing density (Marsaglia and Tsang,
/// "The ziggurat method for generating random variables", Journal of Statistical Software 5(8), 2000).
struct Ziggurat {
    /// Right ends of the layers, the base layer first; its end is that of a box of the same area.
    x: [f64; LAYERS + 1],
    /// The density there.
    f: [f64; LAYERS + 1],
}

impl Ziggurat {
    /// Layers of `area` each, for a density with its inverse, whose tail begins at `tail`.
    fn new(tail: f64, area: f64, density: fn(f64) -> f64, inverse: fn(f64) -> f64) -> Self {
        let (mut x, mut f) = ([0.0; LAYERS + 1], [0.0; LAYERS + 1]);
        x[0] = area / density(tail);
        x[1] = tail;
        for i in 1..LAYERS - 1 {
            x[i + 1] = inverse(area / x[i] + density(x[i]));
        }
        for (f, &x) in f.iter_mut().zip(&x) {
            *f = density(x);
        }
        Self { x, f }
    }

    /// A point in layer `i` at `u` (−1 to 1) of its width; `None` when it fell outside the density. The base
    /// layer's tail is for the caller.
    fn point(&self, i: usize, u: f64, density: fn(f64) -> f64, stream: &mut impl Rng) -> Option<f64> {
        let x = u * self.x[i];
        let inside = x.abs() < self.x[i + 1] || {
            i > 0 && {
                let height: f64 = stream.random();
                self.f[i] + (self.f[i + 1] - self.f[i]) * height < density(x)
            }
        };
        inside.then_some(x)
    }
}

const EXPONENTIAL_TAIL: f64 = 7.697_117_470_131_05;
const EXPONENTIAL_AREA: f64 = 0.003_949_659_822_581_557;
static EXPONENTIAL: LazyLock<Ziggurat> = LazyLock::new(|| {
    Ziggurat::new(EXPONENTIAL_TAIL, EXPONENTIAL_AREA, exponential_density, |f| -libm::log(f))
});

const NORMAL_TAIL: f64 = 3.654_152_885_361_009;
const NORMAL_AREA: f64 = 0.004_928_673_233_974_65;
static NORMAL: LazyLock<Ziggurat> = LazyLock::new(|| {
    Ziggurat::new(NORMAL_TAIL, NORMAL_AREA, normal_density, |f| (-2.0 * libm::log(f)).sqrt())
});

fn exponential_density(x: f64) -> f64 {
    libm::exp(-x)
}

/// Up to a constant.
fn normal_density(x: f64) -> f64 {
    libm::exp(-x * x / 2.0)
}

/// A layer and a place in it, out of one draw: eight low bits and 53 high ones, which do not overlap.
fn layer(stream: &mut impl Rng) -> (usize, f64) {
    let bits = stream.next_u64();
    ((bits & 0xff) as usize, (bits >> 11) as f64 / (1u64 << 53) as f64)
}

/// Uniform on (0, 1]: its logarithm is finite.
fn positive(stream: &mut impl Rng) -> f64 {
    1.0 - stream.random::<f64>()
}

/// Exponential with mean 1.
pub(crate) fn exponential(stream: &mut impl Rng) -> f64 {
    let mut beyond = 0.0;
    loop {
        let (i, u) = layer(stream);
        if let Some(x) = EXPONENTIAL.point(i, u, exponential_density, stream) {
            return beyond + x;
        }
        if i == 0 {
            // No memory: what lies beyond the tail's start is exponential again.
            beyond += EXPONENTIAL_TAIL;
        }
    }
}

/// Normal with mean 0 and variance 1.
pub(crate) fn normal(stream: &mut impl Rng) -> f64 {
    loop {
        let (i, u) = layer(stream);
        let u = 2.0 * u - 1.0;
        if let Some(x) = NORMAL.point(i, u, normal_density, stream) {
            return x;
        }
        if i == 0 {
            // Marsaglia's tail algorithm.
            loop {
                let x = -libm::log(positive(stream)) / NORMAL_TAIL;
                let y = -libm::log(positive(stream));
                if 2.0 * y > x * x {
                    return (NORMAL_TAIL + x).copysign(u);
                }
            }
        }
    }
}

/// Lognormal: the exponential of a normal with mean `mu` and standard deviation `sigma`.
pub(crate) fn lognormal(mu: f64, sigma: f64, stream: &mut impl Rng) -> f64 {
    libm::exp(mu + sigma * normal(stream))
}

/// Gamma with mean `shape` and scale 1 (Marsaglia and Tsang, "A simple method for generating gamma variables",
/// ACM Transactions on Mathematical Software 26(3), 2000).
pub(crate) fn gamma(shape: f64, stream: &mut impl Rng) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, stream) * libm::pow(positive(stream), 1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let z = normal(stream);
        let root = 1.0 + c * z;
        if root <= 0.0 {
            continue;
        }
        let v = root * root * root;
        if libm::log(positive(stream)) < z * z / 2.0 + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
}

/// Student's t with that many degrees of freedom.
pub(crate) fn student_t(degrees_of_freedom: f64, stream: &mut impl Rng) -> f64 {
    let z = normal(stream);
    z / (2.0 * gamma(degrees_of_freedom / 2.0, stream) / degrees_of_freedom).sqrt()
}

/// Poisson count: gaps are counted when few are expected, else transformed rejection (algorithm PTRS of Hörmann,
/// "The transformed rejection method for generating Poisson random variables", Insurance: Mathematics and
/// Economics 12, 1993).
pub(crate) fn poisson(mean: f64, stream: &mut impl Rng) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean < 10.0 {
        let (mut count, mut at) = (0.0, exponential(stream));
        while at < mean {
            count += 1.0;
            at += exponential(stream);
        }
        return count;
    }
    let b = 0.931 + 2.53 * mean.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let surely = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let u = stream.random::<f64>() - 0.5;
        let v = positive(stream);
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
        if us >= 0.07 && v <= surely {
            return k;
        }
        if k < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        let hat = libm::log(v * inverse_alpha / (a / (us * us) + b));
        if hat <= k * libm::log(mean) - mean - libm::lgamma(k + 1.0) {
            return k;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::{Seed, Stream};
    use rand_distr::{Distribution, Exp1, Gamma, Poisson, StandardNormal, StudentT};

    const N: usize = 200_000;

    /// The largest distance between two empirical distribution functions (Kolmogorov and Smirnov), of
    /// ours and of a library's draws.
    fn distance(mut ours: impl FnMut(&mut Stream) -> f64, theirs: impl Distribution<f64>) -> f64 {
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let (mut one, mut two) = (Seed::root(1).stream(), Seed::root(2).stream());
        let a = sorted((0..N).map(|_| ours(&mut one)).collect());
        let b = sorted((0..N).map(|_| theirs.sample(&mut two)).collect());
        let below = |values: &[f64], x: f64| values.partition_point(|&v| v <= x) as f64 / N as f64;
        a.iter().chain(&b).map(|&x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn draws_are_distributed_as_a_librarys() {
        // 1.95 sqrt(2/n) is exceeded by equal distributions once in a thousand times.
        let limit = 1.95 * (2.0 / N as f64).sqrt();
        for (name, found) in [
            ("exponential", distance(exponential, Exp1)),
            ("normal", distance(normal, StandardNormal)),
            ("gamma 0.4", distance(|s| gamma(0.4, s), Gamma::new(0.4, 1.0).unwrap())),
            ("gamma 3.7", distance(|s| gamma(3.7, s), Gamma::new(3.7, 1.0).unwrap())),
            ("poisson 4", distance(|s| poisson(4.0, s), Poisson::new(4.0).unwrap())),
            ("poisson 12", distance(|s| poisson(12.0, s), Poisson::new(12.0).unwrap())),
            ("poisson 6000", distance(|s| poisson(6000.0, s), Poisson::new(6000.0).unwrap())),
            ("student 5", distance(|s| student_t(5.0, s), StudentT::new(5.0).unwrap())),
        ] {
            assert!(found < limit, "{name}: {found} against {limit}");
        }
    }

    #[test]
    fn moments_and_tails_are_right() {
        let mut stream = Seed::root(3).stream();
        let n = 4_000_000;
        let (mut sum, mut square, mut far) = (0.0, 0.0, 0);
        for _ in 0..n {
            let x = exponential(&mut stream);
            sum += x;
            square += x * x;
            far += u32::from(x > 10.0);
        }
        let n = f64::from(n);
        assert!((sum / n - 1.0).abs() < 4.0 / n.sqrt(), "{}", sum / n);
        assert!((square / n - 2.0).abs() < 4.0 * 20f64.sqrt() / n.sqrt(), "{}", square / n);
        let expected = n * libm::exp(-10.0);
        assert!((f64::from(far) - expected).abs() < 4.0 * expected.sqrt(), "{far} beyond 10");

        let (mut sum, mut square, mut far) = (0.0, 0.0, 0);
        for _ in 0..4_000_000 {
            let x = normal(&mut stream);
            sum += x;
            square += x * x;
            far += u32::from(x.abs() > NORMAL_TAIL);
        }
        assert!((sum / n).abs() < 4.0 / n.sqrt(), "{}", sum / n);
        assert!((square / n - 1.0).abs() < 4.0 * 2f64.sqrt() / n.sqrt(), "{}", square / n);
        // 2 (1 − Φ(3.6541528853610088)) = 2.5803e-4.
        let expected = n * 2.5803e-4;
        assert!((f64::from(far) - expected).abs() < 4.0 * expected.sqrt(), "{far} in the tails");
    }

    #[test]
    fn layers_have_equal_areas() {
        for (table, area) in [(&EXPONENTIAL, EXPONENTIAL_AREA), (&NORMAL, NORMAL_AREA)] {
            for i in 1..LAYERS {
                let layer = table.x[i] * (table.f[i + 1] - table.f[i]);
                assert!((layer / area - 1.0).abs() < 1e-6, "layer {i}: {layer} against {area}");
            }
        }
    }
}
