//! One life: a guest that is booted, works, and loses its power.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::disk::Disk;
use crate::kernels::QEMU;

/// Until the first alert is acknowledged, and until everything has arrived.
const BUSY_WITHIN: Duration = Duration::from_mins(3);
const SETTLED_WITHIN: Duration = Duration::from_mins(15);
const POLL: Duration = Duration::from_millis(20);
const MEMORY_MIB: &str = "768";

/// What is needed to boot one.
pub(crate) struct Guest {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) logs: PathBuf,
}

impl Guest {
    /// Boots, waits until alerts are acknowledged and then for a while, and takes the power away: what it said.
    pub(crate) fn live(&self, disk: &Disk, life: u64, while_busy: Duration) -> Result<String> {
        let log = self.logs.join(format!("life-{life}.log"));
        let mut child = self.boot(disk, &format!("tercel=load life={life}"), &log)?;
        let busy = wait(&mut child, BUSY_WITHIN, || said(&log).contains("@@ acked"));
        if matches!(busy, Ok(true)) {
            std::thread::sleep(while_busy);
        }
        // SIGKILL: nothing of the guest's memory gets anywhere.
        child.kill().and_then(|()| child.wait()).context("the guest cannot be ended")?;
        let console = said(&log);
        ensure!(busy?, "nothing was acknowledged; its last words:\n{}", crate::kernels::last_lines(&console));
        Ok(console)
    }

    /// Boots and waits until everything has arrived: what it said.
    pub(crate) fn settle(&self, disk: &Disk) -> Result<String> {
        let log = self.logs.join("settle.log");
        let mut child = self.boot(disk, "tercel=receive", &log)?;
        let ended = wait(&mut child, SETTLED_WITHIN, || false);
        child.kill().and_then(|()| child.wait()).context("the guest cannot be ended")?;
        let console = said(&log);
        let last = || format!("its last words:\n{}", crate::kernels::last_lines(&console));
        ended.with_context(last)?;
        ensure!(console.contains("@@ end"), "it ended before it had said everything; {}", last());
        Ok(console)
    }

    fn boot(&self, disk: &Disk, words: &str, log: &Path) -> Result<Child> {
        disk.begin()?;
        let mut command = Command::new(QEMU);
        command.args(["-accel", "tcg", "-cpu", "max", "-m", MEMORY_MIB, "-smp", "2"]);
        command.args(["-nographic", "-no-reboot", "-nic", "none"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command.args(["-append", &format!("console=ttyS0 panic=-1 quiet loglevel=3 {words}")]);
        for (name, file) in [("live", &disk.live), ("log", &disk.log)] {
            command.arg("-blockdev").arg(format!("driver=file,node-name={name},filename={}", file.display()));
        }
        command.args(["-blockdev", "driver=blklogwrites,node-name=forgetful,file=live,log=log,log-sector-size=512"]);
        // One without writes that go through the cache: the log does not tell them from others.
        command.args(["-device", "virtio-blk-pci,drive=forgetful,discard=off,write-zeroes=off"]);
        let context = || format!("cannot write {}", log.display());
        std::fs::create_dir_all(&self.logs).with_context(context)?;
        let output = File::create(log).with_context(context)?;
        let errors = output.try_clone().with_context(context)?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        child.with_context(|| format!("cannot start {QEMU}"))
    }
}

fn said(log: &Path) -> String {
    crate::kernels::plain(&String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()))
}

/// Until `is_done`, or the guest ends by itself: which of the two it was.
fn wait(child: &mut Child, within: Duration, is_done: impl Fn() -> bool) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < within {
        if is_done() {
            return Ok(true);
        }
        if child.try_wait().context("cannot wait for the guest")?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
    bail!("the guest took longer than {} s", within.as_secs())
}
