//! One connection: acting on what its session asks.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use postrider_pop3::server::{Event, Refusal, Server};
use postrider_proto::directory::AuthenticateResponse;
use postrider_proto::{Failure, Kind};
use postrider_runtime::{Handler, Port};
use postrider_types::AccountId;

use crate::ahead::Ahead;
use crate::failure::{GONE, NO_STORE, store_refusal};
use crate::listener::Shared;
use crate::lock::Lock;
use crate::maildrop::{Inbox, Message};
use crate::metrics::METRICS;

type Session = Server<Inbox>;

/// What a connection needs beside its session.
pub struct Conversation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: IpAddr,
    /// Whose verifier was fetched.
    pub(crate) identity: Option<AuthenticateResponse>,
    pub(crate) open: Option<Open>,
    ahead: Ahead,
}

/// A maildrop that is open.
pub(crate) struct Open {
    pub(crate) account: AccountId,
    pub(crate) lock: Lock,
}

impl Conversation {
    pub(crate) fn new(shared: Arc<Shared>, peer: IpAddr) -> Self {
        Self {
            shared,
            peer,
            identity: None,
            open: None,
            ahead: Ahead::default(),
        }
    }

    /// Sends a message, or as much of it as is wanted.
    async fn retrieve(&mut self, session: &mut Session, place: usize, port: &mut dyn Port) -> io::Result<()> {
        let inbox = session.maildrop();
        let Some((inbox, message)) = inbox.and_then(|inbox| Some((inbox, inbox.message(place)?))) else {
            session.refused(GONE);
            return Ok(());
        };
        // Whoever reads slowly keeps a place, not memory without bound.
        let Ok(_place) = self.shared.retrievals.acquire().await else {
            session.refused(NO_STORE);
            return Ok(());
        };
        let (store, sessions) = (&self.shared.store, &self.shared.ahead);
        let read = self.ahead.first_piece(store, sessions, inbox, place, message);
        let mut piece = match checked(message, read.await) {
            Ok(piece) => piece,
            Err(refusal) => {
                session.refused(refusal);
                return Ok(());
            }
        };
        session.begin_message(port.output());
        let mut sent = 0;
        loop {
            let wants_more = session.write_message(&piece, port.output());
            sent += piece.len() as u64;
            if !wants_more || piece.is_empty() || sent >= message.size {
                break;
            }
            port.flush().await?;
            piece = self
                .shared
                .store
                .read(message.content, sent)
                .await
                .map_err(broken)?;
            if piece.is_empty() {
                return Err(broken("the message is shorter than its row says"));
            }
        }
        session.end_message(port.output());
        METRICS.retrieved.add(1, &[]);
        METRICS.bytes.add(sent, &[]);
        Ok(())
    }

    /// Deletes what was marked, and lets go of the maildrop.
    async fn update(&mut self, session: &mut Session) {
        let Some(open) = self.open.take() else {
            session.refused(NO_STORE);
            return;
        };
        let count = session.marked_count();
        let uids = session
            .maildrop()
            .map(|inbox| inbox.uids(session.marked()))
            .unwrap_or_default();
        let deleted = self.shared.store.delete(open.account, &uids).await;
        open.lock.release().await;
        match deleted {
            Ok(()) => {
                METRICS.deleted.add(count as u64, &[]);
                session.updated();
            }
            Err(failure) => session.refused(store_refusal(&failure)),
        }
    }
}

impl Handler<Session> for Conversation {
    type Outside = std::convert::Infallible;

    async fn event(&mut self, session: &mut Session, event: Event, port: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::LogIn { user, password } => {
                let opened = self.log_in(&user, &password).await;
                answer(session, opened);
            }
            Event::FetchVerifier { user } => match self.fetch_verifier(&user).await {
                Ok(verifier) => session.verifier(verifier),
                Err(refusal) => session.refused(refusal),
            },
            Event::Open { user } => {
                let opened = self.open_proved(&user).await;
                answer(session, opened);
            }
            Event::ProofFailed { user } => {
                let refusal = self.login_failed(&user).await;
                session.refused(refusal);
            }
            Event::Retrieve { message } => self.retrieve(session, message, port).await?,
            Event::Update => self.update(session).await,
            Event::Flush => port.flush().await?,
        }
        Ok(())
    }

    fn drain(&mut self, session: &mut Session) {
        session.drain();
    }
}

/// A first piece, as a client can be told of it.
fn checked(message: Message, piece: Result<Bytes, Failure>) -> Result<Bytes, Refusal> {
    match piece {
        Ok(piece) if piece.is_empty() && message.size > 0 => Err(GONE),
        Ok(piece) => Ok(piece),
        Err(failure) if failure.kind == Kind::NotFound => Err(GONE),
        Err(failure) => Err(store_refusal(&failure)),
    }
}

fn answer(session: &mut Session, opened: Result<Inbox, Refusal>) {
    match opened {
        Ok(inbox) => session.opened(inbox),
        Err(refusal) => session.refused(refusal),
    }
}

/// A message that cannot be finished: the connection is closed, since a client must not take the half for the whole.
fn broken(why: impl std::fmt::Display) -> io::Error {
    tracing::warn!(%why, "a message could not be sent to its end");
    io::Error::other("a message could not be read to its end")
}
