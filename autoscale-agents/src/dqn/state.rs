//! What a DQN remembers, as arrays.

use crate::arrays::{Arrays, Numbers, TryFromNumbers};
use crate::replay::{NStepState, ReplayState};

pub(super) fn put_replay(arrays: &mut Arrays, replay: ReplayState) {
    let mut put = |name: &str, numbers: Numbers| arrays.put(format!("training.replay.{name}"), numbers);
    put("next", vec![replay.next as u64].into());
    put("features", replay.features.into());
    put("next_features", replay.next_features.into());
    put("actions", replay.actions.into());
    put("masks", replay.masks.into());
    put("next_masks", replay.next_masks.into());
    put("rewards", replay.rewards.into());
    put("discounts", replay.discounts.into());
    put("priorities", replay.priorities.into());
    put("highest", vec![replay.highest].into());
}

pub(super) fn replay(arrays: &Arrays, width: usize) -> Result<ReplayState, String> {
    fn list<T: TryFromNumbers>(arrays: &Arrays, name: &str) -> Result<Vec<T>, String> {
        Ok(arrays.get(&format!("training.replay.{name}"))?.to_vec())
    }
    Ok(ReplayState {
        width,
        next: arrays.exactly::<u64>("training.replay.next", 1)?[0] as usize,
        features: list(arrays, "features")?,
        next_features: list(arrays, "next_features")?,
        actions: list(arrays, "actions")?,
        masks: list(arrays, "masks")?,
        next_masks: list(arrays, "next_masks")?,
        rewards: list(arrays, "rewards")?,
        discounts: list(arrays, "discounts")?,
        priorities: list(arrays, "priorities")?,
        highest: arrays.exactly("training.replay.highest", 1)?[0],
    })
}

pub(super) fn put_pending(arrays: &mut Arrays, pending: NStepState) {
    let counts: Vec<u64> = pending.counts.iter().map(|&n| n as u64).collect();
    arrays.put("training.pending.counts", counts);
    arrays.put("training.pending.features", pending.features);
    arrays.put("training.pending.masks", pending.masks);
    arrays.put("training.pending.actions", pending.actions);
    arrays.put("training.pending.rewards", pending.rewards);
}

pub(super) fn pending(arrays: &Arrays) -> Result<NStepState, String> {
    Ok(NStepState {
        counts: arrays.get::<u64>("training.pending.counts")?.iter().map(|&n| n as usize).collect(),
        features: arrays.get("training.pending.features")?.to_vec(),
        masks: arrays.get("training.pending.masks")?.to_vec(),
        actions: arrays.get("training.pending.actions")?.to_vec(),
        rewards: arrays.get("training.pending.rewards")?.to_vec(),
    })
}
