//! LIST (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB (RFC 3501 §6.3.9).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use postrider_imap::command::{List, SpecialUse, StatusItem};
use postrider_imap::mailbox::{INBOX, canonical, pattern_matches};
use postrider_imap::response::{self, Attribute, ListLine};
use postrider_proto::mailstore::Folder;

use super::Exec;
use super::status::{self, Facts};
use crate::answer::{Answer, Outcome};

impl Exec<'_> {
    pub(super) async fn list(&mut self, list: List) -> Outcome {
        let syntax = self.session.syntax();
        if !list.extended && list.patterns.iter().all(String::is_empty) {
            let root = ListLine {
                attributes: &[Attribute::NoSelect],
                ..ListLine::default()
            };
            response::list(self.port.output(), root, syntax);
            return Ok(Answer::ok("LIST completed"));
        }
        let folders = self.shared.store.folders(self.account()).await?;
        let listing = Listing::new(&list, &folders);
        let limit = self.shared.settings.append_limit;
        for (name, folder) in listing.lines() {
            let out = self.port.output();
            let line = ListLine {
                attributes: &listing.attributes(name, folder),
                name,
                child_subscribed: listing.has_subscribed_child(name),
                old_name: None,
            };
            response::list(out, line, syntax);
            if let (Some(items), Some(folder)) = (list.returns.status, folder.filter(|folder| folder.exists))
            {
                let recent = if items.contains(StatusItem::Recent) {
                    self.recent(name).await?
                } else {
                    0
                };
                let facts = Facts {
                    folder,
                    recent,
                    append_limit: limit,
                };
                status::tell(self.port.output(), facts, items, syntax);
            }
            self.relieve().await?;
        }
        Ok(Answer::ok("LIST completed"))
    }

    pub(super) async fn lsub(&mut self, reference: String, pattern: String) -> Outcome {
        let folders = self.shared.store.folders(self.account()).await?;
        let syntax = self.session.syntax();
        let pattern = canonical(reference + &pattern);
        let mut lines: BTreeMap<&str, bool> = BTreeMap::new();
        for folder in folders.iter().filter(|folder| folder.subscribed) {
            if matches(&pattern, &folder.name) {
                lines.insert(&folder.name, folder.exists);
            } else if pattern.contains('%') {
                // A parent stands for subscribed names below it that `%` does not reach.
                for parent in ancestors(&folder.name).filter(|parent| matches(&pattern, parent)) {
                    lines.entry(parent).or_insert(false);
                }
            }
        }
        for (name, selectable) in lines {
            let attributes: &[Attribute] = if selectable { &[] } else { &[Attribute::NoSelect] };
            response::lsub(self.port.output(), attributes, name, syntax);
            self.relieve().await?;
        }
        Ok(Answer::ok("LSUB completed"))
    }
}

/// The MAILBOXID of a folder (RFC 8474).
pub(super) fn mailbox_id(folder: u32) -> String {
    format!("F{folder}")
}

/// The special use of a folder (RFC 6154).
pub(super) fn special_use(folder: &Folder) -> Option<Attribute> {
    Some(Attribute::Use(match folder.role.as_str() {
        "archive" => SpecialUse::Archive,
        "drafts" => SpecialUse::Drafts,
        "flagged" => SpecialUse::Flagged,
        "junk" => SpecialUse::Junk,
        "sent" => SpecialUse::Sent,
        "trash" => SpecialUse::Trash,
        _ => return None,
    }))
}

/// Which names a LIST is about, and what is to be said of each.
struct Listing<'a> {
    list: &'a List,
    patterns: Vec<String>,
    folders: &'a [Folder],
    /// Names that have folders below them.
    parents: HashSet<&'a str>,
    /// Names that have subscribed names below them which the patterns do not name.
    subscribed_parents: HashSet<&'a str>,
    /// Names that have something below them that the selection options ask for and the patterns do not name.
    selected_parents: HashSet<&'a str>,
}

impl<'a> Listing<'a> {
    fn new(list: &'a List, folders: &'a [Folder]) -> Self {
        let patterns = list.patterns.iter();
        let patterns: Vec<String> = patterns
            .map(|pattern| canonical(format!("{}{pattern}", list.reference)))
            .collect();
        let above = |which: &dyn Fn(&Folder) -> bool| {
            folders
                .iter()
                .filter(|folder| which(folder))
                .flat_map(|folder| ancestors(&folder.name))
                .collect()
        };
        // What the patterns name is listed itself; its parents need not stand for it.
        let unnamed = |folder: &Folder| !matches_any(&patterns, &folder.name);
        Self {
            parents: above(&|folder| folder.exists),
            subscribed_parents: above(&|folder| folder.subscribed && unnamed(folder)),
            selected_parents: above(&|folder| is_selected(list, folder) && unnamed(folder)),
            list,
            patterns,
            folders,
        }
    }

    /// Names in ascending order, each with its folder if it has a row.
    fn lines(&self) -> BTreeMap<&'a str, Option<&'a Folder>> {
        let recursive = self.list.select.recursive_match;
        let mut lines = BTreeMap::new();
        for folder in self.folders {
            let name = folder.name.as_str();
            let wanted = is_selected(self.list, folder) || recursive && self.selected_parents.contains(name);
            if wanted && self.matches(name) {
                lines.insert(name, Some(folder));
            }
        }
        if recursive {
            // Parents that are only names.
            let names: BTreeSet<&str> = self.selected_parents.iter().copied().collect();
            for name in names.into_iter().filter(|name| self.matches(name)) {
                lines.entry(name).or_insert(None);
            }
        }
        lines
    }

    fn matches(&self, name: &str) -> bool {
        matches_any(&self.patterns, name)
    }

    fn attributes(&self, name: &str, folder: Option<&Folder>) -> Vec<Attribute> {
        let mut attributes = Vec::with_capacity(4);
        if !folder.is_some_and(|folder| folder.exists) {
            attributes.push(Attribute::NonExistent);
        }
        attributes.push(if self.parents.contains(name) {
            Attribute::HasChildren
        } else {
            Attribute::HasNoChildren
        });
        let marks = self.list.select.subscribed || self.list.returns.subscribed;
        if marks && folder.is_some_and(|folder| folder.subscribed) {
            attributes.push(Attribute::Subscribed);
        }
        attributes.extend(folder.and_then(special_use));
        attributes
    }

    fn has_subscribed_child(&self, name: &str) -> bool {
        let select = self.list.select;
        select.recursive_match && select.subscribed && self.subscribed_parents.contains(name)
    }
}

/// Whether a folder meets the selection options; without any, existing ones do.
fn is_selected(list: &List, folder: &Folder) -> bool {
    let select = list.select;
    (folder.exists || select.subscribed)
        && (!select.subscribed || folder.subscribed)
        && (!select.special_use || special_use(folder).is_some())
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// INBOX is matched in any case, the rest as it is.
fn matches(pattern: &str, name: &str) -> bool {
    pattern_matches(pattern, name) || name == INBOX && pattern_matches(&pattern.to_ascii_uppercase(), name)
}

/// The names above a name, nearest last.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}
