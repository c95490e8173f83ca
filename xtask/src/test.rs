//! `cargo xtask test`: what must be green before a change is merged; `cargo xtask ci` rebuilds the kernel object too.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::lanes::{Lanes, Outcome};
use crate::{docs, ebpf, install, step};

/// The kernel programs build for the BPF target only: the ebpf lane compiles them.
const ALL_BUT_EBPF: [&str; 3] = ["--workspace", "--exclude", "tercel-sensor-ebpf"];
const BASE: &str = "deploy/kustomize/base";
/// The cluster's routing; tests in the crates look at the one in the tree's root.
const BASE_ROUTING: &str = "deploy/kustomize/base/routing.toml";

pub(crate) fn test() -> ExitCode {
    let mut lanes = Lanes::default();
    run_all(&mut lanes);
    lanes.finish()
}

pub(crate) fn ci() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("ebpf", kernel_object);
    run_all(&mut lanes);
    lanes.finish()
}

fn run_all(lanes: &mut Lanes) {
    lanes.run("fmt", || cargo(&["fmt", "--all", "--check"]));
    lanes.run("clippy", || cargo(&with(&["clippy"], &["--all-targets", "--", "--deny", "warnings"])));
    lanes.run("build", || cargo(&["build", "--package", "tercel-router", "--package", "tercel-sensor"]));
    lanes.run("unit", || cargo(&with(&["test", "--quiet"], &["--exclude", "e2e"])));
    lanes.run("e2e", || cargo(&["test", "--package", "e2e"]));
    lanes.run("docs", || docs::check().map(|()| Outcome::Passed));
    lanes.run("kustomize", kustomize);
    lanes.run("routing", || {
        cargo(&["run", "--quiet", "--package", "tercel-router", "--", "check", "--routing", BASE_ROUTING])
    });
    lanes.run("deny", deny);
}

fn with<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
    [before, &ALL_BUT_EBPF, after].concat()
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    step::run(&mut step::cargo(arguments))?;
    Ok(Outcome::Passed)
}

fn kernel_object() -> Result<Outcome> {
    Ok(match ebpf::check()? {
        ebpf::Checked::Same => Outcome::Remarked("the committed object is what the sources build to".to_owned()),
        ebpf::Checked::NotCompared(why) => Outcome::Remarked(why),
    })
}

/// Builds the manifests, as `kubectl apply -k` would, and looks for every rule file and template in them: Kustomize takes
/// no pattern, so a new file is easily forgotten.
fn kustomize() -> Result<Outcome> {
    let Some(mut command) = kustomize_command()? else {
        return Ok(Outcome::Skipped(
            "neither kubectl nor kustomize is on the PATH; see https://kubernetes.io/docs/tasks/tools/".to_owned(),
        ));
    };
    let manifests = step::read(command.arg(BASE).current_dir(step::workspace()).stdout(Stdio::piped()))?;
    ensure!(manifests.contains("\nkind: DaemonSet\n"), "{BASE} builds without a DaemonSet in it");
    let forgotten = missing(&manifests, &[("rules", "yaml"), ("templates", "hbs")])?;
    ensure!(
        forgotten.is_empty(),
        "not in the manifests: {}; the folder's Kustomization names its files",
        forgotten.join(", ")
    );
    Ok(Outcome::Remarked(format!("{} objects", manifests.lines().filter(|line| line.starts_with("kind: ")).count())))
}

/// Files of the folders, by extension, that are no key of a ConfigMap in `manifests`.
fn missing(manifests: &str, folders: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (folder, extension) in folders {
        for entry in std::fs::read_dir(step::workspace().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_key = manifests.lines().any(|line| line.starts_with(&format!("  {name}:")));
            if name.ends_with(&format!(".{extension}")) && !is_key && name != "kustomization.yaml" {
                missing.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(missing)
}

fn kustomize_command() -> Result<Option<Command>> {
    if step::find("kustomize").is_none() && step::find("kubectl").is_none() && install::on_debian() {
        install::debian_packages(&["kubernetes-client"], "building the manifests")?;
    }
    Ok(match (step::find("kubectl"), step::find("kustomize")) {
        (Some(kubectl), _) => {
            let mut command = Command::new(kubectl);
            command.arg("kustomize");
            Some(command)
        }
        (None, Some(kustomize)) => {
            let mut command = Command::new(kustomize);
            command.arg("build");
            Some(command)
        }
        (None, None) => None,
    })
}

/// Licences, bans and sources; advisories need the network's newest and have a place of their own.
fn deny() -> Result<Outcome> {
    if step::find("cargo-deny").is_none() {
        return Ok(Outcome::Remarked(
            "not checked: `cargo install cargo-deny` and this lane checks licences, duplicates and sources".to_owned(),
        ));
    }
    cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])
}
