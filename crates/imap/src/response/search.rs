//! SEARCH, ESEARCH, SORT, THREAD (RFC 9051 §7.3.4, RFC 3501 §7.2.5, RFC 4731, RFC 5256, RFC 7162 §3.1.5).

use bytes::{BufMut, BytesMut};

use super::text::{Numbers, number, numbers};

/// What an ESEARCH answer says; fields that are `None` are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct ESearch<'a> {
    /// The numbers are UIDs.
    pub uid: bool,
    /// `MIN`
    pub min: Option<u32>,
    /// `MAX`
    pub max: Option<u32>,
    /// `COUNT`
    pub count: Option<u32>,
    /// `ALL`; left out when empty, as the grammar wants.
    pub all: Option<Numbers<'a>>,
    /// `MODSEQ`
    pub modseq: Option<u64>,
}

/// A message in a thread tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadNode {
    /// Its sequence number or UID; `None`: a message that is not there but has answers.
    pub number: Option<u32>,
    /// Its answers, in order.
    pub children: Vec<ThreadNode>,
}

impl Drop for ThreadNode {
    /// One node after the other: a conversation may be deeper than the stack.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.children);
        while let Some(mut node) = rest.pop() {
            rest.append(&mut node.children);
        }
    }
}

/// `* ESEARCH (TAG "…") …`
pub fn esearch(out: &mut BytesMut, tag: &str, answer: ESearch<'_>) {
    out.put_slice(b"* ESEARCH (TAG \"");
    // `tag` has no quotes or backslashes: its grammar forbids them.
    out.put_slice(tag.as_bytes());
    out.put_slice(b"\")");
    if answer.uid {
        out.put_slice(b" UID");
    }
    for (name, value) in [
        (" MIN ", answer.min),
        (" MAX ", answer.max),
        (" COUNT ", answer.count),
    ] {
        if let Some(value) = value {
            out.put_slice(name.as_bytes());
            number(out, value.into());
        }
    }
    if let Some(all) = answer.all.filter(|all| !all.is_empty()) {
        out.put_slice(b" ALL ");
        numbers(out, all);
    }
    if let Some(modseq) = answer.modseq {
        out.put_slice(b" MODSEQ ");
        number(out, modseq);
    }
    out.put_slice(b"\r\n");
}

/// `* SEARCH …`, with `(MODSEQ n)` when there are any and a mod-sequence is given.
pub fn search(out: &mut BytesMut, found: impl IntoIterator<Item = u32>, modseq: Option<u64>) {
    let any = listed(out, b"* SEARCH", found);
    if let Some(modseq) = modseq.filter(|_| any) {
        out.put_slice(b" (MODSEQ ");
        number(out, modseq);
        out.put_u8(b')');
    }
    out.put_slice(b"\r\n");
}

/// `* SORT …`, in this order; `modseq` as for [`search`].
pub fn sort(out: &mut BytesMut, found: impl IntoIterator<Item = u32>, modseq: Option<u64>) {
    let any = listed(out, b"* SORT", found);
    if let Some(modseq) = modseq.filter(|_| any) {
        out.put_slice(b" (MODSEQ ");
        number(out, modseq);
        out.put_u8(b')');
    }
    out.put_slice(b"\r\n");
}

fn listed(out: &mut BytesMut, start: &[u8], found: impl IntoIterator<Item = u32>) -> bool {
    out.put_slice(start);
    let mut any = false;
    for value in found {
        any = true;
        out.put_u8(b' ');
        number(out, value.into());
    }
    any
}

/// `* THREAD …`
///
/// Iterative, so that no depth of answers can exhaust the stack.
pub fn thread(out: &mut BytesMut, threads: &[ThreadNode]) {
    enum Work<'a> {
        Open(&'a ThreadNode),
        Chain(&'a ThreadNode, bool),
        Close,
    }
    out.put_slice(b"* THREAD");
    if !threads.is_empty() {
        out.put_u8(b' ');
    }
    let mut work: Vec<Work<'_>> = threads.iter().rev().map(Work::Open).collect();
    while let Some(next) = work.pop() {
        match next {
            Work::Open(node) => {
                out.put_u8(b'(');
                work.push(Work::Close);
                work.push(Work::Chain(node, true));
            }
            Work::Chain(node, first) => {
                if let Some(value) = node.number {
                    if !first {
                        out.put_u8(b' ');
                    }
                    number(out, value.into());
                }
                let first = first && node.number.is_none();
                match node.children.as_slice() {
                    [] => {}
                    [only] => work.push(Work::Chain(only, first)),
                    many => {
                        if !first {
                            out.put_u8(b' ');
                        }
                        work.extend(many.iter().rev().map(Work::Open));
                    }
                }
            }
            Work::Close => out.put_u8(b')'),
        }
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn node(number: u32, children: Vec<ThreadNode>) -> ThreadNode {
        ThreadNode {
            number: Some(number),
            children,
        }
    }

    /// RFC 5256 §4.
    #[test]
    fn threads() {
        let branches = vec![
            node(4, vec![node(23, vec![])]),
            node(44, vec![node(7, vec![node(96, vec![])])]),
        ];
        let threads = [node(2, vec![]), node(3, vec![node(6, branches)])];
        assert_eq!(
            written(|out| thread(out, &threads)),
            "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n"
        );
        let orphans = ThreadNode {
            number: None,
            children: vec![node(3, vec![]), node(5, vec![])],
        };
        assert_eq!(written(|out| thread(out, &[orphans])), "* THREAD ((3)(5))\r\n");
        assert_eq!(written(|out| thread(out, &[])), "* THREAD\r\n");
        let mut deep = node(1, vec![]);
        for number in 2..200_000 {
            deep = node(number, vec![deep]);
        }
        assert_eq!(
            written(|out| thread(out, std::slice::from_ref(&deep)))
                .matches(' ')
                .count(),
            200_000
        );
    }

    /// RFC 4731 §3.1, RFC 7162 §3.1.5.
    #[test]
    fn searches() {
        let all = [2, 10, 11];
        let answer = ESearch {
            uid: true,
            count: Some(3),
            all: Some(Numbers::List(&all)),
            ..ESearch::default()
        };
        assert_eq!(
            written(|out| esearch(out, "A283", answer)),
            "* ESEARCH (TAG \"A283\") UID COUNT 3 ALL 2,10:11\r\n"
        );
        let none = ESearch {
            all: Some(Numbers::List(&[])),
            ..ESearch::default()
        };
        assert_eq!(
            written(|out| esearch(out, "a", none)),
            "* ESEARCH (TAG \"a\")\r\n"
        );
        assert_eq!(
            written(|out| search(out, [2, 84], Some(917))),
            "* SEARCH 2 84 (MODSEQ 917)\r\n"
        );
        assert_eq!(written(|out| search(out, [], Some(917))), "* SEARCH\r\n");
        assert_eq!(written(|out| sort(out, [5, 3], None)), "* SORT 5 3\r\n");
    }
}
