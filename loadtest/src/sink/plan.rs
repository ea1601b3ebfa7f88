//! What the rules mean for one connection, one recipient, one message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_smtp::Reply;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rules::{Delay, DropAt, Extension, Refuse, Rule, Rules, Stage, TlsMode};

/// The rules of a sink that has begun.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    rules: Arc<Rules>,
    begin: Instant,
}

/// What a connection has to expect.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// It is reset at once.
    pub reset: bool,
    /// Connections from one address, at most.
    pub most_connections: Option<u32>,
    /// Time between two octets of an answer.
    pub tarpit: Option<Duration>,
    /// Octets read per second.
    pub read_rate: Option<u64>,
    /// Extensions that are not offered.
    pub without: Vec<Extension>,
    /// TLS.
    pub tls: TlsMode,
}

/// Dice that fall the same way for the same seed and thrower.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

/// How an answer is given.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// So much later.
    pub delay: Duration,
    /// Not as hoped.
    pub refusal: Option<Reply>,
    /// Attempts are put off until so long after the first one.
    pub greylist: Option<Duration>,
    /// The connection is dropped.
    pub drop: bool,
}

impl Plan {
    pub(super) fn new(rules: Arc<Rules>, begin: Instant) -> Self {
        Self { rules, begin }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Dice for one connection.
    pub(super) fn dice(&self, connection: u64) -> Dice {
        Dice(self.rules.seed ^ connection.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether a listener is to be closed now.
    pub(super) fn is_closed(&self, listener: SocketAddr) -> bool {
        self.on(listener).any(closes)
    }

    /// Whether any listener ever is.
    pub(super) fn ever_closes(&self) -> bool {
        self.rules.rules.iter().any(closes)
    }

    /// How a connection to `listener` is treated.
    pub(super) fn manner(&self, listener: SocketAddr, dice: &mut Dice) -> Manner {
        let mut manner = Manner::default();
        for rule in self.on(listener) {
            if rule.domain.is_some() || !dice.hit(rule.share) {
                continue;
            }
            let actions = &rule.actions;
            manner.reset |= actions.unreachable == Some(true);
            let fewer = manner
                .most_connections
                .into_iter()
                .chain(actions.most_connections);
            manner.most_connections = fewer.min();
            manner.tarpit = actions.tarpit.map(|span| span.0).or(manner.tarpit);
            manner.read_rate = actions.read_rate.map(|rate| rate.0).or(manner.read_rate);
            manner.without.extend(actions.without.iter().flatten());
            manner.tls = actions.tls.unwrap_or(manner.tls);
        }
        manner
    }

    /// How an answer is given. `recipients`: whom it is about; none before RCPT.
    pub(super) fn answer(
        &self,
        stage: Stage,
        listener: SocketAddr,
        recipients: &[String],
        dice: &mut Dice,
    ) -> Answer {
        let mut answer = Answer::default();
        for rule in self.on(listener).filter(|rule| acts_at(rule, stage)) {
            let about = recipients.is_empty() || recipients.iter().any(|it| rule.is_about(domain(it)));
            if !about || !self.hits(rule, stage, recipients, dice) {
                continue;
            }
            if let Some(delay) = rule.actions.delay.filter(|delay| delay.at == stage) {
                answer.delay += dice.between(&delay);
            }
            if let Some(refuse) = rule.actions.refuse.as_ref().filter(|refuse| refuse.at == stage) {
                answer.refusal = answer.refusal.or_else(|| Some(refuse.with.pick(dice.roll())));
            }
            if stage == Stage::Rcpt {
                answer.greylist = answer.greylist.or(rule.actions.greylist.map(|grey| grey.after.0));
            }
            answer.drop |= rule.actions.drop.is_some_and(|drop| stage_of(drop.at) == stage);
        }
        answer
    }

    /// Whether the dice say yes. An address that does not exist never exists, so there it is the address that decides.
    fn hits(&self, rule: &Rule, stage: Stage, recipients: &[String], dice: &mut Dice) -> bool {
        let is_final = |refuse: &Refuse| refuse.at == stage && refuse.with.is_permanent();
        match recipients {
            [recipient] if stage == Stage::Rcpt && rule.actions.refuse.as_ref().is_some_and(is_final) => {
                let key = recipient.to_ascii_lowercase();
                Dice(xxh3_64_with_seed(key.as_bytes(), self.rules.seed)).hit(rule.share)
            }
            _ => dice.hit(rule.share),
        }
    }

    fn on(&self, listener: SocketAddr) -> impl Iterator<Item = &Rule> {
        let age = self.begin.elapsed();
        self.rules
            .rules
            .iter()
            .filter(move |rule| rule.is_on(age, listener))
    }
}

impl Dice {
    /// Whether something with this probability (1 when it is not said) happens.
    pub(super) fn hit(&mut self, share: Option<f64>) -> bool {
        match share {
            None => true,
            // 53 bits make a number from 0 to 1 that never is 1.
            Some(share) => ((self.roll() >> 11) as f64) < share * (1_u64 << 53) as f64,
        }
    }

    /// A number (SplitMix64).
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, delay: &Delay) -> Duration {
        let least = delay.least.0;
        let room = delay
            .up_to
            .map_or(Duration::ZERO, |most| most.0.saturating_sub(least));
        let part = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        least + room.mul_f64(part)
    }
}

/// Whether the rule does something at this stage.
fn acts_at(rule: &Rule, stage: Stage) -> bool {
    let actions = &rule.actions;
    actions.delay.is_some_and(|delay| delay.at == stage)
        || actions.refuse.as_ref().is_some_and(|refuse| refuse.at == stage)
        || actions.drop.is_some_and(|drop| stage_of(drop.at) == stage)
        || (stage == Stage::Rcpt && actions.greylist.is_some())
}

/// Whether the rule closes a listener; one that is about some of the connections resets them instead.
fn closes(rule: &Rule) -> bool {
    rule.actions.unreachable == Some(true) && rule.share.is_none_or(|share| share >= 1.0)
}

fn stage_of(drop: DropAt) -> Stage {
    match drop {
        DropAt::Data => Stage::Data,
        DropAt::Dot => Stage::Dot,
    }
}

/// The domain of an address; nothing for `Postmaster`.
fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        let rules = Rules::parse(&format!("name = \"x\"\nabout = \"y\"\n{text}")).unwrap();
        Plan::new(Arc::new(rules), Instant::now())
    }

    fn listener() -> SocketAddr {
        "127.0.0.1:25".parse().unwrap()
    }

    #[test]
    fn dice_are_fair_and_repeat() {
        let mut dice = plan("").dice(7);
        let hits = (0..100_000).filter(|_| dice.hit(Some(0.3))).count();
        assert!((29_000..31_000).contains(&hits), "{hits}");
        assert!(!dice.hit(Some(0.0)) && dice.hit(Some(1.0)) && dice.hit(None));
        assert_eq!(plan("").dice(7).roll(), plan("").dice(7).roll());
        assert_ne!(plan("").dice(7).roll(), plan("").dice(8).roll());
    }

    #[test]
    fn an_address_that_does_not_exist_never_exists() {
        let plan = plan("[[rule]]\nshare = 0.3\nrefuse = { at = \"rcpt\", with = \"permanent\" }");
        let mut refused = 0;
        for number in 0..1000 {
            let recipient = [format!("user{number}@crepes.fr")];
            let mut answers = (0..5).map(|connection| {
                let mut dice = plan.dice(connection);
                let answer = plan.answer(Stage::Rcpt, listener(), &recipient, &mut dice);
                answer.refusal.is_some()
            });
            let first = answers.next().unwrap();
            assert!(answers.all(|again| again == first));
            refused += usize::from(first);
        }
        assert!((250..350).contains(&refused), "{refused}");
    }

    #[test]
    fn rules_apply_where_they_say() {
        let plan = plan(
            "[[rule]]\ndomain = \"slow.example\"\ndelay = { at = \"dot\", for = \"1s\" }\n\
             [[rule]]\ndelay = { at = \"dot\", for = \"2s\", up-to = \"3s\" }\n\
             [[rule]]\nshare = 1.0\nunreachable = true\nlistener = \"127.0.0.2:25\"",
        );
        let delay = |recipient: &str, stage| {
            let recipients = [recipient.to_owned()];
            plan.answer(stage, listener(), &recipients, &mut plan.dice(1))
                .delay
        };
        let seconds = Duration::from_secs;
        assert!((seconds(2)..=seconds(3)).contains(&delay("a@fast.example", Stage::Dot)));
        assert!((seconds(3)..=seconds(4)).contains(&delay("a@SLOW.example", Stage::Dot)));
        assert_eq!(delay("a@slow.example", Stage::Rcpt), Duration::ZERO);
        assert!(!plan.is_closed(listener()));
        assert!(plan.is_closed("127.0.0.2:25".parse().unwrap()));
    }
}
