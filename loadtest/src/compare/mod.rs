//! The same closed-loop work on two systems, interleaved on one machine in one run, reported as ratios.
//!
//! A is a Postrider node of our own, embedded and durable; B is whatever a target file describes, most often Postfix and
//! Dovecot as `cargo xtask peers up` runs them, or a cluster of `cargo xtask cluster up --load`, whose engines' CPU is shown apart. For every row of the table of work ([`rows`]): prepare both (untimed), then rounds
//! A, B, A, B. A disturbance of the machine then hits a pair, and the ratio of a pair says more than two figures far apart.
//!
//! * Closed loop: a connection does its next thing when the last one is answered. That measures capacity; what users feel under a
//!   given load is what `run` measures.
//! * Rates depend on the machine. CPU per unit (whole process trees) does so less, and it alone counts where the generator
//!   used more CPU than the server.
//! * A ratio whose pairs differ by more than ±25 % is shown, and marked as too noisy to quote.
//!
//! The drivers ([`work`]) know bytes, not protocols: commands are prebuilt, answers are read as lines whose first word is
//! checked. Loops are blocking threads; on two processors that is the cheapest.

pub mod command;
mod figures;
mod fill;
mod imap;
mod letters;
mod line;
mod rows;
mod sink;
mod smtp;
mod system;
mod text;
mod work;

pub use figures::{Comparison, Figures, Named, Ratio, RowResult};
pub use system::Sample;
