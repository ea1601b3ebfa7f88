//! Reading a target's file.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::profile::with_suggestion;
use crate::target::Target;

/// Reads a target. Errors name file, line and the key that was most likely meant.
pub fn load_target(path: &Path) -> Result<Target> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the target {}", path.display()))?;
    toml::from_str(&text)
        .map_err(|error| anyhow!("{}", with_suggestion(&error.to_string())))
        .with_context(|| format!("{} is not a target", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_told_with_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "name = \"a\"\nsubmision = \"127.0.0.1:1\"\n[accounts]\ndomain = \"a\"\npattern = \"u\"\n\
                    count = 1\npassword = \"x\"\n";
        std::fs::write(file.path(), text).expect("written");
        let error = format!("{:#}", load_target(file.path()).expect_err("a mistake"));
        assert!(error.contains("did you mean `submission`?"), "{error}");
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
