//! What commands do: one file per verb or family of verbs.

pub(crate) mod append;
mod copy;
mod expunge;
mod fetch;
mod list;
pub(crate) mod login;
mod mailbox;
mod quota;
mod search;
mod select;
mod session;
mod sort;
mod status;
mod store;
mod thread;

use postrider_imap::response::{Code, Reply, untagged};
use postrider_imap::set::MessageSet;
use postrider_imap::{Command, Session};
use postrider_index::UidSet;
use postrider_runtime::Port;
use postrider_runtime::drive::FLUSH_AT;
use postrider_types::AccountId;

use crate::answer::{Answer, Outcome, Stop};
use crate::gateway::Shared;
use crate::selected::{Occasion, Selected, Told};
use crate::users::User;

/// Flags told by one command that are remembered at a time.
const MAX_TOLD: usize = 4096;

/// What a command works with.
pub(crate) struct Exec<'a> {
    pub shared: &'a Shared,
    pub user: &'a User,
    pub selected: &'a mut Option<Box<Selected>>,
    pub session: &'a mut Session,
    pub port: &'a mut dyn Port,
    /// Flags that the command's own answer tells.
    pub told: &'a mut Told,
}

/// The messages a command is about, and whether some of those it names have vanished.
pub(crate) struct Named {
    pub uids: UidSet,
    pub some_gone: bool,
}

impl Exec<'_> {
    /// Acts on a command; the answer is yet to be written, after what is new in the mailbox.
    pub async fn run(&mut self, command: Command) -> Outcome {
        match command {
            Command::Noop => Ok(Answer::ok("NOOP completed")),
            Command::Check => Ok(Answer::ok("CHECK completed")),
            Command::Id(id) => Ok(session::id(self.session, self.port, &id)),
            Command::Namespace => Ok(self.namespace()),
            Command::Select(select) => self.select(select).await,
            Command::Close => self.close().await,
            Command::Unselect => {
                *self.selected = None;
                Ok(Answer::ok("UNSELECT completed"))
            }
            Command::Create(create) => self.create(create).await,
            Command::Delete(name) => self.delete(name).await,
            Command::Rename(rename) => self.rename(rename).await,
            Command::Subscribe(name) => self.subscribe(name, true).await,
            Command::Unsubscribe(name) => self.subscribe(name, false).await,
            Command::List(list) => self.list(list).await,
            Command::Lsub { reference, pattern } => self.lsub(reference, pattern).await,
            Command::Status(status) => self.status(status).await,
            Command::GetQuota(root) => self.get_quota(root).await,
            Command::GetQuotaRoot(name) => self.get_quota_root(name).await,
            Command::SetQuota(_) => Ok(Answer::no("limits are the administrator's").with(Code::NoPerm)),
            Command::Expunge(set) => self.expunge(set).await,
            Command::Search(search) => self.search(search).await,
            Command::Sort(sort) => self.sort(sort).await,
            Command::Thread(thread) => self.thread(thread).await,
            Command::Fetch(fetch) => Box::pin(self.fetch(fetch)).await,
            Command::Store(store) => self.store(store).await,
            Command::Copy(copy) => self.copy(copy, false).await,
            Command::Move(copy) => self.copy(copy, true).await,
            // The session answers these itself.
            Command::Capability
            | Command::Logout
            | Command::StartTls
            | Command::Authenticate(_)
            | Command::Login(_)
            | Command::Enable(_)
            | Command::Idle => Ok(Answer::bad("not now")),
        }
    }

    /// `[HIGHESTMODSEQ]`, when CONDSTORE was turned on while a mailbox is selected (RFC 7162 §3.1.2.2).
    pub fn condstore_news(&mut self) {
        let owed = self.session.take_condstore_news();
        if let Some(selected) = self.selected.as_ref().filter(|_| owed) {
            let version = selected.view.current().version();
            let reply = Reply::ok("CONDSTORE is on").with(Code::HighestModSeq(version.0));
            untagged(self.port.output(), reply);
        }
    }

    pub fn account(&self) -> AccountId {
        self.user.account
    }

    /// The selected mailbox; the session lets no command through that needs one without.
    pub fn mailbox(&mut self) -> Result<&mut Selected, Stop> {
        let selected = self.selected.as_deref_mut();
        selected.ok_or_else(|| Answer::bad("select a mailbox first").into())
    }

    /// The messages of a set that the client knows and that are still there.
    pub fn resolve(&mut self, set: &MessageSet, uid: bool) -> Result<Named, Stop> {
        let view = &self.mailbox()?.view;
        let named = view
            .resolve(set, uid)
            .map_err(|error| Answer::bad(error.to_string()))?;
        let uids = named.intersection(view.current().uids());
        Ok(Named {
            some_gone: uids.len() < named.len(),
            uids,
        })
    }

    /// Announces what is new in the middle of a command that changes many messages, so that what it has told need not be
    /// remembered to its end. EXPUNGE waits.
    pub async fn settle_told(&mut self) -> Result<(), Stop> {
        if self.told.states.len() < MAX_TOLD {
            return Ok(());
        }
        let occasion = Occasion {
            enabled: self.session.enabled(),
            expunges: false,
            ask: false,
        };
        let shared = self.shared;
        if let Some(selected) = self.selected.as_deref_mut() {
            selected.announce(shared, self.port, occasion, self.told).await?;
        }
        self.told.states.clear();
        Ok(())
    }

    /// Writes what has gathered, if it is much.
    pub async fn relieve(&mut self) -> std::io::Result<()> {
        if self.port.output().len() >= FLUSH_AT {
            self.port.flush().await?;
        }
        Ok(())
    }
}

/// The commands that are allowed before login.
pub(crate) fn before_login(command: Command, session: &mut Session, port: &mut dyn Port) -> Outcome {
    Ok(match command {
        Command::Noop => Answer::ok("NOOP completed"),
        Command::Id(id) => session::id(session, port, &id),
        _ => Answer::bad("log in first"),
    })
}
