//! Weights with what is needed to use them: one safetensors file, its manifest as JSON in the header.

use crate::actions::ActionSpace;
use crate::features::{FEATURES_VERSION, feature_names};
use crate::learned::GreedyActor;
use crate::net::{Layer, Mlp};
use crate::normalizer::Normalizer;
use autoscale_core::seed::Seed;
use autoscale_core::validate::Validate;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Version of the file's layout.
pub const CHECKPOINT_VERSION: u32 = 1;

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
    /// The algorithm: `ppo`.
    pub algorithm: String,
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
    /// Environment steps learnt from.
    pub steps_done: u64,
    /// Updates made.
    pub updates_done: u64,
    /// Minibatches skipped for a loss or gradient that was not finite.
    pub skipped_minibatches: u64,
    /// Feature rows behind the normaliser.
    pub observations: f64,
    /// Mean return per hour on validation episodes, once judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_return: Option<f64>,
}

/// A trained network, and with `optimizer` all that training needs to go on.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The header.
    pub manifest: CheckpointManifest,
    pub(crate) actor: Mlp,
    pub(crate) critic: Mlp,
    pub(crate) normalizer: Normalizer,
    /// The optimiser's record; absent from a file that is only for acting.
    pub(crate) optimizer: Option<Vec<u8>>,
}

/// A checkpoint cannot be read, written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// The optimiser's state is absent or cannot be restored.
    #[error(
        "training cannot go on from this checkpoint: {0}; resume from the run's training state, or train again"
    )]
    NoTrainingState(String),
}

impl Checkpoint {
    /// Whether this program's features and actions are those of the checkpoint.
    ///
    /// # Errors
    /// Names what differs.
    pub fn check_compatible(&self) -> Result<(), CheckpointError> {
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

    /// The same without what only training needs.
    pub fn without_training_state(mut self) -> Self {
        self.optimizer = None;
        self
    }

    pub(crate) fn greedy_actor(&self) -> GreedyActor {
        GreedyActor::new(self.actor.clone(), self.normalizer.clone())
    }

    /// Writes the checkpoint beside `path` and moves it there, so that `path` is always whole.
    ///
    /// # Errors
    /// When the file system refuses; whatever was at `path` is then still there.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
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

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When it is not there, not whole, or not of this program's features, actions or layout.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes =
            std::fs::read(path).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
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
        let manifest = serde_json::from_value(manifest).map_err(|e| damaged(e.to_string()))?;
        let checkpoint = Self::from_parts(manifest, &bytes).map_err(damaged)?;
        checkpoint.check_compatible()?;
        Ok(checkpoint)
    }

    /// The file's bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, mlp) in [("actor", &self.actor), ("critic", &self.critic)] {
            for (k, layer) in mlp.layers.iter().enumerate() {
                let bytes = |x: &[f32]| x.iter().flat_map(|v| v.to_le_bytes()).collect();
                let shape = vec![layer.inputs, layer.outputs];
                tensors.push((format!("{name}.{k}.weight"), Dtype::F32, shape, bytes(&layer.weight)));
                tensors.push((
                    format!("{name}.{k}.bias"),
                    Dtype::F32,
                    vec![layer.outputs],
                    bytes(&layer.bias),
                ));
            }
        }
        for (name, x) in [("mean", &self.normalizer.mean), ("variance", &self.normalizer.variance)] {
            let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.push((format!("normalizer.{name}"), Dtype::F64, vec![x.len()], bytes));
        }
        if let Some(optimizer) = &self.optimizer {
            tensors.push(("optimizer".into(), Dtype::U8, vec![optimizer.len()], optimizer.clone()));
        }
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        let manifest = serde_json::to_string(&self.manifest).map_err(|e| e.to_string())?;
        let header = [(MANIFEST_KEY.to_owned(), manifest)].into();
        safetensors::serialize(views, Some(header)).map_err(|e| e.to_string())
    }

    fn from_parts(manifest: CheckpointManifest, bytes: &[u8]) -> Result<Self, String> {
        manifest.action_space.clone().validate().map_err(|e| e.to_string())?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let tensor = |name: &str, dtype| {
            let view = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
            if view.dtype() == dtype { Ok(view) } else { Err(format!("{name} is not {dtype:?}")) }
        };
        let mlp = |name: &str, inputs: usize, outputs: usize| {
            let mut layers: Vec<Layer> = Vec::new();
            while file.tensor(&format!("{name}.{}.weight", layers.len())).is_ok() {
                let k = layers.len();
                let weight = tensor(&format!("{name}.{k}.weight"), Dtype::F32)?;
                let bias = tensor(&format!("{name}.{k}.bias"), Dtype::F32)?;
                let expected = layers.last().map_or(inputs, |l| l.outputs);
                let &[from, to] = weight.shape() else {
                    return Err(format!("{name}.{k}.weight is no matrix"));
                };
                if from != expected || bias.shape() != [to] {
                    return Err(format!("layer {k} of {name} does not fit its neighbours"));
                }
                let (weight, bias) = (floats(weight.data()), floats(bias.data()));
                layers.push(Layer { inputs: from, outputs: to, weight, bias });
            }
            if layers.last().is_none_or(|l| l.outputs != outputs) {
                return Err(format!("{name} does not have {outputs} outputs"));
            }
            Ok(Mlp::new(layers))
        };
        let moments = |name: &str| {
            let data = tensor(name, Dtype::F64)?.data();
            let values: Vec<f64> = data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
            if values.len() == manifest.feature_names.len() {
                Ok(values)
            } else {
                Err(format!("{name} has {} entries", values.len()))
            }
        };
        let features = manifest.feature_names.len();
        Ok(Self {
            actor: mlp("actor", features, manifest.action_table.len())?,
            critic: mlp("critic", features, 1)?,
            normalizer: Normalizer {
                count: manifest.observations,
                mean: moments("normalizer.mean")?,
                variance: moments("normalizer.variance")?,
            },
            optimizer: tensor("optimizer", Dtype::U8).ok().map(|t| t.data().to_vec()),
            manifest,
        })
    }
}

fn read_manifest(bytes: &[u8]) -> Result<serde_json::Value, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let text = header.metadata().as_ref().and_then(|m| m.get(MANIFEST_KEY)).ok_or("it has no manifest")?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}
