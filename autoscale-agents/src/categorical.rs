//! The masked softmax distribution over actions, on the host.

use autoscale_core::agent::{ActionIndex, ActionMask};

/// log Σ exp over the allowed logits.
fn log_sum_exp(logits: &[f32], mask: ActionMask) -> f32 {
    let most = allowed(logits, mask).fold(f32::NEG_INFINITY, |m, (_, x)| m.max(x));
    most + allowed(logits, mask).map(|(_, x)| (x - most).exp()).sum::<f32>().ln()
}

fn allowed(logits: &[f32], mask: ActionMask) -> impl Iterator<Item = (usize, f32)> + '_ {
    logits.iter().copied().enumerate().filter(move |&(k, _)| mask.allows(k))
}

/// The action at quantile `u` in [0, 1) of the allowed actions' distribution, and its log-probability.
/// An action that is not allowed never comes out.
///
/// # Panics
/// When no action is allowed.
pub fn sample(logits: &[f32], mask: ActionMask, u: f32) -> (ActionIndex, f32) {
    let norm = log_sum_exp(logits, mask);
    let mut rest = u;
    let mut last = None;
    for (k, logit) in allowed(logits, mask) {
        let log_probability = logit - norm;
        last = Some((ActionIndex(k as u16), log_probability));
        rest -= log_probability.exp();
        if rest < 0.0 {
            break;
        }
    }
    // Rounding may leave a crumb of `u` at the end; it belongs to the last allowed action.
    last.expect("a mask is never empty")
}

/// The likeliest allowed action, the first of equals.
///
/// # Panics
/// When no action is allowed.
pub fn argmax(logits: &[f32], mask: ActionMask) -> ActionIndex {
    let best = allowed(logits, mask).reduce(|best, next| if next.1 > best.1 { next } else { best });
    ActionIndex(best.expect("a mask is never empty").0 as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn neither_drawing_nor_choosing_leaves_the_mask(
            logits in proptest::collection::vec(-50.0f32..50.0, 7), bits in 1u8..128, u in 0.0f32..1.0,
        ) {
            let mask = ActionMask::from_fn(7, |k| bits >> k & 1 == 1);
            let (action, log_probability) = sample(&logits, mask, u);
            prop_assert!(mask.allows(usize::from(action.0)));
            prop_assert!(log_probability <= 1e-5);
            prop_assert!(mask.allows(usize::from(argmax(&logits, mask).0)));
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 3.0_f32.ln(), 99.0];
        let mask = ActionMask::all(2);
        let hits =
            (0..1000).filter(|&i| sample(&logits, mask, i as f32 / 1000.0).0 == ActionIndex(1)).count();
        assert!(hits.abs_diff(750) <= 1, "{hits}");
        assert!((sample(&logits, mask, 0.9).1 - 0.75_f32.ln()).abs() < 1e-6);
    }
}
