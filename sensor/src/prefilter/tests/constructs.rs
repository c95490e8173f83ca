//! What each construct of the language leaves of the paths and of the bits.

use super::*;

/// The prefixes of an openat with every bit; `None`: whatever the path.
#[track_caller]
fn prefixes(condition: &str, expected: Option<&[&str]>) {
    let filter = of(&format!("evt.type = openat and ({condition})"));
    match expected {
        None => assert_eq!((filter.any_path, filter.prefixes.len()), (ALL, 0), "{condition}"),
        Some(expected) => {
            let all: Vec<_> = expected.iter().map(|prefix| (*prefix, ALL)).collect();
            assert_eq!((filter.any_path, texts(&filter)), (0, all), "{condition}");
            assert_eq!(filter.by_prefix, ALL, "{condition}: paths that are not plain may always match");
        }
    }
}

#[test]
fn comparisons_of_the_path() {
    let table: [(&str, Option<&[&str]>); 31] = [
        ("fd.name = /etc/shadow", Some(&["/etc/shadow"])),
        ("fd.nameraw = /etc/shadow", Some(&["/etc/shadow"])),
        ("fs.path.name = /etc/shadow", Some(&["/etc/shadow"])),
        ("fs.path.nameraw = /etc/shadow", Some(&["/etc/shadow"])),
        ("evt.arg.name = /etc/shadow", Some(&["/etc/shadow"])),
        ("evt.abspath = /etc/shadow", Some(&["/etc/shadow"])),
        ("fd.name in (/a, /b)", Some(&["/a", "/b"])),
        ("fd.name startswith /etc/", Some(&["/etc/"])),
        ("fd.name startswith /", None),
        ("fd.name startswith anyof (/a, /b)", Some(&["/a", "/b"])),
        ("fd.name startswith oneof (/a, /b)", Some(&["/a", "/b"])),
        ("fd.name startswith allof (/a, /a/b)", Some(&["/a/b"])),
        ("fd.name pmatch (/etc, /usr/bin/)", Some(&["/etc", "/usr/bin"])),
        ("fd.name pmatch (/home/*/x, /tmp/a*b)", Some(&["/home/", "/tmp/a"])),
        ("fd.name pmatch (/)", None),
        ("fd.name glob /etc/s*w", Some(&["/etc/s"])),
        ("fd.name glob /etc/shadow", Some(&["/etc/shadow"])),
        ("fd.name glob /etc/[ab]", Some(&["/etc/"])),
        ("fd.name glob *.pem", None),
        ("fd.name iglob /1/Etc", Some(&["/1/"])),
        ("fd.name endswith .pem", None),
        ("fd.name contains id_rsa", None),
        ("fd.name regex /etc/.*", None),
        ("fd.name != /etc/shadow", None),
        ("fd.name exists", None),
        ("tolower(fd.name) = /etc/shadow", None),
        ("fd.directory = /etc", Some(&["/etc/"])),
        ("fd.directory in (/etc, /usr/bin)", Some(&["/etc/", "/usr/bin/"])),
        ("fd.directory startswith /etc", Some(&["/etc"])),
        ("fd.directory pmatch (/etc/pam.d)", Some(&["/etc/pam.d"])),
        ("fd.directory = /", None),
    ];
    for (condition, expected) in table {
        prefixes(condition, expected);
    }
}

#[test]
fn what_no_plain_path_is() {
    for condition in [
        "fd.name = etc/shadow",
        "fd.name = \"\"",
        "fd.name = /etc/",
        "fd.name in (/, /a//b)",
        "fd.nameraw contains ../",
        "fd.nameraw contains anyof (../, ./)",
        "fd.nameraw glob *../*../*",
        "fd.nameraw iglob *A../*",
        "fd.name startswith ..",
        "fd.name startswith /proc/self/../",
        "fd.name pmatch (/a/./b)",
        "fd.name startswith x",
        "fd.directory = /etc/",
        "fd.name = /a and fd.name = /b",
        "fd.nameraw contains ../ and (fd.name startswith /etc or fd.name contains id_rsa)",
    ] {
        prefixes(condition, Some(&[]));
    }
}

#[test]
fn connectives() {
    let table: [(&str, Option<&[&str]>); 12] = [
        ("fd.name startswith /etc and fd.name in (/etc/shadow, /usr/x)", Some(&["/etc/shadow"])),
        ("fd.name startswith /etc or fd.name in (/etc/shadow, /usr/x)", Some(&["/etc", "/usr/x"])),
        ("fd.name startswith /etc and proc.name = cat", Some(&["/etc"])),
        ("fd.name startswith /etc or proc.name = cat", None),
        ("fd.name startswith /etc and not fd.name = /etc/x", Some(&["/etc"])),
        ("not fd.name startswith /etc", None),
        ("not (fd.name != /etc/shadow)", None),
        ("not not fd.name = /a", Some(&["/a"])),
        ("not (not fd.name = /a or not fd.name startswith /a)", Some(&["/a"])),
        ("fd.name = /a or (fd.name = /b and (fd.name = /c or proc.name = x))", Some(&["/a", "/b"])),
        ("fd.name startswith /a and fd.directory in (/a/b, /b)", Some(&["/a/b/"])),
        ("fd.name = /a or fd.nameraw = /b", Some(&["/a", "/b"])),
    ];
    for (condition, expected) in table {
        prefixes(condition, expected);
    }
}

#[test]
fn comparisons_that_the_bit_decides() {
    let reads = READ | BOTH | FAILED_READ | FAILED_BOTH;
    let writes = WRITE | BOTH | FAILED_WRITE | FAILED_BOTH;
    for (condition, expected) in [
        ("evt.is_open_read = true", reads),
        ("evt.is_open_read = false", WRITE | FAILED_WRITE),
        ("not evt.is_open_read = true", WRITE | FAILED_WRITE),
        ("evt.is_open_read != true", WRITE | FAILED_WRITE),
        ("evt.is_open_write = true", writes),
        ("evt.is_open_write = true and evt.is_open_read = true", BOTH | FAILED_BOTH),
        ("not (evt.is_open_write = true or evt.is_open_read = true)", 0),
        ("evt.is_open_write = true and proc.name = x", writes),
        ("evt.is_open_write exists", ALL),
        ("evt.res = SUCCESS", SUCCEEDED),
        ("evt.res != SUCCESS", FAILURES),
        ("evt.res = EACCES", FAILURES),
        ("evt.res in (EACCES, SUCCESS)", ALL),
        ("evt.res = EACCES or evt.res = EPERM", FAILURES),
        ("not evt.res = SUCCESS", FAILURES),
        ("not evt.res = EACCES", ALL),
        ("evt.res startswith E", FAILURES),
        ("evt.failed = true", FAILURES),
        ("evt.failed = false", SUCCEEDED),
        ("evt.rawres >= 0", SUCCEEDED),
        ("evt.rawres < 0", FAILURES),
        ("evt.rawres = -13", FAILURES),
        ("evt.rawres != -13", ALL),
        ("evt.rawres > 0", SUCCEEDED),
        ("evt.rawres in (-1, 3)", ALL),
        ("evt.rawres in (-1, -2)", FAILURES),
        ("fd.num >= 0", SUCCEEDED),
        ("fd.num = -1", FAILURES),
        ("not fd.num >= 0", FAILURES),
        ("evt.arg.flags contains O_WRONLY", WRITE | FAILED_WRITE),
        ("evt.arg.flags contains anyof (O_WRONLY, O_RDWR)", writes),
        ("evt.arg.flags contains O_WRONLY or evt.arg.flags contains O_RDWR", writes),
        ("not evt.arg.flags contains O_RDONLY", writes),
        ("evt.arg.flags contains O_TRUNC", ALL),
        ("not evt.arg.flags contains O_TRUNC", ALL),
        ("evt.arg.flags contains O_TRUNC or evt.arg.flags contains O_RDWR", ALL),
        ("evt.arg.flags = O_RDONLY", READ | FAILED_READ),
        ("evt.is_open_create = true", SUCCEEDED),
        ("evt.is_open_exec = true", ALL),
        ("fd.realpath = /etc/shadow", SUCCEEDED),
        ("not fd.realpath = /etc/shadow", ALL),
        ("evt.num = 0", 0),
    ] {
        let filter = of(&format!("evt.type = openat and ({condition})"));
        assert_eq!((filter.any_path, filter.by_prefix), (expected, 0), "{condition}");
    }
}

#[test]
fn bits_and_paths_together() {
    let condition = "evt.type in (open, openat) and evt.is_open_read = true and fd.num >= 0 and fd.name startswith /etc
        or evt.type = openat2 and evt.failed = true and proc.name = x";
    let filter = of(&condition.replace('\n', " "));
    assert_eq!((filter.any_path, filter.by_prefix), (FAILURES, READ | BOTH));
    assert_eq!(texts(&filter), [("/etc", READ | BOTH)]);
}
