//! What is wrong with a profile: everything at once, in words that say where.

use super::{Actor, Phase, Profile, Sizes};

impl Profile {
    /// Every mistake, with its place; none when the profile can be played.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Mistakes(Vec::new());
        mistakes.expect(!self.name.trim().is_empty(), || "name is empty".to_owned());
        mistakes.expect(!self.duration.is_zero(), || "duration is 0".to_owned());
        mistakes.expect(self.traffic.sizes != Sizes::Fixed(0), || {
            "traffic.sizes is 0; say \"field\" or a size such as \"4KiB\"".to_owned()
        });
        mistakes.expect(!self.actors.is_empty(), || {
            "nobody acts: at least one [[actor]] is needed".to_owned()
        });
        for (index, actor) in self.actors.iter().enumerate() {
            mistakes.actor(index, actor);
        }
        mistakes.0
    }
}

struct Mistakes(Vec<String>);

impl Mistakes {
    fn expect(&mut self, good: bool, otherwise: impl FnOnce() -> String) {
        if !good {
            self.0.push(otherwise());
        }
    }

    fn actor(&mut self, index: usize, actor: &Actor) {
        let place = format!("actor {} ({})", index + 1, actor.kind());
        match actor {
            Actor::Mx(sender) | Actor::Submission(sender) => {
                self.at_least_one(&place, "connections", sender.connections);
                self.at_least_one(&place, "messages_per_connection", sender.messages_per_connection);
                self.share(&place, "remote_share", sender.remote_share);
                self.phases(&place, &sender.rate);
                let allowed = matches!(actor, Actor::Submission(_)) || sender.remote_share == 0.0;
                self.expect(allowed, || {
                    format!("{place}: remote_share is for submission; other servers bring mail only to accounts here")
                });
            }
            Actor::ImapDevice(devices) => {
                self.at_least_one(&place, "population", devices.population);
                self.share(&place, "returning", devices.returning);
                let actions = devices.actions_per_hour;
                self.expect(actions.is_finite() && actions >= 0.0, || {
                    format!("{place}: actions_per_hour is {actions}; it has to be 0 or more")
                });
            }
            Actor::Pop3Poller(pollers) => {
                self.at_least_one(&place, "connections", pollers.connections);
                self.phases(&place, &pollers.rate);
            }
        }
    }

    fn at_least_one(&mut self, place: &str, key: &str, value: u32) {
        self.expect(value > 0, || {
            format!("{place}: {key} is 0; it has to be 1 or more")
        });
    }

    fn share(&mut self, place: &str, key: &str, value: f64) {
        self.expect((0.0..=1.0).contains(&value), || {
            format!("{place}: {key} is {value}; it is a share, from 0 to 1")
        });
    }

    fn phases(&mut self, place: &str, phases: &[Phase]) {
        self.expect(!phases.is_empty(), || {
            format!("{place}: rate is empty; say rate = [{{ for = \"1m\", at = 10 }}]")
        });
        for (index, phase) in phases.iter().enumerate() {
            let place = format!("{place}, phase {}", index + 1);
            self.phase(&place, phase);
        }
    }

    fn phase(&mut self, place: &str, phase: &Phase) {
        self.expect(!phase.length.is_zero(), || format!("{place}: `for` is 0"));
        let told = (phase.at.is_some(), phase.from.is_some(), phase.to.is_some());
        self.expect(matches!(told, (true, false, false) | (false, true, true)), || {
            format!("{place}: a phase has either `at`, or `from` and `to`")
        });
        for rate in [phase.at, phase.from, phase.to].into_iter().flatten() {
            self.expect(rate.is_finite() && rate >= 0.0, || {
                format!("{place}: a rate of {rate} per second; it has to be 0 or more")
            });
        }
    }
}

impl Actor {
    /// Its `kind` as profiles write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mx(_) => "mx",
            Self::Submission(_) => "submission",
            Self::ImapDevice(_) => "imap-device",
            Self::Pop3Poller(_) => "pop3-poller",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::{Actor, Profile};

    fn with(actors: &str) -> Result<Profile, String> {
        let text = format!("name = \"a\"\nabout = \"b\"\nduration = \"10s\"\n{actors}");
        Profile::parse(&text).map_err(|error| error.to_string())
    }

    fn mx(rest: &str) -> String {
        with(&format!("[[actor]]\nkind = \"mx\"\nconnections = 2\n{rest}\n")).expect_err("a mistake")
    }

    #[test]
    fn the_mistakes_of_phases_are_told_with_their_place() {
        for (rest, expected) in [
            ("rate = []", "actor 1 (mx): rate is empty"),
            ("rate = [{ for = \"1s\" }]", "phase 1: a phase has either"),
            (
                "rate = [{ for = \"1s\", at = 1, to = 2 }]",
                "either `at`, or `from`",
            ),
            ("rate = [{ for = \"1s\", from = 1 }]", "either `at`, or `from`"),
            ("rate = [{ for = \"1s\", at = -1 }]", "a rate of -1"),
            ("rate = [{ for = \"1s\", at = nan }]", "a rate of NaN"),
            ("rate = [{ for = \"0s\", at = 1 }]", "`for` is 0"),
            (
                "rate = [{ for = \"1s\", at = 1 }]\nremote_share = 0.5",
                "remote_share is for submission",
            ),
        ] {
            let error = mx(rest);
            assert!(error.contains(expected), "{rest}: {error}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let error = with("[[actor]]\nkind = \"imap-device\"\npopulation = 0\nreturning = 1.5\n");
        let error = error.expect_err("two mistakes");
        assert!(
            error.contains("population is 0") && error.contains("returning is 1.5"),
            "{error}"
        );
    }

    #[test]
    fn somebody_has_to_act() {
        assert!(with("actor = []").expect_err("nobody").contains("nobody acts"));
    }

    #[test]
    fn scaling_keeps_whoever_is_few_and_connections() {
        let profile = with(
            "users = 500\n[[actor]]\nkind = \"mx\"\nconnections = 4\nrate = [{ for = \"1s\", from = 0, to = 8 }]\n\
             [[actor]]\nkind = \"imap-device\"\npopulation = 3\n",
        )
        .expect("good");
        let few = profile.scaled(0.1);
        let many = profile.scaled(3.0);
        assert_eq!((few.users, many.users), (Some(50), Some(1500)));
        let shape = |profile: &Profile| match profile.actors.as_slice() {
            [Actor::Mx(sender), Actor::ImapDevice(devices)] => {
                (sender.connections, sender.rate[0].to, devices.population)
            }
            _ => panic!("two actors"),
        };
        assert_eq!(shape(&few), (4, Some(0.8), 1));
        assert_eq!(shape(&many), (12, Some(24.0), 9));
    }
}
