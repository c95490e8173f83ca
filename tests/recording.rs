//! What happens on this machine is recorded, and evaluated again by somebody who may do nothing here.

use std::fs::{self, File, Permissions};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tercel_sensor::recording::{Item, Machine, Reader, Writer};

use crate::harness::{
    Cat, Process, SOON, binary, can_watch, eventually, free_address, kernel, run, sensor_command, workspace,
};

/// Replayed by `sensor/tests/cli/replay.rs` on every machine. `UPDATE_FIXTURES=1` in the environment of the test below makes
/// it anew, which a change of the ABI asks for.
const FIXTURE: &str = "tests/fixtures/records/shadow.records";

const NOBODY: u32 = 65_534;

/// Two processes and a file that rules are about; the second is not the shell itself.
const READS_A_SECRET: &str = "/bin/cat /etc/shadow > /dev/null; :";

/// Between the clocks of two processes that each ask for the time since boot and the time of day.
const CLOCKS_APART: Duration = Duration::from_millis(5);

/// `tercel-sensor record` into a folder of its own.
struct Recording(TempDir);

impl Recording {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("records")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("tercel-sensor"));
        command.args(["record", "--rules"]).arg(workspace().join("rules")).arg("--output").arg(self.file());
        command.args(arguments);
        command
    }

    /// By another user than the one who recorded, who handed the file over.
    async fn replay(&self) -> (Vec<Value>, String) {
        fs::set_permissions(self.file(), Permissions::from_mode(0o644)).unwrap();
        let mut command = Command::new(binary("tercel-sensor"));
        command.current_dir(workspace()).arg("replay").arg(self.file()).args(["--rules", "rules"]);
        command.uid(NOBODY).gid(NOBODY);
        let output = succeeded(run(&mut command).await);
        let lines = String::from_utf8(output.stdout).unwrap();
        let alerts = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (alerts, String::from_utf8(output.stderr).unwrap())
    }
}

#[track_caller]
fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test]
async fn a_recorded_command_raises_the_alerts_elsewhere_that_it_raised_when_it_ran() {
    if !can_watch() {
        return;
    }
    let (_kernel, cat, recording) = (kernel().await, Cat::new(), Recording::new());
    let metrics = free_address();
    let mut sensor = Process::start(&mut sensor_command("stdout", metrics));
    sensor.ready(metrics).await;

    let said = succeeded(run(&mut recording.command(&["--", &cat.path(), "/etc/shadow"])).await).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("the command ended: exit status: 0") && !said.contains("warning"), "{said}");
    let (replayed, summary) = recording.replay().await;
    assert!(summary.contains("unknown processes 0"), "{summary}");
    assert!(replayed.iter().any(|alert| alert["rule"] == "Credential file read"), "{replayed:?}");
    assert!(replayed.iter().all(|alert| is_by(alert, &cat)), "nobody else is in it: {replayed:?}");

    let live = eventually("the alerts of the running sensor", SOON, async || {
        let printed = sensor.stdout();
        let alerts = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let about: Vec<_> = alerts.filter(|alert| is_by(alert, &cat)).collect();
        if about.len() >= replayed.len() { Ok(about) } else { Err(printed) }
    })
    .await;
    for (live, replayed) in live.iter().zip(&replayed) {
        let apart = time(live).duration_since(time(replayed)).unsigned_abs();
        assert!(apart < CLOCKS_APART, "{apart:?} between the alerts");
    }
    let without_time = |alerts: Vec<Value>| alerts.into_iter().map(without_time).collect::<Vec<_>>();
    assert_eq!(without_time(live), without_time(replayed));
}

#[tokio::test]
async fn values_of_the_environment_stay_where_they_are_and_the_file_is_its_owner_s() {
    if !can_watch() {
        return;
    }
    let (_kernel, recording) = (kernel().await, Recording::new());
    let mut command = recording.command(&["--", "/bin/sh", "-c", "/bin/true; exec /bin/cat /etc/shadow"]);
    succeeded(run(command.env("TOKEN_OF_TEST", "s3cret-value")).await);
    assert_eq!(fs::metadata(recording.file()).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(recording.file()).unwrap();
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("TOKEN_OF_TEST=<redacted>") && !contains("s3cret-value"));

    let again = run(&mut recording.command(&["--", "/bin/true"])).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"), "a recording is not written over");
}

#[tokio::test]
async fn a_recording_of_everybody_ends_well_when_it_is_told_to() {
    if !can_watch() {
        return;
    }
    let (_kernel, cat, recording) = (kernel().await, Cat::new(), Recording::new());
    let mut recorder = Process::start(&mut recording.command(&[]));
    eventually(
        "the recording is there",
        SOON,
        async || {
            if recording.file().exists() { Ok(()) } else { Err(recorder.stderr()) }
        },
    )
    .await;
    let pid = cat.read("/etc/shadow");
    let status = recorder.terminate(SOON).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", recorder.stderr());
    assert!(recorder.stderr().contains("stopped\n"), "{}", recorder.stderr());
    let (replayed, summary) = recording.replay().await;
    let read = replayed.iter().find(|alert| is_by(alert, &cat) && alert["rule"] == "Credential file read");
    let read = read.unwrap_or_else(|| panic!("{summary}{replayed:?}"));
    assert_eq!(read["output_fields"]["proc.pid"], pid);
}

#[tokio::test]
async fn a_recording_ends_when_its_time_or_its_room_does_and_the_command_goes_on() {
    if !can_watch() {
        return;
    }
    let _kernel = kernel().await;
    let script = "while [ ! -e \"$0/end\" ]; do /bin/true; done; : > \"$0/ended\"";
    for (bound, said) in [(["--seconds", "1"], "the time is over"), (["--max-bytes", "100000"], "--max-bytes allows")] {
        let recording = Recording::new();
        let folder = recording.0.path();
        let command = ["--", "/bin/sh", "-c", script, folder.to_str().unwrap()];
        let output = run(&mut recording.command(&[&bound[..], &command].concat())).await;
        fs::write(folder.join("end"), "").unwrap();
        eventually("the command, which went on, ends", SOON, async || {
            if folder.join("ended").exists() { Ok(()) } else { Err("it runs".to_owned()) }
        })
        .await;
        let told = String::from_utf8(succeeded(output).stderr).unwrap();
        assert!(told.contains(said) && told.contains("; the command goes on"), "{told}");
        recording.replay().await;
    }
}

#[tokio::test]
async fn who_may_not_record_is_told_what_is_missing_and_a_program_that_is_none_by_its_name() {
    if !can_watch() {
        return;
    }
    let (_kernel, recording) = (kernel().await, Recording::new());
    let output = run(recording.command(&["--", "/nonexistent/program"]).arg("x")).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: cannot run `/nonexistent/program`: No such file"), "{said}");
    assert!(!recording.file().exists(), "nothing was recorded");
    let output = run(recording.command(&["--", "/bin/true"]).uid(NOBODY)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: missing capability CAP_BPF: run as root"), "{said}");
}

#[tokio::test]
async fn a_recorder_that_was_killed_leaves_a_file_that_says_so() {
    if !can_watch() {
        return;
    }
    let (_kernel, recording) = (kernel().await, Recording::new());
    // Nobody ends what a killed recorder ran: it ends with the folder.
    let folder = recording.file().parent().unwrap().to_string_lossy().into_owned();
    let endless = "while [ -d \"$1\" ]; do /bin/true; done";
    let mut recorder = Process::start(&mut recording.command(&["--", "/bin/sh", "-c", endless, "sh", &folder]));
    eventually("something is recorded", SOON, async || match fs::metadata(recording.file()) {
        Ok(metadata) if metadata.len() > 50_000 => Ok(()),
        _ => Err(recorder.stderr()),
    })
    .await;
    recorder.signal(Signal::KILL);
    assert!(recorder.wait(SOON).await.is_some());
    let file = recording.file();
    let output = run(Command::new(binary("tercel-sensor")).current_dir(workspace()).arg("replay").arg(&file)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("error: {}: item ", file.display())) && said.contains("breaks off"), "{said}");
}

#[tokio::test]
async fn the_committed_recording_is_of_this_build_s_records() {
    if std::env::var("UPDATE_FIXTURES").as_deref() == Ok("1") {
        assert!(can_watch(), "the recording is made on the kernel");
        let (_kernel, recording) = (kernel().await, Recording::new());
        let mut command = recording.command(&["--with-environment", "--", "/bin/sh", "-c", READS_A_SECRET]);
        command.env_clear().env("HOME", "/root").current_dir("/").arg0("tercel-sensor");
        succeeded(run(&mut command).await);
        anonymise(&recording.file(), &workspace().join(FIXTURE));
    }
    let file = File::open(workspace().join(FIXTURE)).unwrap();
    let mut reader = Reader::open(BufReader::new(file), FIXTURE)
        .unwrap_or_else(|error| panic!("{error}\nUPDATE_FIXTURES=1 in the environment of this test records it anew"));
    let mut records = 0;
    while let Some(item) = reader.read().unwrap() {
        records += u64::from(matches!(item, Item::Record(_)));
    }
    assert!(records > 10, "{records}");
}

/// Without what is of the machine alone: its names, its users, and whoever started the recorder.
fn anonymise(from: &Path, to: &Path) {
    let mut reader = Reader::open(BufReader::new(File::open(from).unwrap()), "recording").unwrap();
    let mut writer = Writer::start(File::create(to).unwrap()).unwrap();
    while let Some(item) = reader.read().unwrap() {
        match item {
            Item::Machine(machine) => {
                let named = Machine { hostname: "node-7".into(), kernel_release: "6.18.0".into(), ..machine };
                writer.write(&Item::Machine(named)).unwrap();
            }
            Item::User(line) | Item::Group(line) if !line.starts_with("root:") => {}
            Item::Process(_) | Item::Environment { .. } => {}
            item => writer.write(&item).unwrap(),
        }
    }
    writer.finish().unwrap();
}

fn is_by(alert: &Value, cat: &Cat) -> bool {
    alert["output_fields"]["proc.exepath"] == cat.path()
}

fn time(alert: &Value) -> Timestamp {
    alert["time"].as_str().unwrap().parse().unwrap()
}

/// Ids are of their sensor; the times are compared on their own.
fn without_time(mut alert: Value) -> Value {
    let output = alert["output"].as_str().unwrap();
    alert["output"] = output.split_once(' ').unwrap().1.into();
    alert.as_object_mut().unwrap().retain(|key, _| key != "uuid" && key != "time");
    alert["output_fields"].as_object_mut().unwrap().remove("evt.time");
    alert
}
