//! The project's own commands: test, soak, fuzz.

fn main() {}
