//! One connection: what becomes of the session's events. It only dispatches; each verb has its file in `command`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use postrider_imap::session::{AppendDone, Session};
use postrider_imap::{Command, Event};
use postrider_runtime::{Handler, Port};

use crate::answer::{Answer, Outcome, Stop};
use crate::command::Exec;
use crate::command::append::Appending;
use crate::command::login::Candidate;
use crate::gateway::Shared;
use crate::metrics::METRICS;
use crate::selected::{Occasion, Presence, Selected, Told};
use crate::users::User;

/// The owner of one session. What an idle connection does not need is boxed, and absent.
pub struct Conversation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: IpAddr,
    idling: bool,
    pub(crate) candidate: Option<Box<Candidate>>,
    pub(crate) user: Option<Box<User>>,
    selected: Option<Box<Selected>>,
    appending: Option<Box<Appending>>,
}

impl Conversation {
    pub(crate) fn new(shared: Arc<Shared>, peer: IpAddr) -> Self {
        Self {
            shared,
            peer,
            idling: false,
            candidate: None,
            user: None,
            selected: None,
            appending: None,
        }
    }

    async fn command(
        &mut self,
        session: &mut Session,
        command: Command,
        port: &mut dyn Port,
    ) -> io::Result<()> {
        let verb = command.verb();
        let occasion = Occasion {
            enabled: session.enabled(),
            expunges: command.allows_expunge(),
            ask: matches!(command, Command::Noop | Command::Check),
        };
        let mut told = Told::default();
        let outcome = match self.exec(session, port, &mut told) {
            Some(mut exec) => {
                exec.condstore_news();
                exec.run(command).await
            }
            None => crate::command::before_login(command, session, port),
        };
        let answer = self.end(session, port, outcome, occasion, &told).await?;
        METRICS.command(verb, answer.is_ok());
        session.complete(port.output(), answer.reply());
        Ok(())
    }

    /// What stands between a command's own output and its completion: news.
    async fn end(
        &mut self,
        session: &mut Session,
        port: &mut dyn Port,
        outcome: Outcome,
        occasion: Occasion,
        told: &Told,
    ) -> io::Result<Answer> {
        let answer = match outcome {
            Ok(answer) | Err(Stop::Answer(answer)) => answer,
            Err(Stop::Lost(error)) => return Err(error),
        };
        self.announce(session, port, occasion, told).await?;
        Ok(answer)
    }

    /// Announces what is new in the selected mailbox. When that is not possible now, it is done the next time.
    async fn announce(
        &mut self,
        session: &mut Session,
        port: &mut dyn Port,
        occasion: Occasion,
        told: &Told,
    ) -> io::Result<()> {
        let Some(selected) = &mut self.selected else {
            return Ok(());
        };
        match selected.announce(&self.shared, port, occasion, told).await {
            Ok(Presence::Here) | Err(Stop::Answer(_)) => Ok(()),
            Ok(Presence::Gone) => {
                self.selected = None;
                session.bye(port.output(), None, "The selected mailbox was deleted");
                Ok(())
            }
            Err(Stop::Lost(error)) => Err(error),
        }
    }

    async fn append_end(
        &mut self,
        session: &mut Session,
        done: AppendDone,
        port: &mut dyn Port,
    ) -> io::Result<()> {
        let appending = self.appending.take();
        let (AppendDone::Complete, Some(appending)) = (done, appending) else {
            return Ok(());
        };
        let mut told = Told::default();
        let outcome = match self.exec(session, port, &mut told) {
            Some(mut exec) => exec.append(*appending).await,
            None => Ok(Answer::bad("log in first")),
        };
        let occasion = Occasion {
            enabled: session.enabled(),
            expunges: true,
            ask: false,
        };
        let answer = self.end(session, port, outcome, occasion, &told).await?;
        METRICS.command("APPEND", answer.is_ok());
        session.complete(port.output(), answer.reply());
        Ok(())
    }

    /// What is new, at once: IDLE begins, goes on or ends.
    async fn idle(&mut self, session: &mut Session, port: &mut dyn Port, ask: bool) -> io::Result<()> {
        let occasion = Occasion {
            enabled: session.enabled(),
            expunges: true,
            ask,
        };
        self.announce(session, port, occasion, &Told::default()).await
    }

    /// What a command works with; `None` before login.
    fn exec<'a>(
        &'a mut self,
        session: &'a mut Session,
        port: &'a mut dyn Port,
        told: &'a mut Told,
    ) -> Option<Exec<'a>> {
        Some(Exec {
            shared: &self.shared,
            user: self.user.as_deref()?,
            selected: &mut self.selected,
            session,
            port,
            told,
        })
    }
}

impl Handler<Session> for Conversation {
    type Outside = ();

    async fn event(&mut self, session: &mut Session, event: Event, port: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::Password { user, password } => self.password(session, port, user, password).await,
            Event::Verifier { user } => self.verifier(session, port, user).await,
            Event::Proved { .. } => self.proved(session, port).await,
            Event::Command(command) => self.command(session, command, port).await?,
            Event::Append(message) => {
                let mut appending = self.appending.take();
                let mut told = Told::default();
                let accepted = match self.exec(session, port, &mut told) {
                    Some(mut exec) => exec.append_message(&mut appending, message).await,
                    None => Err(Answer::bad("log in first")),
                };
                match accepted {
                    Ok(()) => {
                        self.appending = appending;
                        session.accept_message(port.output());
                    }
                    Err(answer) => {
                        METRICS.command("APPEND", false);
                        session.complete(port.output(), answer.reply());
                    }
                }
            }
            Event::AppendData(data) => {
                if let Some(appending) = &mut self.appending {
                    appending.data(data).await;
                }
            }
            // Rare, and large: the future of every other event is smaller for it.
            Event::AppendEnd(done) => Box::pin(self.append_end(session, done, port)).await?,
            Event::Idle => {
                self.idling = true;
                self.idle(session, port, true).await?;
            }
            Event::Done => {
                self.idling = false;
                self.idle(session, port, false).await?;
                METRICS.command("IDLE", true);
                session.complete(port.output(), Answer::ok("IDLE completed").reply());
            }
        }
        Ok(())
    }

    async fn outside(&mut self) {
        match &self.selected {
            Some(selected) if self.idling => selected.stir().await,
            _ => std::future::pending().await,
        }
    }

    async fn on_outside(&mut self, session: &mut Session, (): (), port: &mut dyn Port) -> io::Result<()> {
        self.idle(session, port, false).await
    }

    fn drain(&mut self, session: &mut Session) {
        session.drain();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    /// What an idle connection costs beyond its task and socket: 6 KiB is the budget for everything.
    #[test]
    fn an_idle_session_is_small() {
        let inline = size_of::<Session>() + size_of::<Conversation>();
        let boxed = size_of::<User>() + size_of::<Selected>();
        assert!(inline <= 256, "{inline}");
        assert!(boxed <= 256, "{boxed}");
    }
}
