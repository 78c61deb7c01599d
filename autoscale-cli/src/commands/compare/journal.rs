//! Every finished episode, a line each, from which a comparison goes on.

use anyhow::{Context, Result};
use autoscale_eval::study::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub(super) const JOURNAL: &str = "episodes.jsonl";

/// What was found of an episode.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Of equal key is equal outcome.
    pub(super) key: String,
    /// For people, as are the next two.
    pub(super) scenario: String,
    pub(super) policy: String,
    pub(super) episode: usize,
    /// What the episode costs at least, where the policy is the clairvoyant.
    pub(super) bound: Option<f64>,
    pub(super) outcome: Outcome,
}

/// The file, and what was in it when it was opened.
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    known: HashMap<String, Entry>,
}

impl Journal {
    /// Opens the journal in `folder`, or begins it. A line that a kill cut off is dropped.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(JOURNAL);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| path.display().to_string())?,
        };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut known = HashMap::new();
        for (k, line) in text[..whole].lines().enumerate() {
            let entry: Entry = serde_json::from_str(line).with_context(|| {
                format!("{}:{}: no episode of this version; choose another --out", path.display(), k + 1)
            })?;
            // One that failed is tried again.
            if entry.outcome.is_ok() {
                known.insert(entry.key.clone(), entry);
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("{}: cannot be written", path.display()))?;
        file.set_len(whole as u64).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Self { path, file: Mutex::new(file), known })
    }

    /// What was found before.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.known.get(key)
    }

    /// Adds a line.
    pub(super) fn add(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&line).with_context(|| format!("{}: cannot be written", self.path.display()))
    }
}
