//! `postrider send`: the command-line user agent.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use postrider_runtime::Config;
use postrider_smtp::client::Verdict;
use postrider_types::{Address, Secret};

use super::read_password;
use crate::agent::{Dialogue, Encryption, Letter, Submission, describe};
use crate::output::Output;

/// Write a letter and hand it to a server: the command-line user agent
#[derive(Args)]
#[command(
    after_help = "Example: postrider send --server 127.0.0.1:2587 --auth alice@crepes.fr --from alice@crepes.fr \
    --to bob@hamburger.edu --subject Condiments --body 'Do you like ketchup?' --show-dialogue"
)]
pub struct Send {
    /// The server, host[:port] [default port: 587 with --auth, 465 with --tls implicit, else 25]
    #[arg(long, value_name = "HOST[:PORT]")]
    server: String,
    /// Who writes, as in "Alice <alice@crepes.fr>"
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// To whom; may be repeated
    #[arg(long, required = true, value_name = "ADDRESS")]
    to: Vec<String>,
    /// Who else gets it; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    cc: Vec<String>,
    /// What it is about
    #[arg(long, default_value = "", hide_default_value = true)]
    subject: String,
    /// The text [default: read from standard input, unless there is --html]
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// The text as HTML
    #[arg(long, value_name = "HTML")]
    html: Option<String>,
    /// A picture that the HTML shows as <img src="cid:FILE-NAME">; may be repeated
    #[arg(long, value_name = "FILE", requires = "html")]
    picture: Vec<PathBuf>,
    /// A file to attach; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Log in as this user; the password comes from POSTRIDER_PASSWORD or --password-stdin
    #[arg(long, value_name = "USER")]
    auth: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "auth")]
    password_stdin: bool,
    /// How to protect the connection; starttls and implicit verify the server's certificate
    #[arg(long, value_enum, default_value = "opportunistic")]
    tls: TlsArgument,
    /// Certificates (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print every line both ways; passwords stay hidden
    #[arg(long)]
    show_dialogue: bool,
    /// Print JSON: one object per recipient
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum TlsArgument {
    Opportunistic,
    Starttls,
    Implicit,
    None,
}

impl Send {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let submission = self.submission()?;
        let dialogue = (self.show_dialogue && !self.json).then(|| Dialogue::new(""));
        let outcome = submission.send(dialogue.as_ref()).await?;
        let mut output = Output::new(self.json);
        let mut refused = None;
        for (recipient, verdict) in submission.recipients.iter().zip(&outcome.verdicts) {
            let accepted = matches!(verdict, Verdict::Delivered(_));
            let reply = describe(verdict);
            let data = serde_json::json!({ "recipient": recipient.to_string(), "accepted": accepted, "reply": reply });
            if accepted {
                output.record(&data, |_| format!("{recipient}: {reply}"))?;
            } else {
                if self.json {
                    output.record(&data, |_| String::new())?;
                }
                refused.get_or_insert(format!("{recipient} does not get it: {reply}"));
            }
        }
        output.flush()?;
        refused.map_or(Ok(()), |refused| bail!(refused))
    }

    fn submission(&self) -> Result<Submission> {
        let encryption = match self.tls {
            TlsArgument::Opportunistic => Encryption::Opportunistic,
            TlsArgument::Starttls => Encryption::StartTls,
            TlsArgument::Implicit => Encryption::Implicit,
            TlsArgument::None => Encryption::None,
        };
        let usual_port = match (encryption, &self.auth) {
            (Encryption::Implicit, _) => 465,
            (_, Some(_)) => 587,
            (_, None) => 25,
        };
        let (host, port) = host_and_port(&self.server, usual_port)?;
        let credentials = self.credentials()?;
        let letter = Letter {
            from: self.from.clone(),
            to: self.to.clone(),
            cc: self.cc.clone(),
            subject: self.subject.clone(),
            text: self.text()?,
            html: self.html.clone(),
            pictures: self.picture.clone(),
            attachments: self.attach.clone(),
        };
        let (message, sender, recipients) = letter.write()?;
        let recipients = recipients
            .iter()
            .map(|address| Address::new(address))
            .collect::<Result<_, _>>()?;
        Ok(Submission {
            host,
            port,
            encryption,
            roots: self.ca.clone(),
            credentials,
            name: Config::default().hostname.to_string(),
            sender: Address::new(&sender)?,
            recipients,
            message: message.into(),
        })
    }

    fn credentials(&self) -> Result<Option<(String, Secret)>> {
        let Some(user) = &self.auth else { return Ok(None) };
        let password = match std::env::var("POSTRIDER_PASSWORD") {
            _ if self.password_stdin => read_password()?,
            Ok(password) => password.into_bytes(),
            Err(_) => bail!("no password; set POSTRIDER_PASSWORD, or pipe it in with --password-stdin"),
        };
        Ok(Some((user.clone(), Secret::new(password))))
    }

    fn text(&self) -> Result<Option<String>> {
        if self.body.is_some() || self.html.is_some() {
            return Ok(self.body.clone());
        }
        anyhow::ensure!(
            !self.password_stdin,
            "standard input is the password already; say --body"
        );
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the text from standard input")?;
        Ok(Some(text))
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_and_port(text: &str, usual: u16) -> Result<(String, u16)> {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let (host, port) = match split {
        Some((host, port)) => (
            host,
            port.parse().with_context(|| format!("`{port}` is not a port"))?,
        ),
        None => (text, usual),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_as_people_do() {
        let parse = |text: &str| host_and_port(text, 25).unwrap();
        assert_eq!(parse("mx.hamburger.edu"), ("mx.hamburger.edu".into(), 25));
        assert_eq!(parse("127.0.0.1:2587"), ("127.0.0.1".into(), 2587));
        assert_eq!(parse("[::1]:2587"), ("::1".into(), 2587));
        assert_eq!(parse("::1"), ("::1".into(), 25));
        assert!(host_and_port("mx:smtp", 25).is_err());
    }
}
