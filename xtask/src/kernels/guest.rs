//! One guest: a kernel booted by QEMU, and what it wrote to its serial console.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::QEMU;
use super::fetch::{Family, Kernel};
use super::initramfs::Initramfs;

/// A guest takes about a minute on an idle machine, and took four beside builds that kept two processors 18 deep in work.
const GUEST_WITHIN: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(50);
const MEMORY_MIB: &str = "1024";

/// What a guest is booted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boot {
    Techniques,
    Stress,
}

impl Boot {
    pub(crate) fn all(family: &Family) -> &'static [Self] {
        if family.is_preemptible { &[Self::Techniques, Self::Stress] } else { &[Self::Techniques] }
    }

    fn cpus(self) -> &'static str {
        match self {
            Self::Techniques => "2",
            Self::Stress => "1",
        }
    }

    /// The words of the kernel's command line that make the difference; init reads `tercel`.
    fn words(self) -> &'static str {
        match self {
            Self::Techniques => "tercel=techniques",
            Self::Stress => "tercel=stress preempt=full",
        }
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Techniques => "techniques",
            Self::Stress => "stress",
        })
    }
}

/// Boots, waits for the end and gives the console, which is in `log` too.
///
/// # Errors
/// If QEMU cannot start, fails, or takes too long.
pub(crate) fn run(kernel: &Kernel, boot: Boot, initramfs: &Initramfs, log: &Path) -> Result<String> {
    let archive = initramfs.with_module(&kernel.module)?;
    let console = created(log)?;
    let errors = console.try_clone().context("cannot write the guest's log")?;
    let mut command = command(kernel, boot, archive);
    let child = command.stdin(Stdio::null()).stdout(console).stderr(errors).spawn();
    let ended = wait(child.with_context(|| format!("cannot start {QEMU}"))?);
    let bytes = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = plain(&String::from_utf8_lossy(&bytes));
    ended.with_context(|| format!("its last words:\n{}", super::judge::last_lines(&text)))?;
    Ok(text)
}

/// Without the codes by which firmware clears the screen, and other bytes that would act on a terminal.
pub(crate) fn plain(console: &str) -> String {
    console.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

fn command(kernel: &Kernel, boot: Boot, archive: &Path) -> Command {
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg", "-cpu", "max", "-m", MEMORY_MIB, "-smp", boot.cpus()]);
    command.args(["-nographic", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(archive);
    let words = format!("console=ttyS0 lsm=lockdown,bpf panic=-1 quiet loglevel=3 {}", boot.words());
    command.arg("-append").arg(words);
    command
}

fn wait(mut child: Child) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < GUEST_WITHIN {
        match child.try_wait().context("cannot wait for the guest")? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{QEMU} failed: {status}"),
            None => std::thread::sleep(POLL),
        }
    }
    child.kill().and_then(|()| child.wait()).context("the guest cannot be ended")?;
    bail!("the guest did not end within {} s", GUEST_WITHIN.as_secs())
}

fn created(log: &Path) -> Result<File> {
    let context = || format!("cannot write {}", log.display());
    std::fs::create_dir_all(log.parent().with_context(context)?).with_context(context)?;
    File::create(log).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_of_a_console_acts_on_the_terminal_that_shows_it() {
        assert_eq!(plain("\u{1b}c\u{1b}[2Jone\r\ntwo"), "c[2Jone\ntwo");
    }
}
