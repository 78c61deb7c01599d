//! How much of each pixel of a cell a character covers.

use super::is_bold;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use ratatui::buffer::Cell;
use std::collections::BTreeMap;

/// Width and height of a cell in pixels.
pub(super) const CELL: (u16, u16) = (10, 20);
/// Full cover; 0 is none.
pub(super) const LEVELS: u8 = 15;

const WIDTH: usize = CELL.0 as usize;
const HEIGHT: usize = CELL.1 as usize;

type Cover = [u8; WIDTH * HEIGHT];

/// Characters, painted once each.
pub(super) struct Glyphs {
    faces: [FontRef<'static>; 2],
    known: BTreeMap<(char, bool), Cover>,
}

impl Glyphs {
    pub(super) fn new() -> Self {
        let face = |bytes| FontRef::try_from_slice(bytes).expect("the embedded font is whole");
        let faces = [face(dejavu::sans_mono::regular()), face(dejavu::sans_mono::bold())];
        Self { faces, known: BTreeMap::new() }
    }

    /// Paints a cell in the ink of this number into pixels whose first is its upper left corner.
    pub(super) fn paint(&mut self, cell: &Cell, ink: u8, pixels: &mut [u8], stride: usize) {
        let Some(character) = cell.symbol().chars().next().filter(|c| *c != ' ') else { return };
        let bold = is_bold(cell);
        let faces = &self.faces;
        let cover = self.known.entry((character, bold)).or_insert_with(|| {
            shape(character).unwrap_or_else(|| lettered(&faces[usize::from(bold)], character))
        });
        for (row, line) in cover.chunks(WIDTH).enumerate() {
            for (column, &level) in line.iter().enumerate().filter(|(_, level)| **level > 0) {
                pixels[row * stride + column] = ink * LEVELS + level;
            }
        }
    }
}

/// A character of the font.
fn lettered(face: &FontRef<'_>, character: char) -> Cover {
    // So that each character is as wide as a cell.
    let advance = face.h_advance_unscaled(face.glyph_id('0'));
    let scale = PxScale::from(f32::from(CELL.0) * face.height_unscaled() / advance);
    let scaled = face.as_scaled(scale);
    let baseline = ((f32::from(CELL.1) - scaled.height()) / 2.0 + scaled.ascent()).round();
    let mut cover = [0; WIDTH * HEIGHT];
    let glyph = face.glyph_id(character).with_scale_and_position(scale, point(0.0, baseline));
    if let Some(outline) = face.outline_glyph(glyph) {
        let corner = outline.px_bounds().min;
        outline.draw(|x, y, share| {
            let (x, y) = (x as i32 + corner.x as i32, y as i32 + corner.y as i32);
            if (0..WIDTH as i32).contains(&x) && (0..HEIGHT as i32).contains(&y) {
                cover[y as usize * WIDTH + x as usize] =
                    (share.clamp(0.0, 1.0) * f32::from(LEVELS)).round() as u8;
            }
        });
    }
    cover
}

/// Lines, blocks and braille, drawn so that neighbours meet; `None` for other characters.
fn shape(character: char) -> Option<Cover> {
    let code = character as usize;
    let inside: Box<dyn Fn(usize, usize) -> bool> = match character {
        '─' => Box::new(|_, y| y == HEIGHT / 2),
        '━' => Box::new(|_, y| y.abs_diff(HEIGHT / 2) <= 1),
        '│' => Box::new(|x, _| x == WIDTH / 2),
        // The left eighths of a cell, all of them first.
        '█'..='▏' => Box::new(move |x, _| x * 8 < (0x2590 - code) * WIDTH),
        '\u{2800}'..='\u{28ff}' => Box::new(move |x, y| {
            let (column, row) = (x * 2 / WIDTH, y * 4 / HEIGHT);
            // The bits of a braille character: columns of three dots, and later a fourth row was added.
            let bit = if row == 3 { 6 + column } else { 3 * column + row };
            code & (1 << bit) != 0 && y % (HEIGHT / 4) > 0 && x % (WIDTH / 2) > 0
        }),
        _ => return None,
    };
    Some(std::array::from_fn(|k| if inside(k % WIDTH, k / WIDTH) { LEVELS } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_braille_cover_the_share_that_they_stand_for() {
        let full = |c| shape(c).unwrap().iter().map(|&level| usize::from(level / LEVELS)).sum::<usize>();
        assert_eq!((full('█'), full('▌')), (WIDTH * HEIGHT, WIDTH * HEIGHT / 2));
        assert_eq!((full('\u{2800}'), full('\u{28ff}')), (0, 8 * full('\u{2801}')));
        assert!(shape('a').is_none());
    }

    #[test]
    fn letters_are_in_the_font_and_fit_into_a_cell() {
        let glyphs = Glyphs::new();
        for character in "gÄ|→←↑↓-%".chars() {
            for face in &glyphs.faces {
                assert_ne!(face.glyph_id(character).0, 0, "{character}");
                let painted = lettered(face, character);
                assert!(painted.iter().any(|&level| level > LEVELS / 2), "{character}");
            }
        }
    }
}
