//! Common and Combined Log Format (Apache HTTP Server, `mod_log_config`), which only differ behind the request.

use super::{ImportError, Log, Source, Tally, quoted};
use chrono::DateTime;

/// What a line looks like.
const LINE: &str = "host ident user [day/Mon/year:h:m:s zone] \"request\" …";
const BROKEN: &str = "not host ident user [day/Mon/year:h:m:s zone] \"request\" …";

/// Counts the lines of a log, more of which have to be lines of a log than not.
pub(super) fn read(source: &mut Source, tally: &mut Tally, log: &mut Log) -> Result<(), ImportError> {
    let mut line = Vec::new();
    let (mut number, mut good, mut broken) = (0, 0, 0);
    let mut first_broken = None;
    // Neighbouring lines often bear the same time, whose parsing is most of the work.
    let mut known = (Vec::new(), 0);
    while source.line(&mut line)? {
        number += 1;
        log.read += 1;
        let text = line.trim_ascii();
        let seconds = match stamp(text) {
            Some(stamp) if stamp == known.0 => Some(known.1),
            _ => time(text),
        };
        match seconds {
            Some(seconds) => {
                if let Some(stamp) = stamp(text) {
                    known = (stamp.to_vec(), seconds);
                }
                good += 1;
                tally.add(seconds, source, number);
            }
            None if text.is_empty() => log.skip("empty line", || source.place(number)),
            None => {
                broken += 1;
                first_broken.get_or_insert_with(|| (number, quoted(text)));
                log.skip(BROKEN, || source.place(number));
            }
        }
    }
    match first_broken {
        Some((line, text)) if broken > good => {
            let value = format!("{text} (one of {broken} such lines among {})", broken + good);
            Err(source.malformed(line, "line", value, LINE))
        }
        _ => Ok(()),
    }
}

/// When the request of a line was received, in seconds since the Unix epoch.
pub(super) fn time(line: &[u8]) -> Option<i64> {
    let stamp = std::str::from_utf8(stamp(line)?).ok()?;
    DateTime::parse_from_str(stamp, "%d/%b/%Y:%H:%M:%S %z").ok().map(|t| t.timestamp())
}

/// What stands between brackets behind a host and before a quoted request.
fn stamp(line: &[u8]) -> Option<&[u8]> {
    let open = line.windows(2).position(|w| w == b" [")? + 2;
    let length = line[open..].windows(3).position(|w| w == b"] \"")?;
    (open > 2).then(|| &line[open..open + length])
}
