#![doc = include_str!("../README.md")]

mod answer;
mod command;
mod directory;
mod failure;
mod folder_cache;
mod gateway;
mod handler;
mod listings;
mod metrics;
mod rows;
mod selected;
mod settings;
mod store;
mod users;
mod watch;

pub use gateway::{ImapGateway, Services};
pub use handler::Conversation;
pub use settings::{Settings, Timeouts};
