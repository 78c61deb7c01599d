//! A run's folder: what is in it, and how it is written so that nothing is ever half there.

use anyhow::{Context, Result, bail};
use autoscale_core::record::{RUN_MANIFEST_VERSION, RunManifest};
use autoscale_core::seed::Seed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const MODEL: &str = "model.safetensors";
/// The newest state of training, from which a run can go on.
pub(crate) const STATE: &str = "state.safetensors";
pub(crate) const SUMMARY: &str = "training_summary.csv";
/// A row an update, where it was asked for.
pub(crate) const UPDATES: &str = "updates.csv";
/// How names of event files begin.
pub(crate) const EVENTS: &str = "events.out.tfevents";
pub(crate) const COMPARISON: &str = "comparison.csv";
/// What `tune` finds: a manifest of an HPA, or TOML of the other rules.
pub(crate) const TUNED: [&str; 2] = ["tuned.yaml", "tuned.toml"];

/// What is removed with the run that is replaced; all else is written anew by every run.
const OURS: [&str; 8] = [MANIFEST, MODEL, STATE, SUMMARY, UPDATES, COMPARISON, TUNED[0], TUNED[1]];
const RUNS: &str = "runs";
const LATEST: &str = "latest";

/// The folder of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder(PathBuf);

impl RunFolder {
    /// Refuses what [`RunFolder::create`] will refuse, before anything is done that takes long.
    pub(crate) fn check(path: Option<&Path>, replace: Replace) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        if path.join(MANIFEST).exists() && replace == Replace::Refuse {
            bail!(
                "{}: holds a run already; choose another --out, or replace it with --force",
                path.display()
            );
        }
        not_a_file(path)
    }

    /// A folder for a new run; one that holds a run already is refused unless `replace` is given.
    pub(crate) fn create(path: Option<&Path>, label: &str, replace: Replace) -> Result<Self> {
        Self::check(path, replace)?;
        let folder = Self::at(path, label)?;
        if folder.file(MANIFEST).exists() {
            for entry in fs::read_dir(folder.path())? {
                let file = entry?.path();
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                if OURS.contains(&name.as_ref()) || name.starts_with(EVENTS) {
                    fs::remove_file(&file)
                        .with_context(|| format!("{}: cannot be replaced", file.display()))?;
                }
            }
        }
        Ok(folder)
    }

    /// The folder, with all that is in it, or a new one.
    pub(crate) fn at(path: Option<&Path>, label: &str) -> Result<Self> {
        let path = path.map_or_else(|| free_default(label), Path::to_owned);
        not_a_file(&path)?;
        fs::create_dir_all(&path).with_context(|| format!("{}: cannot be created", path.display()))?;
        Ok(Self(path))
    }

    /// An existing run, by its folder, as `latest` or as `runs/latest`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let mut path = PathBuf::from(name);
        if name == LATEST {
            path = Path::new(RUNS).join(LATEST);
        }
        if path.ends_with(LATEST) && !path.is_dir() {
            let pointer = path;
            let text = fs::read_to_string(&pointer).with_context(|| {
                format!("{}: cannot be read; train first, or name a run", pointer.display())
            })?;
            path = PathBuf::from(text.trim());
        }
        if !path.join(MANIFEST).is_file() {
            bail!("{}: not a run: it has no {MANIFEST}", path.display());
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes `runs/latest` name this run.
    pub(crate) fn point_latest(&self) -> Result<()> {
        fs::create_dir_all(RUNS)?;
        write_whole(&Path::new(RUNS).join(LATEST), format!("{}\n", self.0.display()).as_bytes())
    }

    pub(crate) fn write_manifest<C: Serialize>(&self, manifest: &RunManifest<C>) -> Result<()> {
        write_whole(&self.file(MANIFEST), &serde_json::to_vec_pretty(manifest)?)
    }

    /// Writes what a run that begins now is made of.
    pub(crate) fn describe<C: Serialize>(&self, seed: Seed, config: C) -> Result<()> {
        self.write_manifest(&RunManifest {
            version: RUN_MANIFEST_VERSION,
            command: std::env::args().collect::<Vec<_>>().join(" "),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit().to_owned(),
            host: host(),
            started: now(),
            seed,
            config,
        })
    }

    pub(crate) fn manifest<C: DeserializeOwned>(&self) -> Result<RunManifest<C>> {
        let path = self.file(MANIFEST);
        let text = fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{}: not a manifest of this version of the program", path.display()))
    }
}

/// The commit that the program was built from, `unknown` outside a checkout, `+` behind it for local changes.
pub(crate) const fn commit() -> &'static str {
    env!("AUTOSCALE_COMMIT")
}

/// What to do with a run that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    Refuse,
    Allow,
}

fn not_a_file(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        bail!("{}: is a file; --out names a folder", path.display());
    }
    Ok(())
}

/// `runs/<date-time>-<label>`, with a number behind it if that is taken.
fn free_default(label: &str) -> PathBuf {
    let stamp: String = now().chars().filter(char::is_ascii_digit).collect();
    let base = format!("{}-{}-{label}", &stamp[..8], &stamp[8..14]);
    let name = |k: u32| if k == 0 { base.clone() } else { format!("{base}-{k}") };
    let mut k = 0;
    loop {
        let path = Path::new(RUNS).join(name(k));
        if !path.exists() {
            return path;
        }
        k += 1;
    }
}

/// Writes beside `path` and renames: readers see the old file or the new one, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

/// The time in UTC as RFC 3339, to the second.
pub(crate) fn now() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// Seconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since 1970-01-01, by eras of 400 years (Hinnant, "chrono-compatible low-level
    // date algorithms").
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Operating system, architecture and number of cores.
pub(crate) fn host() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH)
}
