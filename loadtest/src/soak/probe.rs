//! Whether every service answers: another server's message is taken, a user submits, reads with IMAP and with POP3.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use postrider_smtp::client::Envelope;
use postrider_smtp::{Mail, Rcpt};
use postrider_types::{Address, ReversePath};

use crate::net::{Failure, Imap, Patience, Pop3, Smtp, config};
use crate::operation::Outcome;
use crate::target::Target;

/// The content of a message that fits into the slack of no file.
pub const LARGE: usize = 256 << 10;

/// A small one.
const SMALL: usize = 400;

/// Who sends them.
const SENDER: &str = "probe@load.example";

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a service may take to answer before it counts as one that does not.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(10),
    end: Duration::from_secs(20),
};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Taken.
    Done,
    /// Refused for now.
    Deferred,
    /// Refused for good, or no answer; in words.
    Other(String),
}

/// Tries everything once. The error names the service that did not answer.
pub async fn all(target: &Target) -> Result<()> {
    match message(target, SMALL).await {
        Answer::Done => {}
        Answer::Deferred => bail!("smtp refuses mail for now"),
        Answer::Other(what) => bail!("smtp: {what}"),
    }
    let account = account(target);
    if let Some(address) = target.submission {
        let user = Smtp::connect(address, config(target, Some(&account), PATIENCE), PATIENCE).await;
        user.map_err(failed("submission"))?.quit().await;
    }
    if target.imap.is_some() {
        let failed = || failed("imap");
        let mut imap = Imap::login_with(target, &account, PATIENCE)
            .await
            .map_err(failed())?;
        imap.select("INBOX", true).await.map_err(failed())?;
        imap.logout().await.map_err(failed())?;
    }
    if target.pop3.is_some() {
        let failed = || failed("pop3");
        let mut pop3 = Pop3::login_with(target, &account, PATIENCE)
            .await
            .map_err(failed())?;
        pop3.stat().await.map_err(failed())?;
        pop3.quit().await.map_err(failed())?;
    }
    Ok(())
}

/// Tries until everything answers, at most for `bound`. How long it took; the error says what still did not answer.
pub async fn recovery(target: &Target, bound: Duration) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let left = bound.saturating_sub(begin.elapsed());
        let tried = tokio::time::timeout(left, all(target)).await;
        match tried {
            Ok(Ok(())) => return Ok(begin.elapsed()),
            Ok(Err(error)) if left <= PAUSE => {
                return Err(error).with_context(|| format!("not well again within {bound:?}"));
            }
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            Err(_) => bail!("not well again within {bound:?}: no answer"),
        }
    }
}

/// Brings one message of about `size` bytes as another server would.
pub async fn message(target: &Target, size: usize) -> Answer {
    let Some(address) = target.smtp else {
        return Answer::Other("the target has no SMTP address".to_owned());
    };
    let mut smtp = match Smtp::connect(address, config(target, None, PATIENCE), PATIENCE).await {
        Ok(smtp) => smtp,
        Err(Failure::Deferred(_)) => return Answer::Deferred,
        Err(failure) => return Answer::Other(failure.to_string()),
    };
    let (Ok(sender), Ok(recipient)) = (Address::new(SENDER), Address::new(&account(target))) else {
        return Answer::Other("the target's accounts make no addresses".to_owned());
    };
    let envelope = Envelope {
        mail: Mail::from(ReversePath(Some(sender))),
        recipients: vec![Rcpt::to(recipient)],
    };
    let line = format!("{}\r\n", "probe ".repeat(12));
    let body = line.repeat(size / line.len() + 1);
    let content = format!("From: <{SENDER}>\r\nSubject: probe\r\n\r\n{body}");
    let sent = smtp.send(envelope, Bytes::from(content)).await;
    match sent.outcome() {
        Outcome::Done => {
            smtp.quit().await;
            Answer::Done
        }
        Outcome::Deferred => Answer::Deferred,
        Outcome::Refused | Outcome::Broken => Answer::Other(format!("{:?}", sent.verdicts)),
    }
}

/// The account after those of the load: nobody else locks its maildrop.
fn account(target: &Target) -> String {
    let accounts = &target.accounts;
    accounts
        .pattern
        .replacen("{}", &(accounts.first + accounts.count).to_string(), 1)
        + "@"
        + &accounts.domain
}

fn failed(service: &'static str) -> impl Fn(Failure) -> anyhow::Error {
    move |failure| anyhow!("{service}: {failure}")
}
