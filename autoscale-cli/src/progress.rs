//! Progress bars for people; nothing for scripts.

use crate::args::OutputArgs;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar with `length` steps, hidden where nobody wants one.
pub(crate) fn bar(length: u64, what: &'static str, output: OutputArgs) -> ProgressBar {
    if output.quiet || output.json {
        return ProgressBar::hidden();
    }
    let template = "{prefix:>10} [{bar:30}] {pos}/{len} {elapsed}<{eta} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(what)
}
