//! The operator's reference, `docs/configuration.md` and `docs/commands.md`, is written from what it describes: the
//! documentation of the configuration's fields, and the commands' own help. A page that is out of date fails here, and
//! `POSTRIDER_BLESS=1 cargo test -p postrider --test reference` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic)]

mod commands;
mod pages;
mod settings;
mod source;

use std::path::PathBuf;
use std::process::Command;

#[test]
fn every_setting_is_documented_with_its_true_default() {
    keep("configuration.md", &settings::page());
}

#[test]
fn every_command_is_documented_as_it_explains_itself() {
    keep("commands.md", &commands::page());
}

#[test]
fn what_the_pages_name_is_there() {
    let commands = commands::all();
    for page in pages::pages() {
        let missing = pages::missing(&page, &commands);
        assert!(missing.is_empty(), "{} names {missing:?}", page.display());
    }
}

/// Compares a page with the committed one, or writes it.
fn keep(name: &str, page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("POSTRIDER_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(path, page).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed
        .lines()
        .zip(page.lines())
        .find(|(committed, new)| committed != new)
        .map_or_else(
            || "one is longer than the other".to_owned(),
            |(committed, new)| format!("it says\n  {committed}\nand should say\n  {new}"),
        );
    assert!(
        committed == page,
        "docs/{name} is out of date: {differs}\n\
         POSTRIDER_BLESS=1 cargo test -p postrider --test reference   renews it"
    );
}

/// What a command prints where nothing is configured.
fn postrider(arguments: &[&str]) -> String {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command
        .args(arguments)
        .current_dir(&nowhere)
        .env_remove("COLUMNS");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POSTRIDER_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
