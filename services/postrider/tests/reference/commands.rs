//! `docs/commands.md`: the help of every command, found from the help of the one above it.

use std::fmt::Write as _;

use crate::postrider;

const PREFACE: &str = "\
# Commands

The help of every command, as `postrider COMMAND --help` prints it. This page is generated; the command texts are in
`services/postrider/src/command/`.

* Exit status: 0 done, 1 refused or failed (one line on standard error says why), 2 wrong usage.
* With `--json`, data is printed as one JSON object per line; times are milliseconds since the Unix epoch, sizes bytes.
* `POSTRIDER_LOG=debug` makes a command log what it does, in directives as of `telemetry.level`.
";

const NODE: &str = "Which node, and how to print:";

/// A command that has all options of [`NODE`].
const EXAMPLE: [&str; 2] = ["account", "list"];

/// The page.
pub fn page() -> String {
    let mut page = PREFACE.to_owned();
    let shared = split(&help(&EXAMPLE)).1;
    let _ = write!(
        page,
        "\n## Options of every command that asks a running node\n\n```\n{shared}\n```\n"
    );
    write(&mut page, &[], &words(&shared));
    page
}

/// Every command by its words, without `postrider`.
pub fn all() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        for below in subcommands(&help(&words)) {
            let below = [command.as_slice(), &[below.to_owned()]].concat();
            found.push(below.join(" "));
            open.push(below);
        }
    }
    found
}

/// A command, and all below it.
fn write(page: &mut String, command: &[&str], shared: &str) {
    let text = help(command);
    let (own, node) = split(&text);
    let name = [&["postrider"], command].concat().join(" ");
    let _ = write!(page, "\n## {name}\n\n```\n{own}");
    if words(&node) == shared {
        let _ = write!(page, "\n\n{NODE} see above");
    } else if !node.is_empty() {
        let _ = write!(page, "\n\n{node}");
    }
    page.push_str("\n```\n");
    for below in subcommands(&text) {
        write(page, &[command, &[below]].concat(), shared);
    }
}

fn help(command: &[&str]) -> String {
    let text = postrider(&[command, &["--help"]].concat());
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A help text without the options that say which node, and these. They come last.
fn split(help: &str) -> (String, String) {
    match help.find(NODE) {
        Some(at) => (help[..at].trim_end().to_owned(), help[at..].trim_end().to_owned()),
        None => (help.trim_end().to_owned(), String::new()),
    }
}

/// The words alone: help is laid out in two ways.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names that a help text lists below `Commands:`.
fn subcommands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}
