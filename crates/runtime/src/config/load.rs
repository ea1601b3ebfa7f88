//! Reading the file and the environment into a [`Config`].

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;

/// What every variable begins with; two underscores also stand between section and key.
const PREFIX: &str = "POSTRIDER__";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it is wrong: where, and what.
    #[error("{place}: {problem}")]
    Wrong {
        /// `file:line`, or the environment variable.
        place: String,
        /// What, and what to do.
        problem: String,
    },
    /// Keys that do not go together: all that is wrong.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// Reads a file (or none: the defaults) and then variables, and validates the result.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable {
            file: file.to_owned(),
            error,
        })?,
        None => String::new(),
    };
    let name = file.map_or_else(String::new, |file| file.display().to_string());
    load_text(&name, &text, variables)
}

/// As [`load`], from text; `name` stands in errors.
pub fn load_text(
    name: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    // First for itself: this pass knows lines.
    toml::from_str::<Config>(text).map_err(|error| in_file(name, text, &error))?;
    // Then over the defaults, so that a section may name some of its keys only.
    let mut table =
        Table::try_from(Config::default()).map_err(|error| wrong("defaults", error.to_string()))?;
    let mut config =
        apply(&mut table, text.parse().unwrap_or_default()).map_err(|error| in_file(name, text, &error))?;
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(key, _)| key.starts_with(PREFIX))
        .collect();
    variables.sort();
    for (key, value) in variables {
        config = apply_variable(&mut table, &key, &value)?;
    }
    config.validate().map_err(ConfigError::Invalid)?;
    Ok(config)
}

/// Merges changes into the table if the result is a configuration.
fn apply(table: &mut Table, changes: Table) -> Result<Config, toml::de::Error> {
    let mut merged = table.clone();
    merge(&mut merged, changes);
    let config = Config::deserialize(merged.clone())?;
    *table = merged;
    Ok(config)
}

fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

/// A variable's text is tried as TOML (numbers, lists), as plain text, and as a list with commas, in this order.
fn apply_variable(table: &mut Table, variable: &str, text: &str) -> Result<Config, ConfigError> {
    let path: Vec<String> = variable[PREFIX.len()..]
        .split("__")
        .map(str::to_lowercase)
        .collect();
    let plain = Value::String(text.to_owned());
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let list = Value::Array(items.map(|item| Value::String(item.to_owned())).collect());
    let parsed = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    let mut error = None;
    for value in [parsed, Some(plain), Some(list)].into_iter().flatten() {
        let nested = path.iter().rev().fold(value, |inner, key| {
            Value::Table(Table::from_iter([(key.clone(), inner)]))
        });
        let Value::Table(changes) = nested else { continue };
        match apply(table, changes) {
            Ok(config) => return Ok(config),
            Err(first) => error = error.or(Some(first)),
        }
    }
    let problem = error.map_or_else(|| "no such key".to_owned(), |error| explain(error.message()));
    Err(wrong(variable, problem))
}

fn in_file(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let problem = explain(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return wrong(name, problem);
    };
    let place = format!("{name}:{}", before.matches('\n').count() + 1);
    match key_before(before).filter(|_| !error.message().starts_with("unknown field")) {
        Some(key) => wrong(&place, format!("{key}: {problem}")),
        None => wrong(&place, problem),
    }
}

/// The key whose value begins (or goes on, in a list) where the text ends.
fn key_before(text: &str) -> Option<&str> {
    let (before, value) = text.rsplit_once('=')?;
    let in_value = value.trim().is_empty() || value.trim_start().starts_with('[');
    let key = before
        .trim_end()
        .rsplit(|c: char| !(c.is_alphanumeric() || "_-\".".contains(c)))
        .next()?;
    (in_value && !key.is_empty()).then_some(key)
}

fn wrong(place: &str, problem: String) -> ConfigError {
    ConfigError::Wrong {
        place: place.to_owned(),
        problem,
    }
}

/// Makes "unknown field `a`, expected one of `b`, `c`, …" name the nearest key only.
fn explain(message: &str) -> String {
    let is_key = message.starts_with("unknown field");
    if !is_key && !message.starts_with("unknown variant") {
        return message.to_owned();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let what = if is_key { "unknown key" } else { "unknown value" };
    match known.iter().min_by_key(|known| distance(unknown, known)) {
        Some(nearest) if distance(unknown, nearest) <= unknown.len().max(nearest.len()) / 2 => {
            format!("{what} `{unknown}`; did you mean `{nearest}`?")
        }
        _ => format!("{what} `{unknown}`; known are {}", known.join(", ")),
    }
}

/// Edits (insert, delete, replace) between two short texts.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Role, StorageEngine};

    fn from(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        load_text("postrider.toml", text, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_the_defaults_and_they_are_valid() {
        assert_eq!(from("", &[]), Ok(Config::default()));
    }

    #[test]
    fn a_section_may_name_some_keys_only() {
        let config = from("[listeners.smtp]\nproxy_protocol = true\nproxy_trusted = [\"10.0.0.0/8\"]\n[queue]\nretry = { first = \"5m\" }", &[]).unwrap();
        assert_eq!(config.listeners.smtp.bind, Config::default().listeners.smtp.bind);
        assert_eq!(config.queue.retry.first, Duration::from_secs(300));
        assert_eq!(config.queue.retry.max, Duration::from_secs(1800));
    }

    #[test]
    fn the_environment_wins() {
        let config = from(
            "hostname = \"mx.hamburger.edu\"\n[limits]\nmessage_size = \"1MiB\"",
            &[
                ("POSTRIDER__LIMITS__MESSAGE_SIZE", "25MiB"),
                ("POSTRIDER__LIMITS__RECIPIENTS", "200"),
                ("POSTRIDER__ROLES", "smtp-ingress,directory, mail-store"),
                (
                    "POSTRIDER__LISTENERS__SMTP__BIND",
                    "[\"0.0.0.0:25\", \"[::]:25\"]",
                ),
                ("POSTRIDER__LISTENERS__IMAP__BIND", ""),
                ("POSTRIDER__STORAGE__ENGINE", "memory"),
                ("POSTRIDER__QUEUE__ENGINE", "memory"),
                ("POSTRIDER__OUTBOUND__ROUTES__CREPES.FR", "127.0.0.1:3525"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.hostname.as_str(), "mx.hamburger.edu");
        assert_eq!(config.limits.message_size, 25 << 20);
        assert_eq!(config.limits.recipients, 200);
        assert_eq!(
            config.roles,
            [Role::SmtpIngress, Role::Directory, Role::MailStore]
        );
        assert_eq!(config.listeners.smtp.bind.len(), 2);
        assert!(config.listeners.imap.bind.is_empty());
        assert_eq!(config.storage.engine, StorageEngine::Memory);
        assert_eq!(config.outbound.routes["crepes.fr"], "127.0.0.1:3525");
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = |text: &str| from(text, &[]).unwrap_err();
        assert_eq!(
            error("hostname = \"a.example\"\n\n[limits]\nmesage_size = \"1MiB\""),
            "postrider.toml:4: unknown key `mesage_size`; did you mean `message_size`?"
        );
        assert_eq!(
            error("[storrage]"),
            "postrider.toml:1: unknown key `storrage`; did you mean `storage`?"
        );
        assert_eq!(
            error("[storage]\nengine = \"embeded\""),
            "postrider.toml:2: engine: unknown value `embeded`; did you mean `embedded`?"
        );
        assert!(
            error("[limits]\n\nsmtp_idle = \"5 parsecs\"")
                .starts_with("postrider.toml:3: smtp_idle: `5 parsecs` is not a duration")
        );
        assert!(error("hostname = \"a b\"").starts_with("postrider.toml:1: hostname: the domain is not"));
        assert!(
            error("[queue]\nretry = { first = \"x\" }").starts_with("postrider.toml:2: first: `x` is not")
        );
        assert!(error("[listeners.smtp]\nbind = [\"x\"]").starts_with("postrider.toml:2: bind: "));
        assert!(error("roles = [").starts_with("postrider.toml:1: "));
        assert_eq!(
            from("", &[("POSTRIDER__LIMITS__RECIPIENT", "7")]).unwrap_err(),
            "POSTRIDER__LIMITS__RECIPIENT: unknown key `recipient`; did you mean `recipients`?"
        );
    }

    #[test]
    fn keys_that_do_not_go_together_are_all_named() {
        let text = "roles = [\"smtp-ingress\"]\n[tls]\nkey = \"k\"\n[listeners.pop3]\nbind = [\"127.0.0.1:2525\"]\n\
             [queue.kafka]\ncertificate = \"c\"\n[coordination.redis]\nkey = \"k\"";
        let error = from(text, &[]).unwrap_err();
        for part in [
            "tls:",
            "services.mail_store",
            "services.directory",
            "listeners.pop3.bind",
            "queue.kafka: set both",
            "queue.kafka: a certificate is for TLS",
            "coordination.redis: set both",
        ] {
            assert!(error.contains(part), "{part} missing in {error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again_and_hides_secrets() {
        let config = from(
            "[storage.cql]\npassword = \"hungry\"\n[coordination.redis]\nurl = \"redis://:hungry@r\"",
            &[],
        )
        .unwrap();
        let shown = config.to_toml();
        assert!(!shown.contains("hungry") && shown.contains("(hidden)"), "{shown}");
        assert!(from(&Config::default().to_toml(), &[]).is_ok());
    }
}
