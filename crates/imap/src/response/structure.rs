//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2).
//!
//! ```text
//! body            = "(" (body-type-1part / body-type-mpart) ")"
//! body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
//! body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
//! body-ext-1part  = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
//! body-ext-mpart  = body-fld-param [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
//! ```

use bytes::{BufMut, BytesMut};
use postrider_message::{EnvelopeView, Kind, Param, Part};

use super::envelope;
use super::text::{Syntax, nstring, number, string};

/// Recursive: the message crate keeps no more than [`postrider_message::MAX_DEPTH`] levels.
pub(super) fn put(out: &mut BytesMut, part: &Part, extended: bool, syntax: Syntax) {
    out.put_u8(b'(');
    if part.kind() == Kind::Multipart {
        multipart(out, part, extended, syntax);
    } else {
        single(out, part, extended, syntax);
    }
    out.put_u8(b')');
}

fn multipart(out: &mut BytesMut, part: &Part, extended: bool, syntax: Syntax) {
    for child in &part.children {
        put(out, child, extended, syntax);
    }
    out.put_u8(b' ');
    string(out, part.subtype.as_bytes(), syntax);
    if extended {
        out.put_u8(b' ');
        params(out, &part.params, syntax);
        extension(out, part, syntax);
    }
}

fn single(out: &mut BytesMut, part: &Part, extended: bool, syntax: Syntax) {
    let (media_type, subtype) = part.shown_type();
    string(out, media_type.as_bytes(), syntax);
    out.put_u8(b' ');
    string(out, subtype.as_bytes(), syntax);
    out.put_u8(b' ');
    params(out, &part.params, syntax);
    out.put_u8(b' ');
    nstring(out, part.id.as_deref().map(str::as_bytes), syntax);
    out.put_u8(b' ');
    nstring(out, part.description.as_deref().map(str::as_bytes), syntax);
    out.put_u8(b' ');
    string(out, part.encoding.as_bytes(), syntax);
    out.put_u8(b' ');
    number(out, part.size());
    match (part.kind(), part.children.first()) {
        (Kind::Message, Some(root)) => {
            out.put_u8(b' ');
            match &part.envelope {
                Some(value) => envelope::put(out, &**value, syntax),
                None => envelope::put(out, EnvelopeView::default(), syntax),
            }
            out.put_u8(b' ');
            put(out, root, extended, syntax);
            out.put_u8(b' ');
            number(out, part.lines);
        }
        (Kind::Text, _) => {
            out.put_u8(b' ');
            number(out, part.lines);
        }
        _ => {}
    }
    if extended {
        out.put_u8(b' ');
        nstring(out, part.md5.as_deref().map(str::as_bytes), syntax);
        extension(out, part, syntax);
    }
}

/// What both forms end with: disposition, language, location.
fn extension(out: &mut BytesMut, part: &Part, syntax: Syntax) {
    out.put_u8(b' ');
    match &part.disposition {
        Some(disposition) => {
            out.put_u8(b'(');
            string(out, disposition.kind.as_bytes(), syntax);
            out.put_u8(b' ');
            params(out, &disposition.params, syntax);
            out.put_u8(b')');
        }
        None => out.put_slice(b"NIL"),
    }
    out.put_u8(b' ');
    match part.language.as_slice() {
        [] => out.put_slice(b"NIL"),
        [only] => string(out, only.as_bytes(), syntax),
        many => {
            for (at, language) in many.iter().enumerate() {
                out.put_u8(if at == 0 { b'(' } else { b' ' });
                string(out, language.as_bytes(), syntax);
            }
            out.put_u8(b')');
        }
    }
    out.put_u8(b' ');
    nstring(out, part.location.as_deref().map(str::as_bytes), syntax);
}

fn params(out: &mut BytesMut, list: &[Param], syntax: Syntax) {
    if list.is_empty() {
        out.put_slice(b"NIL");
        return;
    }
    for (at, param) in list.iter().enumerate() {
        out.put_u8(if at == 0 { b'(' } else { b' ' });
        string(out, param.name.as_bytes(), syntax);
        out.put_u8(b' ');
        string(out, param.value.as_bytes(), syntax);
    }
    out.put_u8(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, extended: bool) -> String {
        let mut out = BytesMut::new();
        put(
            &mut out,
            &postrider_message::describe(message.as_bytes()).structure,
            extended,
            Syntax::Rev1,
        );
        String::from_utf8(out.to_vec()).unwrap()
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Language: en, de\r\n\r\nHello\r\n\
        --b\r\nContent-Type: image/png\r\nContent-ID: <i@x>\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=a.png\r\n\r\nAAAA\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n--b--\r\n";

    #[test]
    fn a_multipart_with_a_text_a_picture_and_a_message() {
        let text = "(\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 5 1";
        let picture = "(\"image\" \"png\" NIL \"<i@x>\" NIL \"base64\" 4";
        let envelope = "(NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL)";
        let inner = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1";
        let message = format!("(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 20 {envelope} {inner}");
        assert_eq!(
            written(MIXED, false),
            format!("({text}){picture}){message}) 3) \"mixed\")")
        );
        assert_eq!(
            written(MIXED, true),
            format!(
                "({text} NIL NIL (\"en\" \"de\") NIL){picture} NIL (\"attachment\" (\"filename\" \"a.png\")) NIL NIL)\
                 {message} NIL NIL NIL NIL) 3 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
            )
        );
    }
}
