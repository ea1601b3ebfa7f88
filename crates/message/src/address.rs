//! Address lists (RFC 5322 §3.4, obsolete forms §4.4), tolerantly read.

use crate::EnvelopeAddress;

/// Reads the value of a From, To, Cc … field. Comments are dropped, unless an address has no other name: then the
/// last comment is its name. What is no address becomes one without a domain.
pub fn parse_list(text: &str) -> Vec<EnvelopeAddress> {
    parse_list_up_to(text, usize::MAX).0
}

/// The same, stopping at `limit` entries (a group's end may make it one more); and whether the entries have every word of the
/// field, a space between two only where the field has one.
pub(crate) fn parse_list_up_to(text: &str, limit: usize) -> (Vec<EnvelopeAddress>, bool) {
    let mut list = Vec::new();
    let mut entry = Entry::default();
    let mut in_group = false;
    // Comments are dropped.
    let mut whole = !text.contains('(');
    let mut scanner = Scanner { text, at: 0 };
    while let Some(token) = scanner.next() {
        if list.len() >= limit {
            entry = Entry::default();
            whole = false;
            break;
        }
        match token {
            Token::Word(word) => entry.words.push(word),
            Token::Comment(text) => entry.comment = Some(text),
            Token::Special('<') => {
                whole &= entry.angle.is_none();
                entry.angle = Some(scanner.angle());
            }
            Token::Special(':') if !in_group && !entry.words.iter().any(Word::is_at) => {
                whole &= entry.angle.is_none();
                list.push(EnvelopeAddress {
                    mailbox: Some(join(&entry.words)),
                    ..EnvelopeAddress::default()
                });
                entry = Entry::default();
                in_group = true;
            }
            Token::Special(';') => {
                whole &= entry.is_whole();
                list.extend(std::mem::take(&mut entry).address());
                if std::mem::take(&mut in_group) {
                    list.push(EnvelopeAddress::default());
                }
            }
            Token::Special(',') => {
                whole &= entry.is_whole();
                list.extend(std::mem::take(&mut entry).address());
            }
            Token::Special(_) => {}
        }
    }
    whole &= entry.is_whole();
    list.extend(entry.address());
    if in_group {
        list.push(EnvelopeAddress::default());
    }
    (list, whole)
}

/// What has been read of one address.
#[derive(Default)]
struct Entry {
    words: Vec<Word>,
    comment: Option<String>,
    angle: Option<Vec<Word>>,
}

impl Entry {
    /// Whether the address has every word, and no two made one.
    fn is_whole(&self) -> bool {
        let apart = |words: &[Word]| words.iter().skip(1).any(|word| word.spaced);
        match &self.angle {
            Some(angle) => !apart(angle) && !angle.first().is_some_and(Word::is_at),
            None => !apart(&self.words) || !self.words.iter().any(Word::is_at),
        }
    }

    fn address(self) -> Option<EnvelopeAddress> {
        let (spec, name) = match &self.angle {
            Some(angle) => (angle.as_slice(), join(&self.words)),
            None if self.words.is_empty() => return None,
            None => (self.words.as_slice(), String::new()),
        };
        let (route, spec) = split_route(spec);
        let (mailbox, host) = match spec.iter().rposition(Word::is_at) {
            Some(at) => (concat(&spec[..at]), concat(&spec[at + 1..])),
            None if self.angle.is_none() => (join(spec), String::new()),
            None => (concat(spec), String::new()),
        };
        let name = if name.is_empty() {
            self.comment.unwrap_or_default()
        } else {
            name
        };
        Some(EnvelopeAddress {
            name: (!name.is_empty()).then_some(name),
            route,
            mailbox: Some(mailbox),
            host: Some(host),
        })
    }
}

/// `obs-route = obs-domain-list ":"`
fn split_route(spec: &[Word]) -> (Option<String>, &[Word]) {
    if spec.first().is_some_and(Word::is_at)
        && let Some(colon) = spec.iter().position(|word| word.is_special(":"))
    {
        return (Some(concat(&spec[..colon])), &spec[colon + 1..]);
    }
    (None, spec)
}

/// An atom, a quoted string without its quotes, a domain literal, or a special inside an address.
struct Word {
    text: String,
    /// White space stood before it.
    spaced: bool,
    quoted: bool,
}

impl Word {
    fn is_at(&self) -> bool {
        self.is_special("@")
    }

    fn is_special(&self, special: &str) -> bool {
        !self.quoted && self.text == special
    }
}

fn join(words: &[Word]) -> String {
    let mut text = String::new();
    for word in words {
        if word.spaced && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
    text
}

fn concat(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect()
}

enum Token {
    Word(Word),
    Comment(String),
    Special(char),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        let spaced = self.skip_space();
        let first = self.peek()?;
        self.at += first.len_utf8();
        Some(match first {
            '(' => Token::Comment(self.comment()),
            '"' => Token::Word(Word {
                text: self.quoted(),
                spaced,
                quoted: true,
            }),
            '[' => {
                let rest = self.rest();
                let length = rest.find(']').map_or(rest.len(), |end| end + 1);
                let text = format!("[{}", &rest[..length]);
                self.at += length;
                Token::Word(Word {
                    text,
                    spaced,
                    quoted: false,
                })
            }
            '@' => Token::Word(Word {
                text: "@".into(),
                spaced,
                quoted: false,
            }),
            '<' | '>' | ',' | ':' | ';' | ')' => Token::Special(first),
            _ => {
                let start = self.at - first.len_utf8();
                let rest = self.rest();
                self.at += rest
                    .find(|c: char| c.is_ascii_whitespace() || "(\"[@<>,:;)".contains(c))
                    .unwrap_or(rest.len());
                Token::Word(Word {
                    text: self.text[start..self.at].to_owned(),
                    spaced,
                    quoted: false,
                })
            }
        })
    }

    /// Behind `<`, to the `>`.
    fn angle(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Special('>') => break,
                Token::Word(word) => words.push(word),
                // A route has commas and a colon.
                Token::Special(special @ (',' | ':')) => {
                    words.push(Word {
                        text: special.into(),
                        spaced: false,
                        quoted: false,
                    });
                }
                Token::Special(_) | Token::Comment(_) => {}
            }
        }
        words
    }

    /// Behind `(`, to the `)` that belongs to it.
    fn comment(&mut self) -> String {
        let mut text = String::new();
        let mut depth = 1;
        while let Some(c) = self.take() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    text.extend(self.take());
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            text.push(c);
        }
        text.trim().to_owned()
    }

    /// Behind `"`, to the next.
    fn quoted(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.take() {
            match c {
                '"' => break,
                '\\' => text.extend(self.take()),
                c => text.push(c),
            }
        }
        text
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len() - rest.trim_ascii_start().len();
        self.at += length;
        length > 0
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let dash = |field: &Option<String>| field.clone().unwrap_or("-".into());
        parse_list(text)
            .iter()
            .map(|it| {
                format!(
                    "{}|{}|{}|{}",
                    dash(&it.name),
                    dash(&it.route),
                    dash(&it.mailbox),
                    dash(&it.host)
                )
            })
            .collect()
    }

    #[test]
    fn addresses_of_the_standard() {
        // RFC 5322 §A.1.2, §A.1.3, §A.5, §A.6.1
        assert_eq!(
            shown(
                "\"Joe Q. Public\" <john.q.public@example.com>, Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>"
            ),
            [
                "Joe Q. Public|-|john.q.public|example.com",
                "Mary Smith|-|mary|x.test",
                "-|-|jdoe|example.org",
                "Who?|-|one|y.test"
            ]
        );
        assert_eq!(
            shown("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;"),
            [
                "-|-|A Group|-",
                "Ed Jones|-|c|a.test",
                "-|-|joe|where.test",
                "John|-|jdoe|one.test",
                "-|-|-|-"
            ]
        );
        assert_eq!(
            shown("Undisclosed recipients:;"),
            ["-|-|Undisclosed recipients|-", "-|-|-|-"]
        );
        assert_eq!(
            shown("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
            ["Pete|-|pete|silly.test"]
        );
        assert_eq!(
            shown("Mary Smith <@node.test,@b.test:mary@example.net>, , jdoe@test  . example"),
            [
                "Mary Smith|@node.test,@b.test|mary|example.net",
                "-|-|jdoe|test.example"
            ]
        );
        assert_eq!(
            shown("bob@hamburger.edu (Bob (the) Burger)"),
            ["Bob (the) Burger|-|bob|hamburger.edu"]
        );
        assert_eq!(shown("\"a@b\"@[192.0.2.1]"), ["-|-|a@b|[192.0.2.1]"]);
        assert_eq!(
            shown("=?utf-8?q?J=C3=B6rg?= <j@x.y>"),
            ["=?utf-8?q?J=C3=B6rg?=|-|j|x.y"]
        );
        assert_eq!(shown("root"), ["-|-|root|"]);
        assert_eq!(shown("<>"), ["-|-||"]);
        assert_eq!(shown(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a<>@,:;()\"\\\\\\[\\] .é]{0,60}") {
            let list = parse_list(&text);
            prop_assert!(list.len() <= text.len() + 1);
        }
    }
}
