//! Static programs: the C library is linked in (glibc's, whose allocator serves many threads; names are resolved without any
//! file of a system's), the folders of this machine are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Arch, Place, Program};
use crate::{install, step};

const PROFILE: &str = "image";

/// The C library to link in.
const DEBIAN_PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

/// For arm64: a linker and a C library, and the standard library as source where rustup has none for it.
const DEBIAN_PACKAGES_ARM64: [&str; 5] =
    ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "rustc-web", "cargo-web", "rust-web-src"];

/// Builds the programs that run on this machine. In one call: what both are made of is compiled once, with the features that
/// either wants of it, where two calls would compile tokio, rustls and forty others twice.
pub(super) fn build_all(place: &Place, arch: Arch) -> Result<()> {
    let mut cargo = match arch {
        Arch::Amd64 => native()?,
        Arch::Arm64 => cross()?,
    };
    let programs: Vec<_> =
        Program::ALL.into_iter().filter(|program| program.runs_on(arch)).map(Program::name).collect();
    step::say(format!("building {}, static, for {}", programs.join(" and "), arch.triple()));
    cargo
        .current_dir(&place.source)
        .args(["build", "--locked", "--profile", PROFILE, "--target", arch.triple()])
        .args(programs.iter().flat_map(|program| ["--package", program]))
        .arg("--target-dir")
        .arg(folder(place))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&place.source)?.join("\u{1f}"));
    step::run(&mut cargo)
}

/// The program's file, once it was built.
///
/// # Errors
/// If it is not there, or not static.
pub(super) fn built(place: &Place, program: Program, arch: Arch) -> Result<PathBuf> {
    let binary = folder(place).join(arch.triple()).join(PROFILE).join(program.name());
    ensure_static(&binary)?;
    Ok(binary)
}

fn folder(place: &Place) -> PathBuf {
    place.target.join("build")
}

fn native() -> Result<Command> {
    install::debian_packages(&DEBIAN_PACKAGES, "static programs")?;
    let mut cargo = Command::new("cargo");
    step::without_cargo_settings(&mut cargo);
    Ok(cargo)
}

/// Debian's compiler, which builds its standard library as well: the pinned one has none for other machines.
fn cross() -> Result<Command> {
    ensure!(install::on_debian(), "the image for arm64 is built with Debian's cross compiler, and this is not Debian");
    install::debian_packages(&DEBIAN_PACKAGES_ARM64, "the image for arm64")?;
    let mut cargo = Command::new("/usr/bin/cargo");
    step::without_cargo_settings(&mut cargo);
    cargo
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_unwind")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    Ok(cargo)
}

/// The last remapping that matches wins, so the narrower folders come last.
fn rustflags(source: &Path) -> Result<Vec<String>> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        remap(source, "."),
        remap(&step::cargo_home()?, "cargo"),
        remap(Path::new("/usr/lib/rustlib/src/rust"), "rust"),
    ])
}

/// An image without libraries runs only what needs none.
fn ensure_static(binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    ensure!(!has_interpreter(&bytes), "{} is not static: it names a program loader", binary.display());
    Ok(())
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` among its program headers.
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let digits = elf.get(at..at + bytes)?.iter().rev();
        Some(digits.fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (Some(table), Some(entry_bytes), Some(entries)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return true;
    };
    (0..entries).any(|entry| number(table + entry * entry_bytes, 4) == Some(PT_INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_wants_a_loader_is_told_from_a_static_one() {
        // This test is linked dynamically.
        assert!(has_interpreter(&std::fs::read(std::env::current_exe().unwrap()).unwrap()));
        let mut header = vec![0; 64 + 56];
        header[32] = 64;
        (header[54], header[56]) = (56, 1);
        header[64] = 1;
        assert!(!has_interpreter(&header), "PT_LOAD only");
        header[64] = 3;
        assert!(has_interpreter(&header));
    }
}
