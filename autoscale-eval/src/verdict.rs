//! What a difference means, in a word.

use serde::Serialize;
use std::fmt;

/// What a difference means. Whoever gives it says what noise is: an interval that contains zero, or a test that did not
/// refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Beyond noise, and on the better side.
    Better,
    /// Beyond noise, and on the worse side.
    Worse,
    /// No difference was shown. Whether there is none was not asked.
    WithinNoise,
    /// Not one pair differs.
    Identical,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within noise",
            Self::Identical => "identical",
        })
    }
}
