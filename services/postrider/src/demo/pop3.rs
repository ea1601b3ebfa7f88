//! Bob's agent, POP3: looks what there is, takes the last letter, leaves all of them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use postrider_pop3::Command;
use postrider_pop3::client::{Client, Event};
use postrider_runtime::{Connection, Handler, Options, Port, drive};
use postrider_types::Secret;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Reads the last letter of a maildrop.
pub async fn read(server: SocketAddr, user: &str, password: &str) -> Result<String> {
    let tcp = TcpStream::connect(server).await?;
    let mut connection = Connection::new(tcp, Arc::new(Options::default()));
    let mut reader = Reader {
        next: vec![
            Command::List(None),
            Command::Pass(Secret::new(password)),
            Command::User(user.into()),
        ],
        text: Vec::new(),
        letter: None,
        trouble: None,
    };
    drive(
        &mut connection,
        &mut Client::new(),
        &mut reader,
        &CancellationToken::new(),
    )
    .await?;
    if let Some(trouble) = reader.trouble {
        bail!(trouble);
    }
    ensure!(reader.letter.is_some(), "there is no letter");
    Ok(reader.letter.unwrap_or_default())
}

struct Reader {
    /// Commands to come, the next one last.
    next: Vec<Command>,
    /// The multi-line response so far.
    text: Vec<u8>,
    letter: Option<String>,
    trouble: Option<String>,
}

impl Reader {
    /// What a multi-line response is followed by: the list by the last letter, the letter by the end.
    fn after_text(&mut self) -> Command {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        self.text.clear();
        if self.letter.is_none() {
            let last = text
                .lines()
                .last()
                .and_then(|line| line.split(' ').next()?.parse().ok());
            if let Some(number) = last {
                self.letter = Some(String::new());
                return Command::Retr(number);
            }
        } else {
            self.letter = Some(text);
        }
        Command::Quit
    }
}

impl Handler<Client> for Reader {
    type Outside = Infallible;

    async fn event(&mut self, session: &mut Client, event: Event, _: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::Response(response) if !response.ok => {
                self.trouble.get_or_insert(response.text);
                session.send(Command::Quit);
            }
            Event::Response(_) => {
                if let Some(command) = self.next.pop() {
                    session.send(command);
                }
            }
            Event::Piece(piece) => self.text.extend_from_slice(&piece),
            Event::End => {
                let command = self.after_text();
                session.send(command);
            }
            Event::Failed(error) => self.trouble = Some(error.to_string()),
        }
        Ok(())
    }

    fn drain(&mut self, _: &mut Client) {}
}
