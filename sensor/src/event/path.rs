//! Names of files as text: nothing is looked up.

/// Stands in front of a relative name whose directory is not known, as in Falco.
const UNKNOWN_DIRECTORY: &[u8] = b"<UNKNOWN>";

/// Appends the absolute name to an empty buffer. `base`: the directory that a relative one starts from.
pub(super) fn write_resolved(buffer: &mut Vec<u8>, raw: &[u8], base: &[u8]) {
    if !raw.starts_with(b"/") {
        buffer.extend_from_slice(if base.is_empty() { UNKNOWN_DIRECTORY } else { base });
        buffer.push(b'/');
    }
    buffer.extend_from_slice(raw);
    normalise(buffer);
}

/// Absolute and normal already.
pub(super) fn is_plain(path: &[u8]) -> bool {
    path == b"/"
        || path
            .strip_prefix(b"/")
            .is_some_and(|rest| rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")))
}

/// Removes `//`, `.` and `..` in place, as text: nothing is looked up. What does not start with a slash (an unknown
/// directory) keeps its first part.
fn normalise(path: &mut Vec<u8>) {
    let is_absolute = path.starts_with(b"/");
    let mut parts = 0_usize;
    let mut end = 0;
    let mut next = 0;
    while next < path.len() {
        let length = path[next..].iter().position(|byte| *byte == b'/').unwrap_or(path.len() - next);
        match &path[next..next + length] {
            b"" | b"." => {}
            b".." => {
                // The root's parent is the root; an unknown directory's is as unknown.
                if parts > usize::from(!is_absolute) {
                    parts -= 1;
                    end = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                }
            }
            _ => {
                parts += 1;
                if end > 0 || is_absolute {
                    path[end] = b'/';
                    end += 1;
                }
                path.copy_within(next..next + length, end);
                end += length;
            }
        }
        next += length + 1;
    }
    path.truncate(end);
    if path.is_empty() {
        path.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_text() {
        let table = [
            ("/etc/shadow", "/etc/shadow"),
            ("//etc///shadow/", "/etc/shadow"),
            ("/etc/./shadow", "/etc/shadow"),
            ("/etc/../../../root/x/..", "/root"),
            ("/..", "/"),
            ("/", "/"),
            ("/a/b/c/../../d", "/a/d"),
            ("/home/u//../../etc/passwd", "/etc/passwd"),
            ("/...", "/..."),
            ("<UNKNOWN>/../a", "<UNKNOWN>/a"),
            ("<UNKNOWN>/a/../../b", "<UNKNOWN>/b"),
        ];
        for (path, expected) in table {
            let mut buffer = path.as_bytes().to_vec();
            normalise(&mut buffer);
            assert_eq!(String::from_utf8(buffer).unwrap(), expected, "{path}");
            assert_eq!(is_plain(path.as_bytes()), path == expected && path.starts_with('/'), "{path}");
        }
    }

    #[test]
    fn a_relative_name_starts_from_its_directory() {
        let table = [
            ("shadow", "/etc", "/etc/shadow"),
            ("../x", "/a/b", "/a/x"),
            ("", "/a/b", "/a/b"),
            ("x", "/", "/x"),
            ("x", "", "<UNKNOWN>/x"),
            ("/x", "/a", "/x"),
        ];
        for (raw, base, expected) in table {
            let mut buffer = Vec::new();
            write_resolved(&mut buffer, raw.as_bytes(), base.as_bytes());
            assert_eq!(buffer, expected.as_bytes(), "{raw} in {base}");
        }
    }
}
