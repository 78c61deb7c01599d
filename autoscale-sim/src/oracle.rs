//! Results of queueing theory that the simulator is checked against.

use std::time::Duration;

/// Probability that an arrival has to wait in M/M/c (Erlang C), by the stable recursion of Erlang B.
///
/// `offered` is λ/μ in erlangs and must be below `servers`.
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    let blocking = (1..=servers).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b));
    let busy = offered / f64::from(servers);
    blocking / (1.0 - busy * (1.0 - blocking))
}

/// Mean wait in queue of M/M/c: `C(c, λ/μ) · s / (c − λ/μ)` with service time `s` and utilisation `busy`.
pub fn mmc_mean_wait(servers: u32, service: Duration, busy: f64) -> Duration {
    let offered = busy * f64::from(servers);
    service.mul_f64(erlang_c(servers, offered) / (f64::from(servers) - offered))
}

/// Mean wait in queue of M/G/1 (Pollaczek and Khinchine): `ρ s (1 + cv²) / (2 (1 − ρ))`. M/D/1 has `cv` 0.
pub fn mg1_mean_wait(service: Duration, busy: f64, cv: f64) -> Duration {
    service.mul_f64(busy * (1.0 + cv * cv) / (2.0 * (1.0 - busy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textbook_values() {
        // Two servers at one erlang: C = 1/3. One server: C = ρ.
        assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!((erlang_c(1, 0.7) - 0.7).abs() < 1e-12);
        let s = Duration::from_secs(1);
        // M/M/1 at 80 %: W = ρ/(1−ρ) = 4, by either formula.
        assert_eq!(mmc_mean_wait(1, s, 0.8).as_millis(), 4000);
        assert_eq!(mg1_mean_wait(s, 0.8, 1.0).as_millis(), 4000);
        assert_eq!(mg1_mean_wait(s, 0.8, 0.0).as_millis(), 2000);
    }
}
