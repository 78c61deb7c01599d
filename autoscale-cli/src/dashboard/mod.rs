//! One episode as a dashboard; the only module that knows ratatui.
//!
//! `episode` is what happened, `playback` which moment of it is shown, `draw` turns that into cells. `terminal` shows
//! them, `picture` paints them into a file.

mod chart;
mod draw;
mod episode;
mod panels;
mod picture;
mod playback;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;

pub(crate) use episode::{Episode, Minds, Totals, play};
pub(crate) use picture::{Format, write};
pub(crate) use playback::{Heading, Playback};
pub(crate) use terminal::show;
