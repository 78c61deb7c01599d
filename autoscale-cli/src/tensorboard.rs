//! Scalar summaries in `TensorBoard`'s event file format.
//!
//! A file is a row of framed records (tensorflow `core/lib/io/record_writer.cc`), each holding one `Event`
//! message (`core/util/event.proto`) whose scalars sit in a `Summary` (`core/framework/summary.proto`).
//! Only the few fields needed here are encoded.

use crate::run_folder::EVENTS;
use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

/// What the first record of every file says about the format.
const FILE_VERSION: &str = "brain.Event:2";

/// What each byte does to a CRC32C (Castagnoli's polynomial, bits reflected).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Writes one event file. Each call leaves whole records in the file, so a kill costs at most the last one.
pub(crate) struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Makes `events.out.tfevents.<whole seconds of wall_time>.<name>` in `folder`, which must exist,
    /// and writes the version record. A file already there is an error, not overwritten.
    pub(crate) fn create(folder: &Path, wall_time: f64, name: &str) -> Result<Self> {
        let path = folder.join(format!("{EVENTS}.{}.{name}", wall_time as u64));
        let file = BufWriter::new(File::create_new(path)?);
        let mut writer = Self { file };
        let mut event = Vec::new();
        put_wall_time(&mut event, wall_time);
        put_bytes(&mut event, 3, FILE_VERSION.as_bytes());
        writer.record(&event)?;
        Ok(writer)
    }

    /// Writes all `values` (tag and value) as one event and flushes it.
    /// The format keeps an `f32`: a value beyond its range turns infinite, and NaN stays NaN.
    pub(crate) fn scalars<'a>(
        &mut self,
        wall_time: f64,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, number) in values {
            let mut value = Vec::new();
            put_bytes(&mut value, 1, tag.as_bytes());
            put_key(&mut value, 2, 5);
            value.extend((number as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &value);
        }
        let mut event = Vec::new();
        put_wall_time(&mut event, wall_time);
        put_key(&mut event, 2, 0);
        put_varint(&mut event, step);
        put_bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    /// Frames `data` with its length and the checksums of both, and flushes.
    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked(crc32c(&length)).to_le_bytes())?;
        self.file.write_all(data)?;
        self.file.write_all(&masked(crc32c(data)).to_le_bytes())?;
        self.file.flush()
    }
}

/// CRC32C of `data`.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)];
    !data.iter().fold(!0, step)
}

/// A checksum as the framing stores it.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Appends a field's key; `number` is below 16, so one byte holds it.
fn put_key(out: &mut Vec<u8>, number: u8, wire_type: u8) {
    out.push(number << 3 | wire_type);
}

/// Appends a base-128 number, lowest seven bits first.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a field that holds a string or a nested message.
fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_key(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Appends `Event`'s `wall_time`.
fn put_wall_time(event: &mut Vec<u8>, seconds: f64) {
    put_key(event, 1, 1);
    event.extend(seconds.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts the next `N` bytes off.
    fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
        let (head, tail) = from.split_first_chunk().unwrap();
        *from = tail;
        *head
    }

    fn varint(from: &mut &[u8]) -> u64 {
        let [byte] = take(from);
        u64::from(byte & 0x7F) | if byte < 0x80 { 0 } else { varint(from) << 7 }
    }

    /// Cuts a field that has a length and this key.
    fn bytes<'a>(from: &mut &'a [u8], key: u8) -> &'a [u8] {
        assert_eq!(take(from), [key]);
        let length = varint(from) as usize;
        from.split_off(..length).unwrap()
    }

    /// Cuts `count` bytes and the checksum after them, which has to fit.
    fn checked<'a>(file: &mut &'a [u8], count: u64) -> &'a [u8] {
        let data = file.split_off(..count as usize).unwrap();
        let unmasked = u32::from_le_bytes(take(file)).wrapping_sub(0xA282_EAD8).rotate_left(15);
        assert_eq!(unmasked, crc32c(data));
        data
    }

    /// Cuts a record and its event's time; what is left of the event comes back.
    fn event<'a>(file: &mut &'a [u8], time: f64) -> &'a [u8] {
        let length = u64::from_le_bytes(checked(file, 8).try_into().unwrap());
        let mut event = checked(file, length);
        assert_eq!((take(&mut event), take(&mut event)), ([0x09], time.to_le_bytes()));
        event
    }

    #[test]
    fn crc32c_matches_the_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn events_read_back() {
        let folder = std::env::temp_dir().join(format!("tensorboard-events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let long = "t".repeat(300);
        let events = [
            (1.5, 0, vec![("loss", 0.25), ("größe", f64::NAN), ("zero", 0.0)]),
            (2.5, 127, vec![]),
            (3.5, 1 << 40, vec![(long.as_str(), -1e300), ("", 0.1)]),
        ];
        let mut writer = EventWriter::create(&folder, 1_700_000_000.75, "unit").unwrap();
        for (time, step, values) in &events {
            writer.scalars(*time, *step, values.iter().copied()).unwrap();
        }
        // The writer is still open: the file has to be whole without its drop.
        let file = std::fs::read(folder.join("events.out.tfevents.1700000000.unit")).unwrap();
        assert!(EventWriter::create(&folder, 1_700_000_000.0, "unit").is_err());
        std::fs::remove_dir_all(&folder).unwrap();

        assert_eq!(file[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xA3, 0x7F, 0x4B, 0x22]);
        let mut rest = &file[..];
        let mut version = event(&mut rest, 1_700_000_000.75);
        assert_eq!((bytes(&mut version, 0x1A), version), (&b"brain.Event:2"[..], &[][..]));
        for (time, step, values) in events {
            let mut event = event(&mut rest, time);
            assert_eq!((take(&mut event), varint(&mut event)), ([0x10], step));
            let mut summary = bytes(&mut event, 0x2A);
            for (tag, number) in values {
                let mut value = bytes(&mut summary, 0x0A);
                assert_eq!(bytes(&mut value, 0x0A), tag.as_bytes());
                assert_eq!(value, [&[0x15][..], &(number as f32).to_le_bytes()].concat());
            }
            assert!(summary.is_empty() && event.is_empty());
        }
        assert!(rest.is_empty());
    }
}
