//! What a person meets who gives Tercel what it cannot use: an exit code, and a message that says where, what and what
//! would do. `router/tests/cli.rs` and `sensor/tests/cli` have the finer points.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{binary, can_watch, free_address, run, workspace};

/// Bad configuration.
const CONFIGURATION: i32 = 64;
/// What failed although the configuration is good.
const FAILURE: i32 = 1;

const NOBODY: u32 = 65_534;

const RULE: &str = "- rule: R\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: WARNING\n";
const ROUTING: &str = "[[route]]\nto = [\"console\"]\n[destination.console]\ntype = \"console\"\n";

#[tokio::test]
async fn a_broken_rule_file_is_named_with_line_and_column() {
    for (from, to, place, message) in [
        ("evt.type = open", "evt.tipe = open", "4:", "evt.tipe"),
        ("evt.type = open", "evt.type = open and (", "4:", "rule `R`"),
        ("output: o", "output: \"%proc.nam\"", "5:", "proc.nam"),
        ("priority: WARNING", "priority: LOUD", "6:", "LOUD"),
        ("  desc: d\n", "", "2:", "desc"),
        ("- rule: R", "- rule: [", "", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.yaml");
        std::fs::write(&file, format!("# A comment.\n{}", RULE.replace(from, to))).unwrap();
        for command in ["check", "run"] {
            let output = run(sensor(command).arg("--rules").arg(&file)).await;
            let place = format!("{}:{place}", file.display());
            check(&output, CONFIGURATION, &[&place, message]);
        }
    }
}

#[tokio::test]
async fn a_routing_file_with_a_misspelt_key_names_the_keys_that_exist() {
    let output = routed(&ROUTING.replace("to =", "too =")).await;
    check(&output, CONFIGURATION, &["routing.toml:2:1:", "unknown field `too`", "`when`", "`to`", "`continue`"]);
}

#[tokio::test]
async fn a_route_to_an_unknown_destination_names_the_known_ones() {
    let output = routed(&ROUTING.replace("[\"console\"]", "[\"consol\"]")).await;
    check(&output, CONFIGURATION, &["routing.toml:2:7:", "`consol`", "known destinations: console, archive"]);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_for_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    for (mut command, flag) in [
        (router(folder.path(), ROUTING), "--listen"),
        (router(folder.path(), ROUTING), "--admin"),
        (sensor("run"), "--metrics"),
    ] {
        let output = run(command.args([flag, &address])).await;
        check(&output, FAILURE, &[&address, flag]);
    }
}

#[tokio::test]
async fn who_is_not_root_is_told_which_capability_is_missing() {
    if !can_watch() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run(as_nobody(&sensor("run"), folder.path()).args(["--metrics", &free_address().to_string()])).await;
    check(&output, FAILURE, &["missing capability CAP_BPF", "run as root"]);
}

#[tokio::test]
async fn root_without_a_capability_is_told_which() {
    if !can_watch() {
        return;
    }
    let sensor = sensor("run");
    let mut command = Command::new("setpriv");
    command.current_dir(workspace()).args(["--bounding-set=-sys_admin,-perfmon", "--inh-caps=-sys_admin,-perfmon"]);
    command.arg(sensor.get_program()).args(sensor.get_args()).args(["--metrics", &free_address().to_string()]);
    check(&run(&mut command).await, FAILURE, &["missing capability CAP_PERFMON"]);
}

#[tokio::test]
async fn the_doctor_says_for_each_thing_whether_it_is_there_and_what_would_do() {
    let rows = ["kernel", "CAP_BPF", "CAP_PERFMON", "BTF", "lockdown", "cgroup v2", "trial load"];
    if !can_watch() {
        return;
    }
    let output = run(&mut bare("doctor")).await;
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(rows.iter().all(|row| table.contains(row)) && table.ends_with("the sensor can run here\n"), "{table}");

    let folder = tempfile::tempdir().unwrap();
    let output = run(&mut as_nobody(&bare("doctor"), folder.path())).await;
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(FAILURE), "{table}");
    let missing = table.lines().find(|line| line.contains("CAP_BPF")).unwrap_or_default();
    assert!(missing.starts_with("missing"), "{table}");
    assert!(table.contains("→ run as root or grant CAP_BPF"), "{table}");
}

fn bare(subcommand: &str) -> Command {
    let mut command = Command::new(binary("tercel-sensor"));
    command.current_dir(workspace()).arg(subcommand);
    command
}

/// With good rules, unless `--rules` follows.
fn sensor(subcommand: &str) -> Command {
    let mut command = bare(subcommand);
    command.env("TERCEL_SENSOR_RULES_FILES", "rules");
    command
}

fn router(folder: &Path, routing: &str) -> Command {
    let file = folder.join("routing.toml");
    std::fs::write(&file, routing).unwrap();
    let mut command = Command::new(binary("tercel-router"));
    command.current_dir(folder).args(["run", "--routing", "routing.toml"]);
    command.env("TERCEL_ROUTER_LISTEN", "127.0.0.1:0").env("TERCEL_ROUTER_ADMIN", "127.0.0.1:0");
    command
}

async fn routed(routing: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    run(&mut router(folder.path(), routing)).await
}

/// The same command by somebody without any rights; the program is copied to where everybody may run it.
fn as_nobody(command: &Command, folder: &Path) -> Command {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.join("tercel-sensor");
    // By another process: a file that this one had open for writing could be busy when it is run.
    assert!(Command::new("cp").arg(command.get_program()).arg(&program).status().unwrap().success());
    let rules = folder.join("rules.yaml");
    std::fs::write(&rules, RULE).unwrap();
    let mut copy = Command::new(program);
    copy.current_dir(folder).args(command.get_args()).env("TERCEL_SENSOR_RULES_FILES", rules).uid(NOBODY).gid(NOBODY);
    copy
}

#[track_caller]
fn check(output: &Output, code: i32, expected: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for expected in expected {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
}
