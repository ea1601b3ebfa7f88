//! IMAP: a connection with an account, commands one after the other, IDLE.

use std::net::SocketAddr;
use std::time::Instant;

use postrider_imap::Command;
use postrider_imap::client::{Client, Response, StatusCode, Value};
use postrider_imap::command::{AppendMessage, Enable, Extension, Login, QResync, Select};
use postrider_imap::response::Kind;
use postrider_types::{Flags, Secret};

use super::link::Link;
use super::{Failure, Patience};
use crate::target::{Target, Tls};

/// A connection to an account.
#[derive(Debug)]
pub struct Imap {
    link: Link<Client>,
    features: Features,
    /// The tag of the IDLE under way.
    idling: Option<String>,
}

/// What a server says it can, of what matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// `IDLE` (RFC 2177), also when only IMAP4rev2 says so.
    pub idle: bool,
    /// `MOVE` (RFC 6851), likewise.
    pub moves: bool,
    /// `QRESYNC` (RFC 7162).
    pub qresync: bool,
    /// `UIDPLUS` (RFC 4315), likewise.
    pub uidplus: bool,
}

/// A mailbox as SELECT shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selected {
    /// Messages in it.
    pub exists: u32,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The UID the next message gets, or more.
    pub uid_next: u32,
    /// Its highest mod-sequence; 0 when the server has none (RFC 7162 §3.1.2.2).
    pub highest_modseq: u64,
}

impl Imap {
    /// Connects, does STARTTLS when the target says so, and LOGIN.
    pub async fn login(target: &Target, account: &str) -> Result<Self, Failure> {
        Self::login_with(target, account, Patience::default()).await
    }

    /// As [`Imap::login`], with other time-outs.
    pub async fn login_with(target: &Target, account: &str, patience: Patience) -> Result<Self, Failure> {
        let Some(address) = target.imap else {
            return Err(Failure::Refused("the target has no IMAP address".into()));
        };
        let mut imap = Self::connect(address, target.tls, patience).await?;
        let login = Command::Login(Login {
            user: account.to_owned(),
            password: Secret::clone(&target.accounts.password),
        });
        let mut told = None;
        imap.each(&login, |response| told = Features::read(&response).or(told))
            .await?;
        match told {
            Some(features) => imap.features = features,
            None => imap.ask_features().await?,
        }
        Ok(imap)
    }

    /// Connects and does STARTTLS when asked to; nobody is logged in yet.
    pub async fn connect(address: SocketAddr, tls: Tls, patience: Patience) -> Result<Self, Failure> {
        let mut link = Link::connect(address, Client::new(), patience).await?;
        match link.answer().await? {
            Response::Status {
                tag: None,
                kind: Kind::Ok | Kind::PreAuth,
                ..
            } => {}
            Response::Status { text, .. } => return Err(Failure::Deferred(text.into())),
            _ => return Err(Failure::broken("no greeting")),
        }
        let mut imap = Self {
            link,
            features: Features::default(),
            idling: None,
        };
        if tls == Tls::Start {
            imap.each(&Command::StartTls, drop).await?;
            // Before anything else is said: it would go in the clear.
            imap.link.upgrade().await?;
        }
        Ok(imap)
    }

    /// What the server can.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Sends a command (not APPEND, AUTHENTICATE or IDLE) and shows every untagged response until it is completed; its
    /// response code.
    ///
    /// Responses that belong to no command (EXISTS, EXPUNGE, flags) are among them whenever the server has some.
    pub async fn each(
        &mut self,
        command: &Command,
        mut on: impl FnMut(Response),
    ) -> Result<Option<StatusCode>, Failure> {
        let (session, output) = self.link.parts();
        let tag = session.send(output, command);
        self.complete(&tag, &mut on).await
    }

    /// As [`Imap::each`], with all responses in one list: for commands with short answers.
    pub async fn command(&mut self, command: &Command) -> Result<Vec<Response>, Failure> {
        let mut responses = Vec::new();
        self.each(command, |response| responses.push(response)).await?;
        Ok(responses)
    }

    /// SELECT, or EXAMINE when `read_only`.
    pub async fn select(&mut self, mailbox: &str, read_only: bool) -> Result<Selected, Failure> {
        let select = Command::Select(Select {
            mailbox: mailbox.to_owned(),
            read_only,
            condstore: false,
            qresync: None,
        });
        let mut selected = Selected::default();
        self.each(&select, |response| selected.note(&response)).await?;
        Ok(selected)
    }

    /// ENABLE QRESYNC, which has to come before [`Imap::resync`].
    pub async fn enable_qresync(&mut self) -> Result<(), Failure> {
        let enable = Command::Enable(Enable(vec![Extension::QResync]));
        self.each(&enable, drop).await.map(drop)
    }

    /// SELECT with QRESYNC: `on` sees what has changed since (FETCH, VANISHED).
    pub async fn resync(
        &mut self,
        mailbox: &str,
        known: Selected,
        mut on: impl FnMut(&Response),
    ) -> Result<Selected, Failure> {
        let select = Command::Select(Select {
            mailbox: mailbox.to_owned(),
            read_only: false,
            condstore: false,
            qresync: Some(QResync {
                uid_validity: known.uid_validity,
                modseq: known.highest_modseq,
                known_uids: None,
                seq_match: None,
            }),
        });
        let mut selected = Selected::default();
        self.each(&select, |response| {
            selected.note(&response);
            on(&response);
        })
        .await?;
        Ok(selected)
    }

    /// APPEND of one message; UIDVALIDITY and UID it got, when the server says so.
    pub async fn append(
        &mut self,
        mailbox: &str,
        flags: Flags,
        content: &[u8],
        mut on: impl FnMut(Response),
    ) -> Result<Option<(u32, u32)>, Failure> {
        let message = AppendMessage {
            mailbox: mailbox.to_owned(),
            index: 0,
            flags,
            keywords: Vec::new(),
            received: None,
            size: 0,
            literal8: false,
        };
        let (session, output) = self.link.parts();
        let tag = session.append(output, message, content);
        let code = self.complete(&tag, &mut on).await?;
        Ok(code.filter(|code| code.name == "APPENDUID").and_then(|code| {
            let number = |at: usize| u32::try_from(code.values.get(at)?.as_number()?).ok();
            Some((number(0)?, number(1)?))
        }))
    }

    /// Begins IDLE; done when the server has said that it is idling.
    pub async fn idle(&mut self, mut on: impl FnMut(Response)) -> Result<(), Failure> {
        let (session, output) = self.link.parts();
        let tag = session.send(output, &Command::Idle);
        loop {
            match self.response().await? {
                Response::Continue(_) => {
                    self.idling = Some(tag);
                    return Ok(());
                }
                response => {
                    if let Some(kind) = response.completes(&tag) {
                        return Err(match kind {
                            Kind::Ok => Failure::broken("IDLE was over before it began"),
                            _ => refusal(response),
                        });
                    }
                    on(response);
                }
            }
        }
    }

    /// The next response while idling; `None` when there is none until then. May be dropped while it waits.
    pub async fn wait(&mut self, until: Instant) -> Result<Option<Response>, Failure> {
        match self.link.event_before(until).await? {
            Some(response) if is_bye(&response) => Err(refusal(response)),
            other => Ok(other),
        }
    }

    /// Ends IDLE.
    pub async fn done(&mut self, mut on: impl FnMut(Response)) -> Result<(), Failure> {
        let Some(tag) = self.idling.take() else {
            return Ok(());
        };
        let (session, output) = self.link.parts();
        session.done(output);
        self.complete(&tag, &mut on).await.map(drop)
    }

    /// Says LOGOUT and closes.
    pub async fn logout(mut self) -> Result<(), Failure> {
        let (session, output) = self.link.parts();
        let tag = session.send(output, &Command::Logout);
        loop {
            let response = self.link.answer().await?;
            if response.completes(&tag).is_some() {
                return Ok(());
            }
        }
    }

    async fn complete(
        &mut self,
        tag: &str,
        on: &mut impl FnMut(Response),
    ) -> Result<Option<StatusCode>, Failure> {
        loop {
            let response = self.response().await?;
            match response.completes(tag) {
                None => on(response),
                Some(Kind::Ok) => {
                    // Whoever collects capabilities finds them here as well (RFC 9051 §7.1).
                    let Response::Status { code, .. } = response else {
                        return Ok(None);
                    };
                    if code.as_ref().is_some_and(|code| code.name == "CAPABILITY") {
                        on(Response::Status {
                            tag: None,
                            kind: Kind::Ok,
                            code: code.clone(),
                            text: String::new(),
                        });
                    }
                    return Ok(code);
                }
                Some(_) => return Err(refusal(response)),
            }
        }
    }

    /// The next response that is not BYE.
    async fn response(&mut self) -> Result<Response, Failure> {
        match self.link.answer().await? {
            response if is_bye(&response) => Err(refusal(response)),
            response => Ok(response),
        }
    }

    async fn ask_features(&mut self) -> Result<(), Failure> {
        let mut features = Features::default();
        self.each(&Command::Capability, |response| {
            features = Features::read(&response).unwrap_or(features);
        })
        .await?;
        self.features = features;
        Ok(())
    }
}

impl Features {
    fn read(response: &Response) -> Option<Self> {
        let mut features = Self::default();
        for name in response.capabilities()? {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let rev2 = is("IMAP4rev2");
            features.idle |= rev2 || is("IDLE");
            features.moves |= rev2 || is("MOVE");
            features.uidplus |= rev2 || is("UIDPLUS");
            features.qresync |= is("QRESYNC");
        }
        Some(features)
    }
}

impl Selected {
    fn note(&mut self, response: &Response) {
        match response {
            Response::Data {
                number: Some(number),
                name,
                ..
            } if name == "EXISTS" => self.exists = *number,
            Response::Status {
                tag: None,
                code: Some(code),
                ..
            } => {
                let number = code.values.first().and_then(Value::as_number).unwrap_or_default();
                let small = u32::try_from(number).unwrap_or_default();
                match code.name.as_str() {
                    "UIDVALIDITY" => self.uid_validity = small,
                    "UIDNEXT" => self.uid_next = small,
                    "HIGHESTMODSEQ" => self.highest_modseq = number,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn is_bye(response: &Response) -> bool {
    matches!(
        response,
        Response::Status {
            tag: None,
            kind: Kind::Bye,
            ..
        }
    )
}

/// What a response that is not OK means (RFC 5530 §3).
fn refusal(response: Response) -> Failure {
    let Response::Status { kind, code, text, .. } = response else {
        return Failure::broken("an answer that is none");
    };
    let passing = ["UNAVAILABLE", "INUSE"];
    match (kind, code) {
        (Kind::Bye, _) => Failure::Broken(format!("BYE {text}").into()),
        (Kind::No, Some(code)) if passing.contains(&code.name.as_str()) => Failure::Deferred(text.into()),
        _ => Failure::Refused(text.into()),
    }
}
