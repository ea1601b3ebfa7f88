//! The report of a run: [`data`] is the JSON, `page` makes one HTML page of it that needs no network.

pub mod data;
