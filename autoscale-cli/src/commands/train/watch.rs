//! Looks on while a run trains: rows, progress, candidates, saved states.

use super::{Reporting, SimTask};
use crate::arena;
use crate::args::Log;
use crate::interrupt::{self, Training};
use crate::progress;
use crate::report::{LOSSES, SummaryWriter, UpdateWriter};
use crate::run_folder::{MODEL, RunFolder, STATE, SUMMARY, UPDATES};
use crate::settings::Settings;
use crate::tensorboard::EventWriter;
use anyhow::Result;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointInfo};
use autoscale_agents::learner::Trainable;
use autoscale_agents::trainer::{EpisodeSummary, Progress, Stop, TrainObserver};
use autoscale_core::agent::UpdateStats;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::Branch;
use autoscale_sim::scenario::Scenario;
use indicatif::ProgressBar;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const COMMIT: &str = env!("AUTOSCALE_COMMIT");

/// Time between two saved states, so that saving costs little; what was done since the last is done again.
const SAVE_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Watch<'a> {
    folder: &'a RunFolder,
    settings: &'a Settings,
    /// Where candidates are judged.
    scenario: Arc<Scenario>,
    /// The candidate of before the first step, until it is judged.
    start: Option<Checkpoint>,
    /// Validation return of the model in the folder.
    best: Option<f64>,
    bar: ProgressBar,
    summary: SummaryWriter,
    updates: Option<UpdateWriter>,
    events: Option<EventWriter>,
    stats: UpdateStats,
    /// Episodes completed and written down.
    done: u64,
    /// How many of them the last candidate had.
    judged: u64,
    /// Returns of the episodes since the last update.
    returns: Vec<f64>,
    begun: Instant,
    /// Environment steps before this process.
    steps_before: u64,
    saved: Instant,
    /// Ctrl-C waits for this run.
    _training: Training,
    /// Ends training: an interruption whose state is saved, the target, or an error.
    stop: Option<Ending>,
    error: Option<anyhow::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Interrupted,
    GoodEnough,
    Failed,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        folder: &'a RunFolder,
        settings: &'a Settings,
        scenario: &Scenario,
        state: Option<&Checkpoint>,
        reporting: Reporting<'_>,
    ) -> Result<Self> {
        let done = state.map_or(0, |s| s.manifest.episodes_done);
        let bar = progress::bar(settings.episodes, "train", reporting.output);
        bar.set_position(done);
        let updates = || UpdateWriter::open(&folder.file(UPDATES), settings.algorithm.name());
        let (name, now) = (format!("{}.{}", settings.algorithm.name(), std::process::id()), unix_time());
        let events = || EventWriter::create(folder.path(), now, &name);
        let best = best_so_far(folder, state)?;
        let good_enough = settings.stop_at.is_some_and(|enough| best.is_some_and(|best| best >= enough));
        Ok(Self {
            folder,
            settings,
            start: None,
            scenario: Arc::new(scenario.on(Branch::Validate)),
            best,
            bar,
            summary: SummaryWriter::open(&folder.file(SUMMARY), scenario.weights())?,
            updates: reporting.log.contains(&Log::Csv).then(updates).transpose()?,
            events: reporting.log.contains(&Log::Tensorboard).then(events).transpose()?,
            stats: state.map_or_else(UpdateStats::new, last_figures),
            done,
            judged: done,
            returns: Vec::new(),
            begun: Instant::now(),
            steps_before: state.map_or(0, |s| s.manifest.counters.steps),
            saved: Instant::now(),
            _training: Training::begins(),
            // It may have been killed after it had found one.
            stop: good_enough.then_some(Ending::GoodEnough),
            error: None,
        })
    }

    /// The start is a candidate too: where learning does not help, the base rule stays. It is judged when something has
    /// been learnt, so that the first step need not wait; at once where it may be all that is wanted.
    pub(super) fn begin(&mut self, learner: &impl Trainable) -> Result<()> {
        let start = self.candidate(learner);
        if self.settings.stop_at.is_some() {
            return self.judge(start);
        }
        self.start = Some(start);
        Ok(())
    }

    /// Whether the run came to its end; an error that happened on the way is returned now.
    pub(super) fn finish(mut self, stopped: bool) -> Result<bool> {
        self.bar.finish_and_clear();
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        Ok(!stopped || self.stop == Some(Ending::GoodEnough))
    }

    fn candidate(&self, learner: &impl Trainable) -> Checkpoint {
        let info = CheckpointInfo {
            scenario: self.scenario.name().to_owned(),
            interval: self.scenario.control_interval(),
            action_space: self.settings.action_space.clone(),
            net: self.settings.algorithm.net(),
            privileged: self.settings.privileged,
            seed: self.settings.seed,
            commit: COMMIT.to_owned(),
            episodes_done: self.done,
        };
        Checkpoint::of(learner, info)
    }

    /// Makes a candidate the run's model if it does better on validation episodes than all before.
    fn judge(&mut self, mut candidate: Checkpoint) -> Result<()> {
        self.judged = candidate.manifest.episodes_done;
        let earned = arena::validation_return(&self.scenario, &candidate, self.settings)?;
        let step = candidate.manifest.counters.steps;
        if let Some(events) = &mut self.events {
            events.scalars(unix_time(), step, [("validation/return", earned)])?;
        }
        if self.best.is_none_or(|best| earned > best) {
            self.best = Some(earned);
            candidate.manifest.validation_return = Some(earned);
            candidate.save(&self.folder.file(MODEL))?;
        }
        if self.settings.stop_at.is_some_and(|enough| earned >= enough) {
            self.stop = Some(Ending::GoodEnough);
        }
        Ok(())
    }

    fn log(&mut self, stats: &UpdateStats, steps: u64) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let speed = (steps - self.steps_before) as f64 / seconds.max(1e-9);
        let mut figures: Vec<(&str, f64)> = stats.iter().map(|(&name, &value)| (name, value)).collect();
        figures.push(("charts/SPS", speed));
        if !self.returns.is_empty() {
            let mean = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
            figures.push(("charts/episodic_return", mean));
        }
        self.returns.clear();
        if let Some(events) = &mut self.events {
            events.scalars(unix_time(), steps, figures.iter().copied())?;
        }
        if let Some(updates) = &mut self.updates {
            updates.add(steps, &figures)?;
        }
        Ok(())
    }

    fn learnt<L: Trainable>(
        &mut self,
        stats: &UpdateStats,
        steps: u64,
        learner: &L,
        progress: &mut dyn FnMut() -> Progress,
    ) -> Result<()> {
        self.stats.clone_from(stats);
        self.log(stats, steps)?;
        if let Some(start) = self.start.take() {
            self.judge(start)?;
        }
        let due = |episodes: u64| episodes / self.settings.validate_every;
        let ended = self.done == self.settings.episodes;
        let judged = due(self.done) > due(self.judged) || (ended && self.judged < self.done);
        if judged {
            self.judge(self.candidate(learner))?;
        }
        let interrupted = interrupt::raised();
        // After a candidate was judged always, so that a state never lacks one.
        if judged || interrupted || self.saved.elapsed() >= SAVE_EVERY {
            let mut state = self.candidate(learner).with_training_state(learner, progress());
            for (name, value) in &self.stats {
                state.arrays.put(figure(name), vec![*value]);
            }
            state.save(&self.folder.file(STATE))?;
            self.saved = Instant::now();
        }
        if interrupted && !ended && self.stop.is_none() {
            self.stop = Some(Ending::Interrupted);
        }
        Ok(())
    }

    fn fail(&mut self, error: anyhow::Error) {
        self.error = Some(error);
        self.stop = Some(Ending::Failed);
    }
}

/// Where a state keeps a figure of the last update, which stands in the rows of the episodes after it.
fn figure(name: &str) -> String {
    format!("training.figures.{name}")
}

/// Those that a state has; of another version of the program it may have none.
fn last_figures(state: &Checkpoint) -> UpdateStats {
    let of = |name: &'static str| Some((name, *state.arrays.get::<f64>(&figure(name)).ok()?.first()?));
    LOSSES.into_iter().filter_map(of).collect()
}

/// The validation return of the best candidate of a run that goes on.
fn best_so_far(folder: &RunFolder, state: Option<&Checkpoint>) -> Result<Option<f64>> {
    let path = folder.file(MODEL);
    if state.is_none() || !path.exists() {
        return Ok(None);
    }
    Ok(Checkpoint::load(&path)?.manifest.validation_return)
}

/// Seconds since 1970, as `TensorBoard` wants them.
fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

impl<L: Trainable> TrainObserver<SimTask, L> for Watch<'_> {
    type Detail = EpisodeRecord;

    fn detail(&mut self, task: &SimTask) -> EpisodeRecord {
        use autoscale_core::environment::Environment;
        task.environment().record().clone()
    }

    fn episode(&mut self, summary: &EpisodeSummary, record: EpisodeRecord) {
        match self.summary.add(summary, &record, &self.stats) {
            Ok(earned) => {
                self.returns.push(earned);
                let loss = self.stats.iter().find(|(name, _)| name.ends_with("_loss"));
                let loss = loss.map_or(String::new(), |(name, value)| {
                    format!(" {} {value:+.3}", name.trim_start_matches("losses/").replace('_', " "))
                });
                let speed = summary.steps as f64 * self.bar.per_sec();
                self.bar.set_message(format!("return {earned:.2}{loss} {speed:.0} steps/s"));
            }
            Err(error) => self.fail(error),
        }
        self.done = summary.episode + 1;
        self.bar.set_position(self.done);
    }

    fn update(
        &mut self,
        stats: &UpdateStats,
        steps: u64,
        learner: &L,
        progress: &mut dyn FnMut() -> Progress,
    ) {
        if let Err(error) = self.learnt(stats, steps, learner, progress) {
            self.fail(error);
        }
    }

    fn should_stop(&self) -> Stop {
        if self.stop.is_some() { Stop::Now } else { Stop::No }
    }
}
