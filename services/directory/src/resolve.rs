//! What an address means here.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use postrider_store::directory::{AccountRow, AliasRow};
use postrider_types::{AccountId, Address, Domain, LocalPart};

use crate::{Config, Directory, Error, Result, metrics};

/// How many aliases may stand behind one another.
pub const MAX_DEPTH: usize = 10;
/// The most targets an address may have, and the most addresses looked at to find them.
pub const MAX_TARGETS: usize = 1000;

/// Rows looked at to find a domain's first enabled account.
const FIRST_ACCOUNTS: usize = 100;

/// What an address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The domain is not ours.
    Remote,
    /// Ours, with at least one target.
    Local(Vec<Target>),
    /// The domain is ours, the user is not.
    UnknownUser,
    /// Ours, but whoever would get it is disabled.
    Disabled,
}

/// Who gets mail for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An account of ours.
    Local {
        /// Its id.
        account: AccountId,
        /// Bytes; 0: no limit.
        quota: u64,
        /// The account's own address.
        address: String,
    },
    /// An address elsewhere.
    Remote(String),
}

/// What stands behind an address of a domain of ours.
pub(crate) enum Meaning {
    Account(AccountRow),
    Alias(AliasRow),
    Nobody,
}

/// Answers given before. An answer is fresh for a short time, and as long as nothing was changed here; it is kept longer,
/// for when storage is away.
pub(crate) struct Resolved {
    answers: Cache<String, Arc<Answer>>,
    /// Moves with every change of rows; an answer of an earlier generation is not fresh.
    generation: AtomicU64,
    fresh: Duration,
}

struct Answer {
    resolution: Resolution,
    generation: u64,
    at: Instant,
}

impl Resolved {
    pub(crate) fn new(config: &Config) -> Self {
        let targets = |answer: &Arc<Answer>| match &answer.resolution {
            Resolution::Local(targets) => u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1),
            _ => 1,
        };
        let answers = Cache::builder()
            .max_capacity(config.resolved_entries)
            .weigher(move |_, answer| targets(answer))
            .time_to_live(config.resolved_stale)
            .build();
        Self {
            answers,
            generation: AtomicU64::new(0),
            fresh: config.resolved_ttl,
        }
    }

    /// To be called after every change of rows.
    pub(crate) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn is_fresh(&self, answer: &Answer) -> bool {
        answer.generation == self.generation() && answer.at.elapsed() < self.fresh
    }
}

impl Directory {
    /// What an address means: the order of the rules is in the crate's documentation.
    ///
    /// While storage is away an earlier answer is used, if there is one.
    pub async fn resolve(&self, text: &str) -> Result<Resolution> {
        let address = match self.bare_postmaster(text).await? {
            Some(address) => address,
            None => Address::new(text).map_err(|error| Error::Invalid(format!("`{text}`: {error}")))?,
        };
        let key = address.key();
        let cached = self.resolved.answers.get(&key);
        if let Some(answer) = cached.as_ref().filter(|answer| self.resolved.is_fresh(answer)) {
            metrics::resolved("cached");
            return Ok(answer.resolution.clone());
        }
        // Taken before the rows are read: a change meanwhile makes the answer old at once.
        let generation = self.resolved.generation();
        match (self.follow(&address).await, cached) {
            (Ok(resolution), _) => {
                metrics::resolved("read");
                let answer = Answer {
                    resolution: resolution.clone(),
                    generation,
                    at: Instant::now(),
                };
                self.resolved.answers.insert(key, Arc::new(answer));
                Ok(resolution)
            }
            (Err(error), Some(answer)) if error.is_temporary() => {
                metrics::resolved("stale");
                tracing::warn!(%error, "using an earlier answer of the directory");
                Ok(answer.resolution.clone())
            }
            (Err(error), _) => {
                metrics::resolved("failed");
                Err(error)
            }
        }
    }

    /// Whether an account may use an address as a reverse-path or in `From:`: whatever mail of it reaches the account.
    pub async fn may_send_as(&self, account: AccountId, text: &str) -> Result<bool> {
        Ok(match self.resolve(text).await? {
            Resolution::Local(targets) => targets
                .iter()
                .any(|target| matches!(target, Target::Local { account: id, .. } if *id == account)),
            _ => false,
        })
    }

    /// `postmaster` without a domain must be accepted (RFC 5321 §4.5.1): that of our first domain.
    async fn bare_postmaster(&self, text: &str) -> Result<Option<Address>> {
        if !text.eq_ignore_ascii_case("postmaster") {
            return Ok(None);
        }
        let first = self.engine.domains(None, 1).await?;
        let domain = first.into_iter().next().map(|row| row.name);
        Ok(domain.and_then(|domain| Address::from_parts(LocalPart::new("postmaster").ok()?, domain).ok()))
    }

    /// Follows an address to the end of every alias.
    async fn follow(&self, start: &Address) -> Result<Resolution> {
        let mut targets = Vec::new();
        let mut disabled = false;
        let mut accounts = HashSet::new();
        let mut seen = HashSet::from([start.key()]);
        let mut work = VecDeque::from([(start.clone(), 0)]);
        while let Some((address, depth)) = work.pop_front() {
            if !self.is_ours(address.domain()).await? {
                if depth == 0 {
                    return Ok(Resolution::Remote);
                }
                targets.push(Target::Remote(address.to_string()));
                continue;
            }
            match self.look_up(&address).await? {
                Meaning::Account(row) if !row.enabled => disabled = true,
                Meaning::Account(row) => {
                    if accounts.insert(row.id) {
                        targets.push(Target::Local {
                            account: row.id,
                            quota: row.quota,
                            address: row.address,
                        });
                    }
                }
                Meaning::Alias(alias) => {
                    let next = alias
                        .targets
                        .iter()
                        .filter_map(|target| Address::new(target).ok());
                    work.extend(
                        next.filter(|target| seen.insert(target.key()))
                            .map(|target| (target, depth + 1)),
                    );
                    if depth == MAX_DEPTH || seen.len() > MAX_TARGETS + 1 {
                        return Err(Error::Exhausted(format!(
                            "the alias {start} leads to more than {MAX_TARGETS} addresses or more than {MAX_DEPTH} deep"
                        )));
                    }
                }
                Meaning::Nobody => {}
            }
        }
        Ok(match (targets.is_empty(), disabled) {
            (false, _) => Resolution::Local(targets),
            (true, true) => Resolution::Disabled,
            (true, false) => Resolution::UnknownUser,
        })
    }

    /// What stands behind an address of a domain of ours, one step.
    pub(crate) async fn look_up(&self, address: &Address) -> Result<Meaning> {
        let (name, domain) = (address.local().as_str().to_lowercase(), address.domain());
        let without_tag = name
            .split_once('+')
            .map(|(user, _)| user)
            .filter(|user| !user.is_empty());
        for user in std::iter::once(name.as_str()).chain(without_tag) {
            let key = format!("{user}@{domain}");
            if let Some(row) = self.engine.account(&key).await? {
                return Ok(Meaning::Account(row));
            }
            if let Some(row) = self.engine.alias(&key).await? {
                return Ok(Meaning::Alias(row));
            }
        }
        if let Some(row) = self.engine.alias(&format!("@{domain}")).await? {
            return Ok(Meaning::Alias(row));
        }
        match without_tag.unwrap_or(&name) {
            "postmaster" | "abuse" => self.role_reader(address, domain).await,
            _ => Ok(Meaning::Nobody),
        }
    }

    /// Who reads a role's mail in a domain that names nobody for it.
    async fn role_reader(&self, role: &Address, domain: &Domain) -> Result<Meaning> {
        match &self.config.postmaster {
            Some(reader) if reader.key() != role.key() => Ok(Meaning::Alias(AliasRow {
                address: role.key(),
                targets: vec![reader.to_string()],
            })),
            _ => {
                let rows = self.engine.accounts(Some(domain), None, FIRST_ACCOUNTS).await?;
                Ok(rows
                    .into_iter()
                    .find(|row| row.enabled)
                    .map_or(Meaning::Nobody, Meaning::Account))
            }
        }
    }
}
