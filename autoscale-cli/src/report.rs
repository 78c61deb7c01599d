//! `training_summary.csv`: streamed during training, finished by polars (which this module alone knows).

use crate::run_folder::write_whole;
use anyhow::{Context, Result};
use autoscale_agents::trainer::EpisodeSummary;
use autoscale_core::agent::UpdateStats;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::RewardWeights;
use autoscale_eval::metric::{Metric, metrics};
use polars::prelude::{
    CsvReadOptions, CsvWriter, DataFrame, DataType, IntoLazy, PolarsResult, SerReader, SerWriter,
    SortMultipleOptions, col, lit,
};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// The losses that stand in each row: those of the last update before the episode was reported.
const LOSSES: [&str; 5] = [
    "losses/policy_loss",
    "losses/value_loss",
    "losses/entropy",
    "losses/approx_kl",
    "losses/explained_variance",
];

/// The growing file: a row an episode, flushed each time, so that a crash loses nothing.
pub(crate) struct SummaryWriter {
    csv: csv::Writer<File>,
    weights: RewardWeights,
}

impl SummaryWriter {
    /// Opens `path` for more rows and writes the header of a new one.
    pub(crate) fn open(path: &Path, weights: RewardWeights) -> Result<Self> {
        let fresh = !path.exists();
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("{}: cannot be written", path.display()))?;
        let mut csv = csv::Writer::from_writer(file);
        if fresh {
            let fixed =
                ["episode", "seed", "steps", "return", "reward_pods", "reward_violations", "reward_churn"];
            let names = fixed.into_iter().chain(metrics().map(Metric::name)).chain(LOSSES);
            csv.write_record(names)?;
            csv.flush()?;
        }
        Ok(Self { csv, weights })
    }

    /// Adds an episode and returns its return in the scenario's prices.
    pub(crate) fn add(
        &mut self,
        summary: &EpisodeSummary,
        record: &EpisodeRecord,
        stats: &UpdateStats,
    ) -> Result<f64> {
        let reward = self.weights.price(&record.totals);
        let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
        let mut row = vec![summary.episode.to_string(), summary.seed.to_string(), summary.steps.to_string()];
        row.extend([reward.total(), reward.pods, reward.violations, reward.churn].map(|v| v.to_string()));
        row.extend(metrics().map(|m| number(m.measure(record))));
        row.extend(LOSSES.map(|name| number(stats.get(name).copied())));
        self.csv.write_record(&row)?;
        self.csv.flush()?;
        Ok(reward.total())
    }
}

fn read(path: &Path) -> PolarsResult<DataFrame> {
    CsvReadOptions::default()
        .with_has_header(true)
        .with_infer_schema_length(None)
        .try_into_reader_with_file_path(Some(PathBuf::from(path)))?
        .finish()
}

/// Keeps the episodes below `episodes`, sorted; a resumed run writes those again that its state did not hold.
/// A row that a kill cut off is dropped.
pub(crate) fn keep_episodes(path: &Path, episodes: u64) -> Result<()> {
    let text = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole == 0 {
        return Ok(fs::remove_file(path)?);
    }
    write_whole(path, &text[..whole])?;
    let tidy = || -> PolarsResult<DataFrame> {
        let frame = read(path)?.lazy().filter(col("episode").lt(lit(episodes)));
        frame.sort(["episode"], SortMultipleOptions::default()).collect()
    };
    let mut frame = tidy().with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut csv = Vec::new();
    CsvWriter::new(&mut csv).finish(&mut frame)?;
    write_whole(path, &csv)
}

/// The returns of all episodes, in order.
pub(crate) fn returns(path: &Path) -> Result<Vec<f64>> {
    let frame = read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(frame.column("return")?.cast(&DataType::Float64)?.f64()?.into_no_null_iter().collect())
}
