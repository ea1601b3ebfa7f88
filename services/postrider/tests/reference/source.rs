//! The structs and enums of the configuration, read from their source with their documentation. It understands the plain
//! Rust these files consist of, and panics at what it does not understand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A struct or an enum.
#[derive(Debug)]
pub struct Item {
    /// Whether its parts are values to choose from.
    pub is_enum: bool,
    /// Fields or variants.
    pub parts: Vec<Part>,
    /// `#[…]`, joined.
    pub attributes: String,
}

/// A field or a variant.
#[derive(Debug)]
pub struct Part {
    /// As the configuration writes it.
    pub name: String,
    /// A field's type.
    pub kind: String,
    /// The documentation, on one line.
    pub doc: String,
    /// `#[…]`, joined.
    pub attributes: String,
}

/// Every public struct and enum of the configuration by its name.
pub fn items() -> BTreeMap<String, Item> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crates/runtime/src");
    let mut items = BTreeMap::new();
    read(&folder.join("config.rs"), &mut items);
    for entry in fs::read_dir(folder.join("config")).unwrap() {
        read(&entry.unwrap().path(), &mut items);
    }
    items
}

fn read(file: &Path, items: &mut BTreeMap<String, Item>) {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut lines = text.lines().map(str::trim_end);
    let mut pending = Pending::default();
    while let Some(line) = lines.next() {
        if pending.takes(line) {
            continue;
        }
        let opened = line
            .strip_prefix("pub ")
            .and_then(|rest| rest.strip_suffix(" {"))
            .and_then(|rest| rest.split_once(' '))
            .filter(|(keyword, _)| ["struct", "enum"].contains(keyword));
        let attributes = pending.take().1;
        if let Some((keyword, name)) = opened {
            let is_enum = keyword == "enum";
            let body = lines.by_ref().take_while(|line| *line != "}");
            let parts = parts(body, is_enum, &attributes);
            let item = Item {
                is_enum,
                parts,
                attributes,
            };
            items.insert(name.to_owned(), item);
        }
    }
}

fn parts<'a>(body: impl Iterator<Item = &'a str>, is_enum: bool, attributes: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut pending = Pending::default();
    for line in body.map(str::trim).filter(|line| !line.is_empty()) {
        if pending.takes(line) {
            continue;
        }
        let (doc, own) = pending.take();
        let part = line.trim_end_matches(',');
        let (name, kind) = match part.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            Some((name, kind)) if !is_enum => (name.to_owned(), kind.to_owned()),
            None if is_enum => (
                renamed(part.split('(').next().unwrap_or(part), attributes),
                String::new(),
            ),
            _ => panic!("the configuration's source has a line that is not understood: {line}"),
        };
        parts.push(Part {
            name,
            kind,
            doc,
            attributes: own,
        });
    }
    parts
}

/// `WebGateway` as `rename_all` has it.
fn renamed(variant: &str, attributes: &str) -> String {
    let between = if attributes.contains("kebab-case") {
        "-"
    } else {
        ""
    };
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push_str(between);
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// Documentation and attributes on their way to what follows them.
#[derive(Default)]
struct Pending {
    doc: Vec<String>,
    attributes: String,
}

impl Pending {
    fn takes(&mut self, line: &str) -> bool {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            self.doc.push(doc.trim().to_owned());
        } else if line.starts_with("#[") {
            assert!(
                line.ends_with(']'),
                "an attribute goes over several lines: {line}"
            );
            self.attributes.push_str(line);
        } else {
            return false;
        }
        true
    }

    fn take(&mut self) -> (String, String) {
        let Self { doc, attributes } = std::mem::take(self);
        (doc.join(" "), attributes)
    }
}
