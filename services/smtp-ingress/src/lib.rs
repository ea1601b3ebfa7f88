#![doc = include_str!("../README.md")]

mod accept;
mod authenticate;
mod config;
mod content;
mod conversation;
mod directory;
mod header;
mod identity;
mod listener;
mod metrics;
mod neighbours;
mod outbound;
mod plan;
mod recipients;
mod replies;
mod store;
mod submission;

pub use config::Config;
pub use listener::{Ingress, Kind, Listener, Services};
pub use neighbours::Neighbours;
pub use outbound::Outbound;
pub use submission::SubmissionService;
