//! What user space knows at load time and the kernel side needs: frozen read-only data, so that the verifier sees
//! constants, and code behind a switch that is off is never checked.

/// Name of the kernel side's [`Settings`]. It carries [`crate::ABI_VERSION`], so that an object of another version has no
/// such symbol and is refused.
pub const SETTINGS_SYMBOL: &str = "SETTINGS_V2";

/// Name of the kernel side's [`Offsets`].
pub const OFFSETS_SYMBOL: &str = "OFFSETS";

/// Switches and numbers of one load.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// 1 where the kernel has `bpf_get_current_task_btf` (5.11): fields are then loaded directly, without a helper.
    pub task_is_btf: u32,
    /// 1 where the kernel has `bpf_task_pt_regs` (5.15).
    pub has_task_registers: u32,
}

/// Declares [`Offsets`] and, for each member, the kernel structure and the paths (older and newer names) that lead to it.
macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $structure:literal . $($path:literal)|+;)*) => {
        /// Byte offsets of kernel structure members, resolved from the running kernel's BTF.
        /// [`Offsets::MISSING`] where the kernel has no such member.
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        pub struct Offsets { $($(#[$doc])* pub $name: u32,)* }

        impl Offsets {
            pub const MISSING: u32 = u32::MAX;
            pub const ZERO: Self = Self { $($name: 0,)* };

            /// Asks `find` for each member, given the structure and the alternative paths in order.
            pub fn resolve(mut find: impl FnMut(&'static str, &'static [&'static str]) -> Option<u32>) -> Self {
                Self { $($name: find($structure, &[$($path),+]).unwrap_or(Self::MISSING),)* }
            }

            /// Name and offset of every member.
            pub fn for_each(&self, mut visit: impl FnMut(&'static str, u32)) {
                $(visit(stringify!($name), self.$name);)*
            }
        }
    };
}

offsets! {
    task_pid = "task_struct"."pid";
    task_tgid = "task_struct"."tgid";
    task_real_parent = "task_struct"."real_parent";
    task_group_leader = "task_struct"."group_leader";
    task_start = "task_struct"."start_boottime" | "real_start_time";
    task_cred = "task_struct"."cred";
    task_mm = "task_struct"."mm";
    task_fs = "task_struct"."fs";
    task_files = "task_struct"."files";
    task_cgroups = "task_struct"."cgroups";
    /// Missing where the kernel was built without audit.
    task_loginuid = "task_struct"."loginuid";
    task_status = "task_struct"."thread_info.status";
    task_exit_code = "task_struct"."exit_code";
    task_signal = "task_struct"."signal";
    task_thread_pid = "task_struct"."thread_pid";
    task_minor_faults = "task_struct"."min_flt";
    task_major_faults = "task_struct"."maj_flt";
    signal_live = "signal_struct"."live";
    signal_tty = "signal_struct"."tty";
    signal_pids = "signal_struct"."pids";
    signal_limits = "signal_struct"."rlim";
    pid_level = "pid"."level";
    pid_numbers = "pid"."numbers";
    upid_nr = "upid"."nr";
    upid_namespace = "upid"."ns";
    pid_namespace_reaper = "pid_namespace"."child_reaper";
    pid_namespace_inode = "pid_namespace"."ns.inum";
    tty_driver = "tty_struct"."driver";
    tty_index = "tty_struct"."index";
    tty_driver_major = "tty_driver"."major";
    tty_driver_minor_start = "tty_driver"."minor_start";
    mm_exe_file = "mm_struct"."exe_file";
    mm_arg_start = "mm_struct"."arg_start";
    mm_arg_end = "mm_struct"."arg_end";
    mm_env_start = "mm_struct"."env_start";
    mm_env_end = "mm_struct"."env_end";
    fs_pwd_mnt = "fs_struct"."pwd.mnt";
    fs_pwd_dentry = "fs_struct"."pwd.dentry";
    cred_euid = "cred"."euid";
    cred_egid = "cred"."egid";
    cred_cap_inheritable = "cred"."cap_inheritable";
    cred_cap_permitted = "cred"."cap_permitted";
    cred_cap_effective = "cred"."cap_effective";
    file_path_mnt = "file"."f_path.mnt";
    file_path_dentry = "file"."f_path.dentry";
    file_inode = "file"."f_inode";
    file_flags = "file"."f_flags";
    file_private_data = "file"."private_data";
    inode_mode = "inode"."i_mode";
    inode_uid = "inode"."i_uid";
    inode_gid = "inode"."i_gid";
    inode_number = "inode"."i_ino";
    inode_super = "inode"."i_sb";
    inode_ctime_s = "inode"."i_ctime_sec" | "__i_ctime.tv_sec" | "i_ctime.tv_sec";
    inode_ctime_ns = "inode"."i_ctime_nsec" | "__i_ctime.tv_nsec" | "i_ctime.tv_nsec";
    inode_mtime_s = "inode"."i_mtime_sec" | "__i_mtime.tv_sec" | "i_mtime.tv_sec";
    inode_mtime_ns = "inode"."i_mtime_nsec" | "__i_mtime.tv_nsec" | "i_mtime.tv_nsec";
    /// Not a member: the size of the structure, behind which an overlay file system keeps its upper layer's.
    inode_bytes = "inode"."";
    super_magic = "super_block"."s_magic";
    super_device = "super_block"."s_dev";
    dentry_parent = "dentry"."d_parent";
    dentry_name = "dentry"."d_name.name" | "__d_name.name";
    dentry_name_len = "dentry"."d_name.len" | "__d_name.len";
    vfsmount_root = "vfsmount"."mnt_root";
    mount_mnt = "mount"."mnt";
    mount_parent = "mount"."mnt_parent";
    mount_mountpoint = "mount"."mnt_mountpoint";
    files_fdt = "files_struct"."fdt";
    fdt_fd = "fdtable"."fd";
    fdt_max_fds = "fdtable"."max_fds";
    css_set_default_cgroup = "css_set"."dfl_cgrp";
    cgroup_kn = "cgroup"."kn";
    kn_name = "kernfs_node"."name";
    kn_parent = "kernfs_node"."__parent" | "parent";
    socket_sk = "socket"."sk";
    socket_type = "socket"."type";
    sock_family = "sock_common"."skc_family";
    sock_state = "sock_common"."skc_state";
    sock_daddr = "sock_common"."skc_daddr";
    sock_rcv_saddr = "sock_common"."skc_rcv_saddr";
    sock_v6_daddr = "sock_common"."skc_v6_daddr";
    sock_v6_rcv_saddr = "sock_common"."skc_v6_rcv_saddr";
    sock_dport = "sock_common"."skc_dport";
    sock_num = "sock_common"."skc_num";
    sock_protocol = "sock"."sk_protocol";
    unix_address = "unix_sock"."addr";
    unix_peer = "unix_sock"."peer";
    unix_address_len = "unix_address"."len";
    unix_address_name = "unix_address"."name";
}
