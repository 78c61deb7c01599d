//! What a trace is like, in figures that can be compared between traces and with a generator's output.
//!
//! A figure that a trace is too short or too coarse for is absent, with the reason; none is guessed.

use super::Trace;
use autoscale_core::units::RequestRate;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Minutes of the moving average that noise is measured around.
const LEVEL_MINUTES: usize = 15;
/// Fewest windows from which an Allan factor is computed.
const FEWEST_WINDOWS: usize = 10;
/// Makes the median absolute deviation of Gaussian values their standard deviation (Rousseeuw and Croux 1993).
const MAD_TO_SD: f64 = 1.4826;

/// A figure, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// The figure.
    Value(f64),
    /// Why there is none.
    Absent(&'static str),
}

impl Figure {
    /// The figure, if there is one.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent(_) => None,
        }
    }

    /// A figure that is only there when it is finite.
    fn finite(value: f64, otherwise: &'static str) -> Self {
        if value.is_finite() { Self::Value(value) } else { Self::Absent(otherwise) }
    }

    fn from(value: Result<f64, &'static str>) -> Self {
        value.map_or_else(Self::Absent, |v| Self::finite(v, CONSTANT))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // Four significant digits, more before the point.
            Self::Value(value) => {
                let magnitude = if value == 0.0 { 0 } else { libm::log10(value.abs()).floor() as i32 };
                write!(f, "{value:.*}", (3 - magnitude).clamp(0, 6) as usize)
            }
            Self::Absent(_) => f.write_str("-"),
        }
    }
}

const CONSTANT: &str = "the rate is zero or never varies";

/// What a trace is like.
///
/// "Per minute" means per step where steps are longer than a minute; [`grain`](Self::grain) says which.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Length of the trace's steps.
    pub step: Duration,
    /// Time covered.
    pub length: Duration,
    /// Mean over all of it.
    pub mean: RequestRate,
    /// The time over which rates were averaged for all that is said per minute.
    pub grain: Duration,
    /// Highest minute over the mean.
    pub max_to_mean: Figure,
    /// Variance over mean of requests per minute; 1 for a Poisson process of constant rate.
    pub dispersion: Figure,
    /// How minutes scatter around their level.
    pub noise: Noise,
    /// The Allan factor at several windows: half of the mean of (n′ − n)² over the mean of n, for the requests n, n′
    /// of neighbouring windows (Allan 1966); 1 at all windows for a Poisson process.
    pub allan: Vec<(Duration, Figure)>,
    /// Correlation of minutes with those a day later.
    pub day_correlation: Figure,
    /// Correlation of minutes with those a week later.
    pub week_correlation: Figure,
    /// Share of the variance of hourly means that the mean over days of each hour explains, adjusted for
    /// chance (Ezekiel 1930), so that a trace without a day rhythm has about 0.
    pub profile_share: Figure,
}

/// How the rate of a minute scatters around its level, the moving average over 15 minutes with the minute
/// in the middle, as a share of that level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Standard deviation.
    pub sd: Figure,
    /// The same from the median absolute deviation, which rare steps and spikes do not inflate.
    pub robust_sd: Figure,
    /// What is left of the robust one without the scatter of a Poisson process at that level.
    pub excess_sd: Figure,
    /// Fourth moment over squared variance; 3 for Gaussian noise.
    pub kurtosis: Figure,
    /// Correlation from one minute to the next.
    pub correlation: Figure,
    /// The same for the logarithm of rate over level, over minutes with requests.
    pub log_correlation: Figure,
}

/// A line of a table about a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is, in `snake_case`.
    pub name: String,
    /// Its unit; empty for pure numbers.
    pub unit: &'static str,
    /// How much.
    pub figure: Figure,
    /// How to read it.
    pub meaning: &'static str,
}

impl Description {
    /// Measures a trace.
    pub fn of(trace: &Trace) -> Self {
        let grain = trace.step().max(MINUTE);
        let minutes = trace.resampled(grain).map(|t| t.rates);
        // Shorter than a minute: nothing per minute is defined, which empty slices lead to below.
        let minutes = minutes.unwrap_or_default();
        let counts: Vec<f64> = minutes.iter().map(|r| r * grain.as_secs_f64()).collect();
        let (mean, variance) = moments(&counts);
        let highest = counts.iter().copied().fold(0.0, f64::max);
        let windows = [1, 15, 60, 300, 900, 3600, 86_400].map(Duration::from_secs);
        let rhythm = |period: Duration, short| {
            let lag = steps_in(period, grain).ok_or("the step does not divide a day");
            Figure::from(lag.and_then(|lag| {
                if minutes.len() < 2 * lag { Err(short) } else { Ok(correlation(&minutes, lag)) }
            }))
        };
        Self {
            step: trace.step(),
            length: trace.duration(),
            mean: trace.mean(),
            grain,
            max_to_mean: Figure::finite(highest / mean, CONSTANT),
            dispersion: Figure::finite(variance / mean, CONSTANT),
            noise: Noise::of(&minutes, grain),
            allan: windows.map(|w| (w, Figure::from(allan(trace, w)))).to_vec(),
            day_correlation: rhythm(DAY, "needs two days"),
            week_correlation: rhythm(WEEK, "needs two weeks"),
            profile_share: Figure::from(profile_share(trace)),
        }
    }

    /// All figures as a table.
    pub fn rows(&self) -> Vec<Row> {
        let row = |name: &str, unit, figure, meaning| Row { name: name.to_owned(), unit, figure, meaning };
        let days = self.length.as_secs_f64() / DAY.as_secs_f64();
        let noise = &self.noise;
        let mut rows = vec![
            row("step", "s", Figure::Value(self.step.as_secs_f64()), "time that each rate is a mean over"),
            row("length", "days", Figure::Value(days), ""),
            row("mean", "requests/s", Figure::Value(self.mean.per_second()), ""),
            row("grain", "s", Figure::Value(self.grain.as_secs_f64()), "what \"minute\" means below"),
            row("max_to_mean", "", self.max_to_mean, "highest minute over the mean"),
            row("dispersion", "", self.dispersion, "variance/mean of counts per minute; 1: Poisson"),
            row("noise_sd", "", noise.sd, "relative sd of a minute around 15 min; large sites 0.03 to 0.08"),
            row("noise_robust_sd", "", noise.robust_sd, "the same without rare steps and spikes"),
            row("noise_excess_sd", "", noise.excess_sd, "the robust one beyond Poisson; 0: Poisson"),
            row("noise_kurtosis", "", noise.kurtosis, "3: Gaussian; above: heavy tails"),
            row("noise_lag1", "", noise.correlation, "from minute to minute; -0.07: white noise"),
            row("noise_log_lag1", "", noise.log_correlation, "the same of its logarithm"),
        ];
        for &(window, figure) in &self.allan {
            let name = format!("allan_{}", span(window));
            rows.push(row(&name, "", figure, "1: Poisson; growing with the window: long memory"));
        }
        rows.extend([
            row("day_correlation", "", self.day_correlation, "with the same minute a day later"),
            row("week_correlation", "", self.week_correlation, "with the same minute a week later"),
            row(
                "profile_share",
                "",
                self.profile_share,
                "of hourly variance that the hour explains; 0: none",
            ),
        ]);
        rows
    }
}

impl Noise {
    fn of(minutes: &[f64], grain: Duration) -> Self {
        let absent = |reason| Self {
            sd: Figure::Absent(reason),
            robust_sd: Figure::Absent(reason),
            excess_sd: Figure::Absent(reason),
            kurtosis: Figure::Absent(reason),
            correlation: Figure::Absent(reason),
            log_correlation: Figure::Absent(reason),
        };
        if grain > MINUTE {
            return absent("needs a step of at most a minute");
        }
        if minutes.len() < 2 * LEVEL_MINUTES {
            return absent("needs half an hour");
        }
        let half = LEVEL_MINUTES / 2;
        let pairs: Vec<(f64, f64)> = minutes
            .windows(LEVEL_MINUTES)
            .map(|w| (w[half], w.iter().sum::<f64>() / LEVEL_MINUTES as f64))
            .filter(|&(_, level)| level > 0.0)
            .collect();
        let residual: Vec<f64> = pairs.iter().map(|(rate, level)| rate / level - 1.0).collect();
        let logs: Vec<f64> = pairs.iter().map(|(rate, level)| libm::log(rate / level)).collect();
        let (mean, variance) = moments(&residual);
        let fourth = residual.iter().map(|r| libm::pow(r - mean, 4.0)).sum::<f64>() / residual.len() as f64;
        let mut deviations: Vec<f64> = residual.iter().map(|r| r.abs()).collect();
        let robust = MAD_TO_SD * median(&mut deviations);
        // A Poisson count around a level of m requests a minute has a relative variance of 1/m.
        let poisson = pairs.iter().map(|(_, level)| 1.0 / (level * 60.0)).sum::<f64>() / pairs.len() as f64;
        let excess = robust * robust - poisson;
        Self {
            sd: Figure::finite(variance.sqrt(), CONSTANT),
            robust_sd: Figure::finite(robust, CONSTANT),
            excess_sd: Figure::finite(if excess < 0.0 { 0.0 } else { excess.sqrt() }, CONSTANT),
            kurtosis: Figure::finite(fourth / (variance * variance), CONSTANT),
            correlation: Figure::finite(correlation(&residual, 1), CONSTANT),
            log_correlation: Figure::finite(correlation(&logs, 1), CONSTANT),
        }
    }
}

/// A length of time in its largest whole unit.
fn span(length: Duration) -> String {
    match length.as_secs() {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}min", s / 60),
        s => format!("{s}s"),
    }
}

/// How many whole `step`s make up `length`; none if it is not a whole number.
fn steps_in(length: Duration, step: Duration) -> Option<usize> {
    let whole = length.as_nanos().is_multiple_of(step.as_nanos());
    whole.then(|| (length.as_nanos() / step.as_nanos()) as usize)
}

fn allan(trace: &Trace, window: Duration) -> Result<f64, &'static str> {
    if steps_in(window, trace.step()).is_none_or(|n| n == 0) {
        return Err("the step is longer than the window, or does not divide it");
    }
    let windows = trace.resampled(window).map(|t| t.rates).unwrap_or_default();
    if windows.len() < FEWEST_WINDOWS {
        return Err("needs ten windows");
    }
    let squares: f64 = windows.windows(2).map(|w| libm::pow(w[1] - w[0], 2.0)).sum();
    let (mean, _) = moments(&windows);
    Ok(squares / (windows.len() - 1) as f64 * window.as_secs_f64() / (2.0 * mean))
}

fn profile_share(trace: &Trace) -> Result<f64, &'static str> {
    if trace.step() > HOUR {
        return Err("needs a step of at most an hour");
    }
    let hours = trace.resampled(HOUR).map(|t| t.rates).unwrap_or_default();
    let days = hours.len() / 24;
    if days < 3 {
        return Err("needs three days");
    }
    let hours = &hours[..days * 24];
    let profile: Vec<f64> =
        (0..24).map(|h| hours.iter().skip(h).step_by(24).sum::<f64>() / days as f64).collect();
    let rest: f64 = hours.iter().enumerate().map(|(k, r)| libm::pow(r - profile[k % 24], 2.0)).sum();
    let (_, variance) = moments(hours);
    let (n, groups) = (hours.len() as f64, 24.0);
    Ok(1.0 - rest / (n - groups) / (variance * n / (n - 1.0)))
}

/// Mean and variance (over n); NaN for no values.
pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| libm::pow(v - mean, 2.0)).sum::<f64>() / n)
}

/// The middle value; NaN for no values. Puts `values` in order.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { f64::midpoint(values[(n - 1) / 2], values[n / 2]) }
}

/// Standard deviation that a few outliers do not inflate.
pub(super) fn robust_sd(values: &[f64]) -> f64 {
    let middle = median(&mut values.to_vec());
    MAD_TO_SD * median(&mut values.iter().map(|v| (v - middle).abs()).collect::<Vec<_>>())
}

/// Pearson's correlation of `values` with themselves `lag` later, over pairs of finite values.
pub(super) fn correlation(values: &[f64], lag: usize) -> f64 {
    let pairs = values.iter().zip(values.iter().skip(lag)).filter(|(a, b)| a.is_finite() && b.is_finite());
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let ((mean_a, variance_a), (mean_b, variance_b)) = (moments(&a), moments(&b));
    let covariance = a.iter().zip(&b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum::<f64>() / a.len() as f64;
    covariance / (variance_a * variance_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;
    use rand_distr::{Distribution, Poisson, StandardNormal};
    use std::path::Path;

    fn trace(step_s: u64, rates: impl IntoIterator<Item = f64>) -> Trace {
        let rates = rates.into_iter().map(|r| RequestRate::new(r).unwrap()).collect();
        Trace::new(Duration::from_secs(step_s), rates).unwrap()
    }

    fn near(figure: Figure, expected: f64, tolerance: f64) {
        let value = figure.value().unwrap_or_else(|| panic!("{figure:?}"));
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected} ± {tolerance}");
    }

    /// Four days of counts per minute at a constant rate: the definitions say what comes out. Tolerances
    /// are four standard errors.
    #[test]
    fn a_poisson_process_has_the_figures_of_one() {
        let mut stream = Seed::root(1).stream();
        let poisson = Poisson::new(100.0 * 60.0).unwrap();
        let found = Description::of(&trace(60, (0..5760).map(|_| poisson.sample(&mut stream) / 60.0)));
        near(found.dispersion, 1.0, 0.08);
        near(found.noise.sd, (14.0f64 / 15.0 / 6000.0).sqrt(), 0.0005);
        near(found.noise.robust_sd, (14.0f64 / 15.0 / 6000.0).sqrt(), 0.0008);
        near(found.noise.excess_sd, 0.0, 0.004);
        near(found.noise.kurtosis, 3.0, 0.3);
        near(found.noise.correlation, -1.0 / 14.0, 0.055);
        for (window, figure) in found.allan {
            match window.as_secs() {
                60 | 300 | 900 => near(figure, 1.0, 0.3),
                3600 => near(figure, 1.0, 0.6),
                _ => assert_eq!(figure.value(), None, "{window:?}"),
            }
        }
        near(found.day_correlation, 0.0, 0.06);
        near(found.profile_share, 0.0, 0.5);
        assert_eq!(found.week_correlation, Figure::Absent("needs two weeks"));
    }

    #[test]
    fn a_pure_day_rhythm_is_explained_by_the_day() {
        let sine = |k: u32| 10.0 + 5.0 * libm::sin(std::f64::consts::TAU * f64::from(k % 1440) / 1440.0);
        let found = Description::of(&trace(60, (0..14 * 1440).map(sine)));
        near(found.day_correlation, 1.0, 1e-9);
        near(found.week_correlation, 1.0, 1e-9);
        near(found.profile_share, 1.0, 1e-9);
        near(found.max_to_mean, 1.5, 1e-4);
        near(found.dispersion, 12.5 * 60.0 / 10.0, 1e-6);
    }

    #[test]
    fn multiplicative_noise_is_found_again() {
        let mut stream = Seed::root(2).stream();
        let mut normal = || -> f64 { StandardNormal.sample(&mut stream) };
        let found = Description::of(&trace(60, (0..20_000).map(|_| 1e5 * (1.0 + 0.05 * normal()).max(0.0))));
        near(found.noise.sd, 0.05 * (14.0f64 / 15.0).sqrt(), 0.0015);
        near(found.noise.excess_sd, 0.05 * (14.0f64 / 15.0).sqrt(), 0.0015);
        near(found.noise.log_correlation, -1.0 / 14.0, 0.03);
    }

    #[test]
    fn what_cannot_be_known_is_absent_with_the_reason() {
        let short = Description::of(&trace(1, [1.0, 2.0]));
        assert_eq!(short.dispersion, Figure::Absent(CONSTANT));
        assert_eq!(short.noise.sd, Figure::Absent("needs half an hour"));
        let coarse = Description::of(&trace(300, (0..2000).map(|k| f64::from(k % 7))));
        assert_eq!(coarse.noise.kurtosis, Figure::Absent("needs a step of at most a minute"));
        assert!(coarse.max_to_mean.value().is_some() && coarse.allan[2].1.value().is_none());
        let silent = Description::of(&trace(60, vec![0.0; 5000]));
        assert!(silent.rows().iter().skip(4).all(|row| row.figure.value().is_none()), "{silent:?}");
        let flat = Description::of(&trace(60, vec![7.0; 5000]));
        assert_eq!((flat.max_to_mean, flat.dispersion), (Figure::Value(1.0), Figure::Value(0.0)));
        assert_eq!(flat.day_correlation, Figure::Absent(CONSTANT));
    }

    /// The figures that come with the real traces, where they are at hand. Tolerances are the rounding of
    /// those figures.
    #[test]
    fn real_traces_have_their_published_figures() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
        if !folder.is_dir() {
            eprintln!("left out: {} is not there, and with it the real traces", folder.display());
            return;
        }
        let find = |name: &str| Description::of(&Trace::read(&folder.join(name)).unwrap());
        for (name, mean, max, dispersion) in [
            ("wc98_early.csv", 210.0, 13.4, 21_778.0),
            ("nasa_jul95.csv", 0.79, 8.5, 22.0),
            ("servegen_mlarge_w1.csv", 210.0, 2.8, 1183.0),
            ("azure_llm_code.csv", 2.57, 4.1, 164.0),
            ("azure_llm_conv.csv", 5.53, 1.5, 16.0),
            ("nab_tweets_aapl.csv", 0.27, 166.0, 1121.0),
            ("nab_tweets_goog.csv", 0.068, 22.0, 17.0),
        ] {
            let found = find(name);
            near(Figure::Value(found.mean.per_second()), mean, 0.006 * mean);
            near(found.max_to_mean, max, 0.02 * max);
            near(found.dispersion, dispersion, 0.025 * dispersion);
        }
        let (cup, nasa) = (find("wc98_early.csv"), find("nasa_jul95.csv"));
        near(cup.noise.robust_sd, 0.055, 0.0005);
        near(find("servegen_mlarge_w1.csv").noise.robust_sd, 0.030, 0.0005);
        near(find("azure_llm_code.csv").noise.sd, 0.9, 0.05);
        // 0.24: rounded to a quarter there.
        near(nasa.noise.excess_sd, 0.25, 0.015);
        near(cup.noise.kurtosis, 36.0, 0.5);
        near(nasa.noise.kurtosis, 6.0, 0.5);
        near(nasa.allan[2].1, 3.5, 0.05);
        near(nasa.allan[4].1, 17.0, 0.5);
        near(find("azure_llm_conv.csv").allan[0].1, 1.0, 0.1);
        near(cup.day_correlation, 0.7, 0.05);
        near(nasa.day_correlation, 0.5, 0.05);
        near(cup.week_correlation, 0.5, 0.05);
        near(nasa.week_correlation, 0.6, 0.05);
    }
}
