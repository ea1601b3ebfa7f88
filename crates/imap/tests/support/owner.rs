//! Answers a session's events from an account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_imap::command::{
    AppendMessage, Command, Copy, Fetch, FetchItem, List, Search, SectionText, Select, Status, StatusItem,
    Store,
};
use postrider_imap::mailbox::pattern_matches;
use postrider_imap::response::{
    self, Attribute, Code, ESearch, FetchLine, ListLine, Namespaces, Numbers, Reply, Rfc822, Usage,
};
use postrider_imap::session::{AppendDone, Config, Event, Session, State};
use postrider_imap::view::View;
use postrider_index::UidSet;
use postrider_types::{SystemFlag, Uid};
use postrider_wire::{Session as _, Step};

use super::account::{Account, Folder, deleted, store};

pub struct Owner {
    pub session: Session,
    pub account: Account,
    pub now: Instant,
    input: BytesMut,
    output: BytesMut,
    view: Option<(String, View)>,
    appending: Vec<(AppendMessage, Vec<u8>)>,
    pub last: Option<Step<Event>>,
}

impl Owner {
    pub fn new(config: Config, account: Account) -> Self {
        let mut session = Session::new(Arc::new(config));
        session.allow_plaintext();
        Self::with(session, account)
    }

    pub fn with(session: Session, account: Account) -> Self {
        Self {
            session,
            account,
            now: Instant::now(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            view: None,
            appending: Vec::new(),
            last: None,
        }
    }

    /// The client sends this; what the server sends is returned.
    pub fn hear(&mut self, octets: &[u8]) -> BytesMut {
        self.input.extend_from_slice(octets);
        self.run()
    }

    pub fn wait(&mut self, time: Duration) -> BytesMut {
        self.now += time;
        self.run()
    }

    /// Octets that have arrived and wait to be used.
    pub fn unread(&self) -> usize {
        self.input.len()
    }

    pub fn run(&mut self) -> BytesMut {
        loop {
            match self.session.step(self.now, &mut self.input, &mut self.output) {
                Step::Event(event) => self.act(event),
                Step::StartTls => {
                    assert!(self.input.is_empty());
                    self.last = Some(Step::StartTls);
                    break;
                }
                step => {
                    self.last = Some(step);
                    break;
                }
            }
        }
        std::mem::take(&mut self.output)
    }

    /// Tells an idling client what is new.
    pub fn push(&mut self) -> BytesMut {
        if self.session.is_idling() {
            self.announce(true);
        }
        std::mem::take(&mut self.output)
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Password { user, password } => {
                if user == "bob" && password.expose() == b"hungry" {
                    self.session.complete(&mut self.output, Reply::ok("Welcome"));
                } else {
                    let reply =
                        Reply::no("No such user, or another password").with(Code::AuthenticationFailed);
                    self.session.complete(&mut self.output, reply);
                }
            }
            Event::Verifier { .. } => {
                let verifier = postrider_sasl::Verifier::derive(b"hungry", b"salt of bob", 4096);
                self.session.verifier(&mut self.output, verifier);
            }
            Event::Proved { .. } => self.session.complete(&mut self.output, Reply::ok("Welcome")),
            Event::Command(command) => {
                if self.session.take_condstore_news()
                    && let Some((name, _)) = &self.view
                {
                    let modseq = self.account.folders[name].highest_modseq();
                    response::untagged(
                        &mut self.output,
                        Reply::ok("CONDSTORE is on").with(Code::HighestModSeq(modseq)),
                    );
                }
                self.command(command);
            }
            Event::Append(message) => {
                if self.account.folders.contains_key(&message.mailbox) {
                    self.appending.push((message, Vec::new()));
                    self.session.accept_message(&mut self.output);
                } else {
                    self.appending.clear();
                    self.session.complete(
                        &mut self.output,
                        Reply::no("No such mailbox").with(Code::TryCreate),
                    );
                }
            }
            Event::AppendData(data) => self
                .appending
                .last_mut()
                .expect("a message")
                .1
                .extend_from_slice(&data),
            Event::AppendEnd(AppendDone::Aborted) => self.appending.clear(),
            Event::AppendEnd(AppendDone::Complete) => {
                let (mut uids, mut validity) = (Vec::new(), 0);
                for (head, raw) in std::mem::take(&mut self.appending) {
                    assert_eq!(head.size, raw.len() as u64);
                    validity = self.account.folders[&head.mailbox].validity;
                    let received = head.received.unwrap_or(837_596_665_000);
                    uids.push(
                        self.account
                            .append(&head.mailbox, raw, head.flags, head.keywords, received),
                    );
                }
                self.announce(true);
                let code = Code::AppendUid {
                    validity,
                    uids: &uids,
                };
                self.session
                    .complete(&mut self.output, Reply::ok("APPEND completed").with(code));
            }
            Event::Idle => self.announce(true),
            Event::Done => self.finish("IDLE", true),
        }
    }

    fn command(&mut self, command: Command) {
        let (verb, expunges) = (command.verb(), command.allows_expunge());
        let syntax = self.session.syntax();
        match command {
            Command::Id(_) => {
                response::id(&mut self.output, &[("name", Some("Postrider"))], syntax);
                self.finish(verb, expunges);
            }
            Command::Select(select) => self.select(select),
            Command::Create(create) => {
                if self.account.folders.contains_key(&create.mailbox) {
                    let reply = Reply::no("It exists").with(Code::AlreadyExists);
                    return self.session.complete(&mut self.output, reply);
                }
                self.account.folders.insert(create.mailbox, Folder::new(9));
                self.session.complete(
                    &mut self.output,
                    Reply::ok("CREATE completed").with(Code::MailboxId("F9")),
                );
            }
            Command::Delete(name) => {
                self.account.folders.remove(&name);
                self.finish(verb, expunges);
            }
            Command::List(list) => self.list(&list),
            Command::Lsub { reference, pattern } => {
                for name in &self.account.subscribed {
                    if pattern_matches(&format!("{reference}{pattern}"), name) {
                        response::lsub(&mut self.output, &[], name, syntax);
                    }
                }
                self.finish(verb, expunges);
            }
            Command::Namespace => {
                let namespaces = Namespaces {
                    personal: &[""],
                    ..Namespaces::default()
                };
                response::namespace(&mut self.output, namespaces, syntax);
                self.finish(verb, expunges);
            }
            Command::Status(Status { mailbox, items }) => {
                let items: Vec<_> = items.iter().collect();
                self.status(&mailbox, &items);
                self.finish(verb, expunges);
            }
            Command::GetQuotaRoot(name) => {
                response::quota_root(&mut self.output, &name, &[""], syntax);
                let usage = Usage {
                    resource: postrider_imap::command::QuotaResource::Storage,
                    used: 10,
                    limit: 512,
                };
                response::quota(&mut self.output, "", &[usage], syntax);
                self.finish(verb, expunges);
            }
            Command::Close | Command::Unselect => {
                let (name, _) = self.view.take().expect("a selected mailbox");
                if verb == "CLOSE" && self.session.state() == (State::Selected { read_only: false }) {
                    let gone = deleted(&self.account.folders[&name], None);
                    self.account.expunge(&name, &gone);
                }
                self.finish(verb, expunges);
            }
            Command::Expunge(set) => {
                let (name, view) = self.view.as_ref().expect("a selected mailbox");
                let among = set.map(|set| view.resolve(&set, true).expect("UIDs are never wrong"));
                let gone = deleted(&self.account.folders[name], among.as_ref());
                self.account.expunge(&name.clone(), &gone);
                self.finish(verb, expunges);
            }
            Command::Search(search) => self.search(search),
            Command::Fetch(fetch) => self.fetch(fetch),
            Command::Store(store) => self.store(store),
            Command::Copy(copy) => self.copy(copy, false),
            Command::Move(copy) => self.copy(copy, true),
            Command::Noop | Command::Check => self.finish(verb, expunges),
            other => self.session.complete(
                &mut self.output,
                Reply::no(&format!("{} is not here", other.verb())),
            ),
        }
    }

    fn select(&mut self, select: Select) {
        self.view = None;
        let Some(folder) = self.account.folders.get(&select.mailbox) else {
            return self.session.complete(
                &mut self.output,
                Reply::no("No such mailbox").with(Code::NonExistent),
            );
        };
        let (out, enabled) = (&mut self.output, self.session.enabled());
        let view = View::open(folder.index());
        response::exists(out, view.exists());
        if !enabled.rev2 {
            response::recent(out, 0);
        }
        if let (Some(first), false) = (view.current().first_unseen(), enabled.rev2) {
            response::untagged(out, Reply::ok("First unseen").with(Code::Unseen(first)));
        }
        response::untagged(
            out,
            Reply::ok("UIDs are valid").with(Code::UidValidity(folder.validity)),
        );
        response::untagged(
            out,
            Reply::ok("Predicted next UID").with(Code::UidNext(folder.next)),
        );
        response::untagged(
            out,
            Reply::ok("Highest").with(Code::HighestModSeq(folder.highest_modseq())),
        );
        response::flags(out, &folder.keywords());
        let all = postrider_types::Flags::from_bits(31);
        let flags = Code::PermanentFlags {
            flags: all,
            keywords: &folder.keywords(),
            new_keywords: true,
        };
        response::untagged(out, Reply::ok("Flags are kept").with(flags));
        if let Some(known) = select
            .qresync
            .filter(|known| known.uid_validity == folder.validity)
        {
            let gone = folder
                .expunged
                .iter()
                .filter(|(modseq, _)| *modseq > known.modseq);
            let gone: UidSet = gone.map(|(_, uid)| Uid(*uid)).collect();
            response::vanished(out, Numbers::Set(&gone), true);
            for uid in folder.changed_since(known.modseq).iter() {
                let message = &folder.messages[&uid.0];
                view.tell_flags(
                    out,
                    uid,
                    message.flags,
                    &message.keywords,
                    message.modseq,
                    enabled,
                );
            }
        }
        let code = if select.read_only {
            Code::ReadOnly
        } else {
            Code::ReadWrite
        };
        let text = if select.read_only {
            "EXAMINE completed"
        } else {
            "SELECT completed"
        };
        self.view = Some((select.mailbox, view));
        self.session
            .complete(&mut self.output, Reply::ok(text).with(code));
    }

    fn list(&mut self, list: &List) {
        let syntax = self.session.syntax();
        if list.patterns == [""] && !list.extended {
            let line = ListLine {
                attributes: &[Attribute::NoSelect],
                ..ListLine::default()
            };
            response::list(&mut self.output, line, syntax);
        }
        let names: Vec<String> = self.account.folders.keys().cloned().collect();
        for name in names {
            let subscribed = self.account.subscribed.contains(&name);
            let wanted = |pattern: &String| pattern_matches(&format!("{}{pattern}", list.reference), &name);
            if !list.patterns.iter().any(wanted) || (list.select.subscribed && !subscribed) {
                continue;
            }
            let mut attributes = Vec::new();
            if subscribed && (list.returns.subscribed || list.select.subscribed) {
                attributes.push(Attribute::Subscribed);
            }
            if list.returns.children {
                attributes.push(Attribute::HasNoChildren);
            }
            let line = ListLine {
                attributes: &attributes,
                name: &name,
                ..ListLine::default()
            };
            response::list(&mut self.output, line, syntax);
            if let Some(items) = list.returns.status {
                let items: Vec<_> = items.iter().collect();
                self.status(&name, &items);
            }
        }
        self.finish("LIST", true);
    }

    fn status(&mut self, name: &str, items: &[StatusItem]) {
        let folder = &self.account.folders[name];
        let index = folder.index();
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => index.len().into(),
            StatusItem::UidNext => folder.next.into(),
            StatusItem::UidValidity => folder.validity.into(),
            StatusItem::Unseen => index.unseen().into(),
            StatusItem::Deleted => index.with_flag(SystemFlag::Deleted).len().into(),
            StatusItem::Size => folder
                .messages
                .values()
                .map(|message| message.raw.len() as u64)
                .sum(),
            StatusItem::HighestModSeq => folder.highest_modseq(),
            _ => 0,
        };
        let values: Vec<_> = items.iter().map(|item| (*item, value(item))).collect();
        response::mailbox_status(&mut self.output, name, &values, None, self.session.syntax());
    }

    fn search(&mut self, search: Search) {
        let (name, view) = self.view.as_mut().expect("a selected mailbox");
        let found = self.account.search(name, view, &search.key);
        let highest = found
            .iter()
            .map(|uid| self.account.folders[name.as_str()].messages[&uid.0].modseq)
            .max();
        let modseq = highest.filter(|_| search.key.names_modseq());
        let numbers = view.numbers(&found, search.uid);
        if search.returns.is_some_and(|returns| returns.save) {
            view.save(found);
        }
        match search.returns {
            None => response::search(&mut self.output, numbers.iter().map(|uid| uid.0), modseq),
            Some(returns) if returns.min || returns.max || returns.all || returns.count => {
                let answer = ESearch {
                    uid: search.uid,
                    min: numbers.min().map(|uid| uid.0).filter(|_| returns.min),
                    max: numbers.max().map(|uid| uid.0).filter(|_| returns.max),
                    count: returns.count.then_some(numbers.len()),
                    all: returns.all.then_some(Numbers::Set(&numbers)),
                    modseq,
                };
                response::esearch(&mut self.output, self.session.tag(), answer);
            }
            Some(_) => {}
        }
        self.finish("SEARCH", search.uid);
    }

    fn fetch(&mut self, fetch: Fetch) {
        let (name, view) = self.view.as_ref().expect("a selected mailbox");
        let Ok(mut uids) = view.resolve(&fetch.set, fetch.uid) else {
            return self
                .session
                .complete(&mut self.output, Reply::bad("No such message"));
        };
        let (name, enabled) = (name.clone(), self.session.enabled());
        let folder = self.account.folders.get_mut(&name).expect("its folder");
        if let Some(since) = fetch.changed_since {
            if fetch.vanished {
                let gone = folder
                    .expunged
                    .iter()
                    .filter(|(modseq, _)| *modseq > since)
                    .map(|(_, uid)| Uid(*uid));
                response::vanished(&mut self.output, Numbers::Set(&gone.collect()), true);
            }
            uids = uids.intersection(&folder.changed_since(since));
        }
        let tells_modseq = fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq);
        for uid in uids.iter() {
            let (Some(sequence), Some(message)) = (view.sequence(uid), folder.messages.get_mut(&uid.0))
            else {
                continue;
            };
            let marks = fetch.items.iter().any(FetchItem::marks_seen)
                && !message.flags.contains(SystemFlag::Seen)
                && self.session.state() == (State::Selected { read_only: false });
            if marks {
                self.account.modseq += 1;
                message.flags = message.flags.with(SystemFlag::Seen);
                message.modseq = self.account.modseq;
            }
            let out = &mut self.output;
            let description = postrider_message::describe(&message.raw);
            let mut line = FetchLine::start(out, sequence, enabled.syntax());
            if fetch.uid && !fetch.items.contains(&FetchItem::Uid) {
                line.uid(out, uid.0);
            }
            for item in &fetch.items {
                match item {
                    FetchItem::Flags => line.flags(out, message.flags, &message.keywords),
                    FetchItem::Uid => line.uid(out, uid.0),
                    FetchItem::InternalDate => line.internal_date(out, message.received),
                    FetchItem::Rfc822Size => line.size(out, message.raw.len() as u64),
                    FetchItem::Envelope => line.envelope(out, &description.envelope),
                    FetchItem::Body => line.structure(out, &description.structure, false),
                    FetchItem::BodyStructure => line.structure(out, &description.structure, true),
                    FetchItem::Rfc822 => line.rfc822(out, Rfc822::Message, Some(&message.raw)),
                    FetchItem::EmailId => line.email_id(out, &format!("M{uid}")),
                    FetchItem::Preview { .. } => line.preview(out, Some(&description.preview)),
                    FetchItem::ModSeq if !tells_modseq => {}
                    FetchItem::Section { section, partial, .. } => {
                        let kind = match &section.text {
                            None => postrider_message::SectionText::Body,
                            Some(SectionText::Text) => postrider_message::SectionText::Text,
                            Some(SectionText::Mime) => postrider_message::SectionText::Mime,
                            Some(_) => postrider_message::SectionText::Header,
                        };
                        let range = description.structure.section(&section.part, kind);
                        let data = range.map(|range| &message.raw[range.start as usize..range.end as usize]);
                        let data = data.map(|data| match partial {
                            Some(partial) => {
                                let from = (partial.offset as usize).min(data.len());
                                &data[from..(from + partial.count as usize).min(data.len())]
                            }
                            None => data,
                        });
                        line.section(out, section, partial.map(|partial| partial.offset), data);
                    }
                    _ => {}
                }
            }
            if marks && !fetch.items.contains(&FetchItem::Flags) {
                line.flags(out, message.flags, &message.keywords);
            }
            if tells_modseq || (enabled.condstore && fetch.items.contains(&FetchItem::Flags)) {
                line.modseq(out, message.modseq);
            }
            line.end(out);
        }
        self.finish("FETCH", fetch.uid);
    }

    fn store(&mut self, command: Store) {
        let (name, view) = self.view.as_mut().expect("a selected mailbox");
        let Ok(uids) = view.resolve(&command.set, command.uid) else {
            return self
                .session
                .complete(&mut self.output, Reply::bad("No such message"));
        };
        let enabled = self.session.enabled();
        let folder = self.account.folders.get_mut(name).expect("its folder");
        self.account.modseq += 1;
        let mut modified = UidSet::new();
        for uid in uids.iter() {
            let Some(message) = folder.messages.get_mut(&uid.0) else {
                continue;
            };
            if command
                .unchanged_since
                .is_some_and(|since| message.modseq > since)
            {
                modified.insert(uid);
                continue;
            }
            store(message, &command);
            message.modseq = self.account.modseq;
            if !command.silent || enabled.condstore {
                let sequence = view.sequence(uid).expect("a known message");
                let mut line = FetchLine::start(&mut self.output, sequence, enabled.syntax());
                if command.uid {
                    line.uid(&mut self.output, uid.0);
                }
                if !command.silent {
                    line.flags(&mut self.output, message.flags, &message.keywords);
                }
                if enabled.condstore {
                    line.modseq(&mut self.output, message.modseq);
                }
                line.end(&mut self.output);
            }
        }
        let numbers = view.numbers(&modified, command.uid);
        let reply = Reply::ok("STORE completed").with(Code::Modified(Numbers::Set(&numbers)));
        self.announce(command.uid);
        self.session.complete(&mut self.output, reply);
    }

    fn copy(&mut self, copy: Copy, moves: bool) {
        let (name, view) = self.view.as_ref().expect("a selected mailbox");
        let Ok(uids) = view.resolve(&copy.set, copy.uid) else {
            return self
                .session
                .complete(&mut self.output, Reply::bad("No such message"));
        };
        let name = name.clone();
        if !self.account.folders.contains_key(&copy.mailbox) {
            return self.session.complete(
                &mut self.output,
                Reply::no("No such mailbox").with(Code::TryCreate),
            );
        }
        let (mut source, mut destination) = (Vec::new(), Vec::new());
        for uid in uids.iter() {
            let Some(message) = self.account.folders[&name].messages.get(&uid.0) else {
                continue;
            };
            let copied = (
                message.raw.clone(),
                message.flags,
                message.keywords.clone(),
                message.received,
            );
            source.push(uid.0);
            destination.push(
                self.account
                    .append(&copy.mailbox, copied.0, copied.1, copied.2, copied.3),
            );
        }
        let validity = self.account.folders[&copy.mailbox].validity;
        let code = Code::CopyUid {
            validity,
            source: &source,
            destination: &destination,
        };
        if moves {
            response::untagged(&mut self.output, Reply::ok("Moved").with(code));
            self.account.expunge(&name, &uids);
            self.finish("MOVE", true);
        } else {
            self.announce(true);
            self.session
                .complete(&mut self.output, Reply::ok("COPY completed").with(code));
        }
    }

    fn finish(&mut self, verb: &str, expunges: bool) {
        self.announce(expunges);
        self.session
            .complete(&mut self.output, Reply::ok(&format!("{verb} completed")));
    }

    fn announce(&mut self, expunges: bool) {
        let Some((name, view)) = &mut self.view else {
            return;
        };
        let Some(folder) = self.account.folders.get(name) else {
            return;
        };
        let index = folder.index();
        view.update(index, &UidSet::new());
        // No flags of other sessions here: this account has one.
        let _ = view.announce(&mut self.output, self.session.enabled(), expunges);
    }
}
