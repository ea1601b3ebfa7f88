//! Writing a letter.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use postrider_message::build::{Builder, Mailbox};
use postrider_message::date::DateTime;

/// What is written, before it is a message.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Who writes: `alice@crepes.fr` or `Alice <alice@crepes.fr>`.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// Who else gets it.
    pub cc: Vec<String>,
    /// What it is about.
    pub subject: String,
    /// Plain text.
    pub text: Option<String>,
    /// HTML.
    pub html: Option<String>,
    /// Pictures that the HTML shows as `cid:` and their file name.
    pub pictures: Vec<PathBuf>,
    /// Files to attach.
    pub attachments: Vec<PathBuf>,
}

impl Letter {
    /// The message, and the addresses of its envelope: sender first, then every recipient once.
    pub fn write(&self) -> Result<(Vec<u8>, String, Vec<String>)> {
        let from = mailboxes(std::slice::from_ref(&self.from))?;
        let [from] = from.as_slice() else {
            anyhow::bail!("a letter has one sender")
        };
        let (to, cc) = (mailboxes(&self.to)?, mailboxes(&self.cc)?);
        let host = from
            .address
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain);
        let now = jiff::Zoned::now();
        let date = DateTime {
            seconds: now.timestamp().as_second(),
            zone: now.offset().seconds() / 60,
        };
        let unique = format!("{:032x}", rand::random::<u128>());
        let mut builder = Builder::new(&unique)
            .date(date)
            .from(from)
            .to(&to)
            .subject(&self.subject)
            .message_id(host);
        if !cc.is_empty() {
            builder = builder.cc(&cc);
        }
        if let Some(text) = &self.text {
            builder = builder.text(text);
        }
        if let Some(html) = &self.html {
            builder = builder.html(html);
        }
        for file in &self.pictures {
            let (name, data) = read(file)?;
            builder = builder.picture(&name, &name, media_type(file), data);
        }
        for file in &self.attachments {
            let (name, data) = read(file)?;
            builder = builder.attach(&name, media_type(file), data);
        }
        let mut recipients = Vec::new();
        for mailbox in to.iter().chain(&cc) {
            if !recipients.contains(&mailbox.address) {
                recipients.push(mailbox.address.clone());
            }
        }
        Ok((builder.build(), from.address.clone(), recipients))
    }
}

fn mailboxes(texts: &[String]) -> Result<Vec<Mailbox>> {
    let mut mailboxes = Vec::new();
    for text in texts {
        let list = Mailbox::parse_list(text).filter(|list| !list.is_empty());
        mailboxes
            .extend(list.with_context(|| format!("`{text}` is not an address such as bob@hamburger.edu"))?);
    }
    Ok(mailboxes)
}

fn read(file: &Path) -> Result<(String, Vec<u8>)> {
    let data = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file
        .file_name()
        .map_or_else(|| "attachment".into(), |name| name.to_string_lossy().into_owned());
    Ok((name, data))
}

/// By the file's extension; receivers go by it as well.
fn media_type(file: &Path) -> &'static str {
    let extension = file
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    match extension.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "eml" => "message/rfc822",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_it_once() {
        let letter = Letter {
            from: "Alice <alice@crepes.fr>".into(),
            to: vec!["bob@hamburger.edu, carol@hamburger.edu".into()],
            cc: vec!["Bob <bob@hamburger.edu>".into()],
            subject: "Crêpes à la carte".into(),
            text: Some("Do you like ketchup?".into()),
            ..Letter::default()
        };
        let (message, from, recipients) = letter.write().unwrap();
        assert_eq!(from, "alice@crepes.fr");
        assert_eq!(recipients, ["bob@hamburger.edu", "carol@hamburger.edu"]);
        let message = String::from_utf8(message).unwrap();
        assert!(
            message.is_ascii() && message.contains("Do you like ketchup?"),
            "{message}"
        );
        let nobody = Letter {
            to: vec!["bob".into()],
            ..letter
        };
        assert!(nobody.write().unwrap_err().to_string().contains("`bob`"));
    }
}
