//! Finding a profile: by the name of a shipped one, or in a file.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use super::Profile;
use super::nearest::{nearest, with_suggestion};

/// The profiles that come with the program: name and text.
pub const SHIPPED: [(&str, &str); 7] = [
    ("smoke", include_str!("../../profiles/smoke.toml")),
    ("office", include_str!("../../profiles/office.toml")),
    ("provider", include_str!("../../profiles/provider.toml")),
    ("inbound-flood", include_str!("../../profiles/inbound-flood.toml")),
    ("outbound-bulk", include_str!("../../profiles/outbound-bulk.toml")),
    ("pop3-morning", include_str!("../../profiles/pop3-morning.toml")),
    ("idle-crowd", include_str!("../../profiles/idle-crowd.toml")),
];

impl Profile {
    /// The profile with this name when it is a shipped one, else the one in the file of this name. It is validated; the
    /// error says file, place and remedy.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text).with_context(|| format!("the shipped profile {name}"));
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            return Err(unknown(name_or_path));
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name_or_path}"))?;
        Self::parse(&text).with_context(|| format!("{name_or_path} is not a profile"))
    }

    /// Reads and validates a profile.
    pub fn parse(text: &str) -> Result<Self> {
        let profile: Self =
            toml::from_str(text).map_err(|error| anyhow!("{}", with_suggestion(&error.to_string())))?;
        let mistakes = profile.mistakes();
        if !mistakes.is_empty() {
            bail!("{}", mistakes.join("; "));
        }
        Ok(profile)
    }
}

fn unknown(name: &str) -> anyhow::Error {
    let names = SHIPPED.map(|(name, _)| name);
    let hint = nearest(name, names).map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    anyhow!(
        "there is neither a shipped profile nor a file named {name}{hint}; shipped are {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_profiles_are_good_and_know_their_names() {
        for (name, _) in SHIPPED {
            let profile = Profile::load(name).expect("good");
            assert_eq!(profile.name, name);
            assert!(!profile.about.is_empty());
        }
    }

    #[test]
    fn shipped_profiles_survive_being_written_into_a_report() {
        for (name, _) in SHIPPED {
            let profile = Profile::load(name).expect("good");
            let json = serde_json::to_string(&profile).expect("JSON");
            let again: Profile = serde_json::from_str(&json).expect("the same");
            assert_eq!(serde_json::to_string(&again).expect("JSON"), json);
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_told() {
        let error = Profile::load("ofice").expect_err("no such profile").to_string();
        assert!(error.contains("did you mean office?"), "{error}");
        assert!(error.contains("idle-crowd"), "{error}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = Profile::parse("name = \"a\"\nabuot = \"b\"\nduration = \"1s\"\nactor = []\n")
            .expect_err("a mistake")
            .to_string();
        assert!(
            error.contains("abuot") && error.contains("did you mean `about`?"),
            "{error}"
        );
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn an_unknown_key_of_an_actor_names_the_nearest() {
        let text = "name = \"a\"\nabout = \"b\"\nduration = \"1s\"\n\
                    [[actor]]\nkind = \"mx\"\nconection = 3\nrate = []\n";
        let error = Profile::parse(text).expect_err("a mistake").to_string();
        assert!(error.contains("did you mean `connections`?"), "{error}");
    }
}
