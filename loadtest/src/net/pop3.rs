//! POP3: a maildrop, locked while the connection lasts.

use bytes::{Bytes, BytesMut};
use postrider_pop3::Command;
use postrider_pop3::client::{Client, Event, Response};
use postrider_types::Secret;

use super::link::Link;
use super::{Failure, Patience};
use crate::target::{Target, Tls};

/// The longest multi-line response that is kept, in octets.
const MOST: usize = 128 << 20;

/// Commands given ahead of their answers: their answers fit into any socket's buffer.
const WINDOW: usize = 32;

/// A maildrop that is open.
#[derive(Debug)]
pub struct Pop3 {
    link: Link<Client>,
    pipelining: bool,
}

impl Pop3 {
    /// Connects, does STLS when the target says so, asks for capabilities, gives user name and password.
    pub async fn login(target: &Target, account: &str) -> Result<Self, Failure> {
        Self::login_with(target, account, Patience::default()).await
    }

    /// As [`Pop3::login`], with other time-outs.
    pub async fn login_with(target: &Target, account: &str, patience: Patience) -> Result<Self, Failure> {
        let Some(address) = target.pop3 else {
            return Err(Failure::Refused("the target has no POP3 address".into()));
        };
        let mut pop3 = Self {
            link: Link::connect(address, Client::new(), patience).await?,
            pipelining: false,
        };
        pop3.line().await?;
        if target.tls == Tls::Start {
            pop3.say(Command::Stls).await?;
        }
        let mut capabilities = BytesMut::new();
        match pop3.lines(Command::Capa, &mut capabilities).await {
            Ok(()) => {
                let mut lines = capabilities[..].split(|byte| matches!(byte, b'\r' | b'\n'));
                pop3.pipelining = lines.any(|line| line.eq_ignore_ascii_case(b"PIPELINING"));
            }
            Err(failure) if failure.is_broken() => return Err(failure),
            // A server of before RFC 2449.
            Err(_) => {}
        }
        pop3.say(Command::User(account.to_owned())).await?;
        pop3.say(Command::Pass(Secret::clone(&target.accounts.password)))
            .await?;
        Ok(pop3)
    }

    /// Number of messages and their octets.
    pub async fn stat(&mut self) -> Result<(u64, u64), Failure> {
        let response = self.say(Command::Stat).await?;
        let mut words = response.text.split_ascii_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match (number(), number()) {
            (Some(messages), Some(octets)) => Ok((messages, octets)),
            _ => Err(Failure::broken("STAT was answered without two numbers")),
        }
    }

    /// Numbers and unique ids of all messages.
    pub async fn uidl(&mut self) -> Result<Vec<(usize, String)>, Failure> {
        let listed = self.listed(Command::Uidl(None)).await?;
        Ok(pairs(&listed)
            .map(|(number, uid)| (number, uid.to_owned()))
            .collect())
    }

    /// Numbers and sizes of all messages.
    pub async fn list(&mut self) -> Result<Vec<(usize, u64)>, Failure> {
        let listed = self.listed(Command::List(None)).await?;
        Ok(pairs(&listed)
            .filter_map(|(number, size)| Some((number, size.parse().ok()?)))
            .collect())
    }

    /// Reads a message into `content`, whose old content is thrown away. At most 128 MiB.
    pub async fn retrieve(&mut self, number: usize, content: &mut BytesMut) -> Result<(), Failure> {
        self.lines(Command::Retr(number), content).await
    }

    /// Marks messages as deleted, and says which ones the server has marked; they go when [`Pop3::quit`] has been answered.
    pub async fn delete(&mut self, numbers: &[usize]) -> Result<Vec<usize>, Failure> {
        let window = if self.pipelining { WINDOW } else { 1 };
        let mut marked = Vec::with_capacity(numbers.len());
        for some in numbers.chunks(window) {
            for number in some {
                self.link.session.send(Command::Dele(*number));
            }
            for number in some {
                match self.line().await {
                    Ok(_) => marked.push(*number),
                    Err(failure) if failure.is_broken() => return Err(failure),
                    Err(_) => {}
                }
            }
        }
        Ok(marked)
    }

    /// Ends; what was marked is deleted when this is `Ok`.
    pub async fn quit(mut self) -> Result<(), Failure> {
        self.say(Command::Quit).await.map(drop)
    }

    async fn say(&mut self, command: Command) -> Result<Response, Failure> {
        self.link.session.send(command);
        self.line().await
    }

    /// The first line of a response.
    async fn line(&mut self) -> Result<Response, Failure> {
        match self.link.answer().await? {
            Event::Response(response) if response.ok => Ok(response),
            Event::Response(response) => Err(refusal(response)),
            Event::Failed(error) => Err(Failure::Broken(error.to_string().into())),
            Event::Piece(_) | Event::End => Err(Failure::broken("lines nobody asked for")),
        }
    }

    async fn lines(&mut self, command: Command, content: &mut BytesMut) -> Result<(), Failure> {
        content.clear();
        self.say(command).await?;
        loop {
            match self.link.answer().await? {
                Event::Piece(piece) if content.len() + piece.len() <= MOST => {
                    content.extend_from_slice(&piece)
                }
                Event::Piece(_) => return Err(Failure::broken("a response of more than 128 MiB")),
                Event::End => return Ok(()),
                Event::Failed(error) => return Err(Failure::Broken(error.to_string().into())),
                Event::Response(_) => return Err(Failure::broken("a response inside a response")),
            }
        }
    }

    async fn listed(&mut self, command: Command) -> Result<Bytes, Failure> {
        let mut listed = BytesMut::new();
        self.lines(command, &mut listed).await?;
        Ok(listed.freeze())
    }
}

/// `number SP word` of each line; lines that are not so are skipped.
fn pairs(listed: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    listed.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?))
    })
}

/// RFC 2449 §8.1, RFC 3206: which refusals pass by themselves.
fn refusal(response: Response) -> Failure {
    let passing = matches!(
        response.code().as_deref(),
        Some("SYS/TEMP" | "IN-USE" | "LOGIN-DELAY")
    );
    if passing {
        Failure::Deferred(response.text.into())
    } else {
        Failure::Refused(response.text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_as_servers_write_them() {
        let listed: Vec<_> = pairs(b"1 QQ\r\n2  w x\r\n\r\nthree 4\r\n").collect();
        assert_eq!(listed, [(1, "QQ"), (2, "w")]);
    }

    #[test]
    fn refusals_that_pass() {
        let refused = |text: &str| {
            refusal(Response {
                ok: false,
                text: text.into(),
            })
            .outcome()
        };
        use crate::operation::Outcome;
        assert_eq!(refused("[IN-USE] locked"), Outcome::Deferred);
        assert_eq!(refused("[sys/temp] later"), Outcome::Deferred);
        assert_eq!(refused("[AUTH] no"), Outcome::Refused);
        assert_eq!(refused("no"), Outcome::Refused);
    }
}
