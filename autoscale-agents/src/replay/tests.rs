//! What the replay memory promises.

use super::*;
use autoscale_core::seed::Seed;
use proptest::prelude::*;

const PRIORITIES: Priorities = Priorities { alpha: 0.6, eps: 1e-3 };

/// One step of a made-up run: environment, reward, end.
type Step = (usize, f32, Option<EpisodeEnd>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        8 => Just(None),
        1 => Just(Some(EpisodeEnd::Terminated)),
        1 => Just(Some(EpisodeEnd::Truncated)),
    ];
    prop::collection::vec((0..3_usize, -5.0_f32..5.0, end), 0..120)
}

/// What step number `k` shows: its environment and number; its successor is told apart by a half.
fn transition_row(env: usize, k: usize) -> ([f32; 2], [f32; 2]) {
    ([env as f32, k as f32], [env as f32, k as f32 + 0.5])
}

fn record(steps: &[Step], from: usize, n_step: &mut NStep, replay: &mut Replay) {
    for (k, &(env, reward, end)) in steps.iter().enumerate().skip(from) {
        let (features, next_features) = transition_row(env, k);
        let transition = Transition {
            env,
            features: &features,
            mask: mask_of(k as u64 + 1),
            action: ActionIndex(k as u16),
            reward,
            next_features: &next_features,
            next_mask: mask_of((k as u64 + 1) << 32),
            end,
        };
        n_step.push(&transition, replay);
    }
}

/// Compares what arrived with the definition, environment by environment.
fn check_n_step(steps: &[Step], n: usize, gamma: f32, truncation: Truncation) {
    let mut replay = Replay::new(1000, 2, None);
    record(steps, 0, &mut NStep::new(n, gamma, truncation), &mut replay);
    let mut expected_len = 0;
    for env in 0..3 {
        let own: Vec<usize> = (0..steps.len()).filter(|&k| steps[k].0 == env).collect();
        let mut arrived = (0..replay.len()).map(|k| replay.get(k)).filter(|i| i.features[0] as usize == env);
        for first in 0..own.len() {
            let rest = &own[first..];
            // The steps up to the n-th or up to the episode's end, whichever comes first.
            let ended = rest.iter().position(|&k| steps[k].2.is_some()).map(|last| last + 1);
            let m = ended.map_or(n, |m| m.min(n));
            if m > rest.len() {
                continue;
            }
            let last = rest[m - 1];
            let power = |i: usize| f64::from(gamma).powi(i as i32);
            let reward: f64 = (0..m).map(|i| power(i) * f64::from(steps[rest[i]].1)).sum();
            let discount = match (steps[last].2, truncation) {
                (Some(EpisodeEnd::Terminated), _) | (Some(EpisodeEnd::Truncated), Truncation::Terminate) => {
                    0.0
                }
                _ => power(m),
            };
            let item = arrived.next().expect("a complete transition has arrived");
            expected_len += 1;
            assert_eq!(item.features, transition_row(env, own[first]).0);
            assert_eq!(item.next_features, transition_row(env, last).1);
            assert_eq!(item.mask, mask_of(own[first] as u64 + 1));
            assert_eq!(item.next_mask, mask_of((last as u64 + 1) << 32));
            assert_eq!(item.action, ActionIndex(own[first] as u16));
            assert!((f64::from(item.reward) - reward).abs() < 1e-5, "{} {reward}", item.reward);
            assert!((f64::from(item.discount) - discount).abs() < 1e-6, "{} {discount}", item.discount);
            assert_eq!(item.discount == 0.0, discount == 0.0);
        }
    }
    assert_eq!(replay.len(), expected_len);
}

proptest! {
    #[test]
    fn n_step_transitions_are_what_the_definition_says(
        steps in steps(), n in 1..6_usize, gamma in 0.5_f32..=1.0,
    ) {
        check_n_step(&steps, n, gamma, Truncation::Bootstrap);
        check_n_step(&steps, n, gamma, Truncation::Terminate);
    }

    #[test]
    fn restored_pending_steps_go_on_as_if_never_saved(
        steps in steps(), n in 1..6_usize, cut in 0.0_f64..1.0,
    ) {
        let cut = (cut * steps.len() as f64) as usize;
        let (mut whole, mut parted) = (Replay::new(1000, 2, None), Replay::new(1000, 2, None));
        record(&steps, 0, &mut NStep::new(n, 0.9, Truncation::Bootstrap), &mut whole);
        let mut n_step = NStep::new(n, 0.9, Truncation::Bootstrap);
        record(&steps[..cut], 0, &mut n_step, &mut parted);
        let state = n_step.state();
        let mut n_step = NStep::restore(n, 0.9, Truncation::Bootstrap, &state).unwrap();
        prop_assert_eq!(n_step.state(), state);
        record(&steps, cut, &mut n_step, &mut parted);
        prop_assert_eq!(whole.state(), parted.state());
    }

    #[test]
    fn a_found_leaf_is_the_one_that_a_scan_finds(
        values in prop::collection::vec(0..5_u32, 1..40), share in 0.0_f64..1.0,
    ) {
        // Small integers, so that every sum is exact.
        let total: u32 = values.iter().sum();
        prop_assume!(total > 0);
        let mut tree = SumTree::of(std::iter::empty(), 1);
        for (leaf, &value) in values.iter().enumerate().rev() {
            tree.set(leaf, f64::from(value));
        }
        let mass = (share * f64::from(total) * 4.0).floor() / 4.0;
        let mut sum = 0.0;
        let scanned = values.iter().position(|&value| {
            sum += f64::from(value);
            mass < sum
        });
        prop_assert_eq!(Some(tree.find(mass)), scanned);
    }

    #[test]
    fn no_rounding_leads_to_an_empty_leaf(
        values in prop::collection::vec(
            prop_oneof![Just(0.0), Just(1e-38), Just(3e38), Just(0.1), -38.0_f64..38.0], 1..70,
        ),
        share in 0.0_f64..1.0,
    ) {
        // Magnitudes are drawn as exponents, apart from the fixed values.
        let values: Vec<f64> = values
            .into_iter()
            .map(|x| if [0.0, 1e-38, 3e38, 0.1].contains(&x) { x } else { 10_f64.powf(x) })
            .collect();
        let tree = SumTree::of(values.iter().copied(), values.len());
        let total = tree.total();
        prop_assume!(total > 0.0);
        let at_edges = [0.0, total.next_down(), total, total.next_up(), 2.0 * total, share * total];
        let running = values.iter().scan(0.0, |sum, x| {
            *sum += x;
            Some(*sum)
        });
        for mass in running.flat_map(|sum| [sum.next_down().max(0.0), sum, sum.next_up()]).chain(at_edges) {
            let leaf = tree.find(mass);
            prop_assert!(leaf < values.len() && values[leaf] > 0.0, "{} gives {}", mass, leaf);
        }
    }

    #[test]
    fn sums_do_not_remember_the_order_of_updates(
        updates in prop::collection::vec((0..50_usize, 1e-12_f64..1e12), 1..200),
    ) {
        let mut tree = SumTree::of(std::iter::empty(), 1);
        let mut leaves = vec![0.0; 50];
        for (leaf, value) in updates {
            tree.set(leaf, value);
            leaves[leaf] = value;
        }
        let fresh = SumTree::of(leaves.iter().copied(), 50);
        prop_assert_eq!(tree.total().to_bits(), fresh.total().to_bits());
    }
}

fn push(replay: &mut Replay, k: usize) {
    let x = k as f32;
    replay.push(Item {
        features: &[x, x + 0.25],
        mask: mask_of(k as u64),
        action: ActionIndex(k as u16),
        reward: -x,
        discount: 1.0 / (x + 1.0),
        next_features: &[x + 0.5, x + 0.75],
        next_mask: mask_of(!(k as u64)),
    });
}

fn filled(capacity: usize, pushes: usize, priorities: Option<Priorities>) -> Replay {
    let mut replay = Replay::new(capacity, 2, priorities);
    (0..pushes).for_each(|k| push(&mut replay, k));
    replay
}

fn draw(replay: &Replay, batch: usize, beta: f32, stream: &mut Stream) -> (Vec<usize>, Vec<f32>) {
    let (mut indices, mut weights) = (vec![7; 3], vec![7.0; 3]);
    replay.sample(batch, beta, stream, &mut indices, &mut weights);
    (indices, weights)
}

#[test]
fn the_ring_overwrites_the_oldest() {
    let replay = filled(5, 12, Some(PRIORITIES));
    assert_eq!((replay.len(), replay.is_empty()), (5, false));
    for (slot, k) in [(0, 10_u16), (1, 11), (2, 7), (3, 8), (4, 9)] {
        let x = f32::from(k);
        let expected = Item {
            features: &[x, x + 0.25],
            mask: mask_of(u64::from(k)),
            action: ActionIndex(k),
            reward: -x,
            discount: 1.0 / (x + 1.0),
            next_features: &[x + 0.5, x + 0.75],
            next_mask: mask_of(!u64::from(k)),
        };
        assert_eq!(replay.get(slot), expected);
    }
}

#[test]
fn memory_follows_what_is_stored() {
    let replay = filled(1 << 40, 3, Some(PRIORITIES));
    assert!(replay.features.capacity() < 100 && replay.scalars.capacity() < 100);
    assert_eq!(replay.ranking.unwrap().tree.leaves(), 4);
}

#[test]
fn an_empty_ring_gives_nothing() {
    for priorities in [None, Some(PRIORITIES)] {
        let replay = Replay::new(4, 2, priorities);
        assert!(replay.is_empty());
        assert_eq!(draw(&replay, 3, 0.4, &mut Seed::root(1).stream()), (vec![], vec![]));
    }
}

/// Pearson's statistic of 300,000 draws against the shares that `mass` gives.
fn chi_square(replay: &Replay, mass: &[f64], batch: usize) -> f64 {
    let mut stream = Seed::root(11).child("draws").stream();
    let mut counts = vec![0.0; mass.len()];
    let rounds = 300_000 / batch;
    for _ in 0..rounds {
        for index in draw(replay, batch, 0.4, &mut stream).0 {
            counts[index] += 1.0;
        }
    }
    let total: f64 = mass.iter().sum();
    let draws = (rounds * batch) as f64;
    let expected = mass.iter().map(|m| m / total * draws);
    counts.iter().zip(expected).map(|(count, e)| (count - e) * (count - e) / e).sum()
}

#[test]
fn draws_follow_the_priorities() {
    let errors: Vec<f32> = (0..50_u16).map(|k| 0.05 * f32::from(k * k % 37) - 0.6).collect();
    let slots: Vec<usize> = (0..50).collect();
    let mut replay = filled(50, 70, Some(PRIORITIES));
    replay.update_priorities(&slots, &errors);
    let mass =
        |alpha: f64| -> Vec<f64> { errors.iter().map(|e| (f64::from(e.abs()) + 1e-3).powf(alpha)).collect() };
    // 49 degrees of freedom: mean 49, deviation 10. Strata only lower it.
    for batch in [1, 32] {
        let statistic = chi_square(&replay, &mass(0.6), batch);
        assert!(statistic < 100.0, "{statistic}");
    }
    // The bound can tell a slightly different exponent.
    assert!(chi_square(&replay, &mass(0.63), 1) > 100.0);
    let uniform = chi_square(&filled(50, 70, None), &[1.0; 50], 32);
    assert!((10.0..100.0).contains(&uniform), "{uniform}");
}

#[test]
fn each_part_of_the_mass_gives_one_draw() {
    let replay = filled(8, 8, Some(PRIORITIES));
    let mut stream = Seed::root(3).stream();
    for _ in 0..100 {
        assert_eq!(draw(&replay, 8, 0.4, &mut stream).0, (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn weights_are_those_of_the_formula() {
    let mut replay = filled(20, 20, Some(PRIORITIES));
    let errors: Vec<f32> = (0..20_u8).map(|k| 0.1 * f32::from(k)).collect();
    replay.update_priorities(&(0..20).collect::<Vec<_>>(), &errors);
    let priority = |k: usize| (0.1 * k as f64 + 1e-3).powf(0.6);
    let total: f64 = (0..20).map(priority).sum();
    let mut stream = Seed::root(5).stream();
    for beta in [0.0, 0.4, 1.0] {
        let (indices, weights) = draw(&replay, 12, beta, &mut stream);
        let raw: Vec<f64> =
            indices.iter().map(|&k| (20.0 * priority(k) / total).powf(-f64::from(beta))).collect();
        let largest = raw.iter().copied().fold(0.0, f64::max);
        assert_eq!((indices.len(), weights.len()), (12, 12));
        for (weight, raw) in weights.iter().zip(raw) {
            assert!((f64::from(*weight) - raw / largest).abs() < 1e-5, "{weight} {}", raw / largest);
        }
        assert!(weights.contains(&1.0));
    }
    let (_, weights) = draw(&filled(20, 20, None), 12, 0.4, &mut stream);
    assert_eq!(weights, [1.0; 12]);
}

#[test]
fn new_transitions_get_the_highest_priority_so_far() {
    let mut replay = filled(4, 3, Some(Priorities { alpha: 1.0, eps: 0.0 }));
    assert_eq!(replay.state().priorities, [1.0; 3]);
    replay.update_priorities(&[0, 1], &[-3.0, 0.5]);
    replay.update_priorities(&[0], &[0.25]);
    push(&mut replay, 3);
    push(&mut replay, 4);
    assert_eq!(replay.state().priorities, [3.0, 0.5, 1.0, 3.0]);
}

#[test]
fn errors_that_are_not_finite_change_nothing() {
    let mut replay = filled(3, 3, Some(PRIORITIES));
    replay.update_priorities(&[0, 1, 2], &[0.5, 2.0, 3.0]);
    let before = replay.state();
    replay.update_priorities(&[0, 1, 2], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    assert_eq!(replay.state(), before);
}

#[test]
fn extreme_errors_leave_every_slot_drawable_and_every_weight_finite() {
    let mut replay = filled(7, 7, Some(Priorities { alpha: 2.0, eps: 0.0 }));
    let slots: Vec<usize> = (0..7).collect();
    let mut stream = Seed::root(9).stream();
    for errors in [[0.0; 7], [f32::MAX; 7], [0.0, f32::MAX, 1e-30, 1.0, 0.0, 1e30, 0.0]] {
        replay.update_priorities(&slots, &errors);
        for _ in 0..1000 {
            let (indices, weights) = draw(&replay, 32, 1.0, &mut stream);
            assert!(indices.iter().all(|&k| k < 7));
            assert!(weights.iter().all(|w| (0.0..=1.0).contains(w)) && weights.contains(&1.0));
        }
    }
}

/// A little training: draws, errors that depend on what was drawn, new transitions.
fn train(replay: &mut Replay, rounds: std::ops::Range<usize>, stream: &mut Stream) -> Vec<(usize, u32)> {
    let mut seen = Vec::new();
    for round in rounds {
        push(replay, round);
        let (indices, weights) = draw(replay, 8, 0.5, stream);
        let errors: Vec<f32> = indices
            .iter()
            .zip(&weights)
            .map(|(&k, w)| if k % 11 == 3 { f32::NAN } else { w * (k * round % 17) as f32 * 1e3 })
            .collect();
        replay.update_priorities(&indices, &errors);
        seen.extend(indices.into_iter().zip(weights.into_iter().map(f32::to_bits)));
    }
    seen
}

#[test]
fn a_restored_ring_goes_on_to_the_last_bit() {
    for priorities in [None, Some(PRIORITIES)] {
        // Empty, partly filled, just full, and having gone round.
        for rounds in [0, 1, 33, 50, 137] {
            let mut stream = Seed::root(2).stream();
            let mut replay = Replay::new(50, 2, priorities);
            train(&mut replay, 0..rounds, &mut stream);
            let state = replay.state();
            let mut restored = Replay::restore(50, 2, priorities, state.clone()).unwrap();
            assert_eq!(restored.state(), state);
            assert!((0..replay.len()).all(|slot| restored.get(slot) == replay.get(slot)));
            let expected = train(&mut replay, rounds..rounds + 200, &mut stream.clone());
            assert_eq!(train(&mut restored, rounds..rounds + 200, &mut stream), expected);
            assert_eq!(restored.state(), replay.state());
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let good = filled(5, 3, Some(PRIORITIES)).state();
    let restore = |change: &dyn Fn(&mut ReplayState)| {
        let mut state = good.clone();
        change(&mut state);
        Replay::restore(5, 2, Some(PRIORITIES), state)
    };
    assert!(restore(&|_| ()).is_ok());
    let changes: [&dyn Fn(&mut ReplayState); 15] = [
        &|s| s.width = 3,
        &|s| s.next = 2,
        &|s| s.next = 5,
        &|s| s.features.truncate(5),
        &|s| s.next_features.push(0.0),
        &|s| s.actions.truncate(2),
        &|s| s.masks.push(1),
        &|s| s.next_masks.clear(),
        &|s| s.rewards.truncate(2),
        &|s| s.discounts.push(0.0),
        &|s| s.priorities.clear(),
        &|s| s.priorities[1] = 0.0,
        &|s| s.priorities[1] = f32::NAN,
        &|s| s.highest = f32::INFINITY,
        &|s| s.highest = -1.0,
    ];
    for (k, change) in changes.into_iter().enumerate() {
        assert!(restore(change).is_err(), "change {k}");
    }
    assert!(Replay::restore(2, 2, Some(PRIORITIES), good.clone()).is_err());
    assert!(Replay::restore(5, 2, None, good.clone()).is_err());
    assert!(Replay::restore(5, 2, Some(Priorities { alpha: -1.0, eps: 0.0 }), good).is_err());

    let good = NStepState {
        counts: vec![0, 2, 1],
        features: vec![0.0; 6],
        masks: vec![1; 3],
        actions: vec![0; 3],
        rewards: vec![0.0; 3],
    };
    let restore = |n, state: &NStepState| NStep::restore(n, 0.9, Truncation::Bootstrap, state);
    assert!(restore(3, &good).is_ok());
    assert!(restore(0, &good).is_err() && restore(2, &good).is_err());
    let changes: [&dyn Fn(&mut NStepState); 5] = [
        &|s| s.counts[0] = 1,
        &|s| s.features.truncate(5),
        &|s| s.masks.truncate(2),
        &|s| s.actions.push(0),
        &|s| s.rewards.push(0.0),
    ];
    for (k, change) in changes.into_iter().enumerate() {
        let mut state = good.clone();
        change(&mut state);
        assert!(restore(3, &state).is_err(), "change {k}");
    }
}
