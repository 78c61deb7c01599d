//! Policies of checkpoints against the same files in `PyTorch`; `experiments/pytorch` has written the fixtures.

use autoscale_agents::checkpoint::Checkpoint;
use autoscale_core::agent::GreedyPolicy;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What `PyTorch` gave for rows of features, shown one after the other.
#[derive(Deserialize)]
struct Answers {
    torch: String,
    inputs: Vec<Vec<f32>>,
    outputs: BTreeMap<String, Vec<Vec<f32>>>,
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn pytorch_gives_the_same_preferences() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
    let text = std::fs::read_to_string(folder.join("outputs.json")).unwrap();
    let answers: Answers = serde_json::from_str(&text).unwrap();
    assert_eq!(answers.outputs.keys().collect::<Vec<_>>(), ["dqn", "gru", "ppo"]);
    for (name, expected) in &answers.outputs {
        let checkpoint = Checkpoint::load(&folder.join(format!("{name}.safetensors"))).unwrap_or_else(|e| {
            panic!(
                "{e}\nIf features, actions or the layout were changed on purpose, write tests/pytorch anew: \
                 experiments/pytorch/README.md says how"
            )
        });
        let actions = checkpoint.manifest.action_table.len();
        let mut actor = checkpoint.greedy_actor().unwrap();
        let mut ours = Vec::new();
        for row in &answers.inputs {
            assert_eq!(row.len(), checkpoint.manifest.feature_names.len(), "{name}");
            ours.push(actor.preferences(row).to_vec());
        }
        assert_eq!(ours.len(), expected.len(), "{name}");
        let mut largest = 0.0_f32;
        for (k, (ours, theirs)) in ours.iter().zip(expected).enumerate() {
            assert_eq!((ours.len(), theirs.len()), (actions, actions), "{name}, row {k}");
            let apart = farthest(ours, theirs);
            assert!(
                ours.iter().all(|x| x.is_finite()) && apart <= 1e-5,
                "{name}, row {k}: {ours:?}, torch {} {theirs:?}",
                answers.torch
            );
            largest = largest.max(apart);
        }
        eprintln!("{name}: at most {largest:e} from torch {}", answers.torch);

        // None of this would be worth much if all answers were alike.
        let first = &ours[0];
        assert!(ours[1..].iter().all(|row| farthest(row, first) > 0.1), "{name}: rows {ours:?}");
        assert!(ours.iter().all(|row| row.iter().any(|x| (x - row[0]).abs() > 0.1)), "{name}: {ours:?}");
        let last = answers.inputs.len() - 1;
        actor.reset();
        let afresh = farthest(actor.preferences(&answers.inputs[last]), &ours[last]);
        let remembers = checkpoint.manifest.net.gru.is_some();
        assert!(if remembers { afresh > 1e-3 } else { afresh == 0.0 }, "{name}: {afresh}");
    }
}
