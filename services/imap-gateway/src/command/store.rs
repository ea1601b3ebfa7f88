//! STORE and UID STORE (RFC 9051 §6.4.6; UNCHANGEDSINCE, RFC 7162 §3.1.3).

use postrider_imap::command::{FlagList, Store, StoreOperation};
use postrider_imap::response::{Code, FetchLine};
use postrider_index::UidSet;
use postrider_proto::mailstore::StoreFlagsRequest;
use postrider_proto::mailstore::store_flags_request::Operation;
use postrider_proto::{Failure, Kind};
use postrider_types::{Keyword, Uid, Version};

use super::Exec;
use crate::answer::{Answer, AnswerCode, Outcome, Stop};
use crate::folder_cache::FlagState;
use crate::rows;

/// Messages of one request: its answer names each, and has to fit a message of the contract.
const PORTION: usize = 10_000;

/// What became of messages.
pub(super) struct Changed {
    /// As they are now, changed or not.
    pub states: Vec<FlagState>,
    /// Those that did not meet the condition.
    pub modified: UidSet,
    /// Those that this request changed, and nobody else in the same commit.
    pub alone: UidSet,
}

impl Exec<'_> {
    pub(super) async fn store(&mut self, store: Store) -> Outcome {
        let named = self.resolve(&store.set, store.uid)?;
        self.told.silent = store.silent;
        let mut modified = UidSet::new();
        let mut missing = named.some_gone;
        for uids in portions(&named.uids) {
            let stored = self.store_some(&store, &uids).await?;
            missing |= stored.0 < uids.len();
            modified = modified.union(&stored.1);
            self.settle_told().await?;
        }
        if !modified.is_empty() {
            let numbers = self.mailbox()?.view.numbers(&modified, store.uid);
            return Ok(
                Answer::ok("some messages were changed meanwhile").with_code(AnswerCode::Modified(numbers))
            );
        }
        if missing && !store.uid {
            return Ok(Answer::ok("some of the messages no longer exist").with(Code::ExpungeIssued));
        }
        Ok(Answer::ok("STORE completed"))
    }

    /// How many of the messages there were, and which of them did not meet the condition.
    async fn store_some(&mut self, store: &Store, uids: &UidSet) -> Result<(u32, UidSet), Stop> {
        let operation = match store.operation {
            StoreOperation::Replace => Operation::Replace,
            StoreOperation::Add => Operation::Add,
            StoreOperation::Remove => Operation::Remove,
        };
        let Changed {
            states,
            modified,
            alone,
        } = self
            .change_flags(uids, operation, &store.flags, store.unchanged_since)
            .await?;
        let enabled = self.session.enabled();
        // RFC 7162 §3.1.3: the mod-sequence is told even by a silent one.
        if !store.silent || enabled.condstore {
            for state in &states {
                self.tell_state(state, store.silent)?;
                self.relieve().await?;
            }
        }
        let there = u32::try_from(states.len()).unwrap_or(u32::MAX);
        let there = there.saturating_add(modified.len());
        let known = states
            .into_iter()
            .filter(|state| !store.silent || alone.contains(state.uid));
        self.told.states.extend(known.map(|state| (state.uid, state)));
        Ok((there, modified))
    }

    /// Changes flags of messages.
    pub(super) async fn change_flags(
        &mut self,
        uids: &UidSet,
        operation: Operation,
        flags: &FlagList,
        unchanged_since: Option<u64>,
    ) -> Result<Changed, Stop> {
        let selected = self.mailbox()?;
        let request = StoreFlagsRequest {
            account: selected.folder.account.get(),
            folder: selected.folder.id.0,
            uids: uids.to_bytes(),
            operation: operation.into(),
            flags: u32::from(flags.flags.bits()),
            keywords: flags.keywords.iter().map(Keyword::to_string).collect(),
            unchanged_since,
        };
        let stored = self.shared.store.store_flags(request).await.map_err(too_many)?;
        self.mailbox()?.news.reached(Version(stored.version));
        Ok(Changed {
            states: stored.messages.iter().map(FlagState::of).collect(),
            modified: rows::uids(&stored.modified)?,
            alone: rows::uids(&stored.changed)?,
        })
    }

    fn tell_state(&mut self, state: &FlagState, silent: bool) -> Result<(), Stop> {
        let enabled = self.session.enabled();
        let selected = self.selected.as_deref_mut();
        let Some((selected, sequence)) = selected.and_then(|selected| {
            let sequence = selected.view.sequence(state.uid)?;
            Some((selected, sequence))
        }) else {
            return Ok(());
        };
        let out = self.port.output();
        selected.introduce(out, &state.keywords);
        let mut line = FetchLine::start(out, sequence, enabled.syntax());
        line.uid(out, state.uid.0);
        match selected.view.recent().contains(state.uid) {
            _ if silent => {}
            true => line.flags_and_recent(out, state.flags, &state.keywords),
            false => line.flags(out, state.flags, &state.keywords),
        }
        if enabled.condstore {
            line.modseq(out, state.modseq);
        }
        line.end(out);
        Ok(())
    }
}

/// More keywords than a message can bear.
fn too_many(failure: Failure) -> Stop {
    match failure.kind {
        Kind::Invalid => Answer::no(failure.message).with(Code::Limit).into(),
        _ => failure.into(),
    }
}

/// A set in ascending portions that fit one request.
fn portions(uids: &UidSet) -> Vec<UidSet> {
    if uids.is_empty() {
        return Vec::new();
    }
    if uids.len() as usize <= PORTION {
        return vec![uids.clone()];
    }
    let all: Vec<Uid> = uids.iter().collect();
    all.chunks(PORTION)
        .map(|portion| portion.iter().copied().collect())
        .collect()
}
