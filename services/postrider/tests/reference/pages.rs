//! What the pages that people wrote name: files and commands that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders at the top, by which a path in code quotes is known.
const FOLDERS: [&str; 6] = ["crates/", "services/", "docs/", "proto/", "xtask/", "loadtest/"];

/// The pages, as paths from the top.
pub fn pages() -> Vec<PathBuf> {
    let top = top();
    let mut pages = vec![top.join("README.md"), top.join("CHANGELOG.md")];
    for folder in ["docs", "docs/decisions"] {
        pages.extend(files(&top.join(folder)));
    }
    for service in fs::read_dir(top.join("services")).unwrap() {
        pages.extend(files(&service.unwrap().path()));
    }
    pages
}

/// Every file or command that a page names and that is not there.
pub fn missing(page: &Path, commands: &[String]) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let folder = page.parent().unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut missing: Vec<String> = links
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .filter(|link| !folder.join(link).exists())
        .map(str::to_owned)
        .collect();
    let quoted: Vec<&str> = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let paths = quoted
        .iter()
        .filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder)));
    let paths = paths.filter(|path| !path.contains(['*', ' ']) && !top().join(path).exists());
    missing.extend(paths.map(ToString::to_string));
    let typed = text
        .lines()
        .chain(quoted)
        .filter_map(|line| line.strip_prefix("postrider "));
    missing.extend(
        typed
            .filter(|typed| !is_command(typed, commands))
            .map(|typed| format!("postrider {typed}")),
    );
    missing
}

/// Whether what is typed begins with a command, and with one below it when there are such.
fn is_command(typed: &str, commands: &[String]) -> bool {
    let words: Vec<&str> = typed.split_whitespace().collect();
    let Some(first) = words.first() else { return true };
    let below = format!("{first} ");
    if !commands.iter().any(|command| command.starts_with(&below)) {
        return first.starts_with(['-', '…'])
            || *first == "COMMAND"
            || commands.iter().any(|command| command == first);
    }
    let second = words.get(1).copied().unwrap_or_default();
    second.starts_with('-') || second.is_empty() || commands.contains(&format!("{first} {second}"))
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
