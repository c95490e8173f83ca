//! Tercel's only task runner. A person runs `cargo xtask run` and `cargo xtask test`; CI runs `cargo xtask ci`.

#![expect(clippy::print_stdout, reason = "a task runner talks to the person at the terminal")]

mod apt;
mod components;
mod docs;
mod e2e;
mod ebpf;
mod folder;
mod fuzz;
mod image;
mod images;
mod install;
mod kernels;
mod kubernetes;
mod lanes;
mod manifests;
mod power;
mod prometheus;
mod routing;
mod run;
mod runtimes;
mod service;
mod soak;
mod step;
mod test;
mod units;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build router and sensor, start both on the shipped rules and routing, and say what to try
    Run(run::Options),
    /// Run all test lanes: format, lints, unit and end-to-end tests, manifests
    Test {
        /// Instead: the sensor on this machine's kernel and on others, from 5.10 on, in QEMU, and the router where the power
        /// goes
        #[arg(long)]
        kernels: bool,
        /// Instead: against real servers, container runtimes and a cluster, fetched or built where they can be had
        #[arg(long, conflicts_with = "kernels")]
        components: bool,
        /// Instead, in release: a full storm of events, the router away for a minute and killed 200 times, half an hour of
        /// mixed load, power losses, fuzzing
        #[arg(long, conflicts_with_all = ["kernels", "components"])]
        soak: bool,
        /// Instead: the router on a machine in QEMU that loses its power so many times
        #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "20", conflicts_with_all = ["kernels", "components", "soak"])]
        power: Option<u64>,
        /// Instead: what Kustomize makes of deploy/kustomize, and the units of deploy/systemd
        #[arg(long, conflicts_with_all = ["kernels", "components", "soak", "power"])]
        manifests: bool,
        /// Instead: the manifests and the images on a real cluster of one node, built from Debian's source package
        #[arg(long, conflicts_with_all = ["kernels", "components", "soak", "power", "manifests"])]
        kubernetes: bool,
    },
    /// What CI runs: rebuild and compare the kernel object, then all of `test`, real servers, and other kernels
    Ci,
    /// Write the generated documents under docs/
    Docs,
    /// Draw the pictures of dashboards and messages in docs/pictures anew: a quarter of an hour of load, a browser, and packages
    /// of npm
    Pictures,
    /// Measure, in release; arguments go to the bench program
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a coverage-guided fuzz target (needs a C++ compiler)
    Fuzz(fuzz::Options),
    /// Build the images of router and sensor into target/image, without a container engine
    Image(image::Options),
    /// Build the kernel object into sensor/bpf (installs the BPF toolchain where it is missing)
    Ebpf {
        /// Build it aside and compare it with the committed one
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match perform(&Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            step::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task) -> Result<ExitCode> {
    match task {
        Task::Run(options) => return run::run(options),
        Task::Test { kernels: true, .. } => return Ok(test::kernels()),
        Task::Test { components: true, .. } => return Ok(test::components()),
        Task::Test { soak: true, .. } => return Ok(soak::soak()),
        Task::Test { power: Some(times), .. } => return Ok(test::power(*times)),
        Task::Test { manifests: true, .. } => return Ok(test::manifests()),
        Task::Test { kubernetes: true, .. } => return Ok(test::kubernetes()),
        Task::Test { .. } => return Ok(test::test()),
        Task::Ci => return Ok(test::ci()),
        Task::Docs => docs::write()?,
        Task::Pictures => prometheus::pictures()?,
        Task::Bench { arguments } => bench(arguments)?,
        Task::Fuzz(options) => fuzz::run(options)?,
        Task::Image(options) => image::run(options)?,
        Task::Ebpf { check: false } => ebpf::build()?,
        Task::Ebpf { check: true } => match ebpf::check()? {
            ebpf::Checked::Same => step::note("the committed object is what the sources build to"),
            ebpf::Checked::NotCompared(why) => step::note(why),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn bench(arguments: &[String]) -> Result<()> {
    step::say("building what is measured (release)");
    step::run(&mut step::cargo(&["build", "--release", "--package", "tercel-router", "--package", "tercel-sensor"]))?;
    step::run(step::cargo(&["run", "--release", "--package", "tercel-bench", "--"]).args(arguments))
}
