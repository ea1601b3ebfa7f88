//! Folders and messages, without any cleverness.

use std::collections::BTreeMap;

use postrider_imap::command::{DateRelation, SearchKey};
use postrider_imap::view::View;
use postrider_index::{FolderIndex, UidSet};
use postrider_types::{Flags, Keyword, SystemFlag, Uid, Version};

pub struct Message {
    pub raw: Vec<u8>,
    pub received: u64,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    pub modseq: u64,
}

pub struct Folder {
    pub validity: u32,
    pub next: u32,
    pub messages: BTreeMap<u32, Message>,
    /// Mod-sequence and UID of what is gone.
    pub expunged: Vec<(u64, u32)>,
}

pub struct Account {
    pub folders: BTreeMap<String, Folder>,
    pub subscribed: Vec<String>,
    pub modseq: u64,
}

impl Folder {
    pub fn new(validity: u32) -> Self {
        Self {
            validity,
            next: 1,
            messages: BTreeMap::new(),
            expunged: Vec::new(),
        }
    }

    pub fn index(&self) -> FolderIndex {
        let mut index = FolderIndex::new(Version(0));
        for (uid, message) in &self.messages {
            index.add(Uid(*uid), message.flags);
        }
        index
    }

    pub fn highest_modseq(&self) -> u64 {
        let messages = self.messages.values().map(|message| message.modseq);
        messages
            .chain(self.expunged.iter().map(|(modseq, _)| *modseq))
            .max()
            .unwrap_or(1)
    }

    pub fn keywords(&self) -> Vec<Keyword> {
        let mut keywords: Vec<_> = self
            .messages
            .values()
            .flat_map(|message| message.keywords.clone())
            .collect();
        keywords.sort();
        keywords.dedup();
        keywords
    }

    pub fn changed_since(&self, modseq: u64) -> UidSet {
        self.messages
            .iter()
            .filter(|(_, message)| message.modseq > modseq)
            .map(|(uid, _)| Uid(*uid))
            .collect()
    }
}

impl Account {
    /// INBOX with two messages of the textbook's Alice, and an empty folder.
    pub fn textbook() -> Self {
        let mut account = Self {
            folders: BTreeMap::new(),
            subscribed: vec!["INBOX".into()],
            modseq: 1,
        };
        account.folders.insert("INBOX".into(), Folder::new(3_857_529_045));
        account.folders.insert("Saved".into(), Folder::new(7));
        account.deliver("Do you like ketchup?");
        account.deliver("How about pickles?");
        account
    }

    /// A message from Alice enters INBOX.
    pub fn deliver(&mut self, text: &str) -> u32 {
        let raw = format!(
            "From: Alice <alice@crepes.fr>\r\nTo: bob@hamburger.edu\r\nSubject: {text}\r\n\
             Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <{}@crepes.fr>\r\n\r\n{text}\r\n",
            self.modseq
        );
        self.append(
            "INBOX",
            raw.into_bytes(),
            Flags::EMPTY,
            Vec::new(),
            837_596_665_000,
        )
    }

    pub fn append(
        &mut self,
        name: &str,
        raw: Vec<u8>,
        flags: Flags,
        keywords: Vec<Keyword>,
        received: u64,
    ) -> u32 {
        self.modseq += 1;
        let modseq = self.modseq;
        let folder = self.folders.get_mut(name).expect("an existing folder");
        let uid = folder.next;
        folder.next += 1;
        folder.messages.insert(
            uid,
            Message {
                raw,
                received,
                flags,
                keywords,
                modseq,
            },
        );
        uid
    }

    pub fn expunge(&mut self, name: &str, uids: &UidSet) {
        self.modseq += 1;
        let modseq = self.modseq;
        let folder = self.folders.get_mut(name).expect("an existing folder");
        for uid in uids.iter() {
            if folder.messages.remove(&uid.0).is_some() {
                folder.expunged.push((modseq, uid.0));
            }
        }
    }

    /// The messages of the view that match.
    pub fn search(&self, name: &str, view: &View, key: &SearchKey) -> UidSet {
        let folder = &self.folders[name];
        let matching = folder
            .messages
            .iter()
            .filter(|(uid, message)| matches(key, **uid, message, view));
        matching
            .map(|(uid, _)| Uid(*uid))
            .filter(|uid| view.known().contains(*uid))
            .collect()
    }
}

fn matches(key: &SearchKey, uid: u32, message: &Message, view: &View) -> bool {
    let text = || String::from_utf8_lossy(&message.raw).to_lowercase();
    match key {
        SearchKey::All | SearchKey::SaveDateSupported => true,
        SearchKey::And(keys) => keys.iter().all(|key| matches(key, uid, message, view)),
        SearchKey::Or(keys) => matches(&keys.0, uid, message, view) || matches(&keys.1, uid, message, view),
        SearchKey::Not(key) => !matches(key, uid, message, view),
        SearchKey::Sequence(set) => view.resolve(set, false).is_ok_and(|set| set.contains(Uid(uid))),
        SearchKey::Uid(set) => view.resolve(set, true).is_ok_and(|set| set.contains(Uid(uid))),
        SearchKey::Recent => false,
        SearchKey::Flag(flag) => message.flags.contains(*flag),
        SearchKey::Keyword(keyword) => message.keywords.contains(keyword),
        SearchKey::Date { relation, day, .. } => {
            let received = (message.received / 86_400_000) as i32;
            match relation {
                DateRelation::Before => received < *day,
                DateRelation::On => received == *day,
                DateRelation::Since => received >= *day,
            }
        }
        SearchKey::Larger(size) => message.raw.len() as u64 > *size,
        SearchKey::Smaller(size) => (message.raw.len() as u64) < *size,
        SearchKey::Header { name, value } => text().lines().any(|line| {
            line.starts_with(&format!("{}:", name.to_lowercase())) && line.contains(&value.to_lowercase())
        }),
        SearchKey::Body(value) | SearchKey::Text(value) => text().contains(&value.to_lowercase()),
        SearchKey::ModSeq(modseq) => message.modseq >= *modseq,
        SearchKey::Younger(_) => false,
        SearchKey::Older(_) => true,
        SearchKey::EmailId(id) => *id == format!("M{uid}"),
        SearchKey::ThreadId(_) => false,
    }
}

/// What a STORE makes of a message.
pub fn store(message: &mut Message, command: &postrider_imap::command::Store) {
    use postrider_imap::command::StoreOperation::{Add, Remove, Replace};
    let list = &command.flags;
    match command.operation {
        Replace => {
            message.flags = list.flags;
            message.keywords = list.keywords.clone();
        }
        Add => {
            message.flags = message.flags.union(list.flags);
            message.keywords.extend(list.keywords.clone());
        }
        Remove => {
            message.flags = message.flags.difference(list.flags);
            message
                .keywords
                .retain(|keyword| !list.keywords.contains(keyword));
        }
    }
    message.keywords.sort();
    message.keywords.dedup();
}

/// Marked `\Deleted`, and among those if any are given.
pub fn deleted(folder: &Folder, among: Option<&UidSet>) -> UidSet {
    let marked = folder
        .messages
        .iter()
        .filter(|(_, message)| message.flags.contains(SystemFlag::Deleted));
    marked
        .map(|(uid, _)| Uid(*uid))
        .filter(|uid| among.is_none_or(|among| among.contains(*uid)))
        .collect()
}
