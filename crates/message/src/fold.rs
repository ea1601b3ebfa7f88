//! Writing header fields in lines of bearable length (RFC 5322 §2.2.3).

/// Longest line aimed at, without its line end.
const MAX_LINE: usize = 76;

/// Appends `Name: value` and CRLF, folded at spaces. What has no space stays in one piece.
pub(crate) fn write_field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for word in value.split(' ') {
        // A fold right behind the colon or before nothing would make a line of white space.
        let folds = column + 1 + word.len() > MAX_LINE && !word.is_empty() && column > name.len() + 1;
        if folds {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        // A value may have line ends of its own.
        column = match word.rfind('\n') {
            Some(end) => word.len() - end - 1,
            None => column + 1 + word.len(),
        };
    }
    out.push_str("\r\n");
}

/// One line of text from outside, fit for a header or a report: control characters become spaces, and where it has to be ASCII,
/// other characters become `?`.
pub(crate) fn one_line(text: &str, ascii: bool) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if ascii && !c.is_ascii() => '?',
            c => c,
        })
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_folded_at_spaces() {
        let value = "word ".repeat(40);
        let mut out = String::new();
        write_field(&mut out, "Subject", value.trim_end());
        assert!(out.split("\r\n").all(|line| line.len() <= MAX_LINE));
        assert_eq!(
            crate::header::first(out.as_bytes(), "subject").as_deref(),
            Some(value.trim_end())
        );
        out.clear();
        write_field(&mut out, "X", &"y".repeat(100));
        assert_eq!(out.lines().count(), 1);
    }
}
