//! Generalised advantage estimation (Schulman et al., 2016, equation 16).

use autoscale_core::environment::EpisodeEnd;

/// One step of one environment, as the estimator sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaeStep {
    /// The reward.
    pub reward: f32,
    /// Value of the state before the step.
    pub value: f32,
    /// Value of the true successor, also where the episode ended there.
    pub next_value: f32,
    /// Whether the episode ended here, and how.
    pub end: Option<EpisodeEnd>,
}

impl GaeStep {
    /// The temporal-difference error δ = r + γ V(s′) − V(s). Only termination makes V(s′) zero.
    fn delta(&self, gamma: f32) -> f32 {
        let successor = if self.end == Some(EpisodeEnd::Terminated) { 0.0 } else { self.next_value };
        self.reward + gamma * successor - self.value
    }
}

/// Advantages `A_t = Σ_l (γλ)^l δ_{t+l}` of consecutive steps; the sum stops at an episode's end and at the
/// end of `steps`. Value targets are `A_t + V(s_t)`. Shape in and out: `[steps]`.
pub fn advantages(steps: &[GaeStep], gamma: f32, lambda: f32) -> Vec<f32> {
    let mut result = vec![0.0; steps.len()];
    let mut following = 0.0;
    for (step, advantage) in steps.iter().zip(&mut result).rev() {
        let carried = if step.end.is_some() { 0.0 } else { following };
        *advantage = step.delta(gamma) + gamma * lambda * carried;
        following = *advantage;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_step() -> impl Strategy<Value = GaeStep> {
        let end = prop_oneof![
            6 => Just(None),
            1 => Just(Some(EpisodeEnd::Terminated)),
            1 => Just(Some(EpisodeEnd::Truncated)),
        ];
        (-5.0f32..5.0, -5.0f32..5.0, -5.0f32..5.0, end).prop_map(|(reward, value, next_value, end)| GaeStep {
            reward,
            value,
            next_value,
            end,
        })
    }

    proptest! {
        #[test]
        fn the_recursion_is_the_sum_it_stands_for(
            steps in proptest::collection::vec(a_step(), 1..60), gamma in 0.0f32..1.0, lambda in 0.0f32..1.0,
        ) {
            let fast = advantages(&steps, gamma, lambda);
            for t in 0..steps.len() {
                let mut sum = 0.0_f64;
                for l in 0..steps.len() - t {
                    let step = &steps[t + l];
                    let bootstrap = match step.end {
                        Some(EpisodeEnd::Terminated) => 0.0,
                        _ => f64::from(step.next_value),
                    };
                    let delta = f64::from(step.reward) + f64::from(gamma) * bootstrap - f64::from(step.value);
                    sum += (f64::from(gamma) * f64::from(lambda)).powi(l as i32) * delta;
                    if step.end.is_some() {
                        break;
                    }
                }
                prop_assert!((f64::from(fast[t]) - sum).abs() < 1e-3 * (1.0 + sum.abs()), "{} {}", fast[t], sum);
            }
        }
    }
}
