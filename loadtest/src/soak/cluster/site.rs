//! The cluster to torment: two processes of each role over three nodes of each engine, with proxies between them all.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use postrider_proxy::Proxy;
use postrider_testbed::{Failed, Kind, State, Testbed};
use tokio::time::sleep;

use super::LOOK;
use super::member::{Member, Role};
use crate::server::{self, Options};
use crate::sink::{self, Rules, Sink};
use crate::soak::free_address;
use crate::target::Target;

/// Accounts of the load; one more belongs to the probe.
const ACCOUNTS: u64 = 12;
/// Domains that are elsewhere; one more belongs to the probe.
const DOMAINS: u32 = 4;
/// The probe's domain elsewhere.
pub const PROBED: &str = "probed.example";
/// Nodes of each engine, and copies of everything.
const NODES: u8 = 3;
/// `queue.kafka.find_lost` of this cluster, in seconds: a round sees the end of what it began.
pub const FIND_LOST: u64 = 30;
/// How long the processes may take to become ready for the first time.
const START: Duration = Duration::from_secs(180);

/// The cluster, and the rest of the world around it.
#[derive(Debug)]
pub struct Site {
    members: Vec<Member>,
    redis: Proxy,
    front: Front,
    testbed: Testbed,
    sink: Option<Sink>,
    record: PathBuf,
    probed: Arc<Mutex<HashSet<String>>>,
    target: Target,
}

/// Where clients come in; the processes of a role take turns.
#[derive(Debug)]
struct Front {
    smtp: Proxy,
    submission: Proxy,
    imap: Proxy,
    pop3: Proxy,
}

impl Site {
    /// Starts everything; files are below `base`. The engines must be up, with three nodes.
    pub async fn start(binary: &Path, base: &Path) -> Result<Self> {
        let testbed = Testbed::new().map_err(told)?;
        let redis = Proxy::open([complete(&testbed)?]).await?;
        let mut members = Vec::new();
        for role in Role::ALL {
            for number in 1..=2 {
                members.push(Member::new(role, number, server::free_address()?).await?);
            }
        }
        let outside = free_address()?;
        let (record, probed) = (base.join("sink-record"), Arc::new(Mutex::new(HashSet::new())));
        let mut options = Options::new(ACCOUNTS + 1).routed(DOMAINS, outside);
        options.routes.push((PROBED.to_owned(), outside));
        options.more = more(&testbed, &members, redis.address())?;
        for member in &mut members {
            member.prepare(binary, base, options.clone())?;
        }
        let front = Front::open(&members).await?;
        let target = front.target(server::version(binary)?, &options);
        let site = Self {
            sink: Some(world(outside, &record, &probed).await?),
            members,
            redis,
            front,
            testbed,
            record,
            probed,
            target,
        };
        site.bring_up().await?;
        Ok(site)
    }

    async fn bring_up(&self) -> Result<()> {
        let first = self.member(Role::SmtpIngress, 1)?;
        first.act(|node| node.command(&["cluster", "init"])).await?;
        for member in &self.members {
            member.act(|node| node.launch()).await?;
        }
        let begin = Instant::now();
        while let Err(why) = self.ready().await {
            if begin.elapsed() > START {
                bail!("the cluster is not ready within {START:?}: {why}");
            }
            sleep(LOOK).await;
        }
        first.act(|node| node.open_accounts()).await
    }

    /// Whether every process says that it is ready; the error names one that does not.
    pub async fn ready(&self) -> Result<()> {
        for member in &self.members {
            if !member.act(|node| Ok(node.is_ready())).await? {
                bail!("{} is not ready", member.name());
            }
        }
        Ok(())
    }

    /// What has ended by itself since the last look. It is started again.
    pub async fn ended(&self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for member in &self.members {
            let status = member.act(|node| node.ended()).await?;
            if let Some(status) = status {
                ended.push(format!("{} ended by itself ({status})", member.name()));
                member.act(|node| node.launch()).await?;
            }
        }
        Ok(ended)
    }

    /// A process.
    pub fn member(&self, role: Role, number: u8) -> Result<&Member> {
        let is = |member: &&Member| member.role == role && member.number == number;
        let found = self.members.iter().find(is);
        found.with_context(|| format!("there is no {} {number}", role.name()))
    }

    /// The ways between the roles, and to Redis.
    pub fn links(&self) -> impl Iterator<Item = &Proxy> {
        self.members
            .iter()
            .map(|member| &member.link)
            .chain([&self.redis])
    }

    /// Does something with the engines, away from the tasks of the load.
    pub async fn engines(
        &self,
        act: impl FnOnce(&Testbed) -> Result<(), Failed> + Send + 'static,
    ) -> Result<()> {
        let testbed = self.testbed.clone();
        tokio::task::spawn_blocking(move || act(&testbed))
            .await
            .context("a task that acts on the engines broke off")?
            .map_err(told)
    }

    /// The cluster as clients see it, without the probe's account.
    pub fn target(&self) -> Target {
        let mut target = self.target.clone();
        target.accounts.count = ACCOUNTS;
        target
    }

    /// What the rest of the world has received.
    pub fn record(&self) -> &Path {
        &self.record
    }

    /// The probe's account.
    pub fn account(&self) -> String {
        self.target.accounts.address(ACCOUNTS)
    }

    /// Whether the rest of the world has something for this address of [`PROBED`].
    pub fn has_arrived(&self, address: &str) -> bool {
        self.probed.lock().contains(address)
    }

    /// Ends it: gateways first, what they need last. The engines stay as they are.
    pub async fn stop(mut self) -> Result<()> {
        for member in self.members.iter().rev() {
            member.act(|node| node.kill()).await?;
        }
        if let Some(sink) = self.sink.take() {
            sink.stop().await;
        }
        drop(self.front);
        Ok(())
    }
}

impl Front {
    async fn open(members: &[Member]) -> Result<Self> {
        let open = |role: Role, port: u16| {
            let of = members.iter().filter(move |member| member.role == role);
            let servers: Vec<SocketAddr> = of.map(|member| (member.address, port).into()).collect();
            Proxy::open(servers)
        };
        Ok(Self {
            smtp: open(Role::SmtpIngress, 2525).await?,
            submission: open(Role::SmtpIngress, 2587).await?,
            imap: open(Role::ImapGateway, 2143).await?,
            pop3: open(Role::Pop3Gateway, 2110).await?,
        })
    }

    fn target(&self, name: String, options: &Options) -> Target {
        let domains = options.routes.iter().map(|(domain, _)| domain.clone());
        Target {
            name,
            smtp: Some(self.smtp.address()),
            submission: Some(self.submission.address()),
            imap: Some(self.imap.address()),
            pop3: Some(self.pop3.address()),
            tls: crate::target::Tls::Never,
            metrics: None,
            processes: Vec::new(),
            engines: Vec::new(),
            accounts: options.accounts.clone(),
            remote_domains: domains.filter(|domain| domain != PROBED).collect(),
        }
    }
}

/// Where Redis is, when all engines answer and are three nodes.
fn complete(testbed: &Testbed) -> Result<SocketAddr> {
    let all = testbed.status();
    let silent = all.iter().find(|one| one.state != State::Answers);
    if let Some(silent) = silent {
        bail!(
            "{} does not answer: start the engines with `cargo xtask engines up --nodes {NODES}`",
            silent.engine
        );
    }
    for kind in [Kind::Cassandra, Kind::Kafka] {
        if testbed.addresses(kind).map_err(told)?.len() != usize::from(NODES) {
            bail!(
                "{} has not {NODES} nodes: `cargo xtask engines down`, then `up --nodes {NODES}`",
                kind.name()
            );
        }
    }
    let redis = testbed.addresses(Kind::Redis).map_err(told)?;
    redis.first().copied().context("Redis has no address")
}

/// The configuration that all processes share.
fn more(testbed: &Testbed, members: &[Member], redis: SocketAddr) -> Result<String> {
    let quoted = |kind| -> Result<String> {
        let addresses = testbed.addresses(kind).map_err(told)?;
        let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        Ok(quoted.join(", "))
    };
    let urls = |role: Role| {
        let of = members.iter().filter(|member| member.role == role);
        let urls: Vec<String> = of
            .map(|member| format!("http://{}", member.link.address()))
            .collect();
        urls.join(",")
    };
    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    // An earlier soak on the same engines must not be in the way of this one.
    let name = format!("soak_{}", begun.as_secs());
    let mut text = crate::soak::QUICK_RETRIES.to_owned();
    write!(
        text,
        "[storage]\nengine = \"cql\"\n\
         [storage.cql]\ncontact_points = [{}]\nkeyspace = \"{name}\"\nreplication_factor = {NODES}\n\
         [queue]\nengine = \"kafka\"\n\
         [queue.kafka]\nbrokers = [{}]\nprefix = \"{name}\"\npartitions = 4\nreplication_factor = {NODES}\nfind_lost = \"{FIND_LOST}s\"\n\
         [coordination]\nengine = \"redis\"\n\
         [coordination.redis]\nurl = \"redis://{redis}\"\nprefix = \"{name}\"\n\
         [services]\ndirectory = \"{}\"\nmail_store = \"{}\"\nqueue = \"{}\"\nsubmission = \"{}\"\n",
        quoted(Kind::Cassandra)?,
        quoted(Kind::Kafka)?,
        urls(Role::Directory),
        urls(Role::MailStore),
        urls(Role::DeliveryWorker),
        urls(Role::SmtpIngress),
    )?;
    Ok(text)
}

/// The rest of the world, which takes everything and writes it down.
async fn world(listen: SocketAddr, record: &Path, probed: &Arc<Mutex<HashSet<String>>>) -> Result<Sink> {
    let probed = Arc::clone(probed);
    let options = sink::Options {
        listen: vec![listen],
        rules: Rules::load("perfect")?,
        record: Some(record.to_owned()),
        watch: Some(Arc::new(move |received| {
            let probes = received
                .recipients
                .iter()
                .filter(|recipient| recipient.ends_with(PROBED));
            probed.lock().extend(probes.cloned());
        })),
    };
    Sink::start(options).await.context("the sink cannot begin")
}

/// The testbed's words.
fn told(failed: Failed) -> anyhow::Error {
    anyhow!("{}", failed.0)
}
