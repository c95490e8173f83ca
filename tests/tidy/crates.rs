//! Who may depend on whom is read from the manifests and the sources, so that a shortcut shows in the change that takes
//! it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Table;

use crate::harness::{files_below, read, workspace};

/// Folder of a crate → what it may depend on of ours.
const EDGES: [(&str, &[&str]); 7] = [
    ("alert", &[]),
    ("filter", &[]),
    ("sensor-abi", &[]),
    ("sensor-ebpf", &["tercel-sensor-abi"]),
    ("sensor", &["tercel-alert", "tercel-filter", "tercel-sensor-abi"]),
    ("router", &["tercel-alert", "tercel-filter"]),
    ("xtask", &[]),
];

/// Crates that look at everything.
const OBSERVERS: [&str; 2] = ["bench", "tests"];

/// The stages of the router's pipeline: plain functions on values, put in order by the pipeline alone.
const STAGES: [&str; 10] =
    ["route", "inhibit", "silence", "schedule", "dedup", "limit", "incident", "store", "render", "deliver"];

/// Stage → who knows it beside the pipeline, which knows them all but rendering: that is the affair of each destination, and
/// of the fields that the configuration adds. `admin` shows silences, and looks for dead letters in the store where that
/// holds nobody up; `reload` brings in the workers of new destinations.
const ALSO_KNOWN_TO: [(&str, &[&str]); 10] = [
    ("route", &["routing"]),
    ("inhibit", &["routing"]),
    ("silence", &["admin"]),
    ("schedule", &["routing"]),
    ("dedup", &[]),
    ("limit", &[]),
    ("incident", &["admin", "destination"]),
    ("store", &["admin", "lib", "metrics"]),
    ("render", &["destination", "normalise"]),
    ("deliver", &["lib", "reload"]),
];

/// Library → the file in which it does its job.
const LIBRARIES: [(&str, &str); 15] = [
    ("aya", "sensor/src/kernel.rs"),
    ("aya", "sensor/src/ring.rs"),
    ("config", "router/src/config.rs"),
    ("config", "sensor/src/config.rs"),
    ("governor", "router/src/limit.rs"),
    ("handlebars", "router/src/render.rs"),
    ("hyper", "router/src/ingest.rs"),
    ("lru", "router/src/dedup.rs"),
    ("prometheus", "router/src/metrics.rs"),
    ("prometheus", "sensor/src/metrics.rs"),
    ("reqwest", "router/src/destination/http.rs"),
    ("reqwest", "sensor/src/emit.rs"),
    ("serde_json", "alert/src/lib.rs"),
    ("tokio", "router/src/deliver.rs"),
    ("tokio", "sensor/src/emit.rs"),
];

#[test]
fn crates_depend_on_each_other_only_as_drawn_in_the_architecture() {
    for (folder, allowed) in EDGES {
        let allowed: BTreeSet<_> = allowed.iter().map(|&name| name.to_owned()).collect();
        let ours: BTreeSet<_> = dependencies(folder).into_iter().filter(|name| is_ours(name)).collect();
        assert_eq!(ours, allowed, "{folder}/Cargo.toml: an edge appeared or vanished; is the drawing to change?");
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_edges_stated() {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    let stated: BTreeSet<_> = EDGES.iter().map(|(folder, _)| *folder).chain(OBSERVERS).collect();
    assert_eq!(members.collect::<BTreeSet<_>>(), stated);
}

#[test]
fn sensor_and_router_never_name_each_other() {
    for (folder, other) in [("sensor", "tercel_router"), ("router", "tercel_sensor")] {
        for file in rust_files(folder) {
            assert!(!code(&file).contains(other), "{}: names {other}; alert JSON is all that passes", file.display());
        }
    }
}

#[test]
fn the_stages_of_the_router_do_not_import_one_another() {
    for stage in STAGES {
        for file in module_files("router/src", stage) {
            let imports = imports(&code(&file));
            let others: Vec<_> = STAGES.iter().filter(|&&other| other != stage && imports.contains(other)).collect();
            assert!(others.is_empty(), "{}: imports {others:?}; the pipeline brings stages together", file.display());
        }
    }
}

#[test]
fn only_the_pipeline_brings_the_stages_of_the_router_together() {
    for file in rust_files("router/src").iter().filter(|file| !file.ends_with("tests.rs")) {
        let module = file.strip_prefix(workspace().join("router/src")).unwrap().with_extension("");
        let module = module.iter().next().unwrap().to_str().unwrap();
        let imports = imports(&code(file));
        for (stage, others) in ALSO_KNOWN_TO.iter().filter(|(stage, _)| imports.contains(*stage) && *stage != module) {
            let known = module == "pipeline" || others.contains(&module);
            assert!(known, "{}: imports {stage}; the pipeline brings stages together", file.display());
        }
    }
}

#[test]
fn each_library_of_the_design_does_its_job_where_the_design_says() {
    for (library, file) in LIBRARIES {
        let folder = file.split('/').next().unwrap();
        assert!(dependencies(folder).contains(library), "{folder}/Cargo.toml does not depend on {library}");
        let code = code(&workspace().join(file));
        assert!(code.contains(&format!("{library}::")), "{file} does not use {library}");
    }
}

#[test]
fn imports_are_found_alone_and_in_groups() {
    let code =
        "use crate::dedup::Dedup;\nuse crate::{limit::{Limiter, Over}, route};\nlet x = crate::store::Store::new();";
    assert_eq!(imports(code), BTreeSet::from(["dedup", "limit", "route", "store"].map(str::to_owned)));
}

fn is_ours(package: &str) -> bool {
    package.starts_with("tercel-") || package == "e2e"
}

/// All dependencies of a crate: normal, for tests, for building, and of single targets.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest: Table = read(Path::new(folder).join("Cargo.toml")).parse().unwrap();
    let targets = manifest.get("target").and_then(|value| value.as_table()).into_iter().flatten();
    let tables = targets.filter_map(|(_, value)| value.as_table()).chain([&manifest]);
    tables
        .flat_map(|table| ["dependencies", "dev-dependencies", "build-dependencies"].map(|key| table.get(key)))
        .flatten()
        .flat_map(|value| value.as_table().unwrap().keys().cloned())
        .collect()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The file of a module and those of its children, without their tests.
fn module_files(folder: &str, module: &str) -> Vec<PathBuf> {
    let root = workspace().join(folder);
    let (file, children) = (root.join(format!("{module}.rs")), root.join(module));
    assert!(file.is_file(), "{}: no such stage", file.display());
    let children = if children.is_dir() { files_below(children) } else { Vec::new() };
    children.into_iter().filter(|file| !file.ends_with("tests.rs")).chain([file]).collect()
}

/// A source file without its comments and its unit tests.
fn code(file: &Path) -> String {
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules of its own crate that a source names.
fn imports(code: &str) -> BTreeSet<String> {
    let places = code.split("crate::").skip(1);
    places.flat_map(|rest| if rest.starts_with('{') { group(rest) } else { vec![first_word(rest)] }).collect()
}

/// The first words of `{a::{b, c}, d}`: a, d.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut at_start, mut names) = (0_u32, false, Vec::new());
    for (offset, character) in text.char_indices() {
        match character {
            '{' => (depth, at_start) = (depth + 1, depth == 0),
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => at_start = depth == 1,
            _ if at_start && !character.is_whitespace() => {
                names.push(first_word(&text[offset..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}
