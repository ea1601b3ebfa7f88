#![doc = include_str!("../README.md")]

mod attempt;
mod connect;
mod content;
mod conversation;
mod depth;
mod dispatch;
mod grpc;
mod keep;
mod local;
mod notify;
mod operate;
mod record;
mod resolve;
mod routes;
pub mod settings;
mod shared;
mod site;
mod worker;

pub use operate::{Filter, Operator};
pub use resolve::{Exchangers, Resolver, Trouble};
pub use routes::{Host, RouteError, Routes};
pub use settings::Settings;
pub use worker::{Parts, Worker};
