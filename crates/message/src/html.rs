//! HTML to text, roughly: for previews and searching, never for showing.

/// Longest tag name and entity told apart from others.
const MAX_NAME: usize = 32;

/// A streaming converter: tags go, blocks become line ends, white space is one space, entities become characters, scripts
/// and style sheets are left out.
#[derive(Debug, Default)]
pub(crate) struct Html {
    state: State,
    /// The last character written was white space.
    spaced: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind `<`; the name so far, in lower case, a leading `/` included.
    Name(String),
    /// Behind a tag's name.
    Tag {
        name: String,
        before: char,
        quote: Option<char>,
    },
    /// In a comment; hyphens just seen.
    Comment(u8),
    /// In a script or style sheet; how much of its end tag has been seen.
    Raw { end: String, seen: usize },
    /// Behind `&`.
    Entity(String),
}

impl Html {
    /// Converts a piece to the end of `out`.
    pub fn push(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            self.state = match std::mem::take(&mut self.state) {
                State::Text => self.text(c, out),
                State::Name(name) => self.name(name, c, out),
                State::Tag { name, before, quote } => self.tag(name, before, quote, c, out),
                State::Comment(2..) if c == '>' => State::Text,
                State::Comment(hyphens) => {
                    State::Comment(if c == '-' { hyphens.saturating_add(1) } else { 0 })
                }
                State::Raw { end, seen } => raw(end, seen, c),
                State::Entity(name) => self.entity(name, c, out),
            };
        }
    }

    /// The text ends.
    pub fn finish(mut self, out: &mut String) {
        match std::mem::take(&mut self.state) {
            State::Entity(name) => self.literal('&', &name, out),
            State::Name(name) => self.literal('<', &name, out),
            _ => {}
        }
    }

    fn text(&mut self, c: char, out: &mut String) -> State {
        match c {
            '<' => State::Name(String::new()),
            '&' => State::Entity(String::new()),
            c => {
                self.write(c, out);
                State::Text
            }
        }
    }

    fn name(&mut self, mut name: String, c: char, out: &mut String) -> State {
        match c {
            '>' => self.end_tag(name, out),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '!' | '?' | '/' | '-' if name.len() < MAX_NAME => {
                if name.is_empty() && (c == '-' || c.is_ascii_digit()) {
                    self.literal('<', c.encode_utf8(&mut [0; 4]), out);
                    return State::Text;
                }
                name.push(c.to_ascii_lowercase());
                if name == "!--" {
                    State::Comment(0)
                } else {
                    State::Name(name)
                }
            }
            c if name.is_empty() => {
                self.write('<', out);
                self.text(c, out)
            }
            c => State::Tag {
                name,
                before: c,
                quote: None,
            },
        }
    }

    fn tag(&mut self, name: String, before: char, quote: Option<char>, c: char, out: &mut String) -> State {
        match (quote, c) {
            (Some(quote), c) if quote == c => State::Tag {
                name,
                before: c,
                quote: None,
            },
            (Some(_), _) => State::Tag {
                name,
                before: c,
                quote,
            },
            (None, '>') => self.end_tag(name, out),
            // A quote elsewhere is a mistake that must not swallow the text.
            (None, '"' | '\'') if before == '=' => State::Tag {
                name,
                before: c,
                quote: Some(c),
            },
            (None, c) => State::Tag {
                name,
                before: if c.is_whitespace() { before } else { c },
                quote: None,
            },
        }
    }

    fn end_tag(&mut self, name: String, out: &mut String) -> State {
        match name.trim_start_matches('/').trim_end_matches('/') {
            "br" | "p" | "div" | "tr" | "li" | "ul" | "ol" | "table" | "blockquote" | "hr" | "pre" | "h1"
            | "h2" | "h3" | "h4" | "h5" | "h6" | "title" | "body" => {
                if !out.is_empty() && !out.ends_with('\n') {
                    out.push('\n');
                }
                self.spaced = true;
            }
            "td" | "th" => self.write(' ', out),
            "script" | "style" if !name.starts_with('/') => {
                return State::Raw {
                    end: format!("</{name}"),
                    seen: 0,
                };
            }
            _ => {}
        }
        State::Text
    }

    fn entity(&mut self, mut name: String, c: char, out: &mut String) -> State {
        match c {
            ';' => {
                match character(&name) {
                    Some(c) => self.write(c, out),
                    None => {
                        self.literal('&', &name, out);
                        self.write(';', out);
                    }
                }
                State::Text
            }
            c if name.len() < MAX_NAME && (c.is_ascii_alphanumeric() || (c == '#' && name.is_empty())) => {
                name.push(c);
                State::Entity(name)
            }
            c => {
                self.literal('&', &name, out);
                self.text(c, out)
            }
        }
    }

    fn literal(&mut self, first: char, rest: &str, out: &mut String) {
        self.write(first, out);
        rest.chars().for_each(|c| self.write(c, out));
    }

    fn write(&mut self, c: char, out: &mut String) {
        let space = c.is_whitespace();
        if !space {
            out.push(c);
        } else if !self.spaced {
            out.push(' ');
        }
        self.spaced = space;
    }
}

fn raw(end: String, seen: usize, c: char) -> State {
    let c = c.to_ascii_lowercase();
    let seen = if end[seen..].starts_with(c) {
        seen + c.len_utf8()
    } else {
        usize::from(c == '<')
    };
    if seen == end.len() {
        State::Tag {
            name: String::new(),
            before: ' ',
            quote: None,
        }
    } else {
        State::Raw { end, seen }
    }
}

/// The named characters of Latin-1, U+00A0 to U+00FF in order.
const LATIN: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 \
    acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig \
    Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave \
    Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave \
    iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "ndash" => '–',
        "mdash" => '—',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "bull" => '•',
        "hellip" => '…',
        "euro" => '€',
        "trade" => '™',
        "zwnj" => '\u{200c}',
        _ => {
            let index = LATIN.split_ascii_whitespace().position(|it| it == name)?;
            char::from_u32(0xa0 + u32::try_from(index).ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(html: &str) -> String {
        let mut out = String::new();
        let mut converter = Html::default();
        converter.push(html, &mut out);
        converter.finish(&mut out);
        out
    }

    #[test]
    fn only_the_text_stays() {
        assert_eq!(
            text("<html><head><style>p > a {}</style></head><p>Do you <b>like</b>\r\n  ketchup?</p><p>b"),
            "Do you like ketchup?\nb"
        );
        assert_eq!(text("a<br/>b<a href=\"x>y\">c</a>"), "a\nbc");
        assert_eq!(
            text("caf&eacute; &amp; &#x3c0;&#960; &nope; &x y&"),
            "café & ππ &nope; &x y&"
        );
        assert_eq!(
            text("1 < 2 <3 <!-- <p> -- > --> x<script>if (a<b) \"</p>\"</script >y"),
            "1 < 2 <3 xy"
        );
        assert_eq!(text("a<img alt=it's>b"), "ab");
        assert_eq!(LATIN.split_ascii_whitespace().count(), 96);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(html in "[<>/!&;#a-eps \"'=é-]{0,80}") {
            let mut out = String::new();
            let mut converter = Html::default();
            for c in html.chars() {
                converter.push(c.encode_utf8(&mut [0; 4]), &mut out);
            }
            converter.finish(&mut out);
            prop_assert_eq!(out, text(&html));
        }
    }
}
