//! What commands print: lines for people, or one JSON object per line.

use std::io::{self, BufWriter, Stdout, Write};

use anyhow::Result;
use serde::Serialize;

/// Standard output in one of its two forms.
pub struct Output {
    json: bool,
    out: BufWriter<Stdout>,
}

impl Output {
    /// For people, or for programs.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            out: BufWriter::new(io::stdout()),
        }
    }

    /// A piece of data: as an object, or as what `line` makes of it.
    pub fn record<T: Serialize>(&mut self, data: &T, line: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, data)?;
        } else {
            self.out.write_all(line(data).as_bytes())?;
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Shows what there is so far.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Milliseconds since the Unix epoch as local time with its offset, to the second; `-` for 0.
pub fn time(millis: u64) -> String {
    let stamp = i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    match stamp {
        Some(stamp) if millis > 0 => {
            let local = stamp.to_zoned(jiff::tz::TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
        }
        _ => "-".into(),
    }
}

/// Whether whoever read our output has gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| match cause.downcast_ref::<io::Error>() {
            Some(error) => error.kind() == io::ErrorKind::BrokenPipe,
            None => cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|error| error.io_error_kind() == Some(io::ErrorKind::BrokenPipe)),
        })
}
