//! Which parser a command's name stands for, and the same the other way.

use super::writer::Writer;
use super::{
    Authenticate, Command, Copy, Create, Enable, Fetch, Id, List, Login, Rename, Search, Select, SetQuota,
    Sort, Status, Store, Thread,
};
use crate::parse::{Cursor, ParseError, Result};
use crate::set::MessageSet;

impl Command {
    /// Parses a framed command behind its tag and space. `utf8`: mailbox names are UTF-8 (rev2 or UTF8=ACCEPT is on). APPEND is
    /// none of these: it streams.
    pub fn parse(text: &[u8], utf8: bool) -> Result<Self> {
        let mut cursor = Cursor::new(text, utf8);
        let verb = cursor.atom("a command")?.to_ascii_uppercase();
        let command = match verb.as_str() {
            "UID" => {
                cursor.space()?;
                let verb = cursor.atom("a command")?.to_ascii_uppercase();
                Self::parse_messages(&verb, &mut cursor, true)?
            }
            verb => Self::parse_verb(verb, &mut cursor)?,
        };
        cursor.end()?;
        Ok(command)
    }

    fn parse_verb(verb: &str, cursor: &mut Cursor<'_>) -> Result<Self> {
        Ok(match verb {
            "CAPABILITY" => Command::Capability,
            "NOOP" => Command::Noop,
            "LOGOUT" => Command::Logout,
            "ID" => Command::Id(Id::parse(cursor)?),
            "STARTTLS" => Command::StartTls,
            "AUTHENTICATE" => Command::Authenticate(Authenticate::parse(cursor)?),
            "LOGIN" => Command::Login(Login::parse(cursor)?),
            "ENABLE" => Command::Enable(Enable::parse(cursor)?),
            "SELECT" => Command::Select(Select::parse(cursor, false)?),
            "EXAMINE" => Command::Select(Select::parse(cursor, true)?),
            "CREATE" => Command::Create(Create::parse(cursor)?),
            "DELETE" => Command::Delete(mailbox(cursor)?),
            "RENAME" => Command::Rename(Rename::parse(cursor)?),
            "SUBSCRIBE" => Command::Subscribe(mailbox(cursor)?),
            "UNSUBSCRIBE" => Command::Unsubscribe(mailbox(cursor)?),
            "LIST" => Command::List(List::parse(cursor)?),
            "LSUB" => {
                let reference = mailbox(cursor)?;
                cursor.space()?;
                Command::Lsub {
                    reference,
                    pattern: cursor.list_mailbox()?,
                }
            }
            "NAMESPACE" => Command::Namespace,
            "STATUS" => Command::Status(Status::parse(cursor)?),
            "IDLE" => Command::Idle,
            "GETQUOTA" => {
                cursor.space()?;
                Command::GetQuota(cursor.text("a quota root")?)
            }
            "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox(cursor)?),
            "SETQUOTA" => Command::SetQuota(SetQuota::parse(cursor)?),
            "CHECK" => Command::Check,
            "CLOSE" => Command::Close,
            "UNSELECT" => Command::Unselect,
            "APPEND" => return Err(ParseError::Expected("a message as a literal")),
            verb => Self::parse_messages(verb, cursor, false)?,
        })
    }

    /// The commands that exist with and without UID.
    fn parse_messages(verb: &str, cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        Ok(match verb {
            "FETCH" => Command::Fetch(Fetch::parse(cursor, uid)?),
            "STORE" => Command::Store(Store::parse(cursor, uid)?),
            "SEARCH" => Command::Search(Search::parse(cursor, uid)?),
            "SORT" => Command::Sort(Sort::parse(cursor, uid)?),
            "THREAD" => Command::Thread(Thread::parse(cursor, uid)?),
            "COPY" => Command::Copy(Copy::parse(cursor, uid)?),
            "MOVE" => Command::Move(Copy::parse(cursor, uid)?),
            "EXPUNGE" if uid => {
                cursor.space()?;
                Command::Expunge(Some(MessageSet::parse(cursor)?))
            }
            "EXPUNGE" => Command::Expunge(None),
            _ => return Err(ParseError::UnknownCommand),
        })
    }

    /// Appends the command behind its tag, without CRLF.
    pub(crate) fn put(&self, writer: &mut Writer<'_>) {
        if self.is_uid() {
            writer.text("UID ");
        }
        writer.text(self.verb());
        match self {
            Command::Id(id) => id.put(writer),
            Command::Authenticate(authenticate) => authenticate.put(writer),
            Command::Login(login) => login.put(writer),
            Command::Enable(enable) => enable.put(writer),
            Command::Select(select) => select.put(writer),
            Command::Create(create) => create.put(writer),
            Command::Rename(rename) => rename.put(writer),
            Command::Delete(name)
            | Command::Subscribe(name)
            | Command::Unsubscribe(name)
            | Command::GetQuotaRoot(name) => {
                writer.text(" ");
                writer.mailbox(name);
            }
            Command::GetQuota(root) => {
                writer.text(" ");
                writer.astring(root.as_bytes());
            }
            Command::List(list) => list.put(writer),
            Command::Lsub { reference, pattern } => {
                writer.text(" ");
                writer.mailbox(reference);
                writer.text(" ");
                writer.pattern(pattern);
            }
            Command::Status(status) => status.put(writer),
            Command::SetQuota(quota) => quota.put(writer),
            Command::Expunge(Some(set)) => {
                writer.text(" ");
                set.put(writer.out());
            }
            Command::Search(search) => search.put(writer),
            Command::Sort(sort) => sort.put(writer),
            Command::Thread(thread) => thread.put(writer),
            Command::Fetch(fetch) => fetch.put(writer),
            Command::Store(store) => store.put(writer),
            Command::Copy(copy) | Command::Move(copy) => copy.put(writer),
            _ => {}
        }
    }

    fn is_uid(&self) -> bool {
        match self {
            Command::Expunge(set) => set.is_some(),
            Command::Search(search) => search.uid,
            Command::Sort(sort) => sort.uid,
            Command::Thread(thread) => thread.uid,
            Command::Fetch(fetch) => fetch.uid,
            Command::Store(store) => store.uid,
            Command::Copy(copy) | Command::Move(copy) => copy.uid,
            _ => false,
        }
    }

    /// Its name without UID, for logs and metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Capability => "CAPABILITY",
            Command::Noop => "NOOP",
            Command::Logout => "LOGOUT",
            Command::Id(_) => "ID",
            Command::StartTls => "STARTTLS",
            Command::Authenticate(_) => "AUTHENTICATE",
            Command::Login(_) => "LOGIN",
            Command::Enable(_) => "ENABLE",
            Command::Select(Select { read_only: false, .. }) => "SELECT",
            Command::Select(_) => "EXAMINE",
            Command::Create(_) => "CREATE",
            Command::Delete(_) => "DELETE",
            Command::Rename(_) => "RENAME",
            Command::Subscribe(_) => "SUBSCRIBE",
            Command::Unsubscribe(_) => "UNSUBSCRIBE",
            Command::List(_) => "LIST",
            Command::Lsub { .. } => "LSUB",
            Command::Namespace => "NAMESPACE",
            Command::Status(_) => "STATUS",
            Command::Idle => "IDLE",
            Command::GetQuota(_) => "GETQUOTA",
            Command::GetQuotaRoot(_) => "GETQUOTAROOT",
            Command::SetQuota(_) => "SETQUOTA",
            Command::Check => "CHECK",
            Command::Close => "CLOSE",
            Command::Unselect => "UNSELECT",
            Command::Expunge(_) => "EXPUNGE",
            Command::Search(_) => "SEARCH",
            Command::Sort(_) => "SORT",
            Command::Thread(_) => "THREAD",
            Command::Fetch(_) => "FETCH",
            Command::Store(_) => "STORE",
            Command::Copy(_) => "COPY",
            Command::Move(_) => "MOVE",
        }
    }
}

fn mailbox(cursor: &mut Cursor<'_>) -> Result<String> {
    cursor.space()?;
    cursor.mailbox()
}
