//! Colours: Okabe and Ito's palette, told apart by colour-blind eyes too, on a dark ground.

use ratatui::style::{Color, Modifier, Style};

pub(super) const GROUND: Color = Color::Rgb(17, 21, 28);
pub(super) const TEXT: Color = Color::Rgb(226, 229, 233);
pub(super) const FAINT: Color = Color::Rgb(145, 151, 160);
pub(super) const GRID: Color = Color::Rgb(62, 69, 80);
/// The load, which no policy decides.
pub(super) const LOAD: Color = Color::Rgb(204, 121, 167);
/// What must not be crossed.
pub(super) const LIMIT: Color = Color::Rgb(240, 228, 66);
pub(super) const POLICY: Color = Color::Rgb(86, 180, 233);
pub(super) const READY: Color = Color::Rgb(0, 158, 115);
pub(super) const BASELINE: Color = Color::Rgb(230, 159, 0);

/// All that anything is written in.
pub(super) const INKS: [Color; 8] = [TEXT, FAINT, GRID, LOAD, LIMIT, POLICY, READY, BASELINE];

pub(super) const fn ink(colour: Color) -> Style {
    Style::new().fg(colour)
}

pub(super) const fn strong(colour: Color) -> Style {
    ink(colour).add_modifier(Modifier::BOLD)
}
