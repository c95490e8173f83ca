//! The two processes of the sensor: what each may do, how each outlives or follows the other, and that switching the entry
//! point under load loses nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tercel_sensor::event::{self, EventType};
use tercel_sensor::kernel::{self, Entry, EntryPoint, Kernel, Parameters};
use tercel_sensor::ring::Ring;
use tercel_sensor_abi::{Control, Counters, RecordKind};

use crate::harness::{SOON, Watch, binary, can_watch, eventually, kernel as only_one, not_here};

/// `CAP_DAC_READ_SEARCH` (2) and `CAP_SYS_PTRACE` (19).
const WORKER_CAPABILITIES: u64 = 1 << 2 | 1 << 19;

/// `CAP_DAC_READ_SEARCH` (2), `CAP_PERFMON` (38) and `CAP_BPF` (39).
const LOADER_CAPABILITIES: u64 = 1 << 2 | 1 << 38 | 1 << 39;

const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// There and back again, under load.
const SWITCHES: usize = 10;
const OPENS: u64 = 200_000;

#[tokio::test]
async fn worker_and_loader_hold_just_the_capabilities_that_are_stated() {
    let Some(watch) = Watch::start("").await else { return };
    for (pid, capabilities) in [(watch.pid(), WORKER_CAPABILITIES), (loader_of(&watch), LOADER_CAPABILITIES)] {
        // Every thread: capabilities and filters belong to them.
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = status(&task.unwrap().path());
            for set in ["CapEff", "CapPrm"] {
                assert_eq!(u64::from_str_radix(&status[set], 16).unwrap(), capabilities, "{set} of {status:?}");
            }
            let idle = ["CapInh", "CapAmb"].map(|set| u64::from_str_radix(&status[set], 16).unwrap());
            assert_eq!(idle, [0, 0], "{status:?}");
            assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"), "{status:?}");
        }
    }
    let environment = std::fs::read(format!("/proc/{}/environ", loader_of(&watch))).unwrap();
    let variables = environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    let others: Vec<_> = variables.filter(|variable| !variable.starts_with(b"MALLOC_")).collect();
    assert!(others.is_empty(), "the loader needs to know nothing of what the worker was told: {others:?}");
}

#[tokio::test]
async fn a_killed_worker_takes_the_loader_and_the_programs_with_it() {
    let Some(watch) = Watch::start("").await else { return };
    let loader = loader_of(&watch);
    watch.signal(Signal::KILL);
    eventually("the loader is gone", SOON, async || {
        let entry = format!("/proc/{loader}");
        if Path::new(&entry).exists() { Err(format!("{entry} is there")) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_killed_loader_ends_the_worker_with_a_message_and_what_was_seen_is_sent() {
    let Some(mut watch) = Watch::start("").await else { return };
    let mut cat = Command::new("cat").arg("/etc/shadow").stdout(Stdio::null()).spawn().unwrap();
    cat.wait().unwrap();
    kill(loader_of(&watch), Signal::KILL);
    let status = watch.wait(SOON).await;
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{}", watch.log());
    let message = "error: the loader process has ended (killed by signal 9), and with it the kernel programs are gone";
    assert!(watch.log().contains(message), "{}", watch.log());
    watch.wait_for(cat.id(), "what was seen before the loader's end", |_| true).await;
}

#[tokio::test]
async fn a_loader_that_is_asked_to_stop_together_with_the_worker_lets_it_stop_in_good_order() {
    let Some(mut watch) = Watch::start("").await else { return };
    let loader = loader_of(&watch);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill(loader, signal);
    }
    assert_eq!(watch.metrics().await.sum("tercel_sensor_malformed_total", &[]), 0, "it still answers");
    assert!(Path::new(&format!("/proc/{loader}")).exists(), "only the worker says when it is over");
    let status = watch.terminate(SOON).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", watch.log());
    assert!(!Path::new(&format!("/proc/{loader}")).exists());
}

#[tokio::test]
async fn what_was_lost_is_told_by_an_alert_of_the_sensor_s_own() {
    let Some(watch) = Watch::start("").await else { return };
    watch.signal(Signal::STOP);
    open_often(OPENS);
    watch.signal(Signal::CONT);
    let alert = eventually("the alert about losses", SOON, async || {
        let alerts = watch.hook.received().into_iter().map(|request| request.json());
        let internal = alerts.into_iter().find(|alert| alert["source"] == "internal");
        internal.ok_or_else(|| watch.log())
    })
    .await;
    assert_eq!((&alert["rule"], &alert["priority"]), (&"Tercel internal: events lost".into(), &"Warning".into()));
    let fields = &alert["output_fields"];
    let dropped = fields["lost.dropped.open.ring_full"].as_u64().unwrap();
    assert!(dropped > 0 && fields["lost.dropped"].as_u64().unwrap() >= dropped, "{alert}");
    let text = alert["output"].as_str().unwrap();
    assert!(text.contains(&format!("open.ring_full={dropped}")), "{text}");
    assert!(watch.log().contains("Events were lost"), "{}", watch.log());
    watch.router.settled().await;
}

/// The worker is this process: it counts each record itself.
#[tokio::test]
async fn switching_the_entry_point_under_load_loses_nothing_and_what_is_seen_stays_accounted_for() {
    if !can_watch() {
        return;
    }
    if !TRACEFS.iter().any(|path| Path::new(path).join("events").is_dir()) {
        not_here("tracefs is not mounted, without which no classic tracepoint can be attached");
        return;
    }
    let _kernel = only_one().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // Not this process's own: it makes the opens.
    let parameters = Parameters { entry: Entry::Btf, ..Parameters::default() };
    let mut kernel = kernel::load_by(&binary("tercel-sensor"), parameters).unwrap();
    let ring = kernel.take_ring().unwrap();
    kernel.set_calls(&event::specs()).unwrap();
    let (interest, _) = event::interest([EventType::OPEN, EventType::OPENAT]);
    kernel.set_control(&Control { interest, opens_any_path: Control::OPENS_ALL, ..Control::default() }).unwrap();
    assert_eq!(kernel.entry(), EntryPoint::TpBtf);

    let stop = AtomicBool::new(false);
    let (taken, overlap_us) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| take_all(ring, file.path(), &stop));
        let opener = scope.spawn(|| (0..OPENS).for_each(|_| drop(File::open(file.path()).unwrap())));
        let overlap_us = switch_often(&mut kernel);
        opener.join().unwrap();
        let counters = detached(kernel);
        stop.store(true, Ordering::Release);
        ((reader.join().unwrap(), counters), overlap_us)
    });
    let (taken, (counters, misses)) = taken;
    let sum = |of: fn(&tercel_sensor_abi::KindCounters) -> u64| counters.kinds.iter().map(of).sum::<u64>();
    let dropped = sum(|kind| kind.dropped_full + kind.dropped_long);
    assert_eq!(sum(|kind| kind.seen), taken.records + dropped, "seen = read + dropped");
    assert_eq!(taken.gaps, dropped, "and the gaps are what was dropped");
    // Each call is there at least once; twice only where it fell into an overlap.
    let twice = (taken.opens + dropped).saturating_sub(OPENS);
    assert!(taken.opens + dropped + misses >= OPENS, "{} of {OPENS} opens, {dropped} dropped", taken.opens);
    assert!(
        twice <= overlap_us + SWITCHES as u64,
        "{twice} opens more than were made in {overlap_us} µs of overlap: an open takes more than 1 µs"
    );
    println!(
        "{SWITCHES} switches, {overlap_us} µs of overlap, {twice} of {OPENS} opens reported twice, {dropped} dropped"
    );
}

/// There and back, the last one back; the microseconds in which both were attached.
fn switch_often(kernel: &mut Kernel) -> u64 {
    let entries = [EntryPoint::Classic, EntryPoint::TpBtf].into_iter().cycle().take(SWITCHES);
    let switch = |to| {
        std::thread::sleep(Duration::from_millis(20));
        let switch = kernel.switch(to).unwrap();
        assert_eq!((switch.to, kernel.entry()), (to, to));
        let hook = if to == EntryPoint::Classic { "tracepoint:raw_syscalls:sys_exit" } else { "tp_btf:sys_exit" };
        assert!(kernel.hooks().iter().any(|used| used == hook), "{:?}", kernel.hooks());
        switch.overlap_us
    };
    entries.map(switch).sum()
}

/// The counters once nothing reports any more, and the calls that the kernel skipped.
fn detached(mut kernel: Kernel) -> (Counters, u64) {
    kernel.set_control(&Control::default()).unwrap();
    let misses = kernel.recursion_misses().unwrap();
    let counters = kernel.detach_counting().unwrap();
    (counters, misses)
}

struct Taken {
    records: u64,
    gaps: u64,
    /// Of the file.
    opens: u64,
}

fn take_all(mut ring: Ring, file: &Path, stop: &AtomicBool) -> Taken {
    let file = file.to_str().unwrap().as_bytes();
    let (mut records, mut opens) = (0, 0);
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let taken = ring.drain(usize::MAX, |record| {
            records += 1;
            opens += u64::from(record.kind == RecordKind::Open && record.string(0) == file);
        });
        match taken {
            0 if is_last => return Taken { records, gaps: ring.lost(), opens },
            0 => std::thread::sleep(Duration::from_micros(500)),
            _ => {}
        }
    }
}

fn open_often(times: u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    (0..times).for_each(|_| drop(File::open(file.path()).unwrap()));
}

fn loader_of(watch: &Watch) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", watch.pid())).unwrap();
    let children: Vec<_> = children.split_whitespace().collect();
    let [loader] = children[..] else { panic!("the worker has the children {children:?}") };
    loader.parse().unwrap()
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// `/proc/<pid>/task/<tid>/status` by its names.
fn status(task: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(task.join("status")).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}
