//! The dashboard as a picture or an animation: cells painted in an embedded font.

mod glyphs;

use super::draw::draw;
use super::playback::{Playback, State};
use super::theme::{GROUND, INKS};
use crate::run_folder::write_whole;
use anyhow::{Context, Result, bail};
use gif::{DisposalMethod, Encoder, Frame, Repeat};
use glyphs::{CELL, Glyphs, LEVELS};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use std::path::Path;
use std::time::Duration;

/// How the dashboard is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Gif,
}

impl Format {
    /// By the file's ending.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png") => Ok(Self::Png),
            Some("gif") => Ok(Self::Gif),
            _ => bail!("--out: {}: expected a file that ends in .png or .gif", path.display()),
        }
    }
}

/// Frames a second of an animation, and for how long the last one stays, both in hundredths of a second.
const FRAME: u16 = 10;
const LAST: u16 = 400;
/// More frames than this make a file that nobody opens.
const MOST_FRAMES: u32 = 3000;

/// Writes the playback's end, or all of it at its speed, whole or not at all; returns the number of frames.
pub(crate) fn write(path: &Path, format: Format, playback: &Playback, size: (u16, u16)) -> Result<u32> {
    let mut painter = Painter::new(size);
    let mut playback = playback.clone();
    let (bytes, frames) = match format {
        Format::Png => {
            (playback.time, playback.state) = (playback.length(), State::Still);
            (png(&painter.paint(&playback), &painter)?, 1)
        }
        Format::Gif => {
            playback.state = State::Filmed;
            animation(playback, &mut painter)?
        }
    };
    write_whole(path, &bytes)?;
    Ok(frames)
}

/// The ground, each ink in its shades, and the colour that is none.
const NOTHING: u8 = 127;

/// Red, green and blue of each number that a pixel can have.
fn palette() -> Vec<u8> {
    let rgb = |colour: Color| match colour {
        Color::Rgb(r, g, b) => [r, g, b].map(f32::from),
        _ => [0.0; 3],
    };
    let ground = rgb(GROUND);
    let shade = |ink: Color, level: u8| {
        let (ink, share) = (rgb(ink), f32::from(level) / f32::from(LEVELS));
        std::array::from_fn::<u8, 3, _>(|k| (ground[k] + (ink[k] - ground[k]) * share).round() as u8)
    };
    let inks = INKS.into_iter().flat_map(|ink| (1..=LEVELS).map(move |level| shade(ink, level)));
    let mut colours: Vec<[u8; 3]> = std::iter::once(shade(GROUND, 0)).chain(inks).collect();
    colours.resize(usize::from(NOTHING) + 1, [0; 3]);
    colours.concat()
}

/// Paints moments; a pixel is a number of [`palette`].
struct Painter {
    area: Rect,
    buffer: Buffer,
    glyphs: Glyphs,
}

impl Painter {
    fn new((columns, rows): (u16, u16)) -> Self {
        let area = Rect::new(0, 0, columns, rows);
        Self { area, buffer: Buffer::empty(area), glyphs: Glyphs::new() }
    }

    /// Width and height in pixels.
    fn size(&self) -> (u16, u16) {
        (self.area.width * CELL.0, self.area.height * CELL.1)
    }

    fn paint(&mut self, playback: &Playback) -> Vec<u8> {
        self.buffer.reset();
        draw(playback, self.area, &mut self.buffer);
        let width = usize::from(self.size().0);
        let mut pixels = vec![0; width * usize::from(self.size().1)];
        for (k, cell) in self.buffer.content().iter().enumerate() {
            let (column, row) = (k % usize::from(self.area.width), k / usize::from(self.area.width));
            let corner = row * usize::from(CELL.1) * width + column * usize::from(CELL.0);
            self.glyphs.paint(cell, ink(cell), &mut pixels[corner..], width);
        }
        pixels
    }
}

/// Which of the inks a cell is written in.
fn ink(cell: &Cell) -> u8 {
    INKS.iter().position(|&ink| ink == cell.fg).unwrap_or(0) as u8
}

fn png(pixels: &[u8], painter: &Painter) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = painter.size();
    let mut encoder = png::Encoder::new(&mut bytes, width.into(), height.into());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette());
    let mut writer = encoder.write_header().context("the picture cannot be encoded")?;
    writer.write_image_data(pixels).context("the picture cannot be encoded")?;
    writer.finish().context("the picture cannot be encoded")?;
    Ok(bytes)
}

fn animation(mut playback: Playback, painter: &mut Painter) -> Result<(Vec<u8>, u32)> {
    let step = playback.speed * f64::from(FRAME) / 100.0;
    let length = playback.length();
    let steps = (length.as_secs_f64() / step).ceil() as u32;
    if steps >= MOST_FRAMES {
        let least = length.as_secs_f64() / f64::from(MOST_FRAMES) * 100.0 / f64::from(FRAME);
        bail!(
            "--speed: {} would make {steps} frames; for at most {MOST_FRAMES} it takes {:.0}",
            playback.speed,
            least.ceil()
        );
    }
    let (width, height) = painter.size();
    let mut bytes = Vec::new();
    let mut encoder =
        Encoder::new(&mut bytes, width, height, &palette()).context("the animation cannot be encoded")?;
    encoder.set_repeat(Repeat::Infinite).context("the animation cannot be encoded")?;
    let mut before: Option<Vec<u8>> = None;
    for k in 0..=steps {
        playback.time = Duration::from_secs_f64(f64::from(k) * step).min(length);
        let pixels = painter.paint(&playback);
        let mut frame = change(before.as_deref(), &pixels, width);
        frame.delay = if k == steps { LAST } else { FRAME };
        encoder.write_frame(&frame).context("the animation cannot be encoded")?;
        before = Some(pixels);
    }
    drop(encoder);
    Ok((bytes, steps + 1))
}

/// What has to be painted over the frame before.
fn change(before: Option<&[u8]>, pixels: &[u8], width: u16) -> Frame<'static> {
    let (columns, rows) = (usize::from(width), pixels.len() / usize::from(width));
    let frame = |left: usize, top: usize, right: usize, bottom: usize, buffer: Vec<u8>| Frame {
        left: left as u16,
        top: top as u16,
        width: (right - left) as u16,
        height: (bottom - top) as u16,
        buffer: buffer.into(),
        transparent: Some(NOTHING),
        dispose: DisposalMethod::Keep,
        ..Frame::default()
    };
    let Some(before) = before else { return frame(0, 0, columns, rows, pixels.to_vec()) };
    let differs = |k: usize| before[k] != pixels[k];
    let changed = || (0..pixels.len()).filter(|&k| differs(k));
    let (Some(first), Some(last)) = (changed().next(), changed().next_back()) else {
        return frame(0, 0, 1, 1, vec![NOTHING]);
    };
    let (top, bottom) = (first / columns, last / columns + 1);
    let left = changed().map(|k| k % columns).min().unwrap_or(0);
    let right = changed().map(|k| k % columns + 1).max().unwrap_or(columns);
    let inside = (top..bottom).flat_map(|row| (left..right).map(move |column| row * columns + column));
    let buffer = inside.map(|k| if differs(k) { pixels[k] } else { NOTHING }).collect();
    frame(left, top, right, bottom, buffer)
}

/// Whether it is written in bold.
fn is_bold(cell: &Cell) -> bool {
    cell.modifier.contains(Modifier::BOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_paints_what_changed_and_nothing_else() {
        let before = [0; 12];
        let mut after = before;
        (after[5], after[10]) = (3, 4);
        let frame = change(Some(&before), &after, 4);
        assert_eq!((frame.left, frame.top, frame.width, frame.height), (1, 1, 2, 2));
        assert_eq!(*frame.buffer, [3, NOTHING, NOTHING, 4]);
        assert_eq!(*change(Some(&after), &after, 4).buffer, [NOTHING]);
    }

    #[test]
    fn all_shades_fit_below_the_transparent_colour() {
        assert!(INKS.len() * usize::from(LEVELS) < usize::from(NOTHING));
        assert_eq!(palette().len(), 3 * 128);
    }
}
