//! What a person who mistyped may have meant.

/// The candidate with the smallest edit distance, when it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A message such as "unknown field `abuot`, expected one of `name`, `about`" with what was most likely meant.
pub(crate) fn with_suggestion(message: &str) -> String {
    let message = message.trim_end();
    let Some((_, words)) = message.split_once("unknown ") else {
        return message.to_owned();
    };
    let mut quoted = words.split('`').skip(1).step_by(2);
    let near = quoted.next().and_then(|word| nearest(word, quoted));
    match near {
        Some(near) => format!("{message} (did you mean `{near}`?)"),
        None => message.to_owned(),
    }
}

/// How many characters have to be put in, left out or replaced.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, one) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("rate", "rate", 0)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_what_is_near_is_meant() {
        assert_eq!(nearest("conection", ["rate", "connections"]), Some("connections"));
        assert_eq!(nearest("colour", ["rate", "connections"]), None);
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        assert_eq!(with_suggestion("invalid type: `a`"), "invalid type: `a`");
    }
}
