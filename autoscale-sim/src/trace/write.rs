//! Writing a trace as the CSV that [`Trace::read`] reads.

use super::Trace;
use std::io::{self, Write};

impl Trace {
    /// Writes `time_s,rps` rows: seconds since the start and mean requests per second. What is written
    /// reads back as the same numbers.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "time_s,rps")?;
        let step = self.step.as_secs_f64();
        for (k, rate) in self.rates.iter().enumerate() {
            writeln!(out, "{},{rate}", k as f64 * step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::units::RequestRate;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_back() {
        let rates = [0.0, 1.0 / 3.0, 1e-9, 12_345.678].map(|r| RequestRate::new(r).unwrap()).to_vec();
        let trace = Trace::new(Duration::from_secs(15), rates).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        trace.write_csv(&mut std::fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(Trace::read(&path).unwrap(), trace);
    }
}
