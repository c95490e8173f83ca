//! File systems of a test's own: small ones, and ones that may not be written.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::skipped;

/// A file system on a folder of its own; unmounted when dropped.
pub(crate) struct Disk {
    folder: TempDir,
    /// What it is on, where that is a file.
    device: Option<PathBuf>,
}

impl Disk {
    /// In memory, with so many MiB. `None`: no right to mount here.
    pub(crate) fn in_memory(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={mib}m");
        let mounted =
            runs(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(mount_point(&folder)));
        if !mounted {
            skipped("it needs the right to mount");
            return None;
        }
        Some(Self { folder, device: None })
    }

    /// ext4 on a file, with so many MiB, which becomes read-only at the first fault. `None`: there are no loop devices here.
    pub(crate) fn on_file(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        assert!(runs(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&image).arg(format!("{mib}M"))));
        let device = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().ok();
        let device = device
            .filter(|output| output.status.success())
            .map(|output| PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
        let Some(device) = device else {
            super::not_here("there are no loop devices");
            return None;
        };
        let disk = Self { folder, device: Some(device.clone()) };
        let mounted =
            runs(Command::new("mount").args(["-o", "errors=remount-ro"]).arg(device).arg(mount_point(&disk.folder)));
        if !mounted {
            super::not_here("loop devices cannot be mounted");
            return None;
        }
        Some(disk)
    }

    pub(crate) fn path(&self) -> PathBuf {
        mount_point(&self.folder)
    }

    pub(crate) fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        assert!(runs(command.args(["-o", &format!("remount,{options}")]).arg(self.path())), "{options}");
    }

    /// What ext4 does when it finds damage.
    ///
    /// # Panics
    /// If it is no [`Self::on_file`].
    pub(crate) fn fail(&self) {
        let device = self.device.as_ref().and_then(|device| device.file_name()).expect("ext4 lies on a device");
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(trigger, "1").unwrap();
    }

    /// What an operator does then, when nobody uses it any more.
    pub(crate) fn repair(&self) {
        let device = self.device.as_ref().expect("ext4 lies on a device");
        assert!(runs(Command::new("umount").arg(self.path())));
        // 1 says that something was wrong, and is not any more.
        let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(device).output().unwrap().status.code();
        assert!(matches!(checked, Some(0 | 1)), "{checked:?}");
        assert!(runs(Command::new("mount").arg(device).arg(self.path())));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        runs(Command::new("umount").arg("--lazy").arg(self.path()));
        if let Some(device) = &self.device {
            runs(Command::new("losetup").arg("--detach").arg(device));
        }
    }
}

fn mount_point(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("disk");
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
