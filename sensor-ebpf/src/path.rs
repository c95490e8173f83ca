//! The kernel's own absolute path of an open file: from its dentry up to the root, across mounts.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::memory::read;
use crate::record::RecordWriter;

/// Components and mount points that are followed; a deeper path loses its head, and its record says so.
const STEPS_MAX: u32 = 128;

/// The path is written from the end of this many bytes towards the start.
const PATH_BYTES_MAX: u64 = 4096;

/// A directory entry below a mount: where a path ends.
#[derive(Clone, Copy)]
pub struct Place {
    mount: u64,
    dentry: u64,
}

impl Place {
    /// Its path is empty.
    pub const NOWHERE: Self = Self { mount: 0, dentry: 0 };

    /// `file` is a `struct file`; 0 is nowhere.
    #[inline(always)]
    pub unsafe fn of_file(file: u64) -> Self {
        // SAFETY: the helper takes any address; a null pointer reads as 0.
        unsafe {
            if file == 0 {
                return Self::NOWHERE;
            }
            Self { mount: read(file, offset!(file_path_mnt)), dentry: read(file, offset!(file_path_dentry)) }
        }
    }

    #[inline(always)]
    pub unsafe fn working_directory(task: u64) -> Self {
        // SAFETY: as `of_file`.
        unsafe {
            let fs = read::<u64>(task, offset!(task_fs));
            if fs == 0 {
                return Self::NOWHERE;
            }
            Self { mount: read(fs, offset!(fs_pwd_mnt)), dentry: read(fs, offset!(fs_pwd_dentry)) }
        }
    }
}

impl RecordWriter {
    /// Appends the path of a place.
    #[inline(always)]
    pub unsafe fn place(&mut self, place: Place) {
        // SAFETY: the helper takes any address.
        unsafe {
            if place.mount == 0 || place.dentry == 0 {
                return self.empty_string();
            }
            self.walk_to_root(place.mount, place.dentry);
            self.append_path();
        }
    }

    /// Prepends component after component to the scratch path.
    #[inline(always)]
    unsafe fn walk_to_root(&mut self, vfsmount: u64, mut dentry: u64) {
        // SAFETY: reads go through the helper; writes into `path` are masked to it.
        unsafe {
            write_volatile(addr_of_mut!((*self.scratch).path_start), PATH_BYTES_MAX);
            let mut mount = vfsmount - offset!(mount_mnt) as u64;
            let mut root = read::<u64>(vfsmount, offset!(vfsmount_root));
            let mut step = 0;
            loop {
                if step == STEPS_MAX {
                    self.cut_path();
                    break;
                }
                step += 1;
                // d_parent, then d_name {hash and length, pointer}: adjacent on every kernel so far, which user space checks.
                let [parent, hash_and_length, name] = read::<[u64; 3]>(dentry, offset!(dentry_parent));
                if dentry == parent && dentry != root {
                    // A file of no file system, such as a memfd: its name is all there is.
                    self.prepend(name, hash_and_length >> 32);
                    self.drop_slash();
                    break;
                }
                if dentry == root {
                    let above = read::<u64>(mount, offset!(mount_parent));
                    if above == mount || above == 0 {
                        break;
                    }
                    dentry = read::<u64>(mount, offset!(mount_mountpoint));
                    mount = above;
                    root = read::<u64>(above, offset!(mount_mnt) + offset!(vfsmount_root));
                } else {
                    if !self.prepend(name, hash_and_length >> 32) {
                        self.cut_path();
                        break;
                    }
                    dentry = parent;
                }
            }
        }
    }

    /// Puts `/name` before what stands in the scratch path; false where it has no room.
    #[inline(always)]
    unsafe fn prepend(&mut self, name: u64, length: u64) -> bool {
        // SAFETY: `at` is masked to the path buffer, behind which a whole name has room.
        unsafe {
            let path = addr_of_mut!((*self.scratch).path) as u64;
            let length = masked!(length, "0xff");
            let start = read_volatile(addr_of!((*self.scratch).path_start)).wrapping_sub(length + 1);
            // Not 0 either: the length of a full buffer would be masked to none.
            if start == 0 || start > PATH_BYTES_MAX {
                return false;
            }
            write_volatile(addr_of_mut!((*self.scratch).path_start), start);
            let at = masked!(start, "0xfff");
            *((path + at) as *mut u8) = b'/';
            bpf_probe_read_kernel((path + at + 1) as *mut _, length as u32, name as *const _);
            true
        }
    }

    /// A path that lost its head does not begin with a slash, and its record says that there is one.
    #[inline(always)]
    unsafe fn cut_path(&mut self) {
        // SAFETY: the scratch.
        unsafe {
            self.mark_path_cut();
            self.drop_slash();
        }
    }

    #[inline(always)]
    unsafe fn drop_slash(&mut self) {
        // SAFETY: the claimed scratch.
        unsafe {
            let start = addr_of_mut!((*self.scratch).path_start);
            write_volatile(start, read_volatile(start) + 1);
        }
    }

    /// Copies the scratch path into the record.
    #[inline(always)]
    unsafe fn append_path(&mut self) {
        // SAFETY: source and length are masked to the path buffer; the destination has room for a whole write.
        unsafe {
            let mut start = read_volatile(addr_of!((*self.scratch).path_start));
            // The root itself has no component.
            if start == PATH_BYTES_MAX {
                start = PATH_BYTES_MAX - 1;
                *((addr_of_mut!((*self.scratch).path) as u64 + PATH_BYTES_MAX - 1) as *mut u8) = b'/';
            }
            let length = masked!(PATH_BYTES_MAX - start, "0xfff");
            let from = addr_of!((*self.scratch).path) as u64 + masked!(start, "0x1fff");
            bpf_probe_read_kernel(self.string_bytes(), length as u32, from as *const _);
            self.end_string_here(length);
        }
    }
}
