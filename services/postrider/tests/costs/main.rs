//! What an operation costs a cluster, counted: calls between its processes, statements of the database, records of Kafka, commands to Redis. The
//! figures are those of the processes' own `/metrics`; a cost that is higher than `docs/costs.md` says, or than its goal, fails here.
//!
//! `POSTRIDER_BLESS=1 cargo test -p postrider --test costs` writes the page anew. The test engines have to run: `cargo xtask engines up`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod meter;
mod page;
mod work;

use std::path::PathBuf;

#[test]
fn no_operation_costs_more_than_the_page_says() {
    let measured = work::Scene::start().measure();
    print!("{}", page::details(&measured));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/costs.md");
    let missed = page::missed(&measured);
    assert!(missed.is_empty(), "goals that are missed: {missed:#?}");
    if std::env::var_os("POSTRIDER_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(path, page::page(&measured)).unwrap();
        return;
    }
    let renew = "POSTRIDER_BLESS=1 cargo test -p postrider --test costs   renews the page";
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let told = page::read(&committed);
    let risen = page::risen(&told, &measured);
    assert!(
        risen.is_empty(),
        "costs that are higher than docs/costs.md says: {risen:#?}\n{renew}, if it has to be"
    );
    for fallen in page::risen(&measured, &told) {
        println!("lower than docs/costs.md says: {fallen}; {renew}");
    }
    assert!(
        page::page(&told) == committed,
        "docs/costs.md is out of date\n{renew}"
    );
}
