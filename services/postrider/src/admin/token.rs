//! The administration token.

use std::path::Path;

use anyhow::{Context, Result};
use postrider_runtime::tls::write_private;

/// What opens the administration listener: 32 random bytes in hexadecimal.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads a token file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| {
            format!(
                "cannot read the token {}; has a node run in this data directory (--config, --data), and are you its user?",
                file.display()
            )
        })?;
        let text = text.trim();
        anyhow::ensure!(
            text.len() >= 32 && text.is_ascii(),
            "{} holds no token",
            file.display()
        );
        Ok(Self(text.to_owned()))
    }

    /// Reads the file, or makes it, readable by its owner alone.
    pub fn read_or_create(file: &Path) -> Result<Self> {
        if file.exists() {
            return Self::read(file);
        }
        let bytes: [u8; 32] = rand::random();
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write_private(file, format!("{token}\n").as_bytes())
            .with_context(|| format!("cannot write the token {}", file.display()))?;
        Ok(Self(token))
    }

    /// The value of the `authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a header shows this token; takes the same time wherever it differs.
    pub fn admits(&self, header: &[u8]) -> bool {
        let own = self.header();
        let same_length = own.len() == header.len();
        let difference = own
            .bytes()
            .zip(header)
            .fold(0, |sum, (own, other)| sum | (own ^ other));
        same_length && difference == 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("admin.token");
        let made = Token::read_or_create(&file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = Token::read_or_create(&file).unwrap();
        assert!(made.admits(again.header().as_bytes()));
        assert!(!made.admits(b"") && !made.admits(b"Bearer x"));
        assert!(!made.admits(&again.header().as_bytes()[1..]));
    }
}
