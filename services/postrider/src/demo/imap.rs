//! Bob's other agent, IMAP: opens INBOX, looks at the header of the last letter, then reads its text alone.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use postrider_imap::Client;
use postrider_imap::client::{Response, Value};
use postrider_imap::command::{Command, Fetch, FetchItem, Login, Section, SectionText, Select};
use postrider_imap::response::Kind;
use postrider_imap::set::{MessageSet, SequenceSet};
use postrider_runtime::{Connection, Handler, Options, Port, drive};
use postrider_types::Secret;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Silence after which the server is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Reads the text of the last letter of an INBOX.
pub async fn read(server: SocketAddr, user: &str, password: &str) -> Result<String> {
    let tcp = TcpStream::connect(server).await?;
    let mut connection = Connection::new(tcp, Arc::new(Options::default()));
    let mut reader = Reader {
        step: Step::Greeting,
        login: Some(Login {
            user: user.into(),
            password: Secret::new(password),
        }),
        messages: 0,
        text: None,
        trouble: None,
    };
    let mut session = Client::with_timeout(SILENCE);
    drive(
        &mut connection,
        &mut session,
        &mut reader,
        &CancellationToken::new(),
    )
    .await?;
    if let Some(trouble) = reader.trouble {
        bail!(trouble);
    }
    ensure!(reader.text.is_some(), "there is no letter");
    Ok(reader.text.unwrap_or_default())
}

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Login,
    Select,
    Header,
    Text,
    Logout,
}

struct Reader {
    step: Step,
    login: Option<Login>,
    messages: u32,
    text: Option<String>,
    trouble: Option<String>,
}

impl Reader {
    /// The command that follows, and what it is waited for with.
    fn next(&mut self) -> (Step, Command) {
        let last = SequenceSet::of_numbers([self.messages]).map(MessageSet::Numbers);
        match (self.step, self.login.take(), last) {
            (Step::Greeting, Some(login), _) => (Step::Login, Command::Login(login)),
            (Step::Login, ..) => {
                let select = Select {
                    mailbox: "INBOX".into(),
                    read_only: false,
                    condstore: false,
                    qresync: None,
                };
                (Step::Select, Command::Select(select))
            }
            (Step::Select, _, Some(set)) => (
                Step::Header,
                fetch(set, vec![FetchItem::Flags, FetchItem::Envelope]),
            ),
            (Step::Header, _, Some(set)) => {
                let section = Section {
                    text: Some(SectionText::Text),
                    ..Section::default()
                };
                (
                    Step::Text,
                    fetch(
                        set,
                        vec![FetchItem::Section {
                            section,
                            partial: None,
                            peek: false,
                        }],
                    ),
                )
            }
            _ => (Step::Logout, Command::Logout),
        }
    }
}

fn fetch(set: MessageSet, items: Vec<FetchItem>) -> Command {
    Command::Fetch(Fetch {
        uid: false,
        set,
        items,
        changed_since: None,
        vanished: false,
    })
}

impl Handler<Client> for Reader {
    type Outside = Infallible;

    async fn event(
        &mut self,
        session: &mut Client,
        response: Response,
        port: &mut dyn Port,
    ) -> io::Result<()> {
        match &response {
            Response::Data {
                number: Some(number),
                name,
                ..
            } if name == "EXISTS" => self.messages = *number,
            Response::Data { name, .. } if name == "FETCH" => {
                if let Some(text) = response.attribute("BODY[TEXT]").and_then(Value::as_bytes) {
                    self.text = Some(String::from_utf8_lossy(text).into_owned());
                }
            }
            Response::Status {
                tag: Some(_),
                kind,
                text,
                ..
            } if *kind != Kind::Ok => {
                self.trouble.get_or_insert_with(|| text.clone());
                self.step = Step::Logout;
                session.send(port.output(), &Command::Logout);
            }
            // The greeting, or the end of a command.
            Response::Status {
                tag, kind: Kind::Ok, ..
            } if (tag.is_some() || self.step == Step::Greeting) && self.step != Step::Logout => {
                let (step, command) = self.next();
                self.step = step;
                session.send(port.output(), &command);
            }
            _ => {}
        }
        Ok(())
    }

    fn drain(&mut self, _: &mut Client) {}
}
