//! Tests of the engines and of the state machine over them.

mod embedded;
mod faults;
mod kafka;
mod machine;
mod memory;
