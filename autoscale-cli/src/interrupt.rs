//! Ctrl-C: the program says what is kept and how to go on, and ends with the exit code of one that the signal killed.
//! While something trains, it first waits until all is saved.

use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// 128 and the number of the signal, as shells have it.
const EXIT_CODE: i32 = 130;

static RAISED: AtomicBool = AtomicBool::new(false);
/// How many runs are being trained, for a sweep trains several.
static TRAINING: AtomicUsize = AtomicUsize::new(0);
static FAREWELL: Mutex<String> = Mutex::new(String::new());

/// From now on Ctrl-C ends the program with these words.
pub(crate) fn catch(farewell: String) -> Result<()> {
    static HANDLER: OnceLock<Result<(), ctrlc::Error>> = OnceLock::new();
    *FAREWELL.lock().unwrap_or_else(PoisonError::into_inner) = farewell;
    let interrupted = || {
        if RAISED.swap(true, Ordering::Relaxed) || TRAINING.load(Ordering::Relaxed) == 0 {
            leave();
        }
        say("stopping as soon as all can be saved; once more ends at once");
    };
    if let Err(error) = HANDLER.get_or_init(|| ctrlc::set_handler(interrupted)) {
        bail!("Ctrl-C cannot be handled: {error}");
    }
    Ok(())
}

/// Whether somebody wants to stop.
pub(crate) fn raised() -> bool {
    RAISED.load(Ordering::Relaxed)
}

/// Ends the program as an interrupted one.
pub(crate) fn leave() -> ! {
    say(&FAREWELL.lock().unwrap_or_else(PoisonError::into_inner));
    std::process::exit(EXIT_CODE)
}

/// On a line of its own, below a bar that may stand there.
fn say(words: &str) {
    let below = if std::io::stderr().is_terminal() { "\n" } else { "" };
    eprintln!("{below}{words}");
}

/// While it lives, something trains, which stops by itself once an interruption is [`raised`]: Ctrl-C waits for it. Once
/// more, Ctrl-C ends the program.
pub(crate) struct Training(());

impl Training {
    pub(crate) fn begins() -> Self {
        TRAINING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        TRAINING.fetch_sub(1, Ordering::Relaxed);
    }
}
