//! What a process uses, by `/proc/<pid>/status`.

/// Bytes of the file: all but its groups are short.
pub(super) const STATUS_BYTES_MAX: u64 = 16_384;

/// Memory in KiB, 0 of a kernel thread; threads, the main one included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) virtual_kib: u64,
    pub(crate) resident_kib: u64,
    pub(crate) swapped_kib: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// `None`: half a file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        Some(Self {
            virtual_kib: number("VmSize").unwrap_or(0),
            resident_kib: number("VmRSS").unwrap_or(0),
            swapped_kib: number("VmSwap").unwrap_or(0),
            threads: number("Threads")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_threads_are_read_and_a_kernel_thread_has_no_memory() {
        let text =
            "Name:\tVmRSS: 9\nVmPeak:\t 9 kB\nVmSize:\t   11272 kB\nVmRSS:\t 8192 kB\nVmSwap:\t 4 kB\nThreads:\t3\n";
        let expected = Usage { virtual_kib: 11_272, resident_kib: 8_192, swapped_kib: 4, threads: 3 };
        assert_eq!(Usage::parse(text), Some(expected));
        assert_eq!(Usage::parse("Name:\tkworker\nThreads:\t1\n"), Some(Usage { threads: 1, ..Usage::default() }));
        assert_eq!(Usage::parse("Name:\tx\nVmSize:\t1 kB"), None);
    }
}
