//! Many processes that sleep.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// Forks of a shell, which are small: each waits for the end of standard input, and so none outlives the test.
const SCRIPT: &str = "exec 3<&0; i=0; while [ $i -lt $1 ]; do { read _ <&3; } & i=$((i+1)); done; echo made; wait";

/// Numbers that are left to everybody else on this machine.
const LEFT_TO_OTHERS: usize = 4_000;

/// Kernel and user memory of one, roughly, and what is left to everybody else.
const PROCESS_KIB: usize = 300;
const MEMORY_LEFT_KIB: usize = 2 << 20;

/// Sleeping processes, which end when it is dropped.
pub(crate) struct Crowd {
    shell: Child,
    pub(crate) size: usize,
}

impl Crowd {
    /// As many as are `wanted`, or as the machine allows.
    pub(crate) fn gather(wanted: usize) -> Self {
        Self::gather_with(wanted, "")
    }

    /// As [`Self::gather`], each with this text among its arguments and in its environment.
    pub(crate) fn gather_with(wanted: usize, text: &str) -> Self {
        let size = wanted.min(allowed());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "crowd"]).arg(size.to_string()).arg(text).env_clear().env("TEXT", text);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "made\n", "the shell could not start {size} processes");
        Self { shell, size }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Its end is what all of them wait for.
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}

/// By the numbers that there are for processes, the bound on those of one user, the cgroup's, and memory.
fn allowed() -> usize {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let running = fs::read_dir("/proc").unwrap().flatten();
    let running = running.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let limit =
        limits.lines().find_map(|line| line.strip_prefix("Max processes")?.split_whitespace().next()?.parse().ok());
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let available =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok());
    let numbers = [
        number("/proc/sys/kernel/pid_max"),
        limit,
        number("/sys/fs/cgroup/pids.max"),
        number("/sys/fs/cgroup/pids/pids.max"),
    ];
    let by_number = numbers.into_iter().flatten().min().unwrap_or(usize::MAX);
    let by_memory = available.unwrap_or(usize::MAX).saturating_sub(MEMORY_LEFT_KIB) / PROCESS_KIB;
    by_number.saturating_sub(running + LEFT_TO_OTHERS).min(by_memory)
}
