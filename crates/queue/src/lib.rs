//! The outbound queue: unit state machine, memory and embedded engines, contract suite.
