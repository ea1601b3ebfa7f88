//! The log of `strace -f -xx`, as calls that begin and end.

use std::collections::HashMap;

/// What the log says, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call has begun. Its number is that of its end.
    Begin(usize, Call),
    /// A call has returned this.
    End(usize, i64),
}

/// A call that changes files, or makes changes sure.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Open {
        path: String,
        flags: String,
    },
    Close {
        fd: i64,
    },
    Write {
        fd: i64,
        offset: Option<i64>,
        data: Vec<u8>,
    },
    Seek {
        fd: i64,
    },
    Truncate {
        fd: i64,
        length: i64,
    },
    Sync {
        fd: i64,
    },
    Unlink {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Mkdir,
}

/// The calls traced.
pub const CALLS: &str = "openat,open,creat,close,dup,dup2,dup3,pwrite64,write,pwritev,pwritev2,writev,lseek,ftruncate,truncate,\
fallocate,fdatasync,fsync,sync_file_range,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,copy_file_range,sendfile";

/// Reads a log. Panics on a line it does not understand: a call it missed would make the test prove nothing.
pub fn parse(log: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unfinished: HashMap<&str, (usize, Option<Call>, String)> = HashMap::new();
    for (number, line) in log.lines().enumerate() {
        let (pid, rest) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("not a line of strace: {line}"));
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((begun, call, front)) = unfinished.remove(pid) else {
                panic!("resumed, not begun: {line}")
            };
            let tail = resumed.split_once("resumed>").map_or("", |(_, tail)| tail);
            // What is decoded only at the end (nothing we need so far) is behind the mark.
            if call.is_none() && parse_call(&format!("{front}{tail}")).is_some() {
                panic!("a call that was only complete at its end: {line}");
            }
            if call.is_some() {
                events.push(Event::End(begun, result(tail)));
            }
        } else if let Some(front) = rest.strip_suffix("<unfinished ...>") {
            let call = parse_call(front);
            if let Some(call) = &call {
                events.push(Event::Begin(number, call.clone()));
            }
            unfinished.insert(pid, (number, call, front.to_owned()));
        } else if let Some(call) = parse_call(rest) {
            events.push(Event::Begin(number, call));
            events.push(Event::End(number, result(rest)));
        }
    }
    events
}

fn result(text: &str) -> i64 {
    let value = text.rsplit_once(" = ").map_or("?", |(_, value)| value);
    value
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(-1)
}

/// The call, or `None` for one that touches no file. Panics on a call it does not know.
fn parse_call(text: &str) -> Option<Call> {
    let (name, rest) = text
        .split_once('(')
        .unwrap_or_else(|| panic!("not a call: {}", &text[..text.len().min(200)]));
    let arguments = arguments(rest);
    let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
    let number = |index: usize| argument(index).parse::<i64>().unwrap_or(-1);
    Some(match name {
        "openat" => Call::Open {
            path: string(argument(1)),
            flags: argument(2).into(),
        },
        "open" => Call::Open {
            path: string(argument(0)),
            flags: argument(1).into(),
        },
        "close" => Call::Close { fd: number(0) },
        "write" => Call::Write {
            fd: number(0),
            offset: None,
            data: bytes(argument(1)),
        },
        "pwrite64" => Call::Write {
            fd: number(0),
            offset: Some(number(3)),
            data: bytes(argument(1)),
        },
        "writev" => Call::Write {
            fd: number(0),
            offset: None,
            data: pieces(argument(1)),
        },
        "pwritev" => Call::Write {
            fd: number(0),
            offset: Some(number(3)),
            data: pieces(argument(1)),
        },
        "lseek" => Call::Seek { fd: number(0) },
        "ftruncate" => Call::Truncate {
            fd: number(0),
            length: number(1),
        },
        "fdatasync" | "fsync" => Call::Sync { fd: number(0) },
        "unlink" => Call::Unlink {
            path: string(argument(0)),
        },
        "unlinkat" => Call::Unlink {
            path: string(argument(1)),
        },
        "rename" => Call::Rename {
            from: string(argument(0)),
            to: string(argument(1)),
        },
        "renameat" | "renameat2" => Call::Rename {
            from: string(argument(1)),
            to: string(argument(3)),
        },
        "mkdir" | "mkdirat" => Call::Mkdir,
        _ => panic!("a call the model does not know: {}", &text[..text.len().min(200)]),
    })
}

/// Splits arguments at commas outside strings, brackets and braces, up to the closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut one, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            ')' if !quoted && depth == 0 => break,
            ',' if !quoted && depth == 0 => {
                all.push(one.trim().to_owned());
                one.clear();
                continue;
            }
            _ => {}
        }
        one.push(c);
    }
    all.push(one.trim().to_owned());
    all
}

/// The bytes of `"\x..\x.."`.
fn bytes(text: &str) -> Vec<u8> {
    assert!(!text.ends_with("..."), "strace cut a string short");
    let inside = text.trim_matches('"');
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .expect("strace -xx writes hexadecimal digits") as u8
    };
    inside
        .as_bytes()
        .chunks_exact(4)
        .map(|hex| digit(hex[2]) << 4 | digit(hex[3]))
        .collect()
}

/// The bytes of `[{iov_base="...", iov_len=...}, ...]`.
fn pieces(text: &str) -> Vec<u8> {
    assert!(!text.contains("..."), "strace cut a list short");
    text.split("iov_base=")
        .skip(1)
        .flat_map(|piece| bytes(piece.split(',').next().unwrap_or_default()))
        .collect()
}

fn string(text: &str) -> String {
    String::from_utf8(bytes(text)).expect("paths of the test are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace_are_understood() {
        let log = concat!(
            "12 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5\n",
            "12 writev(5, [{iov_base=\"\\x01\\x2c\", iov_len=2}, {iov_base=\"\\x03\", iov_len=1}], 2 <unfinished ...>\n",
            "13 pwrite64(6, \"\\xff\", 1, 4096) = 1\n",
            "12 <... writev resumed>) = 3\n",
            "12 openat(AT_FDCWD, \"\\x2f\\x62\", O_RDONLY) = -1 ENOENT (No such file or directory)\n",
            "12 +++ exited with 0 +++\n",
        );
        let events = parse(log);
        let open = |path: &str, flags: &str| Call::Open {
            path: path.into(),
            flags: flags.into(),
        };
        let expected = [
            Event::Begin(0, open("/a", "O_RDWR|O_CREAT|O_CLOEXEC")),
            Event::End(0, 5),
            Event::Begin(
                1,
                Call::Write {
                    fd: 5,
                    offset: None,
                    data: vec![1, 44, 3],
                },
            ),
            Event::Begin(
                2,
                Call::Write {
                    fd: 6,
                    offset: Some(4096),
                    data: vec![255],
                },
            ),
            Event::End(2, 1),
            Event::End(1, 3),
            Event::Begin(4, open("/b", "O_RDONLY")),
            Event::End(4, -1),
        ];
        assert_eq!(events, expected);
    }
}
