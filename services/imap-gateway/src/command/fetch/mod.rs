//! FETCH and UID FETCH (RFC 9051 §6.4.5): rows stream from the mail store, lines stream to the client.
//!
//! What is read depends on what is asked for: nothing for UIDs alone, columns for flags and sizes, rows for dates, descriptions for
//! envelopes, structures and parts, and of the content only the bytes that a section needs. Memory does not grow with the
//! number of messages or their size.

mod binary;
mod content;
mod line;
mod plan;

use postrider_imap::command::{Fetch, FetchItem, FlagList};
use postrider_imap::response::{Code, FetchLine, Numbers, vanished};
use postrider_imap::set::MessageSet;
use postrider_index::UidSet;
use postrider_message::SummaryView;
use postrider_proto::mailstore::list_messages_request::Brief;
use postrider_proto::mailstore::store_flags_request::Operation;
use postrider_proto::mailstore::{ListMessagesResponse, MessageColumns, MessageRow};
use postrider_types::{Flags, SystemFlag, Uid, Version};

use self::content::Content;
use self::line::Line;
use self::plan::{Needs, Plan};
use super::Exec;
use crate::answer::{Answer, Outcome, Stop};
use crate::failure::damaged;
use crate::listings::{Gathering, Part};
use crate::rows;
use crate::store::Store;

/// Messages whose bytes are read ahead of their turn together, and how many bytes that may be.
const READ_AHEAD: usize = 64;
const READ_AHEAD_BYTES: u64 = 8 * content::AHEAD;

/// What a FETCH came to.
#[derive(Default)]
struct Fetched {
    messages: u32,
    /// A part could not be decoded.
    unknown_encoding: bool,
}

/// Where envelopes come from.
enum Listing<'a> {
    /// From the rows alone.
    None,
    /// They are held.
    Held(&'a Part),
    /// From the rows, and they are held from now on.
    Gathered(Gathering<'a>),
}

impl Listing<'_> {
    fn envelope(&mut self, row: &MessageRow) -> Option<&[u8]> {
        match self {
            Listing::None => None,
            Listing::Held(part) => part.envelope(Uid(row.uid)),
            Listing::Gathered(gathering) => {
                // One that is damaged is not kept, and complained of where it is told.
                let summary = SummaryView::new(&row.description).ok()?;
                Some(gathering.add(row, summary.envelope))
            }
        }
    }
}

impl Exec<'_> {
    pub(super) async fn fetch(&mut self, fetch: Fetch) -> Outcome {
        let named = self.resolve(&fetch.set, fetch.uid)?;
        if fetch.vanished {
            self.tell_vanished(&fetch).await?;
        }
        let plan = Plan::new(&fetch, self.session.enabled());
        let fetched = if named.uids.is_empty() {
            Fetched::default()
        } else if plan.needs == Needs::Nothing {
            self.fetch_uids(&named.uids).await?
        } else if plan.is_listing() && fetch.changed_since.is_none() {
            self.fetch_listing(&plan, &named.uids).await?
        } else {
            self.fetch_rows(&plan, &named.uids, Version(fetch.changed_since.unwrap_or(0)))
                .await?
        };
        let missing = named.some_gone || fetch.changed_since.is_none() && fetched.messages < named.uids.len();
        Ok(if fetched.unknown_encoding {
            Answer::no("a part has an encoding that is not known").with(Code::UnknownCte)
        } else if missing && !fetch.uid {
            // RFC 5530 §3: done, as far as there was anything to do.
            Answer::ok("some of the messages no longer exist").with(Code::ExpungeIssued)
        } else {
            Answer::ok("FETCH completed")
        })
    }

    /// UIDs are known without asking.
    async fn fetch_uids(&mut self, uids: &UidSet) -> Result<Fetched, Stop> {
        let syntax = self.session.syntax();
        let mut before = None;
        for uid in uids.iter() {
            let Some(sequence) = self.mailbox()?.view.sequence_after(&mut before, uid) else {
                continue;
            };
            let out = self.port.output();
            let mut line = FetchLine::start(out, sequence, syntax);
            line.uid(out, uid.0);
            line.end(out);
            self.relieve().await?;
        }
        Ok(Fetched {
            messages: uids.len(),
            unknown_encoding: false,
        })
    }

    /// Envelopes: as far as they are held, the mail store is asked for flags alone, if these are told.
    async fn fetch_listing(&mut self, plan: &Plan<'_>, uids: &UidSet) -> Result<Fetched, Stop> {
        let syntax = self.session.syntax();
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let place = selected.place(syntax);
        let shared = self.shared;
        let mut fetched = Fetched::default();
        let mut next = uids.min();
        while let Some(from) = next {
            let part = shared.listings.part(place, uids, from);
            if part.uids.is_empty() {
                break;
            }
            next = part.last.checked_next();
            let is_held = !part.blocks.is_empty();
            let mut listing = if is_held {
                Listing::Held(&part)
            } else {
                Listing::Gathered(shared.listings.gather(place))
            };
            if is_held && plan.is_kept() {
                let rows: Vec<MessageRow> = part.uids.iter().filter_map(|uid| part.row(uid)).collect();
                self.tell_facts(plan, &rows, &mut listing, &mut fetched).await?;
                continue;
            }
            let pieces = shared
                .store
                .messages(account, folder, &part.uids, Version(0), !is_held);
            let mut pieces = pieces.await?;
            while let Some(piece) = pieces.next().await? {
                self.tell_facts(plan, &piece.messages, &mut listing, &mut fetched)
                    .await?;
            }
        }
        Ok(fetched)
    }

    async fn fetch_rows(&mut self, plan: &Plan<'_>, uids: &UidSet, since: Version) -> Result<Fetched, Stop> {
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let shared = self.shared;
        let store = &shared.store;
        let mut pieces = match plan.needs {
            Needs::Flags => store.briefs(account, folder, uids, Brief::Flags).await?,
            Needs::Size => store.briefs(account, folder, uids, Brief::Sizes).await?,
            needs => {
                let described = needs >= Needs::Summary;
                store.messages(account, folder, uids, since, described).await?
            }
        };
        let mut fetched = Fetched::default();
        while let Some(ListMessagesResponse {
            mut messages,
            columns,
        }) = pieces.next().await?
        {
            if let Some(columns) = columns {
                self.tell_columns(plan, columns, &mut fetched).await?;
            }
            let marked = if plan.marks_seen {
                self.mark_seen(&mut messages).await?
            } else {
                UidSet::new()
            };
            if plan.reads_content {
                self.tell_contents(plan, &messages, &marked, &mut fetched).await?;
            } else {
                self.tell_facts(plan, &messages, &mut Listing::None, &mut fetched)
                    .await?;
            }
            self.settle_told().await?;
        }
        Ok(fetched)
    }

    /// Lines that need nothing but rows.
    async fn tell_facts(
        &mut self,
        plan: &Plan<'_>,
        messages: &[MessageRow],
        listing: &mut Listing<'_>,
        fetched: &mut Fetched,
    ) -> Result<(), Stop> {
        let shared = self.shared;
        let mut before = None;
        for row in messages {
            let mut content = Content::new(&shared.store, plan, row);
            content.envelope = listing.envelope(row);
            self.tell_fact(plan, &content, &mut before, fetched)?;
            self.relieve().await?;
        }
        Ok(())
    }

    /// The same of messages that came as columns.
    async fn tell_columns(
        &mut self,
        plan: &Plan<'_>,
        columns: MessageColumns,
        fetched: &mut Fetched,
    ) -> Result<(), Stop> {
        let uids = rows::uids(&columns.uids)?;
        let (many, sizes) = (uids.len() as usize, columns.sizes.len());
        if columns.flags.len() != many || sizes != many && plan.needs == Needs::Size {
            return Err(damaged("columns have other lengths than their UIDs").into());
        }
        let shared = self.shared;
        let sizes = columns.sizes.into_iter().chain(std::iter::repeat(0));
        let mut before = None;
        let mut row = MessageRow::default();
        for ((uid, flags), size) in uids.iter().zip(columns.flags).zip(sizes) {
            let current = self.mailbox()?.view.current();
            let ahead = columns.version > current.version().0 && current.flags(uid).bits() != flags;
            row.uid = uid.0;
            row.flags = flags.into();
            row.size = size;
            row.modseq = if ahead { columns.version } else { 0 };
            let content = Content::new(&shared.store, plan, &row);
            self.tell_fact(plan, &content, &mut before, fetched)?;
            self.relieve().await?;
        }
        Ok(())
    }

    fn tell_fact(
        &mut self,
        plan: &Plan<'_>,
        content: &Content<'_>,
        before: &mut Option<(Uid, u32)>,
        fetched: &mut Fetched,
    ) -> Result<(), Stop> {
        if let Some(line) = self.begin(content, before, plan.has(&FetchItem::Flags))? {
            line.write_facts(self.port, plan, content);
            fetched.messages += 1;
        }
        Ok(())
    }

    /// Lines with some of each message, which is read ahead.
    async fn tell_contents(
        &mut self,
        plan: &Plan<'_>,
        messages: &[MessageRow],
        marked: &UidSet,
        fetched: &mut Fetched,
    ) -> Result<(), Stop> {
        let shared = self.shared;
        let mut rest = messages;
        let mut ready = Vec::new().into_iter();
        let mut before = None;
        loop {
            let Some(mut content) = ready.next() else {
                if rest.is_empty() {
                    return Ok(());
                }
                let next = read_ahead(&shared.store, plan, rest).await;
                rest = rest.get(next.len()..).unwrap_or_default();
                ready = next.into_iter();
                continue;
            };
            let told = marked.contains(content.uid());
            let tells_flags = told || plan.has(&FetchItem::Flags);
            let Some(line) = self.begin(&content, &mut before, tells_flags)? else {
                continue;
            };
            if line.write(self.port, plan, &mut content, told).await? {
                fetched.messages += 1;
            }
            fetched.unknown_encoding |= content.has_unknown_encoding;
            self.relieve().await?;
        }
    }

    /// Begins the line of a message; `None` when the client does not know it.
    fn begin(
        &mut self,
        content: &Content<'_>,
        before: &mut Option<(Uid, u32)>,
        tells_flags: bool,
    ) -> Result<Option<Line>, Stop> {
        let selected = self.selected.as_deref_mut();
        let selected = selected.ok_or_else(|| Answer::bad("select a mailbox first"))?;
        let Some(sequence) = selected.view.sequence_after(before, content.uid()) else {
            return Ok(None);
        };
        if tells_flags && !content.row.keywords.is_empty() {
            selected.introduce(self.port.output(), &rows::keywords(content.row));
        }
        // The row may be later than the view, and the news between the two must not be told behind it.
        selected.note_ahead(content.uid(), content.row.modseq);
        let recent = selected.view.recent().contains(content.uid());
        Ok(Some(Line::start(
            self.port,
            sequence,
            self.session.syntax(),
            recent,
        )))
    }

    /// Sets `\Seen` where it is not set; which messages that was.
    async fn mark_seen(&mut self, messages: &mut [MessageRow]) -> Result<UidSet, Stop> {
        if self.mailbox()?.read_only {
            return Ok(UidSet::new());
        }
        let unseen = messages
            .iter()
            .filter(|row| !rows::flags(row).contains(SystemFlag::Seen));
        let unseen: UidSet = unseen.map(|row| Uid(row.uid)).collect();
        if unseen.is_empty() {
            return Ok(unseen);
        }
        let seen = FlagList {
            flags: Flags::EMPTY.with(SystemFlag::Seen),
            keywords: Vec::new(),
        };
        let states = match self.change_flags(&unseen, Operation::Add, &seen, None).await {
            Ok(changed) => changed.states,
            // The messages can be read all the same.
            Err(Stop::Answer(_)) => return Ok(UidSet::new()),
            Err(lost) => return Err(lost),
        };
        let mut marked = UidSet::new();
        for state in states {
            if let Ok(at) = messages.binary_search_by_key(&state.uid.0, |row| row.uid)
                && let Some(row) = messages.get_mut(at)
            {
                row.flags = u32::from(state.flags.bits());
                row.keywords = state.keywords.iter().map(ToString::to_string).collect();
                row.modseq = state.modseq;
                marked.insert(state.uid);
                self.told.states.insert(state.uid, state);
            }
        }
        Ok(marked)
    }

    /// Names those of the set that were removed since the client was informed (RFC 7162 §3.2.6).
    async fn tell_vanished(&mut self, fetch: &Fetch) -> Result<(), Stop> {
        let Some(since) = fetch.changed_since else {
            return Ok(());
        };
        let selected = self.mailbox()?;
        let current = selected.view.current().uids().clone();
        let largest = selected.view.known().max().map_or(0, |uid| uid.0);
        let asked = match &fetch.set {
            MessageSet::Saved => return Ok(()),
            MessageSet::Numbers(set) => UidSet::from_ranges(set.resolve(largest.max(1)).map(|range| {
                let (first, last) = range.into_inner();
                Uid(first)..=Uid(last)
            })),
        };
        let selected = self
            .selected
            .as_deref()
            .ok_or_else(|| Answer::bad("select a mailbox first"))?;
        let removed = match selected.removed_since(&self.shared.store, Version(since)).await? {
            Some(removed) => removed,
            // The log does not reach back that far: everything below the largest UID that is not there.
            None => UidSet::from_ranges([Uid(1)..=Uid(largest)]),
        };
        let gone = removed.difference(&current).intersection(&asked);
        vanished(self.port.output(), Numbers::Set(&gone), true);
        Ok(())
    }
}

/// The next few messages, with what they need of their bytes read in one go.
async fn read_ahead<'a>(store: &'a Store, plan: &Plan<'_>, rows: &'a [MessageRow]) -> Vec<Content<'a>> {
    let (mut ready, mut places, mut wanted, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for row in rows.iter().take(READ_AHEAD) {
        let content = Content::new(store, plan, row);
        if let Some(range) = content.wanted(plan) {
            bytes += range.length;
            places.push((ready.len(), range.offset));
            wanted.push(range);
        }
        ready.push(content);
        if bytes + content::AHEAD > READ_AHEAD_BYTES {
            break;
        }
    }
    if !wanted.is_empty() {
        // What is not read here is read again where it is needed, and fails there.
        let read = store.contents(wanted).await.unwrap_or_default();
        for ((at, offset), bytes) in places.into_iter().zip(read) {
            if let Some(content) = ready.get_mut(at) {
                content.hold(offset, bytes);
            }
        }
    }
    ready
}
