//! The plain loops that learners are measured against compute the right gradients, and learn.

mod limit;

use autoscale_core::agent::{ActionIndex, ActionMask};
use autoscale_core::seed::Seed;
use limit::{ACTIONS, FEATURES, Kept, LimitNet, NEAR, Output, dqn, huber, ppo, surrogate};
use rand::RngExt;

/// Compares the gradient of a sum of losses to its finite differences; gives the losses' slopes.
fn differentiate(loss: impl Fn(usize, &Output, &Output) -> (f32, Output)) -> Vec<Output> {
    // Neither a whole number of blocks nor of what stays near.
    const N: usize = NEAR + 5;
    let mut stream = Seed::root(1).stream();
    let mut net = LimitNet::new(N, &mut stream);
    net.parameters.iter_mut().for_each(|x| *x += stream.random_range(-0.1..0.1));
    let rows: Vec<f32> = (0..N * FEATURES).map(|_| stream.random_range(-2.0..2.0)).collect();
    let before = net.forward(&rows).to_vec();
    let slopes: Vec<Output> = before.iter().enumerate().map(|(k, at)| loss(k, at, at).1).collect();
    let gradient = net.backward(&rows, &slopes).to_vec();
    // Every 29th reaches all rows and columns of all layers.
    for k in (0..gradient.len()).step_by(29) {
        let x = net.parameters[k];
        let [above, below] = [2e-4, -2e-4].map(|h| {
            net.parameters[k] = x + h;
            let outputs = net.forward(&rows).iter().zip(&before).enumerate();
            outputs.map(|(k, (now, before))| f64::from(loss(k, now, before).0)).sum::<f64>()
        });
        net.parameters[k] = x;
        let (found, expected) = (f64::from(gradient[k]), (above - below) / 4e-4);
        assert!((found - expected).abs() < 0.02 * (1.0 + expected.abs()), "{k}: {found}, {expected}");
    }
    slopes
}

#[test]
fn the_gradient_of_ppo_is_right() {
    let slopes = differentiate(|k, outputs, before| {
        let mask = ActionMask::from_fn(ACTIONS, |a| a != (k + 1) % ACTIONS);
        let sum: f32 = (0..ACTIONS).filter(|&a| mask.allows(a)).map(|a| before[a].exp()).sum();
        // Far from where the ratio begins to be clipped, on either side.
        let log_probability = before[k % ACTIONS] - sum.ln() + [-0.5, -0.1, 0.0, 0.1, 0.5][k / 2 % 5];
        let (row, action, ended) = ([0.0; FEATURES], ActionIndex((k % ACTIONS) as u16), false);
        let (value, gained, advantage) = (0.3, 0.0, [1.5, -0.8][k % 2]);
        let kept = Kept { row, mask, action, log_probability, value, gained, ended, advantage };
        surrogate(outputs, &kept, advantage)
    });
    assert!(slopes.iter().enumerate().all(|(k, slopes)| slopes[(k + 1) % ACTIONS] == 0.0), "masked");
    let clipped = |(k, slopes): &(usize, &Output)| slopes[k % ACTIONS].abs() < 0.01;
    // Gains beyond 1.2, and losses below 0.8.
    assert_eq!(slopes.iter().enumerate().filter(clipped).count(), 7 + 6);
}

#[test]
fn the_gradient_of_q_learning_is_right() {
    let slopes = differentiate(|k, outputs, before| {
        let target = before[k % ACTIONS] + [-3.0, -0.5, 0.2, 1.7][k % 4];
        huber(outputs, ActionIndex((k % ACTIONS) as u16), target)
    });
    let sizes = [1.0, 0.5, -0.2, -1.0];
    assert!(sizes.iter().enumerate().all(|(k, size)| (slopes[k][k] - size).abs() < 1e-5));
}

#[test]
fn both_learn() {
    let (ppo, dqn) = (ppo(100_000, Seed::root(1)), dqn(50_000, Seed::root(1)));
    assert!(ppo > 60.0 && dqn > 60.0, "{ppo} and {dqn}, where 29 is random and 200 the best");
}
