//! The binary access log of the World Cup 1998 web site (Arlitt and Jin 1998, Internet Traffic Archive).

use super::{ImportError, Log, Source, Tally};
use std::ops::Range;

const RECORD: usize = 20;
/// The site's log runs from 26 April to 26 July 1998; a few days more on either side are let pass.
const SEASON: Range<i64> = 893_000_000..902_000_000;

/// Counts the records of a log. A record whose time is out of season is left out.
pub(super) fn read(source: &mut Source, tally: &mut Tally, log: &mut Log) -> Result<(), ImportError> {
    let mut record = [0; RECORD];
    let mut number = 0;
    loop {
        let filled = source.fill(&mut record)?;
        if filled == 0 {
            return Ok(());
        }
        number += 1;
        log.read += 1;
        if filled < RECORD {
            log.skip("truncated last record", || source.place(number));
            return Ok(());
        }
        let time = time(&record);
        if SEASON.contains(&time) {
            tally.add(time, source, number);
        } else {
            log.skip("record with a time that is not in May, June or July 1998", || source.place(number));
        }
    }
}

/// Whether a file begins with records in season, as far as it goes.
pub(super) fn looks_like(head: &[u8]) -> bool {
    head.len() >= RECORD && head.chunks_exact(RECORD).take(10).all(|record| SEASON.contains(&time(record)))
}

fn time(record: &[u8]) -> i64 {
    record[..4].iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte))
}
