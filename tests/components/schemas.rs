//! What the router sends, judged by what the services themselves or others wrote about it. The snapshots of
//! `router/src/destination/tests` are judged, which the router's own tests hold it to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{files_below, workspace};

/// The folder with the packages: `python` for Python's path, `node` with `node_modules`.
const FOLDER_VARIABLE: &str = "TERCEL_TEST_SCHEMAS";

const CASES: usize = 6;

fn folder() -> PathBuf {
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    folder.unwrap_or_else(|| panic!("{FOLDER_VARIABLE} is not set; use cargo xtask test --components"))
}

fn snapshots(kind: &str) -> Vec<PathBuf> {
    let wanted = format!("__{kind}_");
    let is_wanted = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().contains(&wanted);
    let folder = "router/src/destination/tests/snapshots";
    let files: Vec<_> = files_below(folder).into_iter().filter(is_wanted).map(|file| workspace().join(file)).collect();
    assert_eq!(files.len(), CASES, "{files:?}");
    files
}

fn by_python(files: &[PathBuf]) -> Output {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder().join("python")).env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python");
    command.arg(script("messages.py")).args(files).output().unwrap()
}

fn by_node(files: &[PathBuf]) -> Output {
    Command::new("node").arg(script("messages.js")).arg(folder().join("node")).args(files).output().unwrap()
}

fn script(name: &str) -> PathBuf {
    workspace().join("tests/components/schemas").join(name)
}

/// All cases of this type are right, and one in which `old` is `new` is not.
fn check(kind: &str, judge: fn(&[PathBuf]) -> Output, (old, new): (&str, &str)) {
    let files = snapshots(kind);
    let judged = judge(&files);
    let (said, complaint) = (text(&judged.stdout), text(&judged.stderr));
    assert!(judged.status.success(), "{said}{complaint}");
    assert_eq!(said.lines().count(), CASES, "{said}{complaint}");
    println!("{said}");
    let wrong = tempfile::tempdir().unwrap();
    let wrong = spoilt(&files, wrong.path(), old, new);
    let judged = judge(&[wrong]);
    assert!(!judged.status.success(), "who judges {kind} takes {new:?} too: {}", text(&judged.stdout));
}

/// A copy of the first of the files that has this text, with another one in its place.
fn spoilt(files: &[PathBuf], folder: &Path, old: &str, new: &str) -> PathBuf {
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let file = files.iter().find(|file| read(file).contains(old)).unwrap_or_else(|| panic!("none has {old:?}"));
    let copy = folder.join(file.file_name().unwrap());
    std::fs::write(&copy, read(file).replacen(old, new, 1)).unwrap();
    copy
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[ignore = "needs OpenTelemetry's schema: cargo xtask test --components"]
fn log_records_are_those_of_opentelemetrys_schema() {
    check("otlp", by_python, ("\"severityText\":", "\"severityWords\":"));
}

#[test]
#[ignore = "needs Slack's SDK: cargo xtask test --components"]
fn messages_are_those_of_slacks_sdk_and_of_its_types() {
    check("slack", by_python, ("\"type\": \"plain_text\"", "\"type\": \"rich_text\""));
    check("slack", by_node, ("\"verbatim\": true", "\"verbatim\": \"yes\""));
}

#[test]
#[ignore = "needs the types of PagerDuty's client: cargo xtask test --components"]
fn events_are_those_of_pagerdutys_client() {
    check("pagerduty", by_node, ("\"severity\": \"critical\"", "\"severity\": \"fatal\""));
}

#[test]
#[ignore = "needs the library of Adaptive Cards: cargo xtask test --components"]
fn cards_are_those_of_the_library_that_shows_them() {
    check("teams", by_node, ("\"type\": \"RichTextBlock\"", "\"type\": \"PoorTextBlock\""));
}
