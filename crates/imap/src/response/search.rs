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
