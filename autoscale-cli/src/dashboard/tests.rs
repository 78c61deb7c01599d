//! What stands on the dashboard, at every moment and size.

use super::draw::draw;
use super::episode::{Actions, Measure, Weighed};
use super::playback::{State, Wish};
use super::{Episode, Heading, Minds, Playback, play, theme};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::learned::Deliberation;
use autoscale_core::agent::{ActionIndex, ActionMask};
use autoscale_core::environment::Environment;
use autoscale_core::policy::Target;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::Seed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::Scenario;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;
use std::time::Duration;

const LENGTH: Duration = Duration::from_secs(1800);

/// Half an hour of the default world under an HPA with this target.
fn played(name: &str, target_utilization_percent: u32) -> (Episode, EpisodeRecord) {
    let scenario = Arc::new(Scenario::builtin("match-day").unwrap());
    let mut world = Simulator::new(Arc::clone(&scenario), LENGTH).unwrap();
    let hpa = Hpa::new(HpaConfig { target_utilization_percent, ..HpaConfig::default() }).unwrap();
    let mind = Minds::Closed(Box::new(hpa));
    let episode = play(name.to_owned(), mind, &mut world, Seed::root(1), &scenario.weights(), &|_| ());
    (episode, world.record().clone())
}

fn playback(baseline: Option<Episode>) -> Playback {
    let heading =
        Heading { scenario: "match-day".to_owned(), episode: "validation episode 0 of seed 1".to_owned() };
    Playback::new(heading, played("hpa", 80).0, baseline, None)
}

/// The same with actions, as a learned policy has them.
fn learned() -> Playback {
    let mut playback = playback(Some(played("other", 50).0));
    let names = ActionSpace::residual().table();
    let weights: Vec<_> = [None; 5].into_iter().chain([Some(0.625), Some(0.375)]).chain([None; 4]).collect();
    playback.policy.actions = Some(Actions { names, measure: Measure::Probability });
    for step in &mut playback.policy.steps {
        step.weighed = Some(Weighed { action: 5, weights: weights.clone() });
    }
    playback
}

fn drawn(playback: &Playback, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(playback, buffer.area, &mut buffer);
    buffer
}

/// The rows as text.
fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    buffer
        .content()
        .chunks(width)
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect()
}

#[test]
fn sums_end_as_the_record_has_them() {
    let (episode, record) = played("hpa", 80);
    let prices = Scenario::builtin("match-day").unwrap().weights();
    let end = episode.moments.last().unwrap().totals;
    assert_eq!((end.requests, end.violations), (record.totals.arrivals, record.totals.violations));
    assert_eq!(end.scale_events, record.scale_events.len());
    assert!((end.pod_hours - record.totals.pod_hours).abs() < 1e-6);
    assert!((end.earned - prices.price(&record.totals).total()).abs() < 1e-6, "{end:?}");
    let changes: Vec<_> =
        episode.steps.iter().filter(|s| s.from != s.to).map(|s| (s.at, s.from, s.to)).collect();
    let events: Vec<_> = record.scale_events.iter().map(|e| (e.at, e.from, e.to)).collect();
    assert_eq!(changes, events);
}

#[test]
fn titles_units_and_the_slo_are_there_at_every_usual_size() {
    let mut playback = learned();
    playback.time = LENGTH;
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let buffer = drawn(&playback, width, height);
        let rows = rows(&buffer);
        let text = rows.join("\n");
        for part in [
            "Load [requests/s]",
            "p95 latency [ms]",
            "- - SLO 500",
            "hpa desired",
            "ready",
            "other desired",
            "h:mm",
            "0:00",
            "0:30",
            "violations [%]",
            "pod-hours",
            "scale events",
            "return [price]",
            "Decisions",
            "0:30:00 of 0:30:00",
            "validation episode 0 of seed 1",
            "q quit",
        ] {
            assert!(text.contains(part), "{width} x {height} lacks {part:?}:\n{text}");
        }
        // The dashes of the SLO are a part of the lowest chart, all in one row.
        let title = rows.iter().position(|row| row.contains("p95 latency")).unwrap();
        let times = rows.iter().position(|row| row.contains("h:mm")).unwrap();
        let dashes = |row: usize| {
            let cells = &buffer.content()[row * usize::from(width)..(row + 1) * usize::from(width)];
            cells
                .iter()
                .filter(|c| {
                    c.fg == theme::LIMIT
                        && ('\u{2801}'..='\u{28ff}').contains(&c.symbol().chars().next().unwrap())
                })
                .count()
        };
        let with_dashes: Vec<usize> = (0..rows.len()).filter(|&row| dashes(row) > 0).collect();
        assert_eq!(with_dashes.len(), 1, "{width} x {height}:\n{text}");
        assert!((title + 1..times).contains(&with_dashes[0]));
    }
}

#[test]
fn a_decision_is_told_with_its_reason_when_it_is_made_and_not_before() {
    let mut playback = playback(None);
    let step = playback.policy.steps.iter().rfind(|step| step.from != step.to).unwrap().clone();
    let at = step.at.since(autoscale_core::units::Timestamp::default());
    let told = format!("0:{:02}:{:02}   {} → {}", at.as_secs() / 60, at.as_secs() % 60, step.from, step.to);
    playback.time = at.saturating_sub(Duration::from_secs(1));
    assert!(!rows(&drawn(&playback, 100, 30)).join("\n").contains(&told));
    playback.time = at;
    let rows = rows(&drawn(&playback, 100, 30));
    let row = rows.iter().find(|row| row.contains(&told)).unwrap();
    for part in [step.reason.rule.replace('-', " ").as_str(), "cpu", &step.reason.raw.unwrap().to_string()] {
        assert!(row.contains(part), "{row:?} lacks {part:?}");
    }
}

#[test]
fn a_learned_policy_shows_what_it_weighed() {
    let mut playback = learned();
    playback.time = LENGTH;
    for (width, height) in [(120, 40), (200, 60)] {
        let text = rows(&drawn(&playback, width, height)).join("\n");
        for part in [
            "Actions at 0:29:45: probability",
            "same count as another",
            "62 %",
            "38 %",
            "other has",
            "x 1 (62 %)",
        ] {
            assert!(text.contains(part), "{width} x {height} lacks {part:?}:\n{text}");
        }
    }
}

#[test]
fn every_size_at_every_moment_can_be_drawn() {
    for mut playback in [playback(None), learned()] {
        for time in [0, 15, 1800] {
            playback.time = Duration::from_secs(time);
            for width in [1, 69, 70, 117, 118, 159, 160, 300] {
                for height in [1, 19, 20, 29, 30, 43, 100] {
                    let text = rows(&drawn(&playback, width, height)).join("\n");
                    let small = width < 70 || height < 20;
                    assert_eq!(text.contains("Decisions"), !small, "{width} x {height}:\n{text}");
                }
            }
        }
    }
}

#[test]
fn logits_become_probabilities_and_values_differences_of_allowed_actions() {
    let weighed = |measure| {
        let preferences = [9.0, 3.0_f32.ln(), 0.0];
        let (mask, action) = (ActionMask::from_fn(3, |k| k > 0), ActionIndex(1));
        Weighed::of(&Deliberation { base: Target::Hold, mask, preferences: &preferences, action }, measure)
    };
    let close = |w: &Weighed, k: usize, value: f64| (w.weights[k].unwrap() - value).abs() < 1e-6;
    let probabilities = weighed(Measure::Probability);
    assert!(probabilities.weights[0].is_none());
    assert!(close(&probabilities, 1, 0.75) && close(&probabilities, 2, 0.25), "{probabilities:?}");
    assert_eq!(probabilities.runner_up().unwrap().0, 2);
    let values = weighed(Measure::Value);
    assert!(close(&values, 1, 0.0) && close(&values, 2, -3.0_f64.ln()), "{values:?}");
}

#[test]
fn keys_pause_step_seek_and_change_the_speed() {
    let mut playback = playback(None);
    assert!((playback.speed - 60.0).abs() < 1e-9, "half an hour in half a minute");
    playback.advance(Duration::from_secs(2));
    assert_eq!(playback.time, Duration::from_secs(120));
    playback.fulfil(Wish::Faster);
    playback.fulfil(Wish::Pause);
    playback.advance(Duration::from_secs(2));
    assert_eq!((playback.time, playback.state), (Duration::from_secs(120), State::Paused));
    playback.fulfil(Wish::Pause);
    playback.advance(Duration::from_secs(1));
    assert_eq!(playback.time, Duration::from_secs(240));
    playback.fulfil(Wish::StepOn);
    assert_eq!((playback.time, playback.state), (Duration::from_secs(255), State::Paused));
    playback.fulfil(Wish::SeekBack);
    assert_eq!(playback.time, Duration::from_secs(165));
    playback.fulfil(Wish::End);
    playback.fulfil(Wish::StepOn);
    assert!(playback.at_end() && playback.time == LENGTH);
    playback.fulfil(Wish::Pause);
    assert_eq!((playback.time, playback.state), (Duration::ZERO, State::Playing), "it starts anew");
}
