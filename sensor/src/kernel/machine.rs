//! What is known of the running kernel before anything is loaded.

use tercel_sensor_abi::Offsets;

use super::privilege::{Capability, has_capability};
use super::{BTF_PATH, Error, KERNEL_MIN, btf};

/// (major, minor) of the running kernel; (0, 0) where its name does not begin with them.
pub fn kernel_version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What is known to make the load fail, said before the kernel says `EPERM`.
pub(super) fn check_preconditions(version: (u32, u32)) -> Result<(), Error> {
    if version < KERNEL_MIN {
        let found = rustix::system::uname().release().to_string_lossy().into_owned();
        return Err(Error::KernelTooOld { found });
    }
    if !has_capability(Capability::SysAdmin) {
        for needed in [Capability::Bpf, Capability::Perfmon] {
            if !has_capability(needed) {
                return Err(Error::MissingCapability(needed));
            }
        }
    }
    if lockdown_mode().as_deref() == Some("confidentiality") {
        return Err(Error::Lockdown);
    }
    Ok(())
}

/// Whether the kernel shows its types, and has every member that is read.
pub fn check_btf() -> Result<(), Error> {
    read_offsets().map(|_| ())
}

/// The mode between the brackets of `none [integrity] confidentiality`; `None` where the kernel has no lockdown.
pub fn lockdown_mode() -> Option<String> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// The members that the kernel side reads, where the running kernel has them.
pub(super) fn read_offsets() -> Result<Offsets, Error> {
    let bytes = std::fs::read(BTF_PATH).map_err(Error::NoBtf)?;
    let offsets = resolve_offsets(&btf::Btf::parse(&bytes).map_err(Error::BadBtf)?);
    let mut missing = None;
    offsets.for_each(|name, offset| {
        // Kernels without audit have no login uid; the kernel side tests for it.
        if offset == Offsets::MISSING && name != "task_loginuid" {
            missing.get_or_insert(name);
        }
    });
    if let Some(name) = missing {
        return Err(Error::MissingMember(name));
    }
    // The path walk reads parent, name length and name in one go.
    if offsets.dentry_name_len != offsets.dentry_parent + 12 || offsets.dentry_name != offsets.dentry_parent + 16 {
        return Err(Error::MissingMember("dentry with d_parent and d_name side by side"));
    }
    Ok(offsets)
}

pub(super) fn resolve_offsets(btf: &btf::Btf<'_>) -> Offsets {
    Offsets::resolve(|structure, paths| paths.iter().find_map(|path| btf.offset(structure, path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_understood() {
        assert_eq!(parse_version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(parse_version("7.0-rc1"), (7, 0));
        assert_eq!(parse_version("strange"), (0, 0));
    }
}
