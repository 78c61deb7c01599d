//! `training_summary.csv`: streamed during training, finished by polars (which this module alone knows).

use crate::run_folder::write_whole;
use anyhow::{Context, Result, bail};
use autoscale_agents::trainer::EpisodeSummary;
use autoscale_core::agent::UpdateStats;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_core::reward::RewardWeights;
use autoscale_eval::metric::{Metric, metrics};
use autoscale_eval::study::Study;
use polars::prelude::{
    Column, CsvReadOptions, CsvWriter, DataFrame, DataType, ParquetWriter, PolarsResult, SerReader, SerWriter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The losses that stand in each row: those of the last update before the episode was reported.
pub(crate) const LOSSES: [&str; 7] = [
    "losses/policy_loss",
    "losses/value_loss",
    "losses/entropy",
    "losses/approx_kl",
    "losses/explained_variance",
    "losses/td_loss",
    "losses/q_values",
];

/// What updates report, in the order of the columns of `updates.csv`.
fn update_figures(algorithm: &str) -> &'static [&'static str] {
    match algorithm {
        "dqn" => &[
            "charts/SPS",
            "charts/episodic_return",
            "charts/epsilon",
            "charts/learning_rate",
            "losses/td_loss",
            "losses/q_values",
            "losses/grad_norm",
            "losses/minibatches",
            "losses/skipped_minibatches",
        ],
        "a2c" => &[
            "charts/SPS",
            "charts/episodic_return",
            "charts/learning_rate",
            "losses/policy_loss",
            "losses/value_loss",
            "losses/entropy",
            "losses/explained_variance",
            "losses/grad_norm",
            "losses/skipped_minibatches",
        ],
        _ => &[
            "charts/SPS",
            "charts/episodic_return",
            "charts/learning_rate",
            "losses/policy_loss",
            "losses/value_loss",
            "losses/entropy",
            "losses/old_approx_kl",
            "losses/approx_kl",
            "losses/clipfrac",
            "losses/explained_variance",
            "losses/grad_norm",
            "losses/minibatches",
            "losses/skipped_minibatches",
        ],
    }
}

/// `updates.csv`: a row an update.
pub(crate) struct UpdateWriter {
    csv: csv::Writer<File>,
    columns: &'static [&'static str],
}

impl UpdateWriter {
    /// Opens `path` for more rows and writes the header of a new one.
    pub(crate) fn open(path: &Path, algorithm: &str) -> Result<Self> {
        let columns = update_figures(algorithm);
        let header = std::iter::once("global_step").chain(columns.iter().copied());
        Ok(Self { csv: append(path, header)?, columns })
    }

    /// Adds an update after so many environment steps.
    pub(crate) fn add(&mut self, steps: u64, figures: &[(&str, f64)]) -> Result<()> {
        let figure = |column: &&str| {
            let found = figures.iter().find(|(name, _)| name == column);
            found.map_or(String::new(), |(_, value)| value.to_string())
        };
        let row = std::iter::once(steps.to_string()).chain(self.columns.iter().map(figure));
        self.csv.write_record(row)?;
        Ok(self.csv.flush()?)
    }
}

/// A table for more rows, with a header if it is new.
fn append<'a>(path: &Path, header: impl Iterator<Item = &'a str>) -> Result<csv::Writer<File>> {
    let fresh = !path.exists();
    let header: Vec<&str> = header.collect();
    if !fresh && csv::Reader::from_path(path)?.headers()? != header {
        bail!("{}: has other columns than this version of the program writes", path.display());
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("{}: cannot be written", path.display()))?;
    let mut csv = csv::Writer::from_writer(file);
    if fresh {
        csv.write_record(header)?;
        csv.flush()?;
    }
    Ok(csv)
}

/// The growing file: a row an episode, flushed each time, so that a crash loses nothing.
pub(crate) struct SummaryWriter {
    csv: csv::Writer<File>,
    weights: RewardWeights,
}

impl SummaryWriter {
    /// Opens `path` for more rows and writes the header of a new one.
    pub(crate) fn open(path: &Path, weights: RewardWeights) -> Result<Self> {
        let fixed =
            ["episode", "seed", "steps", "return", "reward_pods", "reward_violations", "reward_churn"];
        let names = fixed.into_iter().chain(metrics().map(Metric::name)).chain(LOSSES);
        Ok(Self { csv: append(path, names)?, weights })
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

/// Keeps the rows whose `column` is below `below`, as they are; a resumed run writes those again that its state did not
/// hold. A row that a kill cut off is dropped.
pub(crate) fn keep_rows(path: &Path, column: &str, below: u64) -> Result<()> {
    let text = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole == 0 {
        return fs::remove_file(path).with_context(|| format!("{}: cannot be replaced", path.display()));
    }
    let keep = || -> Result<Vec<u8>> {
        let mut rows = csv::Reader::from_reader(&text[..whole]);
        let header = rows.byte_headers()?.clone();
        let at = header.iter().position(|name| name == column.as_bytes());
        let at = at.with_context(|| format!("it has no column {column}"))?;
        let mut kept = csv::Writer::from_writer(Vec::new());
        kept.write_byte_record(&header)?;
        for row in rows.records() {
            let row = row?;
            let number: u64 = row[at].parse().with_context(|| format!("{column}: {:?}", &row[at]))?;
            if number < below {
                kept.write_record(&row)?;
            }
        }
        Ok(kept.into_inner()?)
    };
    let kept = keep().with_context(|| format!("{}: cannot be gone on with", path.display()))?;
    write_whole(path, &kept)
}

/// The returns of all episodes, in order.
pub(crate) fn returns(path: &Path) -> Result<Vec<f64>> {
    let frame = read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(frame.column("return")?.cast(&DataType::Float64)?.f64()?.into_no_null_iter().collect())
}

/// Rows of a table with a column for each name that occurs, as CSV and as Parquet; columns of numbers are numbers.
pub(crate) fn trials(csv: &Path, parquet: &Path, rows: &[BTreeMap<String, String>]) -> Result<()> {
    let names: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let column = |&name: &&String| {
        let texts: Vec<Option<&str>> = rows.iter().map(|row| row.get(name).map(String::as_str)).collect();
        let name = name.as_str().into();
        if let Some(counts) = all_parsed::<i64>(&texts) {
            Column::new(name, counts)
        } else if let Some(numbers) = all_parsed::<f64>(&texts) {
            Column::new(name, numbers)
        } else {
            Column::new(name, texts)
        }
    };
    let mut frame = DataFrame::new(rows.len(), names.iter().map(column).collect())?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut frame)?;
    write_whole(csv, &bytes)?;
    bytes.clear();
    ParquetWriter::new(&mut bytes).finish(&mut frame)?;
    write_whole(parquet, &bytes)
}

/// The values of a column, where every text that is there is one.
fn all_parsed<T: FromStr>(texts: &[Option<&str>]) -> Option<Vec<Option<T>>> {
    texts.iter().map(|text| text.map(str::parse).transpose().ok()).collect()
}

/// Every value of a study, a row each, as Parquet.
pub(crate) fn study(parquet: &Path, study: &Study) -> Result<()> {
    let rows: Vec<_> = study.rows().collect();
    let scenarios: Vec<&str> =
        rows.iter().map(|row| study.scenarios()[row.0.scenario].name.as_str()).collect();
    let policies: Vec<&str> = rows.iter().map(|row| study.policies()[row.0.policy].name.as_str()).collect();
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("scenario".into(), scenarios),
        Column::new("policy".into(), policies),
        Column::new("episode".into(), rows.iter().map(|row| row.0.episode as u64).collect::<Vec<_>>()),
        Column::new("metric".into(), rows.iter().map(|row| row.1.name).collect::<Vec<_>>()),
        Column::new("unit".into(), rows.iter().map(|row| row.1.unit).collect::<Vec<_>>()),
        Column::new("value".into(), rows.iter().map(|row| row.2).collect::<Vec<_>>()),
    ])?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame)?;
    write_whole(parquet, &bytes)
}

/// The record of an episode, a row a control interval, as CSV and as Parquet.
pub(crate) fn episode(csv: &Path, parquet: &Path, record: &EpisodeRecord) -> Result<()> {
    let mut frame = episode_frame(record)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut frame)?;
    write_whole(csv, &bytes)?;
    bytes.clear();
    ParquetWriter::new(&mut bytes).finish(&mut frame)?;
    write_whole(parquet, &bytes)
}

fn episode_frame(record: &EpisodeRecord) -> PolarsResult<DataFrame> {
    let all = &record.intervals;
    let number = |name: &str, value: &dyn Fn(&IntervalRecord) -> f64| {
        Column::new(name.into(), all.iter().map(value).collect::<Vec<_>>())
    };
    let count = |name: &str, value: &dyn Fn(&IntervalRecord) -> u64| {
        Column::new(name.into(), all.iter().map(value).collect::<Vec<_>>())
    };
    let latency = |name: &str, value: &dyn Fn(&LatencySummary) -> Duration| {
        let ms = |i: &IntervalRecord| i.latency.as_ref().map(|l| value(l).as_secs_f64() * 1e3);
        Column::new(name.into(), all.iter().map(ms).collect::<Vec<_>>())
    };
    DataFrame::new_infer_height(vec![
        number("start_s", &|i| i.start.as_secs_f64()),
        number("offered_rps", &|i| i.offered.per_second()),
        count("arrived", &|i| i.requests.arrived),
        count("in_time", &|i| i.requests.in_time),
        count("late", &|i| i.requests.late),
        count("timed_out", &|i| i.requests.timed_out),
        count("refused", &|i| i.requests.refused),
        count("lost", &|i| i.requests.lost),
        count("unfinished", &|i| i.requests.unfinished),
        latency("latency_mean_ms", &|l| l.mean),
        latency("latency_p50_ms", &|l| l.p50),
        latency("latency_p90_ms", &|l| l.p90),
        latency("latency_p95_ms", &|l| l.p95),
        latency("latency_p99_ms", &|l| l.p99),
        count("replicas_desired", &|i| i.replicas.desired.get().into()),
        count("replicas_ready", &|i| i.replicas.ready.get().into()),
        count("replicas_starting", &|i| i.replicas.starting.get().into()),
        count("replicas_draining", &|i| i.replicas.draining.get().into()),
        number("mean_pods", &|i| i.mean_pods),
        number("mean_ready", &|i| i.mean_ready),
    ])
}
