//! Seccomp: what neither process will ever ask of the kernel, it may not ask.
//!
//! A list of refused calls, not of allowed ones. Allocator, resolver, TLS and the C library choose their calls by version
//! and circumstance, and an allow-list that misses one of them breaks the sensor on the night when it is needed. What is
//! refused is what somebody who took the process over would go on with: running or tracing other programs, loading code
//! into the kernel, mounts and namespaces, the clock, calls on other processes' memory (their files in /proc remain: the worker
//! reads there). Refused calls return `EPERM`; nothing is killed. 32-bit calls end the process: there is nobody here who
//! makes them.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::Error;

/// Which of the two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads and writes maps; attaches nothing.
    Worker,
    /// Loads and attaches programs.
    Loader,
}

/// Refused to both.
const REFUSED: &[c_long] = &[
    // Other programs, other processes' memory and descriptors.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_personality,
    // Code for the kernel, and another kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    // The view of files.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    // Namespaces; `clone` with them is refused below.
    libc::SYS_setns,
    libc::SYS_unshare,
    // What is known for its bugs, and what goes around the other rows.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    // The machine.
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_mknod, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Commands of `bpf(2)` that the worker needs: look up, update, delete, next key, and information on a descriptor.
const MAP_COMMANDS: [u64; 5] = [1, 2, 3, 4, 15];

/// Kinds of new namespaces that `clone` can make.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `__X32_SYSCALL_BIT`: the same calls under other numbers, where the kernel has them.
#[cfg(target_arch = "x86_64")]
const X32_CALL: i64 = 0x4000_0000;

/// Numbers that only the x32 table has, `execve` and `ptrace` among them.
#[cfg(target_arch = "x86_64")]
const X32_ONLY: std::ops::RangeInclusive<i64> = 512..=547;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Confines the calling thread and those that it starts from now on. Sets `no_new_privs`.
pub(super) fn apply(role: Role) -> Result<(), Error> {
    for program in programs(role).map_err(|error| Error::Confine(Box::new(error)))? {
        seccompiler::apply_filter(&program).map_err(|error| Error::Confine(Box::new(error)))?;
    }
    Ok(())
}

fn programs(role: Role) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    // `clone3` hides its flags in memory. As of a kernel without it: the C library then calls `clone`.
    let without_clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    Ok([program(refused(role)?, libc::EPERM)?, program(without_clone3, libc::ENOSYS)?])
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

/// What is refused; a call without conditions always is, one with several rules where any of them holds.
fn refused(role: Role) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone, new_namespaces()?);
    if role == Role::Worker {
        rules.insert(libc::SYS_bpf, vec![any_but(&MAP_COMMANDS)?]);
        rules.insert(libc::SYS_perf_event_open, Vec::new());
    }
    #[cfg(target_arch = "x86_64")]
    {
        let others: Vec<_> = rules.iter().map(|(number, rules)| (number | X32_CALL, rules.clone())).collect();
        rules.extend(others);
        rules.extend(X32_ONLY.map(|number| (number | X32_CALL, Vec::new())));
    }
    Ok(rules)
}

fn new_namespaces() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |flag: libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?])
    };
    NAMESPACE_FLAGS.into_iter().map(rule).collect()
}

fn any_but(commands: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let differs = |command: &u64| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *command);
    SeccompRule::new(commands.iter().map(differs).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own: a filter stays.
    fn confined<T: Send>(role: Role, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                apply(role).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn a_confined_process_runs_no_program_and_changes_no_root() {
        for role in [Role::Worker, Role::Loader] {
            let (program, chroot) = confined(role, || {
                let program = std::process::Command::new("true").status();
                (program, rustix::process::chroot("/"))
            });
            assert_eq!(program.unwrap_err().raw_os_error(), Some(libc::EPERM), "{role:?}");
            assert_eq!(chroot, Err(rustix::io::Errno::PERM), "{role:?}");
        }
    }

    #[test]
    fn a_confined_process_starts_threads_and_reads_files() {
        let text = confined(Role::Worker, || {
            std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status").unwrap()).join().unwrap()
        });
        assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
    }

    #[test]
    fn the_worker_attaches_nothing_and_the_loader_may() {
        let worker = refused(Role::Worker).unwrap();
        assert_eq!((worker[&libc::SYS_bpf].len(), worker[&libc::SYS_perf_event_open].len()), (1, 0));
        let loader = refused(Role::Loader).unwrap();
        assert!(!loader.contains_key(&libc::SYS_bpf) && !loader.contains_key(&libc::SYS_perf_event_open));
    }
}
