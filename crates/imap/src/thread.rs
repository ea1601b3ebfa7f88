//! Threading (RFC 5256): base subjects, ORDEREDSUBJECT, REFERENCES.
//!
//! Takes what a mail store knows of each message and gives the trees that [`crate::response::thread`] writes. Nothing here
//! is recursive, and every step is linear in messages and references but for the sorting.

use std::collections::HashMap;

use crate::command::ThreadAlgorithm;
use crate::response::ThreadNode;

/// Answers to answers that are followed; a longer line of them begins anew. Bounds the time that a chain takes.
const MAX_DEPTH: usize = 1000;

/// What threading needs of a message.
#[derive(Debug, Clone, Copy)]
pub struct Threadable<'a> {
    /// Its sequence number or UID.
    pub number: u32,
    /// Its sent date (or INTERNALDATE where that cannot be read), any unit that sorts.
    pub sent: i64,
    /// Its subject, encoded-words decoded.
    pub subject: &'a str,
    /// Its Message-ID without angle brackets; empty when it has none.
    pub message_id: &'a str,
    /// The ids of References, oldest first; where there are none, the first of In-Reply-To.
    pub references: &'a [String],
}

/// The threads of the messages.
pub fn threads(algorithm: ThreadAlgorithm, messages: &[Threadable<'_>]) -> Vec<ThreadNode> {
    match algorithm {
        ThreadAlgorithm::OrderedSubject => ordered_subject(messages),
        ThreadAlgorithm::References => Forest::new(messages).threads(),
    }
}

/// The base subject (RFC 5256 §2.1) of a decoded subject, in lower case, and whether it was that of a reply or forward.
pub fn base_subject(subject: &str) -> (String, bool) {
    let folded = subject
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    let (mut rest, mut is_reply) = (folded.as_str(), false);
    loop {
        let before = rest;
        while let Some(shorter) = rest.trim_end().strip_suffix("(fwd)") {
            (rest, is_reply) = (shorter, true);
        }
        rest = rest.trim();
        loop {
            let start = rest;
            if let Some(shorter) = without_leader(rest) {
                (rest, is_reply) = (shorter.trim_start(), true);
            }
            // A blob goes only if something is left.
            if let Some(shorter) = without_blob(rest).filter(|shorter| !shorter.is_empty()) {
                rest = shorter;
            }
            if rest == start {
                break;
            }
        }
        if let Some(inside) = rest
            .strip_prefix("[fwd:")
            .and_then(|inside| inside.strip_suffix(']'))
        {
            (rest, is_reply) = (inside, true);
        }
        if rest == before {
            return (rest.to_owned(), is_reply);
        }
    }
}

/// `subj-leader = (*subj-blob subj-refwd) / WSP`
fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(shorter) = without_blob(rest) {
        rest = shorter;
    }
    let word = ["re", "fwd", "fw"]
        .into_iter()
        .find_map(|word| rest.strip_prefix(word))?;
    let word = word.trim_start();
    without_blob(word).unwrap_or(word).strip_prefix(':')
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn without_blob(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    (!inside.contains('[')).then(|| rest.trim_start())
}

fn ordered_subject(messages: &[Threadable<'_>]) -> Vec<ThreadNode> {
    let mut groups: HashMap<String, Vec<&Threadable<'_>>> = HashMap::new();
    for message in messages {
        groups
            .entry(base_subject(message.subject).0)
            .or_default()
            .push(message);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.sort_by_key(|message| (message.sent, message.number));
    }
    groups.sort_by_key(|group| group.first().map(|message| (message.sent, message.number)));
    let leaf = |message: &&Threadable<'_>| ThreadNode {
        number: Some(message.number),
        children: Vec::new(),
    };
    let tree = |group: Vec<&Threadable<'_>>| {
        let (first, others) = group.split_first()?;
        Some(ThreadNode {
            number: Some(first.number),
            children: others.iter().map(leaf).collect(),
        })
    };
    groups.into_iter().filter_map(tree).collect()
}

/// A message, or one that only others name.
#[derive(Default)]
struct Node<'a> {
    message: Option<&'a Threadable<'a>>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// RFC 5256 §3, REFERENCES: the steps in its order.
struct Forest<'a> {
    nodes: Vec<Node<'a>>,
    by_id: HashMap<&'a str, usize>,
}

impl<'a> Forest<'a> {
    /// Step 1: links by references.
    fn new(messages: &'a [Threadable<'a>]) -> Self {
        let mut forest = Self {
            nodes: Vec::with_capacity(messages.len()),
            by_id: HashMap::new(),
        };
        for message in messages {
            let own = forest.place(message);
            let mut parent = None;
            for id in message.references {
                let node = forest.named(id);
                // A link that is there stays.
                if let Some(parent) = parent.filter(|_| forest.nodes[node].parent.is_none()) {
                    forest.link(parent, node);
                }
                parent = Some(node);
            }
            // The message's own word on its parent counts more than what others said of it.
            forest.unlink(own);
            if let Some(parent) = parent {
                forest.link(parent, own);
            }
        }
        forest
    }

    /// The message's node; of two with one id, the second is treated as if it had none.
    fn place(&mut self, message: &'a Threadable<'a>) -> usize {
        if !message.message_id.is_empty() {
            let node = self.named(message.message_id);
            if self.nodes[node].message.is_none() {
                self.nodes[node].message = Some(message);
                return node;
            }
        }
        self.nodes.push(Node {
            message: Some(message),
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    fn named(&mut self, id: &'a str) -> usize {
        let next = self.nodes.len();
        let node = *self.by_id.entry(id).or_insert(next);
        if node == next {
            self.nodes.push(Node::default());
        }
        node
    }

    fn link(&mut self, parent: usize, child: usize) {
        if !self.is_above(child, parent) {
            self.nodes[child].parent = Some(parent);
        }
    }

    fn unlink(&mut self, child: usize) {
        self.nodes[child].parent = None;
    }

    /// Whether `above` is `node` or one of its ancestors, or there are too many of those to tell.
    fn is_above(&self, above: usize, node: usize) -> bool {
        let mut line = std::iter::successors(Some(node), |node| self.nodes[*node].parent);
        line.by_ref().take(MAX_DEPTH).any(|node| node == above) || line.next().is_some()
    }

    fn threads(mut self) -> Vec<ThreadNode> {
        for child in 0..self.nodes.len() {
            if let Some(parent) = self.nodes[child].parent {
                self.nodes[parent].children.push(child);
            }
        }
        let roots = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].parent.is_none())
            .collect();
        let roots = self.pruned(roots);
        let roots = self.grouped(roots);
        self.trees(roots)
    }

    /// Steps 3 and 4: nodes without a message give way to their children, except roots with several.
    fn pruned(&mut self, roots: Vec<usize>) -> Vec<usize> {
        for node in self.descending(&roots).into_iter().rev() {
            let children = std::mem::take(&mut self.nodes[node].children);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                match self.nodes[child].message {
                    Some(_) => kept.push(child),
                    None => kept.append(&mut self.nodes[child].children),
                }
            }
            kept.sort_by_cached_key(|child| self.date(*child));
            self.nodes[node].children = kept;
        }
        let mut left = Vec::with_capacity(roots.len());
        for root in roots {
            match (self.nodes[root].message, self.nodes[root].children.as_slice()) {
                (None, []) => {}
                (None, [only]) => left.push(*only),
                _ => left.push(root),
            }
        }
        left.sort_by_cached_key(|root| self.date(*root));
        left
    }

    /// Step 5: threads of one base subject become one.
    fn grouped(&mut self, roots: Vec<usize>) -> Vec<usize> {
        let mut table: HashMap<String, (usize, bool)> = HashMap::new();
        let subjects: Vec<(String, bool)> = roots.iter().map(|root| self.subject(*root)).collect();
        for (root, (subject, is_reply)) in roots
            .iter()
            .zip(&subjects)
            .filter(|(_, (subject, _))| !subject.is_empty())
        {
            let held = table.entry(subject.clone()).or_insert((*root, *is_reply));
            let dummy = |node: usize| self.nodes[node].message.is_none();
            if (dummy(*root) && !dummy(held.0)) || (!dummy(held.0) && held.1 && !is_reply) {
                *held = (*root, *is_reply);
            }
        }
        // What stands where a root of the table stood: itself, or the node that joined it to another.
        let mut stands: HashMap<usize, usize> = HashMap::new();
        let mut left = Vec::with_capacity(roots.len());
        for (root, (subject, is_reply)) in roots.into_iter().zip(subjects) {
            match table.get(&subject) {
                Some((held, held_reply)) if *held != root => {
                    let at = stands.get(held).copied().unwrap_or(*held);
                    let joined = self.join(at, *held_reply, root, is_reply);
                    stands.insert(*held, joined);
                }
                _ => left.push(root),
            }
        }
        left.iter()
            .map(|root| stands.get(root).copied().unwrap_or(*root))
            .collect()
    }

    /// Puts the thread of `other` with that of `held`; the node that has both.
    fn join(&mut self, held: usize, held_reply: bool, other: usize, other_reply: bool) -> usize {
        match (self.nodes[held].message, self.nodes[other].message) {
            (None, None) => {
                let mut children = std::mem::take(&mut self.nodes[other].children);
                self.nodes[held].children.append(&mut children);
                held
            }
            (None, Some(_)) => {
                self.nodes[held].children.push(other);
                held
            }
            _ if other_reply && !held_reply => {
                self.nodes[held].children.push(other);
                held
            }
            _ => {
                self.nodes.push(Node {
                    children: vec![held, other],
                    ..Node::default()
                });
                self.nodes.len() - 1
            }
        }
    }

    /// Step 6: siblings by date, and out.
    fn trees(&mut self, mut roots: Vec<usize>) -> Vec<ThreadNode> {
        let mut trees: HashMap<usize, ThreadNode> = HashMap::new();
        for node in self.descending(&roots).into_iter().rev() {
            let mut children = std::mem::take(&mut self.nodes[node].children);
            children.sort_by_cached_key(|child| self.date(*child));
            let number = self.nodes[node].message.map(|message| message.number);
            let below = children.iter().filter_map(|child| trees.remove(child)).collect();
            // Its date may come from its first child.
            self.nodes[node].children = children;
            trees.insert(
                node,
                ThreadNode {
                    number,
                    children: below,
                },
            );
        }
        roots.sort_by_cached_key(|root| self.date(*root));
        roots.iter().filter_map(|root| trees.remove(root)).collect()
    }

    /// The nodes below and with the roots, each behind its parent.
    fn descending(&self, roots: &[usize]) -> Vec<usize> {
        let mut order = roots.to_vec();
        let mut at = 0;
        while let Some(node) = order.get(at) {
            order.extend_from_slice(&self.nodes[*node].children);
            at += 1;
        }
        order
    }

    /// The message of a node, or of its first child.
    fn message(&self, node: usize) -> Option<&'a Threadable<'a>> {
        let first = || self.nodes[*self.nodes[node].children.first()?].message;
        self.nodes[node].message.or_else(first)
    }

    fn date(&self, node: usize) -> (i64, u32) {
        self.message(node)
            .map_or((i64::MAX, u32::MAX), |message| (message.sent, message.number))
    }

    fn subject(&self, node: usize) -> (String, bool) {
        self.message(node)
            .map(|message| base_subject(message.subject))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    fn written(algorithm: ThreadAlgorithm, messages: &[(u32, &str, &str, &[&str])]) -> String {
        let references: Vec<Vec<String>> = messages
            .iter()
            .map(|it| it.3.iter().map(|id| (*id).into()).collect())
            .collect();
        let messages: Vec<_> = messages
            .iter()
            .zip(&references)
            .map(|((number, subject, message_id, _), references)| Threadable {
                number: *number,
                sent: i64::from(*number),
                subject,
                message_id,
                references,
            })
            .collect();
        let mut out = BytesMut::new();
        crate::response::thread(&mut out, &threads(algorithm, &messages));
        String::from_utf8(out.to_vec())
            .unwrap()
            .trim_end()
            .replace("* THREAD ", "")
    }

    #[test]
    fn base_subjects() {
        for (subject, base, is_reply) in [
            ("Hello  World", "hello world", false),
            ("Re: hello world", "hello world", true),
            ("RE: [list] Fwd : Hello World (fwd)", "hello world", true),
            ("[list] Re[2]: Hello", "hello", true),
            ("[Fwd: Re: Hello]", "hello", true),
            ("[only a blob]", "[only a blob]", false),
            ("Re:", "", true),
            ("Regards", "regards", false),
            ("", "", false),
        ] {
            assert_eq!(base_subject(subject), (base.into(), is_reply), "{subject}");
        }
    }

    #[test]
    fn references_make_trees() {
        use ThreadAlgorithm::References;
        let answers = [
            (1, "a", "1", &[][..]),
            (2, "Re: a", "2", &["1"]),
            (3, "Re: a", "3", &["1", "2"]),
            (4, "b", "4", &[]),
            (5, "Re: a", "5", &["1"]),
        ];
        assert_eq!(written(References, &answers), "(1 (2 3)(5))(4)");
        // The parent is not there: its two answers are joined under nothing; one answer stands alone.
        let orphans = [
            (1, "x", "1", &["0"][..]),
            (2, "y", "2", &["0"]),
            (3, "z", "3", &["9"]),
        ];
        assert_eq!(written(References, &orphans), "((1)(2))(3)");
        // No references, one subject: the reply goes below, two equals go side by side.
        assert_eq!(
            written(References, &[(1, "a", "1", &[]), (2, "Re: a", "2", &[])]),
            "(1 2)"
        );
        assert_eq!(
            written(References, &[(1, "Re: a", "1", &[]), (2, "a", "2", &[])]),
            "(2 1)"
        );
        assert_eq!(
            written(References, &[(1, "a", "1", &[]), (2, "a", "2", &[])]),
            "((1)(2))"
        );
        // Circles and doubles harm nobody.
        assert_eq!(
            written(References, &[(1, "x", "1", &["2"]), (2, "y", "2", &["1"])]),
            "(2 1)"
        );
        assert_eq!(
            written(References, &[(1, "x", "1", &["1"]), (2, "y", "1", &[])]),
            "(1)(2)"
        );
    }

    #[test]
    fn subjects_make_lists() {
        let messages = [
            (3, "Re: a", "3", &[][..]),
            (1, "a", "1", &[]),
            (2, "b", "2", &[]),
            (4, "A", "4", &[]),
        ];
        assert_eq!(
            written(ThreadAlgorithm::OrderedSubject, &messages),
            "(1 (3)(4))(2)"
        );
    }

    proptest! {
        #[test]
        fn every_message_is_in_one_thread(
            messages in proptest::collection::vec(("[ab]?", "[a-f]?", proptest::collection::vec("[a-h]", 0..4), 0..5i64), 0..12),
        ) {
            let messages: Vec<_> = messages.iter().enumerate().map(|(at, (subject, message_id, references, sent))| {
                Threadable { number: at as u32 + 1, sent: *sent, subject, message_id, references }
            }).collect();
            for algorithm in [ThreadAlgorithm::References, ThreadAlgorithm::OrderedSubject] {
                let threads = threads(algorithm, &messages);
                let mut rest: Vec<&ThreadNode> = threads.iter().collect();
                let mut numbers = Vec::new();
                while let Some(node) = rest.pop() {
                    prop_assert!(node.number.is_some() || node.children.len() > 1);
                    numbers.extend(node.number);
                    rest.extend(&node.children);
                }
                numbers.sort_unstable();
                prop_assert_eq!(numbers, (1..=messages.len() as u32).collect::<Vec<_>>());
            }
        }
    }
}
