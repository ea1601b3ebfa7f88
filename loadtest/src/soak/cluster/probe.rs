//! Whether everything works again: every process is ready, a message sent is seen in IMAP, one submitted reaches another
//! server, a maildrop opens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use postrider_imap::Command;
use postrider_imap::client::Response;
use postrider_imap::command::{Search, SearchKey};
use postrider_smtp::client::Envelope;
use postrider_smtp::{Mail, Rcpt};
use postrider_types::{Address, ReversePath};
use tokio::time::{sleep, timeout};

use super::LOOK;
use super::site::{PROBED, Site};
use crate::net::{Failure, Imap, Patience, Pop3, Smtp, config};
use crate::operation::Outcome;
use crate::target::Target;

/// How long a service may take to answer before another try is better.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(10),
    end: Duration::from_secs(20),
};

/// Clients' connections take the processes of a role in turn.
const TURNS: usize = 2;

/// Tries until everything works, at most for `bound`. How long it took; the error says what does not work yet.
pub async fn recovery(site: &Site, bound: Duration) -> Result<Duration> {
    let begin = Instant::now();
    let mut last = anyhow!("nothing answers");
    loop {
        let left = bound.saturating_sub(begin.elapsed());
        match timeout(left, all(site)).await {
            Ok(Ok(())) => return Ok(begin.elapsed()),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last.context(format!("service is not back within {bound:?}"))),
        }
        sleep(LOOK).await;
    }
}

/// Tries everything. The error names what does not work.
async fn all(site: &Site) -> Result<()> {
    site.ready().await?;
    let target = site.target();
    for _ in 0..TURNS {
        tokio::try_join!(
            delivered(site, &target),
            sent(site, &target),
            drop_opens(site, &target)
        )?;
    }
    Ok(())
}

/// Another server's message is seen by its reader.
async fn delivered(site: &Site, target: &Target) -> Result<()> {
    let (word, account) = (word(), site.account());
    let address = target.smtp.context("no SMTP address")?;
    hand_in(target, address, None, &word, "probe@load.example", &account)
        .await
        .context("smtp")?;
    let failed = |failure: Failure| anyhow!("imap: {failure}");
    let mut imap = Imap::login_with(target, &account, PATIENCE)
        .await
        .map_err(failed)?;
    loop {
        imap.select("INBOX", true).await.map_err(failed)?;
        let subject = SearchKey::Header {
            name: "Subject".to_owned(),
            value: word.clone(),
        };
        let search = Command::Search(Search {
            uid: true,
            returns: None,
            key: subject,
        });
        let found = imap.command(&search).await.map_err(failed)?;
        let hit = |response: &Response| matches!(response, Response::Data { name, values, .. } if name == "SEARCH" && !values.is_empty());
        if found.iter().any(hit) {
            imap.logout().await.map_err(failed)?;
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// A user's message reaches another server.
async fn sent(site: &Site, target: &Target) -> Result<()> {
    let (word, account) = (word(), site.account());
    let address = target.submission.context("no address for submission")?;
    let far = format!("{word}@{PROBED}");
    hand_in(target, address, Some(&account), &word, &account, &far)
        .await
        .context("submission")?;
    let begin = Instant::now();
    while !site.has_arrived(&far) {
        // A probe may be among what is late; the next one shows that mail goes out.
        if begin.elapsed() > PATIENCE.answer {
            bail!("outbound mail does not arrive");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// A maildrop opens.
async fn drop_opens(site: &Site, target: &Target) -> Result<()> {
    let failed = |failure: Failure| anyhow!("pop3: {failure}");
    let mut pop3 = Pop3::login_with(target, &site.account(), PATIENCE)
        .await
        .map_err(failed)?;
    pop3.stat().await.map_err(failed)?;
    pop3.quit().await.map_err(failed)
}

async fn hand_in(
    target: &Target,
    address: std::net::SocketAddr,
    account: Option<&str>,
    word: &str,
    from: &str,
    to: &str,
) -> Result<()> {
    let mut smtp = Smtp::connect(address, config(target, account, PATIENCE), PATIENCE).await?;
    let envelope = Envelope {
        mail: Mail::from(ReversePath(Some(Address::new(from)?))),
        recipients: vec![Rcpt::to(Address::new(to)?)],
    };
    let content = format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: {word}\r\n\r\nprobe\r\n");
    let sent = smtp.send(envelope, Bytes::from(content)).await;
    if sent.outcome() != Outcome::Done {
        bail!("{:?}", sent.verdicts);
    }
    smtp.quit().await;
    Ok(())
}

/// A word that no other probe has.
fn word() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("probe{}x", NEXT.fetch_add(1, Ordering::Relaxed))
}
