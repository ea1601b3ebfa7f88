//! `docs/configuration.md`: the fields of the configuration with the defaults that are in effect.
//!
//! A default is told twice, by the code and by the field's documentation; both must agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::postrider;
use crate::source::{Item, Part, items};

const PREFACE: &str = "\
# Configuration

Every setting, its default and its environment variable. This page is generated from the documentation of the fields in
`crates/runtime/src/config.rs` and beside it.

* The file is `postrider.toml` in the current directory, else `/etc/postrider/postrider.toml`; `--config` or
  `POSTRIDER_CONFIG` names another. No file is needed: everything has a default, on loopback and with unprivileged ports.
* The environment comes after the file: `POSTRIDER__`, the section, `__`, the key. Lists are written with commas, or as in
  TOML. `--data` or `POSTRIDER_DATA` comes after both, in place of `data_dir`.
* Unknown keys and values are errors. `postrider config check` names a mistake with its line; `postrider config show`
  prints what is in effect, secrets hidden.
* A *duration* is written `\"250ms\"`, `\"90s\"`, `\"30m\"`, `\"4h\"` or `\"5d\"`; a *size* `\"100B\"`, `\"64KiB\"`, `\"25MiB\"` or `\"5GiB\"`.
* What is changed counts from the next start on. A certificate file is read again when it changes.
";

/// What the machine decides: its documentation alone says the default.
const MACHINE: &str = "hostname";

/// The page.
pub fn page() -> String {
    let items = items();
    let shown = postrider(&["config", "show", "--json"]);
    let defaults: Value = serde_json::from_str(&shown).unwrap();
    let mut page = PREFACE.to_owned();
    section(&mut page, &items, "Config", "", "The whole", &defaults);
    page
}

/// A struct as a table of its keys, and the structs in it as sections.
fn section(
    page: &mut String,
    items: &BTreeMap<String, Item>,
    name: &str,
    path: &str,
    about: &str,
    defaults: &Value,
) {
    let parts = &items[name].parts;
    let (inner, keys): (Vec<_>, Vec<_>) = parts.iter().partition(|part| is_section(items, part));
    let title = match path {
        "" => "At the top".to_owned(),
        path => format!("`[{path}]`"),
    };
    let about = if path.is_empty() {
        "Before the first section."
    } else {
        about
    };
    let _ = write!(page, "\n## {title}\n\n{about}\n");
    if !keys.is_empty() {
        page.push_str("\n| Key | Default | Kind | Meaning | Variable |\n|---|---|---|---|---|\n");
    }
    for key in keys {
        let path = join(path, &key.name);
        let (default, meaning) = told(&path, key, defaults.get(&key.name));
        row(page, items, &path, key, &default, &meaning);
    }
    if let Some(kind) = repeated(&inner) {
        listeners(page, items, path, &inner, kind, defaults);
        return;
    }
    for part in inner {
        let path = join(path, &part.name);
        let below = defaults.get(&part.name).unwrap_or(&Value::Null);
        section(page, items, &part.kind, &path, &part.doc, below);
    }
}

/// Sections with the same keys: first what they are, then the keys once.
fn listeners(
    page: &mut String,
    items: &BTreeMap<String, Item>,
    path: &str,
    sections: &[&Part],
    kind: &str,
    defaults: &Value,
) {
    let keys = &items[kind].parts;
    let first = &keys[0].name;
    let _ = writeln!(
        page,
        "\n| Section | Default of `{first}` | Meaning |\n|---|---|---|"
    );
    for section in sections {
        let path = join(path, &section.name);
        let own = defaults.get(&section.name);
        let (default, meaning) = told(&path, section, own.and_then(|section| section.get(first)));
        let _ = writeln!(page, "| `[{path}]` | {default} | {meaning} |");
    }
    page.push_str("\nEach has these keys, `NAME` being its name:\n\n");
    page.push_str("| Key | Default | Kind | Meaning | Variable |\n|---|---|---|---|---|\n");
    for key in keys {
        let path = join(&join(path, "NAME"), &key.name);
        let (default, meaning) = if key.name == *first {
            ("as above".to_owned(), key.doc.clone())
        } else {
            let of_one = defaults.get(&sections[0].name).and_then(|one| one.get(&key.name));
            told(&path, key, of_one)
        };
        row(page, items, &path, key, &default, &meaning);
    }
}

fn row(
    page: &mut String,
    items: &BTreeMap<String, Item>,
    path: &str,
    key: &Part,
    default: &str,
    meaning: &str,
) {
    assert!(
        !meaning.is_empty(),
        "{path}: its documentation says its default only"
    );
    let variable = format!("POSTRIDER__{}", path.to_uppercase().replace('.', "__"));
    let _ = write!(
        page,
        "| `{}` | {default} | {} | {meaning}",
        key.name,
        unit(items, key)
    );
    let choices = items
        .get(value_type(&key.kind))
        .filter(|item| item.is_enum && !item.attributes.contains("untagged"));
    for choice in choices.into_iter().flat_map(|item| &item.parts) {
        let _ = write!(page, "<br>`{}`: {}", choice.name, choice.doc);
    }
    let _ = writeln!(page, " | `{variable}` |");
}

/// The default in effect, and the documentation without it. Panics when they contradict each other.
fn told(path: &str, part: &Part, value: Option<&Value>) -> (String, String) {
    let (meaning, documented) = without_default(&part.doc);
    let shown = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(Value::Object(object)) => {
            assert!(object.is_empty(), "{path}: a table with a default");
            String::new()
        }
        Some(value) => value.to_string(),
    };
    if path == MACHINE {
        return (documented, meaning);
    }
    if shown.is_empty() {
        let said = if documented.is_empty() {
            "none".into()
        } else {
            documented
        };
        return (said, meaning);
    }
    assert!(
        agree(&documented, &shown),
        "{path}: the default is `{shown}`, and its documentation says `{documented}`"
    );
    (format!("`{shown}`"), meaning)
}

/// Takes `Default: …` out of a documentation, up to the sentence's end or a semicolon.
fn without_default(doc: &str) -> (String, String) {
    let Some((before, rest)) = doc.split_once("Default: ") else {
        return (doc.to_owned(), String::new());
    };
    let end = rest.find("; ").or_else(|| rest.find(". ")).unwrap_or(rest.len());
    let (default, after) = rest.split_at(end);
    let after = after.trim_start_matches(['.', ';', ' ']);
    let after = after
        .chars()
        .next()
        .map(|first| first.to_uppercase().to_string() + &after[first.len_utf8()..]);
    let meaning = format!("{before}{}", after.unwrap_or_default());
    (
        meaning.trim().to_owned(),
        default.trim_end_matches('.').to_owned(),
    )
}

/// Whether `10 minutes` is `10m`, `1,000` is `1000`, `port 25` is at the end of `127.0.0.1:25`, and so on.
fn agree(documented: &str, shown: &str) -> bool {
    let bare: String = documented.chars().filter(|c| !"`\"[],".contains(*c)).collect();
    let words: Vec<&str> = bare.split(' ').collect();
    match words[..] {
        ["port", port] => shown.ends_with(&format!(":{port}")),
        [number, size @ ("KiB" | "MiB" | "GiB")] => shown == format!("{number}{size}"),
        [number, time] => shown == format!("{number}{}", &time[..1]),
        _ => bare == shown,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_section(items: &BTreeMap<String, Item>, part: &Part) -> bool {
    items.get(&part.kind).is_some_and(|item| !item.is_enum)
}

/// The type that all of several sections have.
fn repeated<'a>(sections: &[&'a Part]) -> Option<&'a str> {
    let kind = sections.first()?.kind.as_str();
    (sections.len() > 1 && sections.iter().all(|section| section.kind == kind)).then_some(kind)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// `T` of `Vec<T>` and `Option<T>`.
fn value_type(kind: &str) -> &str {
    let inner = kind.strip_prefix("Vec<").or_else(|| kind.strip_prefix("Option<"));
    inner.and_then(|inner| inner.strip_suffix('>')).unwrap_or(kind)
}

/// What is to be written: the unit of a number, the form of a text.
fn unit(items: &BTreeMap<String, Item>, part: &Part) -> String {
    if part.attributes.contains("\"duration\"") {
        return "duration".into();
    }
    if part.attributes.contains("\"size\"") {
        return "size".into();
    }
    let one = match value_type(&part.kind) {
        "usize" | "u32" | "u64" => "number",
        "f64" => "fraction",
        "bool" => "`true` or `false`",
        "String" => "text",
        "PathBuf" => "path",
        "Domain" => "host name",
        "SocketAddr" => "address:port",
        "IpAddr" => "address",
        "Network" => "network",
        "Hidden" => "secret",
        "HiddenUrl" => "URL",
        "Resolver" => "text or list",
        "BTreeMap<String, String>" => "table",
        other if items.get(other).is_some_and(|item| item.is_enum) => "word",
        other => panic!("{}: say here what one writes for a {other}", part.name),
    };
    if part.kind.starts_with("Vec<") {
        format!("list: {one}")
    } else {
        one.into()
    }
}
