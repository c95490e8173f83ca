//! What evaluation allocates: nothing, after a first time where a transformer or a regular expression needs room.

#![allow(clippy::unwrap_used, reason = "the whole crate is a test, its helpers too")]

#[path = "conformance/event.rs"]
mod event;
#[path = "conformance/falco.rs"]
mod falco;

use allocation_counter::measure;
use tercel_filter::{Filter, SCRATCH_BYTES_MAX, Scope, Scratch};

use crate::event::Event;
use crate::falco::Falco;

/// One of each operator, type and way to have a value.
const PLAIN: &[&str] = &[
    "proc.name = cat",
    "proc.name != cat and container.name != x",
    "not container.name exists",
    "proc.name in (dog, cow, cat)",
    "proc.name intersects (dog, cow)",
    "proc.name contains a and proc.name icontains A",
    "fd.name startswith /var or fd.name startswith /etc or fd.name startswith /opt",
    "fd.name endswith shadow",
    "fd.name glob /etc/* and fd.name iglob /ETC/[a-z]*",
    "fd.name pmatch (/var, /etc/*, /opt)",
    "fd.name contains allof (etc, shadow)",
    "proc.name = oneof (cat, dog)",
    "evt.buffer bcontains 4854 and evt.buffer bstartswith 48 and evt.buffer contains HTTP",
    "fd.num >= 3 and fd.num in (1, 2, 3)",
    "proc.fdusage > 1.5",
    "evt.is_open_read = true",
    "evt.type in (open, openat)",
    "evt.type startswith open",
    "fd.sip = 93.184.216.34 and fd.sip != ::1",
    "fd.net in (10.0.0.0/8, 192.168.0.0/16)",
    "fd.ip != 10.0.0.1 and fd.port = https",
    "fd.types in (file, ipv4) and fd.types intersects (file)",
    "proc.aname = systemd and proc.aname != bash and proc.aname[2] = sshd",
    "proc.env[HOME] = /root and proc.env[NOPE] = \"\"",
    "evt.arg.flags contains O_RDONLY and evt.rawarg.res < 0",
    "proc.name = val(proc.exe) and proc.pid > val(proc.ppid)",
    "proc.name in val(proc.exe)",
];

/// They write into the scratch buffer, or search with room of their own.
const WITH_ROOM: &[&str] = &[
    "tolower(proc.name) = cat",
    "toupper(basename(fd.name)) in (SHADOW, PASSWD)",
    "b64(proc.args) exists",
    "len(fd.name) > 3 and len(fd.types) = 2",
    "concat(fd.directory, \"/\", fd.filename) = val(fd.name)",
    "join(\"-\", (proc.name, \"x\", fd.num)) startswith cat",
    "getopt((proc.args[0], proc.args[1]), \"n:\")[n] = /etc/shadow",
    "tolower(fd.types) in (file, ipv4)",
    "proc.name = tolower(proc.exe)",
    "proc.name regex [a-c]+t",
    "fd.name regex \"(/etc/|/var/)(.*)(shadow|passwd)-?\"",
    "proc.cmdline regex \".*[[:space:]]-n[[:space:]].*\"",
    "container.name regex .* or proc.name regex .*x",
];

fn compile(condition: &str) -> Filter {
    Filter::parse(condition, &Scope::new(), &Falco)
        .unwrap_or_else(|error| panic!("{}", error.render("condition", condition)))
}

/// The tables' event, one with little in it, and one with bytes that are no UTF-8.
fn events() -> Vec<Event> {
    let mut broken = Event::shadow();
    for name in ["proc.name", "fd.name", "proc.cmdline", "proc.args"] {
        broken.set_text(name, b"/etc/\xff\xfe -n \xf0\x9f shadow".to_vec());
    }
    vec![Event::shadow(), Event::empty(), broken]
}

fn allocations(filter: &Filter, events: &[Event], scratch: &mut Scratch) -> u64 {
    measure(|| {
        for event in events {
            std::hint::black_box(filter.matches(event, scratch));
        }
    })
    .count_total
}

#[test]
fn a_condition_without_transformers_and_expressions_never_allocates() {
    for condition in PLAIN {
        let filter = compile(condition);
        assert_eq!(allocations(&filter, &events(), &mut Scratch::new()), 0, "{condition}");
    }
}

#[test]
fn the_others_allocate_nothing_once_they_are_warm() {
    let events = events();
    for condition in WITH_ROOM {
        let filter = compile(condition);
        let mut scratch = Scratch::new();
        allocations(&filter, &events, &mut scratch);
        for _ in 0..100 {
            assert_eq!(allocations(&filter, &events, &mut scratch), 0, "{condition}");
        }
    }
}

#[test]
fn many_filters_share_one_scratch_buffer() {
    let (events, filters) = (events(), [PLAIN, WITH_ROOM].concat().into_iter().map(compile).collect::<Vec<_>>());
    let mut scratch = Scratch::new();
    for filter in &filters {
        allocations(filter, &events, &mut scratch);
    }
    let again: u64 = filters.iter().map(|filter| allocations(filter, &events, &mut scratch)).sum();
    assert_eq!(again, 0);
}

#[test]
fn the_scratch_buffer_stays_within_its_bound() {
    let filter = compile("tolower(proc.name) = x or toupper(concat(proc.name, proc.name)) = x");
    let mut scratch = Scratch::new();
    let mut event = Event::empty();
    event.set_text("proc.name", vec![b'A'; 16 * SCRATCH_BYTES_MAX]);
    let taken = measure(|| {
        filter.matches(&event, &mut scratch);
    });
    assert!(taken.bytes_max <= 4 * SCRATCH_BYTES_MAX as u64, "{} bytes", taken.bytes_max);
}
