//! Weights with what is needed to use them: one safetensors file, its manifest as JSON in the header.
//!
//! The layout, for other programs; `experiments/pytorch` reads it:
//!
//! * The header's key `autoscale.manifest` is a [`CheckpointManifest`] as JSON. Actions are the lines of its
//!   `action_table`, features its `feature_names`.
//! * What goes in is clamp((x − mean) / √(variance + 0.0001), ±10) of the first numbers of `normalizer.mean` and
//!   `normalizer.variance`, which have what the critic sees behind the features; if `normalizer.count` is 0,
//!   clamp(x, ±10).
//! * `policy.hidden.K.weight` is `[inputs, outputs]`, `PyTorch`'s transposed, and `policy.hidden.K.bias` is `[outputs]`.
//!   Behind these layers, and only these, is a `ReLU`.
//! * If the manifest's `net` has a `gru` that is not null, then comes `torch.nn.GRUCell` with `policy.gru.input` for its input and
//!   `policy.gru.hidden` for its state, which is zero when an episode begins.
//! * `policy.output` gives a logit an action or, of a DQN, a value an action up to a common number. One output more is the
//!   state's value.
//! * `value.*` is the critic where it is apart: the same layers, over all that is normalised, with one output.
//! * `training.*`, in a file that training can go on from, is nobody else's business.

use crate::actions::ActionSpace;
use crate::arrays::Arrays;
use crate::features::{FEATURES_VERSION, feature_names};
use crate::learned::GreedyActor;
use crate::learner::{Counters, Trainable};
use crate::net::NetConfig;
use crate::trainer::Progress;
use autoscale_core::seed::Seed;
use autoscale_core::validate::Validate;
use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Version of the file's layout.
pub const CHECKPOINT_VERSION: u32 = 2;

const MANIFEST_KEY: &str = "autoscale.manifest";

/// What a run hands to a checkpoint beside the learner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Name of the scenario trained on.
    pub scenario: String,
    /// Time between two decisions.
    pub interval: Duration,
    /// What the actions mean.
    pub action_space: ActionSpace,
    /// The networks.
    pub net: NetConfig,
    /// Numbers that the critic sees beside the features.
    pub privileged: usize,
    /// Root of the run's seed tree.
    pub seed: Seed,
    /// Commit of the program.
    pub commit: String,
    /// Completed training episodes.
    pub episodes_done: u64,
}

/// The header of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// [`CHECKPOINT_VERSION`].
    pub version: u32,
    /// The algorithm: `ppo`, `a2c` or `dqn`.
    pub algorithm: String,
    /// The networks.
    pub net: NetConfig,
    /// Numbers that the critic sees beside the features.
    pub privileged: usize,
    /// Outputs of the policy's network: an action each, and perhaps a value.
    pub outputs: usize,
    /// Version of the features.
    pub features_version: u32,
    /// Their names, in order.
    pub feature_names: Vec<String>,
    /// What the actions mean.
    pub action_space: ActionSpace,
    /// The same, a line an action.
    pub action_table: Vec<String>,
    /// Time between two decisions.
    pub interval: Duration,
    /// Name of the scenario trained on.
    pub scenario: String,
    /// Root of the run's seed tree.
    pub seed: Seed,
    /// Commit of the program that wrote it.
    pub commit: String,
    /// Completed training episodes.
    pub episodes_done: u64,
    /// How far the learner was.
    pub counters: Counters,
    /// Mean return per hour on validation episodes, once judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_return: Option<f64>,
    /// Where the episodes were that were under way; absent from a file that is only for acting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// A trained network, and with [`Progress`] all that training needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The header.
    pub manifest: CheckpointManifest,
    /// The numbers.
    pub arrays: Arrays,
}

/// A checkpoint cannot be read, written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not a whole checkpoint.
    #[error("{path}: not a complete checkpoint ({reason}); use another file, or train again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "the checkpoint has {what} {found}, this program has {expected}; run the program at commit {commit}, or train again"
    )]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// In the checkpoint.
        found: String,
        /// In this program.
        expected: String,
        /// The commit that wrote the checkpoint.
        commit: String,
    },
    /// Its numbers are not what a learner needs.
    #[error("the checkpoint cannot be gone on from: {0}")]
    Unfit(String),
}

impl Checkpoint {
    /// What acting needs of `learner`.
    pub fn of(learner: &impl Trainable, info: CheckpointInfo) -> Self {
        let arrays = learner.weights();
        let outputs = arrays.get::<f32>("policy.output.bias").map_or(0, <[f32]>::len);
        let manifest = CheckpointManifest {
            version: CHECKPOINT_VERSION,
            algorithm: learner.algorithm().to_owned(),
            net: info.net,
            privileged: info.privileged,
            outputs,
            features_version: FEATURES_VERSION,
            feature_names: feature_names().iter().map(|&n| n.to_owned()).collect(),
            action_table: info.action_space.table(),
            action_space: info.action_space,
            interval: info.interval,
            scenario: info.scenario,
            seed: info.seed,
            commit: info.commit,
            episodes_done: info.episodes_done,
            counters: learner.counters(),
            validation_return: None,
            progress: None,
        };
        Self { manifest, arrays }
    }

    /// The same with all that training needs to go on from here; only where the learner has just learnt.
    #[must_use]
    pub fn with_training_state(mut self, learner: &impl Trainable, progress: Progress) -> Self {
        self.arrays.extend(learner.state());
        self.manifest.progress = Some(progress);
        self
    }

    /// Makes `learner` go on from here, and says where the episodes were.
    ///
    /// # Errors
    /// When this is only for acting, or of another network or algorithm.
    pub fn resume(&self, learner: &mut impl Trainable) -> Result<Progress, CheckpointError> {
        let unfit = CheckpointError::Unfit;
        let progress = self.manifest.progress.clone();
        let progress = progress.ok_or_else(|| unfit("it has no training state".to_owned()))?;
        if self.manifest.algorithm != learner.algorithm() {
            let (theirs, ours) = (&self.manifest.algorithm, learner.algorithm());
            return Err(unfit(format!("it is of the algorithm {theirs}, not {ours}")));
        }
        learner.load(&self.arrays).map_err(unfit)?;
        Ok(progress)
    }

    /// Whether this program's features and actions are those of the checkpoint.
    fn check_compatible(&self) -> Result<(), CheckpointError> {
        let m = &self.manifest;
        let mismatch = |what, found: String, expected: String| {
            Err(CheckpointError::Mismatch { what, found, expected, commit: m.commit.clone() })
        };
        if m.features_version != FEATURES_VERSION {
            return mismatch("feature version", m.features_version.to_string(), FEATURES_VERSION.to_string());
        }
        if m.feature_names != feature_names() {
            return mismatch("features", m.feature_names.join(", "), feature_names().join(", "));
        }
        if m.action_table != m.action_space.table() {
            return mismatch("action table", m.action_table.join(", "), m.action_space.table().join(", "));
        }
        Ok(())
    }

    /// The policy that it holds.
    ///
    /// # Errors
    /// When its features or actions are not this program's, or its numbers do not fit its manifest.
    pub fn greedy_actor(&self) -> Result<GreedyActor, CheckpointError> {
        self.check_compatible()?;
        self.actor().map_err(CheckpointError::Unfit)
    }

    fn actor(&self) -> Result<GreedyActor, String> {
        let m = &self.manifest;
        let (features, actions) = (m.feature_names.len(), m.action_table.len());
        if !(actions..=actions + 1).contains(&m.outputs) {
            return Err(format!("its policy has {} outputs for {actions} actions", m.outputs));
        }
        let tower = self.arrays.tower("policy", features, &m.net, m.outputs)?;
        let normalizer = self.arrays.normalizer("normalizer", features + m.privileged)?;
        Ok(GreedyActor::new(tower, normalizer.first(features), actions))
    }

    /// Writes the checkpoint beside `path` and moves it there, so that `path` is always whole.
    ///
    /// # Errors
    /// When the file system refuses; whatever was at `path` is then still there.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let io = |cause| CheckpointError::Io { path: path.to_owned(), cause };
        let bytes = self.to_bytes().map_err(|reason| io(std::io::Error::other(reason)))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().map_err(|error| {
            // Best effort: the error that matters is the first one.
            let _ = std::fs::remove_file(&partial);
            io(error)
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let manifest = serde_json::to_string(&self.manifest).map_err(|e| e.to_string())?;
        self.arrays.to_bytes((MANIFEST_KEY.to_owned(), manifest))
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When it is not there, not whole, or not of this program's features, actions or layout.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes =
            std::fs::read(path).map_err(|cause| CheckpointError::Io { path: path.to_owned(), cause })?;
        let damaged = |reason| CheckpointError::Damaged { path: path.to_owned(), reason };
        let manifest = read_manifest(&bytes).map_err(damaged)?;
        let version = manifest.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(CHECKPOINT_VERSION)) {
            return Err(CheckpointError::Mismatch {
                what: "layout version",
                found: version.map_or_else(|| "unknown".to_owned(), |v| v.to_string()),
                expected: CHECKPOINT_VERSION.to_string(),
                commit: manifest.get("commit").and_then(|c| c.as_str()).unwrap_or("unknown").to_owned(),
            });
        }
        let manifest: CheckpointManifest =
            serde_json::from_value(manifest).map_err(|e| damaged(e.to_string()))?;
        let valid = || manifest.action_space.clone().validate().and(manifest.net.clone().validate());
        valid().map_err(|e| damaged(e.to_string()))?;
        let arrays = Arrays::from_bytes(&bytes).map_err(damaged)?;
        let checkpoint = Self { manifest, arrays };
        checkpoint.check_compatible()?;
        checkpoint.actor().map_err(damaged)?;
        Ok(checkpoint)
    }
}

fn read_manifest(bytes: &[u8]) -> Result<serde_json::Value, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let text = header.metadata().as_ref().and_then(|m| m.get(MANIFEST_KEY)).ok_or("it has no manifest")?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}
