//! Which moment of an episode is shown, and how it moves.

use super::episode::Episode;
use crate::args::visualize::SPEEDS;
use std::time::Duration;

/// What an episode is of.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub(crate) scenario: String,
    /// Which episode.
    pub(crate) episode: String,
}

/// An episode, or the same under two policies, at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    pub(crate) heading: Heading,
    pub(crate) policy: Episode,
    pub(crate) baseline: Option<Episode>,
    /// Simulated time since the start.
    pub(crate) time: Duration,
    /// Simulated seconds a second.
    pub(crate) speed: f64,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Playing,
    Paused,
    /// A frame of an animation, which has no keys.
    Filmed,
    /// A picture, which has no speed either.
    Still,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Pause,
    StepBack,
    StepOn,
    SeekBack,
    SeekOn,
    Start,
    End,
    Faster,
    Slower,
}

/// An episode takes so long unless a speed was chosen.
const WHOLE: Duration = Duration::from_secs(30);
/// A seek goes over so large a part of the episode.
const SEEK: u32 = 20;

impl Playback {
    /// At the start, playing at `speed`, or so fast that it takes half a minute.
    pub(crate) fn new(
        heading: Heading,
        policy: Episode,
        baseline: Option<Episode>,
        speed: Option<f64>,
    ) -> Self {
        let fitting = (policy.length().as_secs_f64() / WHOLE.as_secs_f64()).round();
        let speed = speed.unwrap_or(fitting).clamp(*SPEEDS.start(), *SPEEDS.end());
        Self { heading, policy, baseline, time: Duration::ZERO, speed, state: State::Playing }
    }

    /// Simulated time of the whole episode.
    pub(crate) fn length(&self) -> Duration {
        self.policy.length()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.time >= self.length()
    }

    /// Whether somebody can press keys.
    pub(crate) fn has_keys(&self) -> bool {
        matches!(self.state, State::Playing | State::Paused)
    }

    /// So much time has passed in front of the screen.
    pub(crate) fn advance(&mut self, passed: Duration) {
        if self.state == State::Playing {
            self.time = (self.time + passed.mul_f64(self.speed)).min(self.length());
        }
    }

    /// Does what a key asks for.
    pub(crate) fn fulfil(&mut self, wish: Wish) {
        let (interval, seek) = (self.policy.interval, self.length() / SEEK);
        match wish {
            // From the end it starts anew.
            Wish::Pause if self.at_end() => (self.time, self.state) = (Duration::ZERO, State::Playing),
            Wish::Pause if self.state == State::Playing => self.state = State::Paused,
            Wish::Pause => self.state = State::Playing,
            Wish::StepBack => self.step(self.time.saturating_sub(interval)),
            Wish::StepOn => self.step(self.time + interval),
            Wish::SeekBack => self.time = self.time.saturating_sub(seek),
            Wish::SeekOn => self.time = (self.time + seek).min(self.length()),
            Wish::Start => self.time = Duration::ZERO,
            Wish::End => self.time = self.length(),
            Wish::Faster => self.speed = (self.speed * 2.0).min(*SPEEDS.end()),
            Wish::Slower => self.speed = (self.speed / 2.0).max(*SPEEDS.start()),
        }
    }

    fn step(&mut self, to: Duration) {
        self.time = to.min(self.length());
        self.state = State::Paused;
    }
}
