//! Random operations against a naive model of an account, through two instances over one engine that fails at random.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;

use harness::*;
use postrider_coordination::Memory as Coordination;
use postrider_index::FolderIndex;
use postrider_proto::mailstore::*;
use postrider_store::memory::{Fault, Memory, Operation};
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{Flags, SystemFlag, Uid};
use proptest::prelude::*;
use tonic::Code;

const ACCOUNT: u64 = 7;
const NAMES: [&str; 6] = ["INBOX", "Archive", "a", "a/b", "c", "c/d"];
const DELETED: u32 = SystemFlag::Deleted as u32;
const KEYWORDS: [&str; 2] = ["$one", "$two"];

#[derive(Debug, Clone)]
enum Step {
    Deliver {
        folder: usize,
        body: u8,
        retry: bool,
    },
    Append {
        folder: usize,
        bodies: Vec<u8>,
    },
    Store {
        folder: usize,
        uids: Vec<u32>,
        operation: i32,
        flags: u32,
        keyword: Option<usize>,
        stale: bool,
    },
    Copy {
        from: usize,
        to: usize,
        uids: Vec<u32>,
        remove: bool,
    },
    Expunge {
        folder: usize,
        uids: Option<Vec<u32>>,
        force: bool,
    },
    Create(usize),
    Rename(usize, usize),
    Delete(usize),
    Subscribe(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let some = || proptest::collection::vec(1..12u32, 0..4);
    prop_oneof![
        5 => (name(), any::<u8>(), any::<bool>()).prop_map(|(folder, body, retry)| Step::Deliver { folder, body, retry }),
        2 => (name(), proptest::collection::vec(any::<u8>(), 1..4)).prop_map(|(folder, bodies)| Step::Append { folder, bodies }),
        4 => (name(), some(), 1..4i32, 0..32u32, proptest::option::of(0..2usize), any::<bool>())
            .prop_map(|(folder, uids, operation, flags, keyword, stale)| Step::Store { folder, uids, operation, flags, keyword, stale }),
        3 => (name(), name(), some(), any::<bool>()).prop_map(|(from, to, uids, remove)| Step::Copy { from, to, uids, remove }),
        2 => (name(), proptest::option::of(some()), any::<bool>()).prop_map(|(folder, uids, force)| Step::Expunge { folder, uids, force }),
        2 => name().prop_map(Step::Create),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name().prop_map(Step::Delete),
        1 => (name(), any::<bool>()).prop_map(|(name, subscribed)| Step::Subscribe(name, subscribed)),
    ]
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Fault::Conflict)),
        1 => Just(Some(Fault::UnknownApplied)),
        1 => Just(Some(Fault::UnknownNotApplied)),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Letter {
    content: Vec<u8>,
    size: u64,
    flags: u32,
    keywords: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Box_ {
    id: u32,
    subscribed: bool,
    uid_next: u32,
    letters: BTreeMap<u32, Letter>,
}

/// What an account should be, as simply as it can be said.
#[derive(Debug, Default)]
struct Model {
    boxes: BTreeMap<String, Box_>,
    subscriptions: Vec<String>,
    validities: BTreeMap<String, Vec<u32>>,
}

impl Model {
    fn id(&self, name: &str) -> u32 {
        // A number no folder has, where there is none.
        self.boxes.get(name).map_or(999, |it| it.id)
    }

    fn is_below(name: &str, above: &str) -> bool {
        name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Makes room for a name: whoever was only subscribed passes the subscription on.
    fn take_subscription(&mut self, name: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|it| it != name);
        before != self.subscriptions.len()
    }
}

struct World {
    clients: Vec<Client>,
    turn: usize,
    model: Model,
    last: Option<DeliverRequest>,
}

impl World {
    fn client(&mut self) -> &mut Client {
        self.turn += 1;
        let at = self.turn % self.clients.len();
        &mut self.clients[at]
    }

    async fn learn(&mut self) {
        // Ids and UIDVALIDITY are the store's to choose: taken over when a name is new, and never the same twice.
        let folders = folders(self.client(), ACCOUNT).await;
        for folder in folders.into_iter().filter(|it| it.exists) {
            let Some(known) = self.model.boxes.get_mut(&folder.name) else {
                panic!("{folder:?} should not be")
            };
            if known.id == 0 {
                known.id = folder.id;
                let used = self.model.validities.entry(folder.name.clone()).or_default();
                assert!(
                    !used.contains(&folder.uid_validity),
                    "UIDVALIDITY twice: {folder:?}"
                );
                used.push(folder.uid_validity);
            }
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Deliver { folder, body, retry } => self.deliver(NAMES[folder], body, retry).await,
            Step::Append { folder, bodies } => self.append(NAMES[folder], &bodies).await,
            Step::Store {
                folder,
                uids,
                operation,
                flags,
                keyword,
                stale,
            } => {
                self.store(NAMES[folder], &uids, operation, flags, keyword, stale)
                    .await;
            }
            Step::Copy {
                from,
                to,
                uids,
                remove,
            } => self.copy(NAMES[from], NAMES[to], &uids, remove).await,
            Step::Expunge { folder, uids, force } => self.expunge(NAMES[folder], uids, force).await,
            Step::Create(name) => self.create(NAMES[name]).await,
            Step::Rename(from, to) => self.rename(NAMES[from], NAMES[to]).await,
            Step::Delete(name) => self.delete(NAMES[name]).await,
            Step::Subscribe(name, subscribed) => self.subscribe(NAMES[name], subscribed).await,
        }
    }

    async fn deliver(&mut self, folder: &str, body: u8, retry: bool) {
        if let Some(request) = self.last.clone().filter(|_| retry) {
            let again = self
                .client()
                .deliver(request)
                .await
                .unwrap()
                .into_inner()
                .results
                .remove(0);
            assert_eq!(again.outcome(), deliver_result::Outcome::AlreadyDelivered);
            return;
        }
        let data = letter(&format!("{body}@a"), "s", "", &"x".repeat(body.into()));
        let size = data.len() as u64;
        let request = delivery(
            data,
            vec![DeliverRecipient {
                folder: folder.into(),
                ..recipient(ACCOUNT)
            }],
        );
        self.last = Some(request.clone());
        let response = self.client().deliver(request).await.unwrap().into_inner();
        let result = &response.results[0];
        assert_eq!(
            result.outcome(),
            deliver_result::Outcome::Delivered,
            "{}",
            result.detail
        );
        let name = if self.model.boxes.contains_key(folder) {
            folder
        } else {
            "INBOX"
        };
        let target = self.model.boxes.get_mut(name).unwrap();
        assert_eq!((result.folder, result.uid), (target.id, target.uid_next));
        let content = response.content_id.to_vec();
        target.letters.insert(
            target.uid_next,
            Letter {
                content,
                size,
                flags: 0,
                keywords: Vec::new(),
            },
        );
        target.uid_next += 1;
    }

    async fn append(&mut self, folder: &str, bodies: &[u8]) {
        let datas: Vec<_> = bodies
            .iter()
            .map(|body| letter("1@a", "s", "", &"y".repeat((*body).into())))
            .collect();
        let message = |data: &bytes::Bytes| AppendMessage {
            content: Some(append_message::Content::Inline(data.clone())),
            flags: 1,
            ..Default::default()
        };
        let messages = datas.iter().map(message).collect();
        let request = AppendMessagesRequest {
            account: ACCOUNT,
            folder: self.model.id(folder),
            quota: 0,
            messages,
        };
        let result = self.client().append_messages(request).await;
        let Some(target) = self.model.boxes.get_mut(folder) else {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
            return;
        };
        let appended = result.unwrap().into_inner();
        for ((data, uid), content) in datas.iter().zip(appended.uids).zip(appended.content_ids) {
            assert_eq!(uid, target.uid_next);
            let letter = Letter {
                content: content.to_vec(),
                size: data.len() as u64,
                flags: 1,
                keywords: Vec::new(),
            };
            target.letters.insert(uid, letter);
            target.uid_next += 1;
        }
    }

    async fn store(
        &mut self,
        folder: &str,
        some: &[u32],
        operation: i32,
        flags: u32,
        keyword: Option<usize>,
        stale: bool,
    ) {
        let keywords: Vec<String> = keyword.map(|at| KEYWORDS[at].into()).into_iter().collect();
        let request = StoreFlagsRequest {
            account: ACCOUNT,
            folder: self.model.id(folder),
            uids: uids(some),
            operation,
            flags,
            keywords: keywords.clone(),
            // Nothing is unchanged since before the first commit.
            unchanged_since: stale.then_some(0),
        };
        let result = self.client().store_flags(request).await;
        let Some(target) = self.model.boxes.get_mut(folder) else {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
            return;
        };
        let stored = result.unwrap().into_inner();
        let meant: Vec<u32> = target
            .letters
            .keys()
            .copied()
            .filter(|uid| some.contains(uid))
            .collect();
        if stale {
            assert_eq!((members(&stored.modified), stored.messages.len()), (meant, 0));
            return;
        }
        assert_eq!(stored.messages.iter().map(|it| it.uid).collect::<Vec<_>>(), meant);
        for row in &stored.messages {
            let letter = target.letters.get_mut(&row.uid).unwrap();
            match operation {
                1 => {
                    letter.flags |= flags;
                    letter.keywords.extend(keywords.clone());
                    letter.keywords.sort();
                    letter.keywords.dedup();
                }
                2 => {
                    letter.flags &= !flags;
                    letter.keywords.retain(|it| !keywords.contains(it));
                }
                _ => (letter.flags, letter.keywords) = (flags, keywords.clone()),
            }
            assert_eq!((row.flags, &row.keywords), (letter.flags, &letter.keywords));
        }
    }

    async fn copy(&mut self, from: &str, to: &str, some: &[u32], remove: bool) {
        let (folder, destination) = (self.model.id(from), self.model.id(to));
        let request = CopyMessagesRequest {
            account: ACCOUNT,
            folder,
            uids: uids(some),
            destination,
            r#move: remove,
            quota: 0,
        };
        let result = self.client().copy_messages(request).await;
        if !self.model.boxes.contains_key(from) || !self.model.boxes.contains_key(to) {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
            return;
        }
        let copied = result.unwrap().into_inner();
        let source = self.model.boxes.get_mut(from).unwrap();
        let meant: Vec<(u32, Letter)> = source
            .letters
            .iter()
            .filter(|(uid, _)| some.contains(uid))
            .map(|(uid, it)| (*uid, it.clone()))
            .collect();
        if remove {
            source.letters.retain(|uid, _| !some.contains(uid));
        }
        assert_eq!(
            copied.source_uids,
            meant.iter().map(|(uid, _)| *uid).collect::<Vec<_>>()
        );
        let target = self.model.boxes.get_mut(to).unwrap();
        for ((_, letter), uid) in meant.into_iter().zip(copied.destination_uids) {
            assert_eq!(uid, target.uid_next);
            target.letters.insert(uid, letter);
            target.uid_next += 1;
        }
    }

    async fn expunge(&mut self, folder: &str, some: Option<Vec<u32>>, force: bool) {
        // No bytes mean all; an empty set has bytes.
        let set = some.as_deref().map(uids).unwrap_or_default();
        let request = ExpungeMessagesRequest {
            account: ACCOUNT,
            folder: self.model.id(folder),
            uids: set,
            force,
        };
        let result = self.client().expunge_messages(request).await;
        let Some(target) = self.model.boxes.get_mut(folder) else {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
            return;
        };
        let meant = |uid: &u32, letter: &Letter| {
            some.as_ref().is_none_or(|some| some.contains(uid)) && (force || letter.flags & DELETED != 0)
        };
        let gone: Vec<u32> = target
            .letters
            .iter()
            .filter(|(uid, it)| meant(uid, it))
            .map(|(uid, _)| *uid)
            .collect();
        assert_eq!(members(&result.unwrap().into_inner().expunged), gone);
        target.letters.retain(|uid, _| !gone.contains(uid));
    }

    async fn make(&mut self, name: &str) {
        let above: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
        for name in above.into_iter().chain([name]) {
            if !self.model.boxes.contains_key(name) {
                let subscribed = self.model.take_subscription(name);
                self.model.boxes.insert(
                    name.into(),
                    Box_ {
                        subscribed,
                        uid_next: 1,
                        ..Box_::default()
                    },
                );
            }
        }
    }

    async fn create(&mut self, name: &str) {
        let request = CreateFolderRequest {
            account: ACCOUNT,
            name: name.into(),
            role: String::new(),
        };
        let result = self.client().create_folder(request).await;
        if self.model.boxes.contains_key(name) {
            assert_eq!(result.unwrap_err().code(), Code::AlreadyExists);
            return;
        }
        result.unwrap();
        self.make(name).await;
        self.learn().await;
    }

    async fn rename(&mut self, from: &str, to: &str) {
        let request = RenameFolderRequest {
            account: ACCOUNT,
            from: from.into(),
            to: to.into(),
        };
        let result = self.client().rename_folder(request).await;
        let exists = |name: &str| self.model.boxes.contains_key(name);
        let expected = if from == to || to == "INBOX" {
            Some(Code::AlreadyExists)
        } else if !exists(from) {
            Some(Code::NotFound)
        } else if exists(to) {
            Some(Code::AlreadyExists)
        } else if Model::is_below(to, from) && from != "INBOX" {
            Some(Code::InvalidArgument)
        } else {
            let below = self
                .model
                .boxes
                .keys()
                .filter(|name| Model::is_below(name, from) && from != "INBOX");
            let taken = below
                .map(|name| name.replacen(from, to, 1))
                .any(|name| exists(&name));
            taken.then_some(Code::AlreadyExists)
        };
        if let Some(code) = expected {
            assert_eq!(result.unwrap_err().code(), code);
            return;
        }
        result.unwrap();
        if from == "INBOX" {
            self.make(to).await;
            let letters = std::mem::take(&mut self.model.boxes.get_mut("INBOX").unwrap().letters);
            let target = self.model.boxes.get_mut(to).unwrap();
            for (_, letter) in letters {
                target.letters.insert(target.uid_next, letter);
                target.uid_next += 1;
            }
        } else {
            if let Some((above, _)) = to.rsplit_once('/') {
                self.make(above).await;
            }
            let names: Vec<String> = self
                .model
                .boxes
                .keys()
                .filter(|it| *it == from || Model::is_below(it, from))
                .cloned()
                .collect();
            for name in names {
                let mut moved = self.model.boxes.remove(&name).unwrap();
                let name = name.replacen(from, to, 1);
                moved.subscribed |= self.model.take_subscription(&name);
                self.model.boxes.insert(name, moved);
            }
        }
        self.learn().await;
    }

    async fn delete(&mut self, name: &str) {
        let result = self
            .client()
            .delete_folder(DeleteFolderRequest {
                account: ACCOUNT,
                name: name.into(),
            })
            .await;
        let has_below = self.model.boxes.keys().any(|it| Model::is_below(it, name));
        if !self.model.boxes.contains_key(name) {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
        } else if name == "INBOX" || has_below {
            assert_eq!(result.unwrap_err().code(), Code::FailedPrecondition);
        } else {
            result.unwrap();
            if self.model.boxes.remove(name).unwrap().subscribed {
                self.model.subscriptions.push(name.into());
            }
        }
    }

    async fn subscribe(&mut self, name: &str, subscribed: bool) {
        let request = SetSubscriptionRequest {
            account: ACCOUNT,
            name: name.into(),
            subscribed,
        };
        let result = self.client().set_subscription(request).await;
        if let Some(folder) = self.model.boxes.get_mut(name) {
            result.unwrap();
            folder.subscribed = subscribed;
        } else if subscribed {
            result.unwrap();
            self.model.take_subscription(name);
            self.model.subscriptions.push(name.into());
        } else if self.model.take_subscription(name) {
            result.unwrap();
        } else {
            assert_eq!(result.unwrap_err().code(), Code::NotFound);
        }
    }

    /// Whether the store is what the model says, by every way of looking at it.
    async fn check(&mut self) {
        let listed = folders(self.client(), ACCOUNT).await;
        let mut names: Vec<&str> = listed
            .iter()
            .filter(|it| !it.exists)
            .map(|it| it.name.as_str())
            .collect();
        names.sort_unstable();
        self.model.subscriptions.sort();
        assert_eq!(names, self.model.subscriptions);
        let existing: Vec<Folder> = listed.into_iter().filter(|it| it.exists).collect();
        assert_eq!(
            existing.iter().map(|it| &it.name).collect::<Vec<_>>(),
            self.model.boxes.keys().collect::<Vec<_>>()
        );
        let (mut used, mut messages) = (0, 0);
        for folder in &existing {
            let expected = self.model.boxes[&folder.name].clone();
            let letters = expected.letters.values();
            let with = |flag: u32| letters.clone().filter(move |it| it.flags & flag != 0);
            assert_eq!(
                (folder.id, folder.subscribed, folder.uid_next),
                (expected.id, expected.subscribed, expected.uid_next)
            );
            assert_eq!(folder.messages as usize, expected.letters.len());
            assert_eq!(folder.unseen as usize, expected.letters.len() - with(1).count());
            assert_eq!(folder.deleted as usize, with(DELETED).count());
            assert_eq!(folder.size, letters.clone().map(|it| it.size).sum::<u64>());
            assert_eq!(folder.deleted_size, with(DELETED).map(|it| it.size).sum::<u64>());
            used += folder.size;
            messages += u64::from(folder.messages);
            let rows = list(self.client(), ACCOUNT, folder.id).await;
            let rows: BTreeMap<u32, Letter> = rows
                .into_iter()
                .map(|it| {
                    (
                        it.uid,
                        Letter {
                            content: it.content_id.to_vec(),
                            size: it.size,
                            flags: it.flags,
                            keywords: it.keywords,
                        },
                    )
                })
                .collect();
            assert_eq!(rows, expected.letters);
            self.check_index(folder, &rows).await;
        }
        let account = self
            .client()
            .get_account(GetAccountRequest { account: ACCOUNT })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((account.used_bytes, account.messages), (used, messages));
        let log = changes(self.client(), ACCOUNT, 0, 0).await.unwrap();
        assert!(log.iter().map(|it| it.version).eq(1..=account.version));
    }

    /// The index as opened, and as it follows from the change log alone.
    async fn check_index(&mut self, folder: &Folder, rows: &BTreeMap<u32, Letter>) {
        let (version, _, index) = open(self.client(), ACCOUNT, folder.id).await;
        assert_eq!(
            index.uids().iter().map(|uid| uid.0).collect::<Vec<_>>(),
            rows.keys().copied().collect::<Vec<_>>()
        );
        let mut followed = FolderIndex::default();
        for commit in changes(self.client(), ACCOUNT, 0, folder.id).await.unwrap() {
            for change in &commit.changes {
                let flags = |row: &MessageRow| Flags::from_bits(row.flags as u8);
                match change.kind() {
                    change::Kind::Added => change
                        .messages
                        .iter()
                        .for_each(|row| followed.add(Uid(row.uid), flags(row))),
                    change::Kind::Flags => {
                        change
                            .messages
                            .iter()
                            .for_each(|row| followed.set_flags(Uid(row.uid), flags(row)));
                    }
                    change::Kind::Removed => members(&change.uids).into_iter().for_each(|uid| {
                        assert!(followed.remove(Uid(uid)));
                    }),
                    _ => {}
                }
            }
            followed.advance(postrider_types::Version(commit.version));
        }
        assert_eq!((followed.version().0, &followed), (version, &index));
        for (uid, letter) in rows {
            assert_eq!(u32::from(index.flags(Uid(*uid)).bits()), letter.flags);
        }
    }
}

async fn play<E: AccountEngine + ContentEngine + Clone>(
    engine: &E,
    steps: Vec<(Step, Option<Fault>)>,
    inject: impl Fn(Fault),
) {
    let hints = Arc::new(Coordination::new());
    let clients = (0..2).map(|_| client(&instance_over(engine, &hints))).collect();
    let mut world = World {
        clients,
        turn: 0,
        model: Model::default(),
        last: None,
    };
    for name in ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"] {
        world.model.boxes.insert(
            name.into(),
            Box_ {
                subscribed: true,
                uid_next: 1,
                ..Box_::default()
            },
        );
    }
    world.learn().await;
    for (step, fault) in steps {
        if let Some(fault) = fault {
            inject(fault);
        }
        world.take(step).await;
    }
    world.check().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_account_behaves_as_its_model(steps in proptest::collection::vec((step(), fault()), 1..40)) {
        let engine = Memory::new();
        runtime().block_on(play(&engine, steps, |fault| engine.inject(Operation::Commit, fault)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn so_it_does_on_disk(steps in proptest::collection::vec((step(), Just(None)), 20..60)) {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let database = postrider_embedded::Database::open(dir.path(), postrider_embedded::Options::default()).unwrap();
            let engine = postrider_store::embedded::Embedded::open(database).await.unwrap();
            play(&engine, steps, |_| {}).await;
        });
    }
}
