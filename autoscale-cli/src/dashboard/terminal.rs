//! The dashboard in a terminal: keys, time, and leaving the terminal as it was.

use super::draw::draw;
use super::playback::{Playback, Wish};
use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// Shows the playback until somebody quits. The terminal is as it was after, after a panic, too.
pub(crate) fn show(playback: Playback) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // In raw mode Ctrl-C is a key; this is for signals from elsewhere.
    ctrlc::set_handler(move || stopped.store(true, Ordering::SeqCst))
        .context("no signals can be received")?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
    let result = run(&mut terminal, playback, &stop);
    ratatui::restore();
    result.context("the terminal cannot be drawn on")
}

fn run(terminal: &mut DefaultTerminal, mut playback: Playback, stop: &AtomicBool) -> std::io::Result<()> {
    let mut before = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        terminal.draw(|frame| draw(&playback, frame.area(), frame.buffer_mut()))?;
        let due = before + FRAME;
        while event::poll(due.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()? {
                match meaning(key) {
                    Some(Key::Quit) => return Ok(()),
                    Some(Key::Wish(wish)) => playback.fulfil(wish),
                    None => {}
                }
            }
        }
        let now = Instant::now();
        playback.advance(now - before);
        before = now;
    }
    Ok(())
}

enum Key {
    Quit,
    Wish(Wish),
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(Key::Wish(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => return Some(Key::Quit),
        KeyCode::Char(' ') => Wish::Pause,
        KeyCode::Left => Wish::StepBack,
        KeyCode::Right => Wish::StepOn,
        KeyCode::Down => Wish::SeekBack,
        KeyCode::Up => Wish::SeekOn,
        KeyCode::Home => Wish::Start,
        KeyCode::End => Wish::End,
        KeyCode::Char('+' | '=') => Wish::Faster,
        KeyCode::Char('-') => Wish::Slower,
        _ => return None,
    }))
}
