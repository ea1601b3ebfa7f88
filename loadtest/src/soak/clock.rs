//! **Clock stepped:** the server's clock leaps an hour ahead, back, an hour behind, back, and a month ahead for a moment.
//!
//! Only what the server sees: libfaketime is loaded into it, the machine's clock is not touched.
//!
//! **Must hold:** mail is taken and read all the while; nothing expires, no order is lost; sessions stay.

use std::fs;

use anyhow::{Context, Result};
use futures::future::BoxFuture;

use super::dress::{self, Dress};
use super::fault::{Fault, Seen};
use super::probe;
use super::scene::Scene;
use super::seconds;

/// Offsets as libfaketime reads them, in the order of their turns.
const STEPS: [&str; 6] = ["+1h", "+0", "-1h", "+0", "+30d", "+0"];

/// How long each lasts, in seconds.
const EACH: u64 = 2;

/// The fault.
#[derive(Debug)]
pub struct Clock;

impl Fault for Clock {
    fn name(&self) -> &'static str {
        "clock-stepped"
    }

    fn about(&self) -> &'static str {
        "its clock leaps an hour and a month, and back"
    }

    fn length(&self) -> u64 {
        EACH * STEPS.len() as u64
    }

    fn dress(&self) -> Result<Dress, String> {
        match dress::faketime() {
            Some(_) => Ok(Dress::OwnClock),
            None => Err("no libfaketime here; Debian package faketime".to_owned()),
        }
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            let file = scene.clock_file();
            for step in STEPS {
                scene.mark(&format!("clock at {step}"));
                // One write of few bytes: a reader sees the old text or the new one.
                fs::write(&file, format!("{step}\n")).with_context(|| file.display().to_string())?;
                tokio::time::sleep(seconds(EACH)).await;
                probe::all(&scene.target())
                    .await
                    .with_context(|| format!("with the clock at {step}"))?;
            }
            Ok(Seen::Done(STEPS.join(" ")))
        })
    }
}
