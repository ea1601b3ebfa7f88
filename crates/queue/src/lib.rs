//! The outbound queue: unit state machine, memory and embedded engines, contract suite.
//!
//! The state rows are the truth; wake-ups distribute work and may be lost. [`unit`] says what a unit is.

pub mod unit;

pub use unit::{Destination, LocalDelivery, NewUnit, Notify, Priority, Recipient, RecipientState, State, Unit};
