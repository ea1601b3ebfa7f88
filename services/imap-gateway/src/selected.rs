//! The selected mailbox of one session: what its client knows, and how it hears of more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postrider_imap::View;
use postrider_imap::response::{self, Code, Reply, Syntax, untagged};
use postrider_imap::session::Enabled;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_proto::mailstore::change::Kind;
use postrider_runtime::Port;
use postrider_runtime::drive::FLUSH_AT;
use postrider_types::{Flags, Keyword, Uid, Version};
use tokio::time::Instant;

use crate::answer::Stop;
use crate::folder_cache::{FlagState, Folder, FolderCache, Snapshot, uids_of};
use crate::gateway::Shared;
use crate::listings::Place;
use crate::rows;
use crate::store::Store;
use crate::watch::Subscription;

/// How long IDLE waits after a failure before it looks again.
const PAUSE: Duration = Duration::from_secs(5);
/// Messages of which is remembered that their client is ahead of the view: all that others change while one command runs, but
/// for a multitude.
const MAX_AHEAD: usize = 10_000;

/// A mailbox that is open. Idle, it costs this box: bitmaps are shared with every session that looks at the folder.
pub(crate) struct Selected {
    pub folder: Arc<Folder>,
    pub validity: u32,
    pub view: View,
    pub read_only: bool,
    pub news: Subscription,
    /// Keywords the client was told of, ascending.
    keywords: Arc<[Keyword]>,
    /// What was heard of the account when news were last announced.
    heard: Version,
    /// Everything up to `heard` was announced, EXPUNGE included.
    settled: bool,
    /// Not to be looked at before this.
    pause: Option<Instant>,
    /// Boxed: nearly always none.
    ahead: Option<Box<Ahead>>,
}

/// Mod-sequences the client was told that are beyond the view's version, by message.
#[derive(Default)]
struct Ahead(HashMap<Uid, u64>);

/// Flags that the answer to a command has told the client; or, if it was a silent STORE, what that made of messages.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub states: HashMap<Uid, FlagState>,
    /// The client computes the flags itself, from what it knew before.
    pub silent: bool,
}

/// Whether the mailbox is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    Gone,
}

/// When and how news are announced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion {
    pub enabled: Enabled,
    /// EXPUNGE is allowed.
    pub expunges: bool,
    /// Ask the mail store, whatever was heard.
    pub ask: bool,
}

impl Selected {
    /// Has just been opened: the client is told everything of the snapshot.
    pub fn new(
        folder: Arc<Folder>,
        validity: u32,
        snapshot: &Snapshot,
        news: Subscription,
        read_only: bool,
    ) -> Self {
        let heard = snapshot.index.version();
        news.reached(heard);
        Self {
            keywords: Arc::new([]),
            folder,
            validity,
            view: View::open(snapshot.index.clone()),
            read_only,
            news,
            heard,
            settled: true,
            pause: None,
            ahead: None,
        }
    }

    /// Where its messages are in the listings.
    pub fn place(&self, syntax: Syntax) -> Place {
        Place {
            account: self.folder.account,
            folder: self.folder.id,
            validity: self.validity,
            syntax,
        }
    }

    /// The client was told a state that may be later than the view: it is not to hear of an earlier one again.
    pub fn note_ahead(&mut self, uid: Uid, modseq: u64) {
        if modseq <= self.view.current().version().0 {
            return;
        }
        let ahead = &mut self.ahead.get_or_insert_default().0;
        if ahead.len() < MAX_AHEAD {
            ahead.insert(uid, modseq);
        }
    }

    fn is_behind(&self, state: &FlagState) -> bool {
        let told = self.ahead.as_ref().and_then(|ahead| ahead.0.get(&state.uid));
        told.is_some_and(|told| *told > state.modseq)
    }

    /// Forgets what the view has caught up with.
    fn forget_ahead(&mut self) {
        let version = self.view.current().version().0;
        if let Some(ahead) = &mut self.ahead {
            ahead.0.retain(|_, told| *told > version);
        }
        self.ahead = self.ahead.take().filter(|ahead| !ahead.0.is_empty());
    }

    /// Tells the client of keywords it has not heard of (RFC 9051 §7.3.5): before it sees one on a message.
    pub fn introduce(&mut self, out: &mut BytesMut, keywords: &[Keyword]) {
        let is_new = |keyword: &Keyword| self.keywords.binary_search(keyword).is_err();
        if keywords.iter().any(is_new) {
            self.keywords = self.folder.keywords_with(keywords);
            self.tell_keywords(out);
        }
    }

    /// FLAGS and PERMANENTFLAGS, with the keywords in use.
    pub fn tell_all_flags(&mut self, out: &mut BytesMut, keywords: &[Keyword]) {
        self.keywords = self.folder.keywords_with(keywords);
        self.tell_keywords(out);
    }

    fn tell_keywords(&self, out: &mut BytesMut) {
        response::flags(out, &self.keywords);
        let permanent = Code::PermanentFlags {
            flags: Flags::from_bits(if self.read_only { 0 } else { u8::MAX }),
            keywords: if self.read_only { &[] } else { &self.keywords },
            new_keywords: !self.read_only,
        };
        untagged(out, Reply::ok("flags that stay").with(permanent));
    }

    /// Marks what no session was told of before as `\Recent` in this one.
    pub fn claim_recent(&mut self, folders: &FolderCache) {
        let uids = self.view.current().uids();
        let recent = folders.recent(self.folder.account, self.folder.id, uids, !self.read_only);
        self.view.add_recent(&recent);
    }

    /// Waits until there may be something to announce. Cancel-safe.
    pub async fn stir(&self) {
        match self.pause {
            Some(until) => tokio::time::sleep_until(until).await,
            None => self.news.beyond(self.heard).await,
        }
    }

    /// Announces what is new since the last time, but for what `told` says the client knows.
    pub async fn announce(
        &mut self,
        shared: &Shared,
        port: &mut dyn Port,
        occasion: Occasion,
        told: &Told,
    ) -> Result<Presence, Stop> {
        let store = &shared.store;
        let latest = self.news.latest();
        if !occasion.ask && self.settled && latest <= self.heard {
            return Ok(Presence::Here);
        }
        let updated = self.update(store, latest, occasion.ask, told).await;
        self.pause = updated.is_err().then(|| Instant::now() + PAUSE);
        let Some(states) = updated? else {
            return Ok(Presence::Gone);
        };
        if !occasion.enabled.rev2 {
            self.claim_recent(&shared.folders);
        }
        let changed = self
            .view
            .announce(port.output(), occasion.enabled, occasion.expunges);
        self.settled = occasion.expunges;
        told.states
            .values()
            .for_each(|state| self.note_ahead(state.uid, state.modseq));
        self.tell(store, port, occasion.enabled, &changed, states).await?;
        self.forget_ahead();
        Ok(Presence::Here)
    }

    /// Brings the view forward. The latest state of messages whose flags changed; `None`: the folder is gone.
    async fn update(
        &mut self,
        store: &Store,
        latest: Version,
        ask: bool,
        told: &Told,
    ) -> Result<Option<HashMap<Uid, FlagState>>, Failure> {
        let snapshot = self.folder.advance(store, latest, ask).await?;
        if snapshot.gone {
            return Ok(None);
        }
        let before = self.view.current().version();
        let version = snapshot.index.version();
        let mut news = Changed::new(told);
        if version > before {
            match snapshot.steps_after(before) {
                Some(steps) => steps
                    .flat_map(|step| &step.flags)
                    .for_each(|state| news.add(state)),
                None => self.changes(store, before, &mut news).await?,
            }
        }
        if !told.silent {
            self.view.flags_told(&uids_of(told.states.values()));
        }
        let changed: UidSet = news.states.keys().copied().collect();
        self.view.update(snapshot.index.clone(), &changed);
        self.heard = latest.max(version);
        self.news.reached(version);
        Ok(Some(news.states))
    }

    /// Flag changes after a version that the shared folder does not remember.
    async fn changes(&self, store: &Store, since: Version, news: &mut Changed<'_>) -> Result<(), Failure> {
        let (account, folder) = (self.folder.account, self.folder.id);
        let mut pieces = store.changes(account, folder, since).await?;
        while let Some(piece) = pieces.next().await? {
            if piece.resync {
                let states = self.states(store, self.view.known(), since).await?;
                states.iter().for_each(|state| news.add(state));
                return Ok(());
            }
            let changes = piece.commits.iter().flat_map(|commit| &commit.changes);
            let flags = changes.filter(|change| change.kind() == Kind::Flags && change.folder == folder.0);
            flags
                .flat_map(|change| &change.messages)
                .for_each(|row| news.add(&FlagState::of(row)));
        }
        Ok(())
    }

    /// UIDs removed after a version; `None` when the log does not reach back that far.
    pub async fn removed_since(&self, store: &Store, since: Version) -> Result<Option<UidSet>, Failure> {
        let (account, folder) = (self.folder.account, self.folder.id);
        let mut removed = UidSet::new();
        let mut pieces = store.changes(account, folder, since).await?;
        while let Some(piece) = pieces.next().await? {
            if piece.resync {
                return Ok(None);
            }
            let changes = piece.commits.iter().flat_map(|commit| &commit.changes);
            let gone = changes.filter(|change| change.kind() == Kind::Removed && change.folder == folder.0);
            for change in gone {
                removed = removed.union(&rows::uids(&change.uids)?);
            }
        }
        Ok(Some(removed))
    }

    /// The states of messages as they are now, of those that changed after a version.
    async fn states(&self, store: &Store, uids: &UidSet, since: Version) -> Result<Vec<FlagState>, Failure> {
        let (account, folder) = (self.folder.account, self.folder.id);
        let mut pieces = store.messages(account, folder, uids, since, false).await?;
        let mut states = Vec::new();
        while let Some(piece) = pieces.next().await? {
            states.extend(piece.messages.iter().map(FlagState::of));
        }
        Ok(states)
    }

    async fn tell(
        &mut self,
        store: &Store,
        port: &mut dyn Port,
        enabled: Enabled,
        changed: &UidSet,
        mut states: HashMap<Uid, FlagState>,
    ) -> Result<(), Stop> {
        let missing: UidSet = changed.iter().filter(|uid| !states.contains_key(uid)).collect();
        if !missing.is_empty() {
            let read = self.states(store, &missing, Version(0)).await?;
            states.extend(read.into_iter().map(|state| (state.uid, state)));
        }
        for state in changed.iter().filter_map(|uid| states.get(&uid)) {
            if self.is_behind(state) {
                continue;
            }
            self.note_ahead(state.uid, state.modseq);
            let FlagState {
                uid,
                flags,
                keywords,
                modseq,
            } = state;
            self.introduce(port.output(), keywords);
            self.view
                .tell_flags(port.output(), *uid, *flags, keywords, *modseq, enabled);
            if port.output().len() >= FLUSH_AT {
                port.flush().await?;
            }
        }
        Ok(())
    }
}

/// Collects the latest state of each message, without what the client was told.
struct Changed<'a> {
    told: &'a Told,
    states: HashMap<Uid, FlagState>,
    /// Messages that somebody else changed as well.
    foreign: HashSet<Uid>,
}

impl<'a> Changed<'a> {
    fn new(told: &'a Told) -> Self {
        Self {
            told,
            states: HashMap::new(),
            foreign: HashSet::new(),
        }
    }

    fn add(&mut self, state: &FlagState) {
        let own = self.told.states.get(&state.uid).is_some_and(|told| {
            if self.told.silent {
                // Of a silent STORE, only its own change is known, and only on top of what was there before.
                told.same_flags(state) && told.modseq == state.modseq && !self.foreign.contains(&state.uid)
            } else {
                // The answer may have been read at a later version than the news: a client never goes back.
                told.modseq >= state.modseq || told.same_flags(state)
            }
        });
        if own {
            self.states.remove(&state.uid);
        } else {
            self.foreign.insert(state.uid);
            self.states.insert(state.uid, state.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(modseq: u64, flags: u8) -> FlagState {
        FlagState {
            uid: Uid(7),
            flags: Flags::from_bits(flags),
            keywords: Vec::new(),
            modseq,
        }
    }

    #[test]
    fn news_older_than_the_answer_are_not_told() {
        let told = Told {
            states: HashMap::from([(Uid(7), state(1057, 3))]),
            silent: false,
        };
        let mut news = Changed::new(&told);
        news.add(&state(1055, 1));
        assert!(news.states.is_empty(), "the client knows of 1057 already");
        news.add(&state(1058, 1));
        assert_eq!(news.states[&Uid(7)].modseq, 1058);
    }
}
