//! Load generator, sink, ledger and report.

fn main() {}
