//! What strace wrote, read back: the calls of all threads, and when each began and ended.
//!
//! strace holds a thread at the beginning and at the end of every call that it traces, and writes a line for each before it
//! lets the thread go on. So of two lines the first one happened first, whatever the threads.

use std::collections::HashMap;

/// A call that returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// What its first argument leads to: a path or a socket's two ends. Empty where that is no descriptor.
    pub(super) target: String,
    /// Its text arguments.
    pub(super) texts: Vec<Vec<u8>>,
    /// Everything between the brackets.
    pub(super) arguments: String,
    pub(super) result: i64,
    /// Lines at which it began and ended.
    pub(super) begin: usize,
    pub(super) end: usize,
}

impl Call {
    /// The bytes that a read or a write moved.
    pub(super) fn moved(&self) -> &[u8] {
        let all = self.texts.first().map_or(&[][..], Vec::as_slice);
        &all[..usize::try_from(self.result).map_or(0, |result| result.min(all.len()))]
    }

    /// A text argument as a path.
    pub(super) fn path(&self, number: usize) -> String {
        String::from_utf8_lossy(&self.texts[number]).into_owned()
    }
}

/// Reads what `strace -f -yy -xx -o FILE` wrote, in the order in which calls ended. Calls that never did are left out.
pub(super) fn read(trace: &str) -> Vec<Call> {
    let mut begun = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        if let Some(head) = what.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (number, head));
        } else if let Some(resumed) = what.strip_prefix("<... ") {
            let Some((begin, head)) = begun.remove(thread) else { continue };
            let tail = resumed.split_once(" resumed>").map_or("", |(_, tail)| tail);
            calls.extend(call(&format!("{head}{tail}"), begin, number));
        } else {
            calls.extend(call(what, number, number));
        }
    }
    calls
}

/// `NAME(ARGUMENTS) = RESULT…`; `None`: a signal, or the end of a thread.
fn call(text: &str, begin: usize, end: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result = result.split(['<', ' ']).next()?.parse().ok()?;
    let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
    let texts = arguments.split('"').skip(1).step_by(2).map(bytes).collect();
    Some(Call { name: name.to_owned(), target: target(&arguments), texts, arguments, result, begin, end })
}

fn target(arguments: &str) -> String {
    let number_end = arguments.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(arguments.len());
    let Some(shown) = arguments[number_end..].strip_prefix('<').filter(|_| number_end > 0) else {
        return String::new();
    };
    // The two ends of a socket are joined by an arrow.
    let end = shown.find(">,").or_else(|| shown.strip_suffix('>').map(str::len)).unwrap_or(shown.len());
    String::from_utf8_lossy(&bytes(&shown[..end])).into_owned()
}

/// `\x61b` → `ab`.
fn bytes(shown: &str) -> Vec<u8> {
    let mut pieces = shown.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, plain) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
        bytes.extend_from_slice(plain.as_bytes());
    }
    bytes
}

#[test]
fn a_call_that_others_interrupt_begins_where_it_began_and_ends_where_it_ended() {
    let trace = r#"7 write(9<\x2f\x61>, "\x68\x69\x21", 3 <unfinished ...>
8 sendto(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x48\x22", 2, MSG_NOSIGNAL, NULL, 0) = 2
7 <... write resumed>)                   = 2
8 fdatasync(9<\x2f\x61>)                 = -1 EIO (Input/output error)
8 openat(AT_FDCWD<\x2f>, "\x2f\x61\x29", O_WRONLY|O_CREAT, 0666) = 9<\x2f\x61\x29>
8 +++ exited with 0 +++
8 fsync(9<\x2f\x61> <unfinished ...>"#;
    let calls = read(trace);
    let brief: Vec<_> = calls
        .iter()
        .map(|call| (call.name.as_str(), call.target.as_str(), call.result, call.begin, call.end))
        .collect();
    assert_eq!(
        brief,
        [
            ("sendto", "TCP:[127.0.0.1:1->127.0.0.1:2]", 2, 1, 1),
            ("write", "/a", 2, 0, 2),
            ("fdatasync", "/a", -1, 3, 3),
            ("openat", "", 9, 4, 4),
        ]
    );
    assert_eq!((calls[0].moved(), calls[1].moved()), (&b"H\""[..], &b"hi"[..]));
    assert_eq!(calls[3].path(0), "/a)");
}
