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

/// Errors of 0.5 and −3: ½ e², and |e| − ½ beyond 1 with Huber's loss.
#[test]
fn losses_are_the_papers() {
    for (huber, expected) in [(true, [0.125, 2.5]), (false, [0.125, 4.5])] {
        let learner =
            learner(DqnConfig { huber, dueling: false, ..DqnConfig::default() }, &[0.0; 2], &[0.0; 2]);
        let loss = learner.loss(&[1.5, 9.0, -2.0, 9.0], &[0, 1], &[1.0, 1.0], &[1.0, 0.5]);
        assert_eq!(loss.errors, [0.5, -3.0]);
        assert!((loss.figure - f64::midpoint(expected[0], 0.5 * expected[1])).abs() < 1e-6, "{loss:?}");
        assert!((loss.value - -0.25).abs() < 1e-6, "{loss:?}");
    }
}

/// Against differences of the loss itself.
#[test]
fn slopes_are_those_of_the_loss() {
    for (huber, dueling) in [(true, true), (true, false), (false, true), (false, false)] {
        let config = DqnConfig { dueling, huber, ..DqnConfig::default() };
        let zeros = vec![0.0; 3 + usize::from(dueling)];
        let learner = learner(config, &zeros, &zeros);
        let loss = |outputs: &[f32]| learner.loss(outputs, &[0, 1], &[0.5, -4.0], &[1.0, 0.25]);
        let outputs: Vec<f32> = (0..2 * zeros.len()).map(|i| (i as f32 * 0.77).sin()).collect();
        for (k, slope) in loss(&outputs).slopes.into_iter().enumerate() {
            let moved = |by: f32| {
                let mut outputs = outputs.clone();
                outputs[k] += by;
                loss(&outputs).figure
            };
            let found = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((found - f64::from(slope)).abs() < 1e-3, "output {k}: {found} and {slope}");
        }
    }
}

#[test]
fn the_target_moves_its_share_of_the_way() {
    let config = DqnConfig { tau: 0.25, dueling: false, ..DqnConfig::default() };
    let mut learner = learner(config, &[4.0, 8.0], &[0.0, 4.0]);
    learner.move_target();
    assert_eq!(learner.target.output.bias, [1.0, 5.0]);
}
