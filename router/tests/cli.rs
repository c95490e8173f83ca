//! The command line as a person meets it: exit codes and messages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A router that starts at all does so in far less.
const SOON: Duration = Duration::from_secs(20);

const GOOD: &str = "[[route]]\nto = [\"console\"]\n[destination.console]\ntype = \"console\"\nformat = \"json\"\n";

/// A folder with this routing file, and the command to run in it.
fn router(routing: &str) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("routing.toml"), routing).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercel-router"));
    command.current_dir(folder.path()).env_clear();
    (folder, command)
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it and expects this exit code and each of these texts on standard error.
#[track_caller]
fn check(routing: &str, arguments: &[&str], code: i32, expected: &[&str]) -> Output {
    let (_folder, mut command) = router(routing);
    let output = command.args(arguments).output().unwrap();
    let error = said(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for expected in expected {
        assert!(error.contains(expected), "`{expected}` is not in\n{error}");
    }
    output
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let output = check(GOOD, &["check"], 0, &[]);
    assert_eq!(said(&output.stdout), "routing.toml: good; routes: 1, destinations: 2, tests: 0\n");
}

#[test]
fn the_shipped_file_is_good() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../routing.toml");
    check("", &["check", "--routing", shipped.to_str().unwrap()], 0, &[]);
}

#[test]
fn a_misspelt_key_is_bad_configuration() {
    let routing = GOOD.replace("to =", "too =");
    for command in ["check", "run"] {
        check(&routing, &[command], 64, &["routing.toml:2:1: unknown field `too`", "`when`, `to`"]);
    }
}

#[test]
fn an_unknown_destination_is_bad_configuration() {
    let routing = GOOD.replace("[\"console\"]", "[\"slak\"]");
    let expected = "routing.toml:2:7: route `route-1` sends to `slak`; known destinations: console, archive";
    check(&routing, &["run"], 64, &[expected]);
}

#[test]
fn a_test_that_expects_the_impossible_is_bad_configuration_for_check_alone() {
    let test = "[[test]]\nname = \"t\"\nsend = [{ alert = { rule = \"x\" } }]\nto = [\"slak\"]\n";
    check(&format!("{GOOD}{test}"), &["check"], 64, &["routing.toml:9:7: ", "slak"]);
}

#[test]
fn the_schema_is_json_and_knows_routes() {
    let output = check("", &["schema"], 0, &[]);
    let text = said(&output.stdout);
    assert!(text.starts_with('{') && text.contains("\"route\""), "{text}");
}

#[test]
fn a_bad_condition_is_bad_configuration_and_shown() {
    let routing = GOOD.replace("to =", "when = \"priority > loud\"\nto =");
    check(&routing, &["check"], 64, &["routing.toml:2:20: route `route-1`: ", "loud", "^^^^"]);
}

#[test]
fn a_missing_file_is_bad_configuration() {
    check(
        GOOD,
        &["run", "--routing", "no/such.toml"],
        64,
        &["no/such.toml: cannot read the routing file", "--routing"],
    );
}

#[test]
fn problems_have_a_form_for_programs() {
    let output = check(&GOOD.replace("console\"]", "slak\"]"), &["check", "--json"], 64, &[]);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["ok"], false);
    let problem = &result["problems"][0];
    assert_eq!(
        (&problem["file"], &problem["line"], &problem["column"]),
        (&"routing.toml".into(), &2.into(), &7.into())
    );
    assert!(problem["message"].as_str().unwrap().contains("slak"));
}

#[test]
fn bad_usage_has_a_code_of_its_own() {
    check(GOOD, &["run", "--rooting", "x"], 2, &["--rooting"]);
    check(GOOD, &[], 2, &["Usage"]);
}

#[test]
fn a_port_in_use_is_named_with_what_would_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let expected =
        format!("cannot listen on {address}: address in use; stop the other process or choose another with --listen");
    check(GOOD, &["run", "--listen", &address, "--admin", "127.0.0.1:0"], 1, &[&expected]);
}

#[test]
fn an_address_open_to_others_needs_a_token() {
    let arguments = ["run", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"];
    check(GOOD, &arguments, 64, &["0.0.0.0:0", "TERCEL_ROUTER_TOKEN"]);
}

#[test]
fn an_unknown_setting_is_bad_configuration() {
    let (_folder, mut command) = router(GOOD);
    let output = command.arg("run").env("TERCEL_ROUTER_LISTN", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output.stderr).contains("listn"), "{}", said(&output.stderr));
}

const QUIET: [&str; 5] = ["run", "--listen", "none", "--admin", "127.0.0.1:0"];

#[test]
fn standard_input_is_taken_line_by_line_and_its_end_is_a_clean_one() {
    let (_folder, mut command) = router(GOOD);
    let mut child = command.args(QUIET).arg("--stdin").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = "not JSON\n{\"time\":\"2026-01-01T00:00:00Z\",\"rule\":\"shadow read\",\"priority\":\"Warning\"}\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output.stdout).contains("shadow read"), "{}", said(&output.stdout));
}

#[test]
fn sigterm_is_a_clean_end_and_takes_the_socket_with_it() {
    let (folder, mut command) = router(GOOD);
    let socket = folder.path().join("tercel.sock");
    let mut child = command.args(QUIET).arg("--unix").arg(&socket).spawn().unwrap();
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < SOON, "the socket does not appear");
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}
