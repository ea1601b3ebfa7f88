//! `postrider-loadtest`: how many users fit, what happens when more come, and is anything ever lost.
//!
//! Works against any SMTP, IMAP and POP3 server; knows nothing of Postrider but its protocol crates' client halves (and, for
//! the sink, the SMTP server half). What it may be told about a server is in [`target`].
//!
//! The way of a measurement:
//!
//! ```text
//!  profile (TOML) ──▶ schedule: when       ┐
//!  seed           ──▶ traffic: what, whom  ├─▶ actors ──▶ the server ──▶ sink (the rest of the Internet)
//!  target         ──▶ where                ┘      │ │                        │
//!                       recorder: latencies ◀─────┘ └─▶ ledger: promises     │
//!                            │                              │ reconcile ◀────┴── what IMAP, POP3 and the sink show
//!  process sampler ──────────┴──▶ report (JSON) ◀──────────┘ verdict
//!                                    └──▶ one HTML page
//! ```
//!
//! * `schedule` is open loop: arrivals do not wait for the server, and a latency counts from the *intended* start.
//! * [`recorder`] keeps HDR histograms by operation and second; they merge, so several generators act as one.
//! * [`ledger`] writes down durably what was answered 250 before it counts; a loss makes the exit status non-zero.
//! * `compare` does the same closed-loop work on two systems, interleaved, and reports ratios.

pub mod actor;
pub mod cli;
pub mod compare;
pub mod demo;
pub mod knee;
pub mod ledger;
pub mod merge;
pub mod net;
pub mod operation;
pub mod process;
pub mod profile;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod run;
pub mod schedule;
pub mod server;
pub mod sink;
pub mod soak;
pub mod target;
pub mod traffic;
