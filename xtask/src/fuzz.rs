//! `cargo xtask fuzz`: a fuzz target for some minutes, with what it learnt kept for the next time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::step;

/// What libFuzzer counts: branches taken and the operands of comparisons. With them stable Rust is enough.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// An input that takes longer, or more memory, is a finding.
const SECONDS_MAX: u64 = 10;
const MEMORY_MIB_MAX: u64 = 1_024;
/// The rows of the condition language's tables: good seeds, as they have everything in them.
const TABLES: &str = "filter/tests/conformance/tables";
/// What Falco sends.
const ALERT: &str = "tests/fixtures/falco-alert.json";
/// Recordings of this version.
const RECORDINGS: &str = "tests/fixtures/records";
/// A row is a verdict, blanks, and from this column on a condition.
const CONDITION_COLUMN: usize = 9;

#[derive(Args)]
pub(crate) struct Options {
    /// What to fuzz
    target: Target,
    /// How long, once it is built
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// More inputs to start from: a folder of files
    #[arg(long, value_name = "FOLDER")]
    seeds: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Target {
    /// The reader of alerts: bodies, compressed or not
    Alerts,
    /// The condition parser, compiler and evaluator
    Condition,
    /// The rule loader
    Rules,
    /// The reader of recordings, and what replays them
    Recording,
}

impl Target {
    pub(crate) const ALL: [Self; 4] = [Self::Alerts, Self::Condition, Self::Rules, Self::Recording];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Condition => "condition",
            Self::Rules => "rules",
            Self::Recording => "recording",
        }
    }

    /// Longer inputs would take most of the time; what only length brings out has tests of its own.
    fn bytes_max(self) -> usize {
        match self {
            Self::Alerts | Self::Condition => 4_096,
            Self::Rules => 16_384,
            Self::Recording => 32_768,
        }
    }
}

impl Options {
    pub(crate) fn of(target: Target, minutes: u64) -> Self {
        Self { target, minutes, seeds: Vec::new() }
    }
}

/// Builds the target and runs it.
///
/// # Errors
/// If it does not build, or found something: the input is then below `fuzz/findings` in the target folder.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = step::target().join("fuzz");
    step::say("building the fuzz targets, instrumented (some minutes the first time)");
    let triple = host()?;
    build(&folder, &triple)?;

    let target = options.target;
    let corpus = created(folder.join("corpus").join(target.name()))?;
    let findings = created(folder.join("findings"))?;
    let seeds = match target {
        Target::Alerts => alert_seeds(&folder)?,
        Target::Condition => condition_seeds(&folder)?,
        Target::Rules => step::workspace().join("rules"),
        Target::Recording => step::workspace().join(RECORDINGS),
    };
    step::say(format!("fuzzing {} for {} minutes", target.name(), options.minutes));
    let mut fuzzer = Command::new(folder.join(triple).join("release").join(target.name()));
    fuzzer.args([
        format!("-max_total_time={}", options.minutes * 60),
        format!("-max_len={}", target.bytes_max()),
        format!("-timeout={SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={}/{}-", findings.display(), target.name()),
        format!("-dict={}", package().join(format!("{}.dict", target.name())).display()),
        "-print_final_stats=1".to_owned(),
        "-print_funcs=0".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    step::run(fuzzer.arg(corpus).arg(seeds).args(&options.seeds))
}

/// With the tree's versions of every crate, and not with flags of its own for build scripts: hence the triple.
fn build(folder: &Path, triple: &str) -> Result<()> {
    let versions = step::workspace().join("Cargo.lock");
    std::fs::copy(&versions, package().join("Cargo.lock"))
        .with_context(|| format!("cannot copy {}", versions.display()))?;
    let mut cargo = step::cargo(&["build", "--release", "--target", triple]);
    step::run(cargo.current_dir(package()).env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", INSTRUMENTED))
}

fn package() -> PathBuf {
    step::workspace().join("fuzz")
}

fn host() -> Result<String> {
    let version = step::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// An alert as Falco sends it: alone, twice in an array, and on two lines. The byte in front says that it is no gzip.
fn alert_seeds(folder: &Path) -> Result<PathBuf> {
    let seeds = created(folder.join("seeds").join(Target::Alerts.name()))?;
    let file = step::workspace().join(ALERT);
    let alert = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let alert = alert.trim();
    let lines = format!("{alert}\n{alert}\n");
    for (name, body) in [("one", alert), ("array", &format!("[{alert},{alert}]")), ("lines", &lines)] {
        let body = format!("0{body}");
        std::fs::write(seeds.join(name), body).context("cannot write a seed")?;
    }
    Ok(seeds)
}

/// Each condition of the tables as a file.
fn condition_seeds(folder: &Path) -> Result<PathBuf> {
    let seeds = created(folder.join("seeds").join(Target::Condition.name()))?;
    let tables = step::workspace().join(TABLES);
    let context = || format!("cannot read {}", tables.display());
    let mut number = 0;
    for table in std::fs::read_dir(&tables).with_context(context)? {
        let text = std::fs::read_to_string(table.with_context(context)?.path()).with_context(context)?;
        for condition in text.lines().filter_map(condition) {
            std::fs::write(seeds.join(number.to_string()), condition).context("cannot write a seed")?;
            number += 1;
        }
    }
    Ok(seeds)
}

/// `None`: the line is no row.
fn condition(line: &str) -> Option<&str> {
    let verdict = line.get(..CONDITION_COLUMN)?.trim_end();
    let is_row = !verdict.is_empty() && verdict.bytes().all(|byte| byte.is_ascii_lowercase());
    is_row.then(|| &line[CONDITION_COLUMN..])
}

fn created(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::condition;

    #[test]
    fn rows_are_told_from_the_lines_around_them() {
        assert_eq!(condition("true     proc.name = cat"), Some("proc.name = cat"));
        assert_eq!(condition("expands  not a"), Some("not a"));
        for line in
            ["", "[title]", "# a remark about rows", "         ^^^ words", "fd.name: /etc/shadow", "list pets: cat"]
        {
            assert_eq!(condition(line), None, "{line}");
        }
    }
}
