use super::*;
use autoscale_core::agent::ActionMask;

/// A learner whose networks give the same in every state: `online` and `target`.
fn learner(config: DqnConfig, online: &[f32], target: &[f32]) -> Dqn {
    let actions = online.len() - usize::from(config.dueling);
    let setup = Setup { features: 1, privileged: 0, initial_logits: vec![0.0; actions], total_steps: 100 };
    let mut learner = Dqn::new(config, setup, Seed::root(1), Backend::Flex).unwrap();
    for (tower, outputs) in [(&mut learner.online, online), (&mut learner.target, target)] {
        tower.output.weight.fill(0.0);
        tower.output.bias.copy_from_slice(outputs);
    }
    let allowed = ActionMask::from_fn(actions, |k| k != 1);
    for discount in [0.5, 0.0] {
        learner.replay.push(Item {
            features: &[0.0],
            next_features: &[0.0],
            mask: allowed,
            next_mask: allowed,
            action: ActionIndex(0),
            reward: 1.0,
            discount,
        });
    }
    learner
}

#[test]
fn targets_are_the_papers() {
    let config = |double, dueling| DqnConfig { double, dueling, n_step: 1, ..DqnConfig::default() };
    // The second action, though best, is not allowed. Nothing follows the second transition.
    let (online, target) = ([1.0, 90.0, 3.0], [40.0, 90.0, 30.0]);
    let targets = |config, online: &[f32], target: &[f32]| learner(config, online, target).targets(&[0, 1]);
    assert_eq!(targets(config(false, false), &online, &target), [1.0 + 0.5 * 40.0, 1.0]);
    // The one that learns chooses the third, the other judges it.
    assert_eq!(targets(config(true, false), &online, &target), [1.0 + 0.5 * 30.0, 1.0]);
    // Advantages of mean 4, and a state's value of 10.
    let dueling = [5.0, 6.0, 1.0, 10.0];
    assert_eq!(targets(config(false, true), &dueling, &dueling), [1.0 + 0.5 * (5.0 + 10.0 - 4.0), 1.0]);
}

#[test]
fn large_errors_count_linearly() {
    let device = Backend::Flex.device().unwrap();
    let losses = numbers(huber(column(vec![0.5, -0.5, 3.0, -2.0], &device)));
    for (found, expected) in losses.iter().zip([0.125, 0.125, 2.5, 1.5]) {
        assert!((found - expected).abs() < 1e-6, "{losses:?}");
    }
}

#[test]
fn the_target_moves_its_share_of_the_way() {
    let config = DqnConfig { tau: 0.25, dueling: false, ..DqnConfig::default() };
    let mut learner = learner(config, &[4.0, 8.0], &[0.0, 4.0]);
    learner.move_target();
    assert_eq!(learner.target.output.bias, [1.0, 5.0]);
}
