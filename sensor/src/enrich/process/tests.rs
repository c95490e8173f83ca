use super::*;
use crate::enrich::State;
use crate::testing::{Builder, CAT, INIT, SHELL, state_with_cat};

const SECOND_NS: u64 = 1_000_000_000;

fn names(state: &State, tgid: u32) -> Vec<String> {
    let process = state.processes.get(tgid).unwrap();
    let ancestors = state.processes.ancestors(process);
    ancestors.map(|ancestor| String::from_utf8_lossy(ancestor.name()).into_owned()).collect()
}

fn exit(tgid: u32, ppid: u32) -> Builder {
    Builder::new(RecordKind::Exit).process(tgid, ppid)
}

#[test]
fn arguments_are_joined_and_the_program_s_own_name_is_not_among_them() {
    let table: [(&[u8], &str, &str, &str); 5] = [
        (b"cat\0-n\0/etc/shadow\0", "cat", "cat -n /etc/shadow", "-n /etc/shadow"),
        (b"-bash\0", "-bash", "cat", ""),
        (b"", "", "cat", ""),
        (b"cat\0\0x\0", "cat", "cat  x", " x"),
        (b"cat\0cut at its boun", "cat", "cat cut at its boun", "cut at its boun"),
    ];
    for (arguments, exe, cmdline, rest) in table {
        let image = Image::new(b"cat", arguments, b"/usr/bin/cat");
        assert_eq!((&*image.exe, &*image.cmdline), (exe.as_bytes(), cmdline.as_bytes()));
        assert_eq!(&image.cmdline[image.arguments_at..], rest.as_bytes());
    }
}

#[test]
fn a_process_that_renames_itself_keeps_its_arguments() {
    let mut state = state_with_cat();
    Builder::open("/x", 3).comm("innocent").apply(&mut state);
    let process = state.processes.get(CAT).unwrap();
    assert_eq!((process.name(), process.cmdline()), (&b"innocent"[..], &b"innocent /etc/shadow"[..]));
    assert_eq!((process.arguments(), process.exe_path()), (&b"/etc/shadow"[..], &b"/usr/bin/cat"[..]));
}

#[test]
fn a_number_used_again_is_another_process() {
    let mut state = state_with_cat();
    let again = Builder::open("/x", 3).comm("other").started(9 * SECOND_NS);
    again.apply(&mut state);
    let process = state.processes.get(CAT).unwrap();
    assert_eq!((process.name(), process.exe_path()), (&b"other"[..], &b""[..]));
}

#[test]
fn an_ancestor_younger_than_its_descendant_is_none() {
    let mut state = state_with_cat();
    assert_eq!(names(&state, CAT), ["sh", "init"]);
    Builder::fork(INIT, 0, SHELL).child_started(9 * SECOND_NS).apply(&mut state);
    assert_eq!(names(&state, CAT), [""; 0]);
}

#[test]
fn a_process_that_ended_is_remembered_while_a_child_is_and_thirty_seconds_at_least() {
    let mut state = state_with_cat();
    exit(SHELL, INIT).apply(&mut state);
    state.tick(3_600 * SECOND_NS);
    assert_eq!(names(&state, CAT), ["sh", "init"]);

    exit(CAT, SHELL).apply(&mut state);
    state.tick(20 * SECOND_NS);
    assert!(state.processes.get(CAT).is_some());
    state.tick(40 * SECOND_NS);
    state.tick(40 * SECOND_NS);
    assert!(state.processes.get(CAT).is_none() && state.processes.get(SHELL).is_none());
    assert!(state.processes.get(INIT).is_some());
}

#[test]
fn an_orphan_s_new_parent_counts() {
    let mut state = state_with_cat();
    Builder::open("/x", 3).process(CAT, INIT).apply(&mut state);
    assert_eq!(names(&state, CAT), ["init"]);
}

#[test]
fn a_full_table_gives_up_what_was_not_heard_of_for_longest_and_counts_it() {
    let mut state = state_with_cat();
    for child in 0..u32::try_from(PROCESSES_MAX).unwrap() {
        Builder::fork(SHELL, INIT, CAT + 1 + child).at(SECOND_NS + u64::from(child)).apply(&mut state);
    }
    let counts = state.processes.counts();
    assert!(state.processes.len() <= PROCESSES_MAX);
    assert_eq!(state.processes.len() as u64 + counts.evicted, PROCESSES_MAX as u64 + 3);
}

#[test]
fn look_ups_stop_when_the_budget_is_spent() {
    let mut state = state_with_cat();
    for number in 0..LOOKUPS_MAX + 10 {
        // Neither these processes nor their parents are in /proc.
        Builder::open("/x", 3).process(CAT + 10 + 2 * number, CAT + 11 + 2 * number).apply(&mut state);
    }
    let counts = state.processes.counts();
    assert!(counts.over_budget > 0 && counts.gone <= u64::from(LOOKUPS_MAX), "{counts:?}");
    assert_eq!(state.processes.get(CAT + 10 + 2 * LOOKUPS_MAX).unwrap().name(), b"cat");
}

#[test]
fn running_processes_are_found_at_the_start() {
    let mut processes = Processes::default();
    processes.seed();
    let own = processes.get(std::process::id()).unwrap();
    let program = std::env::current_exe().unwrap();
    assert_eq!(own.exe_path(), program.as_os_str().as_encoded_bytes());
    assert!(processes.ancestors(own).count() > 0);
}

#[test]
fn what_the_kernel_side_cut_says_so() {
    let mut state = state_with_cat();
    let words = ExecArguments { argv_bytes: 5_000, environment_bytes: 0, old_tid: CAT }.to_words();
    Builder::exec(CAT, SHELL, "find", "d/x", &["find", "/"]).arguments(words).path_cut().apply(&mut state);
    let process = state.processes.get(CAT).unwrap();
    assert_eq!((process.cmdline(), process.exe_path()), ("find / …".as_bytes(), &b"<UNKNOWN>/d/x"[..]));
}

#[test]
fn long_arguments_do_not_grow_the_table_beyond_its_bound() {
    let mut state = state_with_cat();
    let long = "a".repeat(4_000);
    for number in 0..20_000 {
        let child = CAT + 1 + number;
        Builder::fork(CAT, SHELL, child).apply(&mut state);
        Builder::exec(child, CAT, "x", "/x", &["x", &long]).apply(&mut state);
    }
    let processes = &state.processes;
    let held: usize = processes.by_tgid.values().map(Process::text_bytes).sum();
    assert_eq!(held, processes.text_bytes);
    assert!(held <= TEXT_BYTES_MAX && held > TEXT_BYTES_MAX / 2, "{held}");
    assert!(processes.counts().evicted > 0 && processes.get(CAT + 20_000).is_some());
}

/// A process that runs on this machine, and is called something else in the table than /proc says. The table knows no other.
fn state_with_a_stale_process(start_ns: impl FnOnce(u64) -> u64) -> (State, u32, u64, String) {
    let tgid = std::process::id();
    let found = read_process(tgid).unwrap();
    let name = String::from_utf8_lossy(found.name()).into_owned();
    let mut state = State::new(std::path::Path::new("/nonexistent"), std::path::Path::new("/nonexistent"));
    Builder::exec(tgid, 0, "yesterday", "/y", &["yesterday"]).started(start_ns(found.start_ns)).apply(&mut state);
    (state, tgid, found.start_ns, name)
}

/// As the ring hands it over behind a gap in the numbers of forks.
fn apply_behind_a_loss(record: &Builder, state: &mut State) {
    let bytes = record.bytes();
    let mut record = Builder::parse(&bytes);
    record.is_behind_lost_process = true;
    state.apply(&record);
}

#[test]
fn a_parent_whose_exec_was_lost_is_known_by_its_name_of_today() {
    let (mut state, parent, start_ns, name) = state_with_a_stale_process(|start_ns| start_ns);
    let child = Builder::exec(CAT, parent, "cat", "/usr/bin/cat", &["cat"]).started(start_ns + SECOND_NS);
    child.apply(&mut state);
    assert_eq!(names(&state, CAT)[0], "yesterday", "nothing was lost, nobody is asked");
    apply_behind_a_loss(&child, &mut state);
    assert_eq!(names(&state, CAT)[0], name);
    assert!(names(&state, CAT).len() > 1, "the ancestors of the parent are known, too");
    let before = state.processes.counts().compared;
    child.apply(&mut state);
    assert_eq!(state.processes.counts().compared, before, "once after a loss is enough");
}

#[test]
fn a_parent_whose_number_was_used_before_and_whose_fork_was_lost_is_the_one_that_runs() {
    let (mut state, parent, start_ns, name) =
        state_with_a_stale_process(|start_ns| start_ns - 50 * SECOND_NS.min(start_ns / 60));
    let child = Builder::exec(CAT, parent, "cat", "/usr/bin/cat", &["cat"]).started(start_ns + SECOND_NS);
    apply_behind_a_loss(&child, &mut state);
    assert_eq!(names(&state, CAT)[0], name);
    assert_eq!(state.processes.get(parent).unwrap().start_ns, start_ns);
}

#[test]
fn a_process_that_got_a_number_after_the_record_s_parent_had_it_is_not_taken_for_it() {
    let (mut state, parent, start_ns, _) =
        state_with_a_stale_process(|start_ns| start_ns - 50 * SECOND_NS.min(start_ns / 60));
    let child = Builder::exec(CAT, parent, "cat", "/usr/bin/cat", &["cat"]);
    apply_behind_a_loss(&child.started(start_ns - SECOND_NS.min(start_ns / 60)), &mut state);
    assert_eq!(names(&state, CAT), ["yesterday"]);
}

#[test]
fn a_process_whose_end_was_lost_is_found_gone_when_it_is_compared() {
    let mut state = state_with_cat();
    apply_behind_a_loss(&Builder::open("/x", 3), &mut state);
    let is_running = |tgid| state.processes.get(tgid).unwrap().is_running();
    assert!(![INIT, SHELL, CAT].into_iter().any(is_running), "none of them is in /proc");
    assert_eq!(names(&state, CAT), ["sh", "init"], "and who they were is known all the same");
}

#[test]
fn processes_that_are_not_heard_of_after_a_loss_are_compared_by_and_by() {
    let (mut state, tgid, _, name) = state_with_a_stale_process(|start_ns| start_ns);
    let known = |state: &State| String::from_utf8_lossy(state.processes.get(tgid).unwrap().name()).into_owned();
    state.tick(SECOND_NS);
    assert_eq!(known(&state), "yesterday", "nothing was lost");
    state.processes.distrust();
    state.tick(2 * SECOND_NS);
    assert_eq!(known(&state), name);
    let compared = state.processes.counts().compared;
    state.tick(3 * SECOND_NS);
    assert_eq!(state.processes.counts().compared, compared, "once is enough");
}

#[test]
fn comparing_stops_when_its_budget_is_spent_and_goes_on_later() {
    let (mut state, parent, start_ns, name) = state_with_a_stale_process(|start_ns| start_ns);
    for number in 0..COMPARISONS_MAX {
        let open = Builder::open("/x", 3).process(CAT, 0).at(SECOND_NS + u64::from(number));
        apply_behind_a_loss(&open, &mut state);
    }
    // The first of them made the process known, and had nothing to compare.
    apply_behind_a_loss(&Builder::open("/x", 3).process(CAT, 0), &mut state);
    let counts = state.processes.counts();
    assert_eq!((counts.compared, counts.over_budget), (u64::from(COMPARISONS_MAX), 0));
    let child = Builder::exec(CAT + 1, parent, "cat", "/usr/bin/cat", &["cat"]).started(start_ns + SECOND_NS);
    child.apply(&mut state);
    assert_eq!(names(&state, CAT + 1)[0], "yesterday");
    assert_eq!(state.processes.counts().gone, counts.gone + 1, "unknown ones are looked up all the same");
    state.tick(SECOND_NS);
    child.apply(&mut state);
    assert_eq!(names(&state, CAT + 1)[0], name);
}

#[test]
fn a_process_that_was_moved_while_the_budget_was_spent_is_in_its_container_later() {
    let mut state = state_with_cat();
    while state.processes.spend_lookup() {}
    let moved = Builder::open("/x", 3).in_cgroup(77);
    moved.apply(&mut state);
    assert_eq!(state.processes.get(CAT).unwrap().container, None);
    let id = "abcdefabcdef".to_owned();
    let container = Container { full_id: id.clone(), id, runtime: "docker", pod_uid: None };
    state.learn_container(77, Some(container.clone()));
    moved.apply(&mut state);
    assert_eq!(state.processes.get(CAT).unwrap().container.as_deref(), Some(&container));
}
