//! Whether a data directory still holds what was acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use postrider_embedded::{Database, Report};
use postrider_store::account::Outcome;
use postrider_store::embedded::Embedded;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, ContentId, FolderId, Uid, Version};

use crate::workload::{body, letter, options};

/// What must be there.
#[derive(Debug, Default)]
struct Owed {
    versions: HashMap<AccountId, Version>,
    letters: BTreeMap<(AccountId, Uid), (ContentId, usize)>,
    /// Contents, and whether somebody holds them.
    contents: HashMap<ContentId, (usize, bool)>,
}

impl Owed {
    fn new<'a>(acks: impl IntoIterator<Item = &'a str>) -> Self {
        let mut owed = Owed::default();
        for ack in acks {
            let words: Vec<&str> = ack.split(' ').collect();
            match words[..] {
                ["delivered", account, version, content, length] => {
                    let (account, version) = (account.parse().unwrap(), version.parse().unwrap());
                    owed.versions.insert(account, Version(version));
                    let letter = (content.parse().unwrap(), length.parse().unwrap());
                    owed.letters.insert((account, Uid(version as u32)), letter);
                }
                ["reached", account, version] => {
                    owed.versions
                        .insert(account.parse().unwrap(), version.parse().unwrap());
                }
                ["forgetting", account, uid, _] => {
                    owed.letters
                        .remove(&(account.parse().unwrap(), uid.parse().unwrap()));
                }
                ["put", content, length] => {
                    owed.contents
                        .insert(content.parse().unwrap(), (length.parse().unwrap(), false));
                }
                ["held", content, length] => {
                    owed.contents
                        .insert(content.parse().unwrap(), (length.parse().unwrap(), true));
                }
                ["releasing", content] => {
                    owed.contents.remove(&content.parse().unwrap());
                }
                ["sweeping"] => owed.contents.retain(|_, (_, held)| *held),
                ["done"] => {}
                _ => panic!("a line the checker does not know: {ack}"),
            }
        }
        owed
    }
}

/// Opens the directory as after a restart and looks for everything that these lines promise. The error says what is wrong.
pub async fn check<'a>(dir: &Path, acks: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let owed = Owed::new(acks);
    let text = |error: postrider_store::Error| error.to_string();
    let db = Database::open(dir, options()).map_err(|error| error.to_string())?;
    let engine = Embedded::open(db.clone()).await.map_err(text)?;

    for (account, version) in &owed.versions {
        let head = engine.head(*account).await.map_err(text)?;
        let found = head.map_or(Version(0), |head| head.version);
        if found < *version {
            return Err(format!(
                "account {account} is at {found}, {version} was acknowledged"
            ));
        }
    }
    for ((account, uid), (content, length)) in &owed.letters {
        let rows = engine
            .messages_by_uid(*account, FolderId::INBOX, &[*uid])
            .await
            .map_err(text)?;
        if rows.first().map(|row| (row.content, row.size)) != Some((*content, *length as u64)) {
            return Err(format!("letter {uid} of account {account} is missing"));
        }
    }
    for (id, (length, _)) in &owed.contents {
        same(&engine, *id, *length).await?;
    }
    whole(&engine).await?;

    let mut findings = Vec::new();
    let verify = db.verify(|report| {
        if let Report::Finding(finding) = report {
            findings.push(finding);
        }
    });
    verify.map_err(|error| error.to_string())?;
    if !findings.is_empty() {
        return Err(findings.join("; "));
    }
    goes_on(&engine).await
}

/// Every account is of one piece: changes up to the head, every row with its content and description.
async fn whole(engine: &Embedded) -> Result<(), String> {
    let text = |error: postrider_store::Error| error.to_string();
    for account in engine.accounts(None, 1000).await.map_err(text)? {
        let head = engine
            .head(account)
            .await
            .map_err(text)?
            .ok_or("a listed account has no head")?;
        let changes = engine.changes(account, Version(0), 10_000).await.map_err(text)?;
        if changes.len() as u64 != head.version.0 {
            return Err(format!(
                "account {account}: {} changes at version {}",
                changes.len(),
                head.version
            ));
        }
        let all = Uid(0)..=Uid(u32::MAX);
        for (row, description) in engine
            .described_messages(account, FolderId::INBOX, all, 10_000, usize::MAX)
            .await
            .map_err(text)?
        {
            same(engine, row.content, row.size as usize).await?;
            if description.is_empty() {
                return Err(format!(
                    "letter {} of account {account} has no description",
                    row.uid
                ));
            }
        }
    }
    Ok(())
}

async fn same(engine: &Embedded, id: ContentId, length: usize) -> Result<(), String> {
    let read = engine
        .read(id, 0, u64::MAX)
        .await
        .map_err(|error| error.to_string())?;
    if read != body(id, length) {
        return Err(format!("content {id} has other bytes than were put"));
    }
    Ok(())
}

/// It can be written to.
async fn goes_on(engine: &Embedded) -> Result<(), String> {
    let commit = letter(AccountId::new(99), Version(0), 5000);
    let id = commit.contents[0].0;
    match engine.commit(commit).await {
        Ok(Outcome::Committed) => same(engine, id, 5000).await,
        other => Err(format!("a new commit ended as {other:?}")),
    }
}
