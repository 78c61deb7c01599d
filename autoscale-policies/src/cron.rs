//! Scaling by the clock: KEDA's cron trigger (kedacore/keda, `pkg/scalers/cron_scaler.go`), and a schedule for it that
//! is fitted to recorded load.

use crate::keda::{Keda, KedaConfig, SYNC};
use crate::service::PodCapacity;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, TimeOfWeek, Utilization};
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::fmt;

const DAY_MINUTES: u32 = 24 * 60;

/// A minute of the day, `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minute(u32);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl From<Minute> for String {
    fn from(minute: Minute) -> Self {
        minute.to_string()
    }
}

impl TryFrom<String> for Minute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten();
        let minute = text.split_once(':').and_then(|(hour, minute)| {
            let minute = two(minute).filter(|&m| m < 60)?;
            Some(two(hour)? * 60 + minute)
        });
        let minute = minute.filter(|&m| m <= DAY_MINUTES);
        minute.map(Self).ok_or_else(|| format!("{text} is no time of the day; expected 00:00 to 24:00"))
    }
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Days {
    /// All.
    Daily,
    /// Monday to Friday.
    Weekdays,
    /// Saturday and Sunday.
    Weekend,
}

impl Days {
    fn include(self, weekday: u32) -> bool {
        match self {
            Self::Daily => true,
            Self::Weekdays => weekday < 5,
            Self::Weekend => weekday >= 5,
        }
    }
}

/// So many pods from `start` until before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronTrigger {
    /// On these days.
    pub days: Days,
    /// When it becomes active.
    pub start: Minute,
    /// When it is no more; later than the start.
    pub end: Minute,
    /// `desiredReplicas`.
    pub desired_replicas: u32,
}

impl CronTrigger {
    fn is_active(&self, at: TimeOfWeek) -> bool {
        let minute = Minute(at.second_of_day() / 60);
        self.days.include(at.weekday()) && self.start <= minute && minute < self.end
    }
}

/// A `ScaledObject` whose triggers are all of type `cron`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronConfig {
    /// `minReplicaCount`.
    pub min_replica_count: u32,
    /// `maxReplicaCount`.
    pub max_replica_count: u32,
    /// The triggers; of those that are active the highest counts.
    pub triggers: Vec<CronTrigger>,
}

/// KEDA with cron triggers. Its HPA has the target of one per pod, so it asks for the count of the schedule, with its
/// usual tolerance, limits of the rate and stabilisation.
#[derive(Clone, Debug)]
pub struct CronPolicy {
    keda: Keda,
    triggers: Vec<CronTrigger>,
}

impl CronPolicy {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: CronConfig) -> Result<Self, ConfigError> {
        for (k, trigger) in config.triggers.iter().enumerate() {
            if trigger.end <= trigger.start {
                let expected = format!("a time later than the start, {}", trigger.start);
                return Err(ConfigError::new(format!("triggers.{k}.end"), trigger.end, expected));
            }
            let field = format!("triggers.{k}.desired_replicas");
            count_in_range(&field, u64::from(trigger.desired_replicas), 1, 1_000_000)?;
        }
        // With none it would be inactive outside of its windows, and scaled to zero after a cool-down.
        count_in_range("min_replica_count", u64::from(config.min_replica_count), 1, 1_000_000)?;
        let keda = Keda::new(KedaConfig {
            threshold: 1.0,
            min_replica_count: config.min_replica_count,
            max_replica_count: config.max_replica_count,
            ..KedaConfig::default()
        })?;
        Ok(Self { keda, triggers: config.triggers })
    }
}

impl Policy for CronPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(SYNC)
    }

    fn reset(&mut self, _: Seed) {
        self.keda.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let active = self.triggers.iter().filter(|trigger| trigger.is_active(observation.time_of_week));
        // Outside all windows the trigger's value is one.
        let value = active.map(|trigger| trigger.desired_replicas).max().unwrap_or(1);
        self.keda.decide(observation, Some(f64::from(value)), "cron", "time-of-week")
    }
}

/// Whether days at the weekend have a schedule of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weekends {
    /// All days are alike.
    Alike,
    /// Saturdays and Sundays are apart.
    Apart,
}

/// How a schedule is made of recorded load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronFit {
    /// The day is cut into slots of this many minutes, which divide it.
    pub slot_minutes: u32,
    /// Weekends.
    pub weekends: Weekends,
    /// Of the load recorded in a slot this quantile counts, 0 to 1.
    pub quantile: f64,
    /// How busy that load should keep pods, 0.05 to 1.
    pub target_utilization: f64,
    /// Pods are asked for this long before a slot, in whole minutes rounded up, and kept through it; 0 to 3,600 s. On
    /// which days it begins, the last minutes of the days before do not tell: they lead into both kinds of days.
    pub lead_s: f64,
}

impl Default for CronFit {
    fn default() -> Self {
        Self {
            slot_minutes: 30,
            weekends: Weekends::Alike,
            quantile: 0.95,
            target_utilization: 0.7,
            lead_s: 60.0,
        }
    }
}

impl CronFit {
    /// The schedule for a load recorded as means of minutes, between `least` and `most` pods. A slot of which nothing
    /// was recorded gets what the whole record calls for.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn fit(
        &self,
        record: &[(TimeOfWeek, RequestRate)],
        capacity: PodCapacity,
        (least, most): (Replicas, Replicas),
    ) -> Result<CronConfig, ConfigError> {
        in_range("quantile", self.quantile, 0.0, 1.0)?;
        let target = in_range("target_utilization", self.target_utilization, 0.05, 1.0)?;
        let lead = (in_range("lead_s", self.lead_s, 0.0, 3600.0)? / 60.0).ceil() as u32;
        count_in_range("slot_minutes", u64::from(self.slot_minutes), 1, u64::from(DAY_MINUTES))?;
        if !DAY_MINUTES.is_multiple_of(self.slot_minutes) {
            return Err(ConfigError::new("slot_minutes", self.slot_minutes, "a divisor of 1,440"));
        }
        let kinds: &[Days] = match self.weekends {
            Weekends::Alike => &[Days::Daily],
            Weekends::Apart => &[Days::Weekdays, Days::Weekend],
        };
        let pods = |rates: &mut Vec<f64>| {
            let rate = RequestRate::new(quantile(rates, self.quantile)).unwrap_or_default();
            let pods = capacity.pods(rate, Utilization::from_fraction(target)).clamp(least, most);
            pods.get().max(1)
        };
        let otherwise = pods(&mut record.iter().map(|(_, rate)| rate.per_second()).collect());
        let mut triggers: Vec<CronTrigger> = Vec::new();
        for &days in kinds {
            let mut slots = vec![Vec::new(); (DAY_MINUTES / self.slot_minutes) as usize];
            for &(at, rate) in record.iter().filter(|(at, _)| days.include(at.weekday())) {
                slots[(at.second_of_day() / 60 / self.slot_minutes) as usize].push(rate.per_second());
            }
            for (k, mut rates) in slots.into_iter().enumerate() {
                let desired_replicas = if rates.is_empty() { otherwise } else { pods(&mut rates) };
                let start = Minute(k as u32 * self.slot_minutes);
                let end = Minute(start.0 + self.slot_minutes);
                match triggers.last_mut() {
                    Some(last) if last.end == start && last.desired_replicas == desired_replicas => {
                        last.end = end;
                    }
                    _ => triggers.push(CronTrigger { days, start, end, desired_replicas }),
                }
            }
        }
        Ok(CronConfig {
            triggers: early(&triggers, lead),
            min_replica_count: least.get().max(1),
            max_replica_count: most.get(),
        })
    }
}

/// The same windows, each of which begins `lead` minutes before. What would begin before midnight gets a window of its own
/// at the end of the day before.
fn early(triggers: &[CronTrigger], lead: u32) -> Vec<CronTrigger> {
    let mut all: Vec<CronTrigger> = Vec::new();
    for trigger in triggers {
        all.push(CronTrigger { start: Minute(trigger.start.0.saturating_sub(lead)), ..*trigger });
        let more =
            triggers.iter().any(|t| t.end.0 == DAY_MINUTES && t.desired_replicas < trigger.desired_replicas);
        if trigger.start.0 < lead && more {
            let start = Minute(DAY_MINUTES + trigger.start.0 - lead);
            let (end, desired_replicas) = (Minute(DAY_MINUTES), trigger.desired_replicas);
            all.push(CronTrigger { days: Days::Daily, start, end, desired_replicas });
        }
    }
    all
}

/// The smallest value that at least this share of all are not above; zero without values.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity() -> PodCapacity {
        PodCapacity::new(RequestRate::new(10.0).unwrap(), 2).unwrap()
    }

    fn at(day: u32, minute: u32) -> TimeOfWeek {
        TimeOfWeek::from_secs_f64(f64::from(day * 86_400 + minute * 60))
    }

    /// 30 requests/s, and 140 from noon to one, only on working days.
    fn record() -> Vec<(TimeOfWeek, RequestRate)> {
        let rate = |day, minute| if day < 5 && (720..780).contains(&minute) { 140.0 } else { 30.0 };
        let minutes = (0..7).flat_map(|day| (0..1440).map(move |minute| (day, minute)));
        minutes.map(|(d, m)| (at(d, m), RequestRate::new(rate(d, m)).unwrap())).collect()
    }

    fn wanted(config: &CronConfig, at: TimeOfWeek) -> u32 {
        config.triggers.iter().filter(|t| t.is_active(at)).map(|t| t.desired_replicas).max().unwrap()
    }

    #[test]
    fn a_fitted_schedule_has_the_load_of_each_slot_and_is_early() {
        let fit = CronFit { weekends: Weekends::Apart, lead_s: 60.0, ..CronFit::default() };
        let range = (Replicas::new(2), Replicas::new(50));
        let config = fit.fit(&record(), capacity(), range).unwrap();
        // 140/s at 10/s a pod that should be 70 % busy.
        for (minute, pods) in [(0, 5), (718, 5), (719, 20), (720, 20), (779, 20), (780, 5), (1439, 5)] {
            assert_eq!(wanted(&config, at(2, minute)), pods, "{minute}");
            assert_eq!(wanted(&config, at(6, minute)), 5, "{minute}");
        }
        // All days alike: two in seven do not lower the quantile.
        let alike = CronFit { weekends: Weekends::Alike, ..fit }.fit(&record(), capacity(), range).unwrap();
        assert_eq!(wanted(&alike, at(6, 730)), 20);
        assert_eq!(alike.triggers.len(), 3, "equal slots are one window: {:?}", alike.triggers);
        let bounded = fit.fit(&record(), capacity(), (Replicas::new(6), Replicas::new(9))).unwrap();
        assert_eq!((wanted(&bounded, at(0, 0)), wanted(&bounded, at(0, 720))), (6, 9));
        let empty = fit.fit(&record()[..1], capacity(), range).unwrap();
        assert_eq!(wanted(&empty, at(3, 700)), 5, "nothing recorded");
    }

    #[test]
    fn a_long_lead_goes_over_slots_and_over_midnight() {
        let record: Vec<(TimeOfWeek, RequestRate)> = (0..7)
            .flat_map(|day| (0..1440).map(move |minute| (day, minute)))
            .map(|(day, minute)| (at(day, minute), if minute < 5 { 70.0 } else { 7.0 }))
            .map(|(at, rate)| (at, RequestRate::new(rate).unwrap()))
            .collect();
        let fit = CronFit { slot_minutes: 5, lead_s: 570.0, ..CronFit::default() };
        let config = fit.fit(&record, capacity(), (Replicas::ONE, Replicas::new(50))).unwrap();
        for (minute, pods) in [(0, 10), (4, 10), (5, 1), (1429, 1), (1430, 10), (1439, 10)] {
            assert_eq!(wanted(&config, at(3, minute)), pods, "{minute}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let range = (Replicas::ONE, Replicas::new(50));
        for (fit, part) in [
            (CronFit { slot_minutes: 7, ..CronFit::default() }, "slot_minutes: 7"),
            (CronFit { quantile: 1.5, ..CronFit::default() }, "quantile: 1.5"),
            (CronFit { lead_s: -1.0, ..CronFit::default() }, "lead_s: -1"),
        ] {
            let message = fit.fit(&[], capacity(), range).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let minute = |text: &str| Minute::try_from(text.to_owned());
        assert_eq!(minute("08:30").map(|m| m.0), Ok(510));
        assert_eq!(minute("24:00").map(|m| m.to_string()), Ok("24:00".to_owned()));
        for text in ["24:01", "8:30", "08:60", "0830", "-1:00"] {
            assert!(minute(text).is_err(), "{text}");
        }
        let trigger =
            CronTrigger { days: Days::Daily, start: Minute(60), end: Minute(60), desired_replicas: 3 };
        let config = CronConfig { min_replica_count: 1, max_replica_count: 9, triggers: vec![trigger] };
        let message = CronPolicy::new(config).unwrap_err().to_string();
        assert!(message.contains("triggers.0.end") && message.contains("01:00"), "{message}");
    }
}
