//! The rules: how the sink misbehaves, to whom, how often and when. A TOML file.
//!
//! ```toml
//! name = "two troubles"
//! about = "One domain is slow and one is full."
//!
//! [[rule]]                            # without domain, listener, from and until: always and for everybody
//! domain = "*.slow.example"           # the recipient's; `*` is any run of characters, case does not matter
//! share = 0.1                         # of one in ten; 1 when it is not said
//! delay = { at = "dot", for = "1s", up-to = "5s" }
//!
//! [[rule]]
//! domain = "full.example"
//! from = "30s"                        # since the sink began
//! until = "2m"
//! refuse = { at = "rcpt", with = "452 4.2.2 The recipient's mailbox is full" }
//! ```
//!
//! Every rule that applies is applied, in the file's order; of refusals the first wins. A connection is judged once, at its
//! beginning, by the rules about connections (those that name no domain and act before RCPT); a transaction likewise.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postrider_runtime::config::{parse_duration, parse_size};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::replies::Replies;

/// A set of rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rules {
    /// Its name in reports.
    pub name: String,
    /// One sentence for a person who chooses.
    pub about: String,
    /// What the sink calls itself.
    #[serde(default = "Rules::default_hostname")]
    pub hostname: String,
    /// Everything random follows from it.
    #[serde(default)]
    pub seed: u64,
    /// The rules.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// One rule: when it applies, and what it does (at least one thing).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Only recipients at these domains.
    pub domain: Option<Pattern>,
    /// Only connections to this address.
    pub listener: Option<SocketAddr>,
    /// Of what share of those it applies to, 0 to 1.
    pub share: Option<f64>,
    /// Not before this much time after the sink began.
    pub from: Option<Span>,
    /// Not after this much time.
    pub until: Option<Span>,
    /// What it does.
    #[serde(flatten)]
    pub actions: Actions,
}

/// What a rule does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Actions {
    /// An answer takes its time.
    pub delay: Option<Delay>,
    /// An answer is no.
    pub refuse: Option<Refuse>,
    /// The first attempts for a sender, recipient and address are put off.
    pub greylist: Option<Greylist>,
    /// No more than so many connections at once from one address: 421.
    pub most_connections: Option<u32>,
    /// The connection is dropped.
    pub drop: Option<Drop>,
    /// Answers come an octet at a time, with this much time between two.
    pub tarpit: Option<Span>,
    /// Input is read at this many octets per second, through a small window.
    pub read_rate: Option<Rate>,
    /// Extensions that are not offered.
    pub without: Option<Vec<Extension>>,
    /// TLS.
    pub tls: Option<TlsMode>,
    /// Nobody is there: connections are refused (`share` below 1: reset).
    pub unreachable: Option<bool>,
}

/// Before which answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, or the first BDAT.
    Data,
    /// The end of the message.
    Dot,
}

/// An answer takes its time: `for`, or evenly between `for` and `up-to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Delay {
    /// Which answer.
    pub at: Stage,
    /// How long, at least.
    #[serde(rename = "for")]
    pub least: Span,
    /// How long, at most.
    pub up_to: Option<Span>,
}

/// An answer is no.
///
/// A refusal for good has to be tied to messages, or nobody could tell whether something was lost: it is for RCPT (the same
/// addresses every time, as those that do not exist) or for the end of the message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refuse {
    /// Which answer.
    pub at: Stage,
    /// `temporary` or `permanent` (texts of large providers), or a reply of one's own.
    pub with: Replies,
}

/// Greylisting (RFC 6647).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Greylist {
    /// Attempts are put off until this much time after the first one.
    pub after: Span,
}

/// The connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Drop {
    /// `data`: in the middle of the message. `dot`: after its end, unanswered; it was received all the same, and the sender has to
    /// send it again.
    pub at: DropAt,
}

/// When the connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropAt {
    /// In the middle of the message.
    Data,
    /// After the end of the message.
    Dot,
}

/// An extension that a server may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Extension {
    #[serde(rename = "8BITMIME")]
    EightBitMime,
    SmtpUtf8,
    Pipelining,
    Chunking,
    BinaryMime,
    Size,
    Dsn,
    EnhancedStatusCodes,
    Limits,
}

/// What of TLS there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No STARTTLS.
    #[default]
    None,
    /// STARTTLS, with a certificate that nobody has signed.
    Offered,
    /// Nothing without STARTTLS.
    Required,
    /// STARTTLS is offered, and its handshake fails.
    Broken,
}

/// A duration as people write it: `1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Octets per second as people write them: `4KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

/// A domain with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Rules {
    /// The sets that come with the program: name and text.
    pub const BUILT_IN: [(&str, &str); 2] = [
        ("internet", include_str!("internet.toml")),
        ("perfect", include_str!("perfect.toml")),
    ];

    /// Reads a file, or a set that comes with the program by its name.
    pub fn load(name: &str) -> Result<Self> {
        if let Some((_, text)) = Self::BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text);
        }
        let known = Self::BUILT_IN.map(|(known, _)| known).join(", ");
        let text = std::fs::read_to_string(Path::new(name)).with_context(|| {
            format!("cannot read the rules `{name}` (those that need no file are {known})")
        })?;
        Self::parse(&text).with_context(|| format!("in the rules `{name}`"))
    }

    /// Reads rules.
    pub fn parse(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text)?;
        for (index, rule) in rules.rules.iter().enumerate() {
            rule.validate().with_context(|| format!("rule {}", index + 1))?;
        }
        Ok(rules)
    }

    /// No rules: a server that takes everything at once.
    pub fn perfect() -> Self {
        Self {
            name: "perfect".into(),
            about: "Takes everything at once.".into(),
            hostname: Self::default_hostname(),
            seed: 0,
            rules: Vec::new(),
        }
    }

    fn default_hostname() -> String {
        "mx.sink.example".into()
    }
}

impl Rule {
    fn validate(&self) -> Result<()> {
        ensure!(
            self.actions != Actions::default(),
            "does nothing: give it delay, refuse, greylist, most-connections, drop, tarpit, read-rate, without, tls or unreachable"
        );
        let share = self.share.unwrap_or(1.0);
        ensure!((0.0..=1.0).contains(&share), "share is from 0 to 1, not {share}");
        if let (Some(from), Some(until)) = (self.from, self.until) {
            ensure!(from.0 < until.0, "ends before it begins");
        }
        if let Some(rate) = self.actions.read_rate {
            ensure!(rate.0 > 0, "read-rate is at least an octet per second");
        }
        if let Some(delay) = &self.actions.delay {
            let longest = delay.up_to.unwrap_or(delay.least);
            ensure!(delay.least.0 <= longest.0, "delay: up-to is less than for");
        }
        if let Some(refuse) = &self.actions.refuse {
            let may_be_final = matches!(refuse.at, Stage::Rcpt | Stage::Dot);
            ensure!(
                may_be_final || !refuse.with.is_permanent(),
                "refusals for good are for rcpt or dot: elsewhere nobody could tell which messages they are about"
            );
        }
        if self.domain.is_some()
            && let Some(what) = self.actions.of_connections()
        {
            bail!("{what} comes before any recipient is known: name a listener, not a domain");
        }
        Ok(())
    }

    /// Whether it is in force so long after the sink began, for this listener.
    pub(super) fn is_on(&self, age: Duration, listener: SocketAddr) -> bool {
        self.listener.is_none_or(|only| only == listener)
            && self.from.is_none_or(|from| age >= from.0)
            && self.until.is_none_or(|until| age < until.0)
    }

    /// Whether it is about this domain.
    pub(super) fn is_about(&self, domain: &str) -> bool {
        self.domain.as_ref().is_none_or(|pattern| pattern.matches(domain))
    }
}

impl Actions {
    /// Something in it that happens before recipients are known.
    fn of_connections(&self) -> Option<&'static str> {
        let early = |stage: Stage| matches!(stage, Stage::Greeting | Stage::Ehlo | Stage::Mail);
        let found = [
            (self.delay.is_some_and(|delay| early(delay.at)), "this delay"),
            (
                self.refuse.as_ref().is_some_and(|refuse| early(refuse.at)),
                "this refusal",
            ),
            (self.most_connections.is_some(), "most-connections"),
            (self.tarpit.is_some(), "tarpit"),
            (self.read_rate.is_some(), "read-rate"),
            (self.without.is_some(), "without"),
            (self.tls.is_some(), "tls"),
            (self.unreachable.is_some(), "unreachable"),
        ];
        found.into_iter().find_map(|(is, what)| is.then_some(what))
    }
}

impl Pattern {
    /// A pattern; `*` is any run of characters.
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().split('*').map(str::to_owned).collect())
    }

    /// Whether a domain is of this form.
    pub fn matches(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return false;
        };
        if self.0.len() == 1 {
            return domain == *first;
        }
        let middle = domain
            .strip_prefix(first.as_str())
            .and_then(|rest| rest.strip_suffix(last.as_str()));
        let Some(mut rest) = middle else {
            return false;
        };
        for piece in self.0.get(1..self.0.len() - 1).unwrap_or_default() {
            match rest.find(piece.as_str()) {
                Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        true
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rules> {
        Rules::parse(&format!("name = \"x\"\nabout = \"y\"\n[[rule]]\n{text}"))
    }

    #[test]
    fn the_sets_that_come_along_are_sound() {
        for (name, _) in Rules::BUILT_IN {
            let rules = Rules::load(name).unwrap();
            assert_eq!(rules.name, name);
        }
        assert!(Rules::load("perfect").unwrap().rules.is_empty());
        assert!(Rules::load("no-such-rules").is_err());
    }

    #[test]
    fn rules_are_read() {
        let rules = rule(
            "domain = \"*.slow.example\"\nshare = 0.5\nfrom = \"1s\"\nuntil = \"2m\"\n\
             delay = { at = \"dot\", for = \"1s\", up-to = \"5s\" }\nwithout = []\n",
        );
        // `without` is about connections, a domain is not.
        assert!(rules.is_err());
        let rules =
            rule("listener = \"127.0.0.5:25\"\nwithout = [\"8BITMIME\", \"SMTPUTF8\"]\nread-rate = \"1KiB\"");
        let rule = &rules.unwrap().rules[0];
        assert_eq!(
            rule.actions.without.as_deref(),
            Some(&[Extension::EightBitMime, Extension::SmtpUtf8][..])
        );
        assert!(rule.is_on(Duration::ZERO, "127.0.0.5:25".parse().unwrap()));
        assert!(!rule.is_on(Duration::ZERO, "127.0.0.6:25".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_said_to_be_nonsense() {
        for wrong in [
            "share = 0.5",
            "share = 1.5\ntarpit = \"1s\"",
            "tarpits = \"1s\"\ntarpit = \"1s\"",
            "tarpit = \"fast\"",
            "from = \"2s\"\nuntil = \"1s\"\ntarpit = \"1s\"",
            "read-rate = \"0B\"",
            "delay = { at = \"dot\", for = \"2s\", up-to = \"1s\" }",
            "delay = { at = \"lunch\", for = \"2s\" }",
            "refuse = { at = \"mail\", with = \"permanent\" }",
            "refuse = { at = \"rcpt\", with = \"250 fine\" }",
            "domain = \"x\"\nrefuse = { at = \"mail\", with = \"temporary\" }",
            "domain = \"x\"\nunreachable = true",
        ] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
        assert!(rule("domain = \"x\"\nrefuse = { at = \"rcpt\", with = \"permanent\" }").is_ok());
    }

    #[test]
    fn patterns() {
        for (pattern, domain, matches) in [
            ("crepes.fr", "CREPES.fr", true),
            ("crepes.fr", "x.crepes.fr", false),
            ("*.crepes.fr", "x.crepes.fr", true),
            ("*.crepes.fr", "crepes.fr", false),
            ("*", "", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*x*", "axb", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(domain),
                matches,
                "{pattern} {domain}"
            );
        }
    }

    #[test]
    fn rules_have_their_time() {
        let listener = "127.0.0.1:25".parse().unwrap();
        let rules = rule("from = \"10s\"\nuntil = \"20s\"\ntarpit = \"1s\"").unwrap();
        let on = |seconds| rules.rules[0].is_on(Duration::from_secs(seconds), listener);
        assert_eq!([on(9), on(10), on(19), on(20)], [false, true, true, false]);
    }
}
