//! Kernels from Debian's archive. What was fetched is kept, and then no network is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Apt;
use crate::{folder, install, step};

/// (archive, suite)
const SOURCES: [(&str, &str); 5] = [
    ("debian", "bullseye"),
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "sid"),
];
const SUFFIX: &str = "-cloud-amd64";
/// An overlay is the one thing of the techniques that Debian's kernels have as a module.
const MODULE: &str = "overlay.ko";

/// What a virtual disk needs where it is not built in, in the order in which it is loaded.
pub(crate) const DISK_MODULES: [&str; 6] = [
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_pci.ko",
    "virtio_blk.ko",
];

/// Kernels of which one, the newest, is booted.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// Of the packages with the image: this, then the version, then [`SUFFIX`].
    image: &'static str,
    /// Of the package with the modules, where it is another.
    modules: Option<&'static str>,
    /// The first kernel on which programs at tracepoints can be preempted, and what comes after it.
    pub(crate) is_preemptible: bool,
}

pub(crate) const FAMILIES: [Family; 4] = [
    Family { name: "5.10", image: "linux-image-5.10.0-", modules: None, is_preemptible: false },
    Family { name: "6.1", image: "linux-image-6.1.0-", modules: None, is_preemptible: false },
    Family { name: "6.12", image: "linux-image-6.12.", modules: None, is_preemptible: false },
    Family { name: "7.x", image: "linux-binary-unsigned-7.", modules: Some("linux-modules-7."), is_preemptible: true },
];

/// A kernel that lies ready.
pub(crate) struct Kernel {
    pub(crate) family: &'static Family,
    /// As `uname -r` says.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    pub(crate) module: PathBuf,
}

/// The kernel in `folder`, fetched where it is not there.
///
/// # Errors
/// If this is not Debian, or apt cannot be asked.
pub(crate) fn kernel(family: &'static Family, folder: &Path) -> Result<Kernel> {
    let place = folder.join("images").join(family.name);
    let kept = |release: String| Kernel { family, release, image: place.join("vmlinuz"), module: place.join(MODULE) };
    if let Ok(release) = std::fs::read_to_string(place.join("release")) {
        return Ok(kept(release));
    }
    ensure!(install::on_debian(), "the kernels come from Debian's archive through apt, and this is not Debian");
    let release = fetch(family, &Apt::new(folder, &SOURCES, "the kernels")?, &place)?;
    // Last: with it the kernel is complete.
    std::fs::write(place.join("release"), &release).context("cannot keep the kernel")?;
    Ok(kept(release))
}

/// The kernel with [`DISK_MODULES`] beside its image, fetched again where it was kept without them.
///
/// # Errors
/// As [`kernel`].
pub(crate) fn kernel_with_disk(family: &'static Family, folder: &Path) -> Result<Kernel> {
    let release = folder.join("images").join(family.name).join("release");
    let is_complete = DISK_MODULES.iter().all(|name| release.with_file_name(name).is_file());
    if !is_complete && release.is_file() {
        std::fs::remove_file(&release).with_context(|| format!("cannot remove {}", release.display()))?;
    }
    kernel(family, folder)
}

fn fetch(family: &Family, apt: &Apt, place: &Path) -> Result<String> {
    let package = newest(family, &step::read(&mut apt.command("apt-cache", &["pkgnames", "linux-"]))?)
        .with_context(|| format!("Debian's archive has no {}…{SUFFIX}", family.image))?;
    step::say(format!("fetching {package}"));
    let work = place.join("package");
    folder::empty(&work)?;
    let modules = family.modules.map(|modules| package.replacen(family.image, modules, 1));
    let packages: Vec<&str> = std::iter::once(package.as_str()).chain(modules.as_deref()).collect();
    apt.unpack(&packages, &work)?;
    let image = find(&work, "vmlinuz")?;
    keep(&image, &place.join("vmlinuz"))?;
    let module = keep_module(&work, MODULE, place)?;
    let release = release_of(&module).context("a module lies in lib/modules/RELEASE")?;
    for name in DISK_MODULES.iter().filter(|name| find(&work, name).is_ok()) {
        keep_module(&work, name, place)?;
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(release)
}

/// Where it lay in the package.
fn keep_module(package: &Path, name: &str, place: &Path) -> Result<PathBuf> {
    let module = find(package, name)?;
    if module.extension().is_some_and(|extension| extension == "xz") {
        step::run(Command::new("xz").args(["--decompress", "--keep"]).arg(&module))?;
    }
    keep(&module.with_file_name(name), &place.join(name))?;
    Ok(module)
}

/// The package of the highest version.
fn newest(family: &Family, names: &str) -> Option<String> {
    let version = |name: &str| -> Option<Vec<u64>> {
        let middle = name.strip_prefix(family.image)?.strip_suffix(SUFFIX)?;
        let numbers = middle.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
        numbers.map(|number| number.parse().ok()).collect()
    };
    let candidates = names.lines().filter_map(|name| Some((version(name)?, name)));
    candidates.max().map(|(_, name)| name.to_owned())
}

fn release_of(module: &Path) -> Option<String> {
    let mut parts = module.iter().map(|part| part.to_string_lossy());
    parts.find(|part| part == "modules")?;
    parts.next().map(std::borrow::Cow::into_owned)
}

/// The file below `folder` whose name begins so.
fn find(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(beginning) {
                return Ok(entry.path());
            }
        }
    }
    bail!("no {beginning}… in {}; Debian may have moved it to another package", folder.display())
}

fn keep(file: &Path, place: &Path) -> Result<()> {
    std::fs::rename(file, place).with_context(|| format!("cannot keep {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_family_is_taken_by_number_and_debug_symbols_are_not() {
        let names = "linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\nlinux-image-6.1.0-57-amd64\n\
                     linux-image-6.1.0-58-cloud-amd64-dbg\nlinux-image-6.1.0-0.deb11.99-cloud-amd64\n\
                     linux-image-6.12.100+deb12-cloud-amd64\nlinux-image-6.12.99+deb12-cloud-amd64\n";
        let newest = |name| newest(FAMILIES.iter().find(|family| family.name == name).unwrap(), names);
        assert_eq!(newest("6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("linux-image-6.12.100+deb12-cloud-amd64"));
        assert_eq!(newest("7.x"), None);
    }

    #[test]
    fn a_module_tells_the_release_by_its_folder() {
        let module = Path::new("/x/lib/modules/7.2.13+deb14-cloud-amd64/kernel/fs/overlayfs/overlay.ko.xz");
        assert_eq!(release_of(module).as_deref(), Some("7.2.13+deb14-cloud-amd64"));
        assert_eq!(release_of(Path::new("/x/overlay.ko")), None);
    }
}
