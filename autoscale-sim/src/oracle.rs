//! Results of queueing theory that the simulator is checked against.

use std::time::Duration;

/// Probability that an arrival is refused in M/M/c/c, and in M/G/c/c with the same mean (Erlang B), by its
/// stable recursion; `offered` is λ/μ in erlangs.
pub fn erlang_b(servers: u32, offered: f64) -> f64 {
    (1..=servers).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b))
}

/// Probability that an arrival has to wait in M/M/c (Erlang C).
///
/// `offered` is λ/μ in erlangs and must be below `servers`.
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    let blocking = erlang_b(servers, offered);
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

/// The time that a share `q` of all waits in M/M/c stays below: `P(W > t) = C(c, λ/μ) exp(−(c − λ/μ) t / s)`.
/// Zero where more than `q` do not wait at all.
pub fn mmc_wait_quantile(servers: u32, service: Duration, busy: f64, q: f64) -> Duration {
    let offered = busy * f64::from(servers);
    let ratio = erlang_c(servers, offered) / (1.0 - q);
    service.mul_f64(libm::log(ratio).max(0.0) / (f64::from(servers) - offered))
}

/// The time that a share `q` of all response times in M/M/1 stays below: they are exponential with mean
/// `s / (1 − ρ)`.
pub fn mm1_response_quantile(service: Duration, busy: f64, q: f64) -> Duration {
    service.mul_f64(-libm::log(1.0 - q) / (1.0 - busy))
}

/// Probability of refusal and mean wait of those accepted in M/M/c/K, with room for `waiting` = K − c: from the
/// stationary probabilities of its birth-death chain. `busy` is λ s / c and may exceed 1.
pub fn mmck(servers: u32, waiting: u32, service: Duration, busy: f64) -> (f64, Duration) {
    let c = f64::from(servers);
    let offered = busy * c;
    // Weights relative to the state in which all are busy and none waits.
    let mut below = 0.0;
    let mut weight = 1.0;
    for n in (1..=servers).rev() {
        weight *= f64::from(n) / offered;
        below += weight;
    }
    let (mut above, mut queued, mut weight) = (1.0, 0.0, 1.0);
    for k in 1..=waiting {
        weight *= busy;
        above += weight;
        queued += f64::from(k) * weight;
    }
    let total = below + above;
    let refused = weight / total;
    // Little's law over those accepted; the arrival rate is offered / service.
    (refused, service.mul_f64(queued / total / (offered * (1.0 - refused))))
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
        // Two servers at one erlang refuse one in five: B = (1/2) / (1 + 1 + 1/2).
        assert!((erlang_b(2, 1.0) - 0.2).abs() < 1e-12);
        assert!((mm1_response_quantile(s, 0.5, 0.95).as_secs_f64() - 5.991_465).abs() < 1e-6);
        // Half wait at ρ = 1/2, so the 95th percentile of waits is where a tenth of those remains: ln 10 / ½.
        assert!((mmc_wait_quantile(1, s, 0.5, 0.95).as_secs_f64() - 4.605_170).abs() < 1e-6);
        assert_eq!(mmc_wait_quantile(1, s, 0.5, 0.4), Duration::ZERO);
    }

    #[test]
    fn a_finite_queue_lies_between_erlangs_two_systems() {
        let s = Duration::from_secs(1);
        // M/M/1/2 at ρ = 1/2: probabilities 4/7, 2/7, 1/7.
        let (refused, wait) = mmck(1, 1, s, 0.5);
        assert!((refused - 1.0 / 7.0).abs() < 1e-12);
        assert!((wait.as_secs_f64() - (1.0 / 7.0) / (0.5 * 6.0 / 7.0)).abs() < 1e-9);
        assert!((mmck(8, 0, s, 0.9).0 - erlang_b(8, 7.2)).abs() < 1e-12);
        let endless = mmck(4, 10_000, s, 0.8).1.as_secs_f64();
        assert!((endless - mmc_mean_wait(4, s, 0.8).as_secs_f64()).abs() < 1e-9);
        let (refused, _) = mmck(4, 50, s, 2.0);
        assert!((refused - 0.5).abs() < 1e-6, "at twice the capacity half is refused");
    }
}
