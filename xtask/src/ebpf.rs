//! The kernel object: built from sensor-ebpf, stripped, written to sensor/bpf with its hash and the toolchain that
//! made it. It is committed, so that building Tercel needs no BPF toolchain; and it is reproducible, so that nobody has
//! to trust the committed bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{install, step};

const BPF_LINKER: &str = "0.13.0";
/// One LLVM for all: Debian's rustc-web, bpf-linker (at least rustc's) and llvm-objcopy.
const LLVM: &str = "22";
const DEBIAN_PACKAGES: [&str; 6] =
    ["rustc-web", "cargo-web", "rust-web-src", "llvm-22", "llvm-22-dev", "libpolly-22-dev"];
const DEBIAN_RUST_SRC: &str = "/usr/lib/rustlib/src/rust";
const TARGET: &str = "bpfel-unknown-none";

const OBJECT: &str = "tercel.bpf.o";
/// Read by `sha256sum -c` in sensor/bpf.
const HASH: &str = "tercel.bpf.o.sha256";
const TOOLCHAIN: &str = "toolchain.txt";

/// What [`check`] found about the committed object.
pub(crate) enum Checked {
    /// Built from the committed sources, byte for byte.
    Same,
    /// Another toolchain than the one that built it: nothing to compare with. The text says which.
    NotCompared(String),
}

/// Builds the object and writes it to sensor/bpf.
pub(crate) fn build() -> Result<()> {
    let tools = Tools::prepare()?;
    let object = tools.build()?;
    let folder = committed();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let hash = sha256(&object);
    write(&folder.join(OBJECT), &object)?;
    write(&folder.join(HASH), format!("{hash}  {OBJECT}\n").as_bytes())?;
    write(&folder.join(TOOLCHAIN), tools.description.as_bytes())?;
    step::note(format!("sensor/bpf/{OBJECT}: {} bytes, sha256 {hash}", object.len()));
    Ok(())
}

/// Builds the object aside and compares it with the committed one.
///
/// # Errors
/// If it cannot be built, if the committed files contradict each other, or if the same toolchain gives other bytes.
pub(crate) fn check() -> Result<Checked> {
    let committed_object = read(OBJECT)?;
    let committed_hash = String::from_utf8_lossy(&read(HASH)?).into_owned();
    ensure!(
        committed_hash.split_whitespace().next() == Some(&sha256(&committed_object)),
        "sensor/bpf/{HASH} is not the hash of sensor/bpf/{OBJECT}; run `cargo xtask ebpf`"
    );
    let committed_toolchain = String::from_utf8_lossy(&read(TOOLCHAIN)?).into_owned();

    let tools = Tools::prepare()?;
    let object = tools.build()?;
    if tools.description != committed_toolchain {
        return Ok(Checked::NotCompared(format!(
            "not compared: built here with\n{}but the committed object was built with\n{committed_toolchain}",
            tools.description
        )));
    }
    ensure!(
        object == committed_object,
        "sensor/bpf/{OBJECT} is not what sensor-ebpf builds to (here {}, committed {}); run `cargo xtask ebpf` and commit \
         the result",
        sha256(&object),
        sha256(&committed_object)
    );
    Ok(Checked::Same)
}

/// The programs that build the object.
struct Tools {
    cargo: PathBuf,
    rustc: PathBuf,
    rust_src: PathBuf,
    linker: PathBuf,
    objcopy: PathBuf,
    /// The content of toolchain.txt: what must be equal for the bytes to be equal.
    description: String,
}

impl Tools {
    /// Debian: apt packages and one crate. Elsewhere: rustup's nightly, and a bpf-linker on the PATH.
    fn prepare() -> Result<Self> {
        let mut tools = if install::on_debian() { Self::debian()? } else { Self::rustup()? };
        tools.description = tools.describe()?;
        Ok(tools)
    }

    fn debian() -> Result<Self> {
        install::debian_packages(&DEBIAN_PACKAGES, "the kernel object")?;
        let (compiler, source) = (install::package_version("rustc-web"), install::package_version("rust-web-src"));
        ensure!(
            compiler == source,
            "rustc-web is {compiler:?} but rust-web-src is {source:?}; install one version of both"
        );

        let root = step::target().join("tools");
        let mut cargo = step::cargo(&[]);
        cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"));
        let feature = format!("llvm-{LLVM}");
        install::crate_program(
            "bpf-linker",
            BPF_LINKER,
            &root,
            cargo,
            &["--no-default-features", "--features", &feature],
        )?;
        Ok(Self {
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            rust_src: DEBIAN_RUST_SRC.into(),
            linker: root.join("bin/bpf-linker"),
            objcopy: format!("/usr/lib/llvm-{LLVM}/bin/llvm-objcopy").into(),
            description: String::new(),
        })
    }

    fn rustup() -> Result<Self> {
        if step::find("rustup").is_none() {
            bail!(
                "building the kernel object here needs rustup (https://rustup.rs); on Debian apt has all that is needed"
            );
        }
        let Some(linker) = step::find("bpf-linker") else {
            bail!(
                "building the kernel object here needs bpf-linker on the PATH: install the LLVM that your nightly uses (`rustc \
                 +nightly -vV` says which), then `cargo install bpf-linker --version {BPF_LINKER} --no-default-features \
                 --features llvm-{LLVM}`"
            );
        };
        let components = ["--component", "rust-src", "--component", "llvm-tools"];
        step::say("installing the nightly toolchain with rust-src, for the kernel object");
        step::run(
            Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]).args(components),
        )?;
        let sysroot = step::read(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))?;
        let sysroot = Path::new(sysroot.trim());
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        Ok(Self {
            cargo: sysroot.join("bin/cargo"),
            rustc: sysroot.join("bin/rustc"),
            rust_src: sysroot.join("lib/rustlib/src/rust"),
            linker,
            objcopy: sysroot.join("lib/rustlib").join(host).join("bin/llvm-objcopy"),
            description: String::new(),
        })
    }

    fn describe(&self) -> Result<String> {
        let mut text = step::read(Command::new(&self.rustc).arg("-vV"))?;
        let linker = step::read(Command::new(&self.linker).arg("--version"))?;
        let objcopy = step::read(Command::new(&self.objcopy).arg("--version"))?;
        let objcopy = objcopy.lines().find(|line| line.contains("version")).unwrap_or_default();
        writeln!(text, "linker: {}", linker.trim())?;
        writeln!(text, "objcopy: {}", objcopy.trim())?;
        Ok(text)
    }

    /// The stripped object's bytes.
    fn build(&self) -> Result<Vec<u8>> {
        let workspace = step::workspace();
        let target = step::target().join("ebpf");
        step::say("building the kernel programs (sensor-ebpf)");
        step::run(&mut self.cargo_build(&workspace, &target)?)?;

        let built = target.join(TARGET).join("bpf/tercel");
        let stripped = target.join(OBJECT);
        // DWARF goes, BTF and the symbols that aya reads stay.
        step::run(Command::new(&self.objcopy).arg("--strip-debug").arg(&built).arg(&stripped))?;
        std::fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
    }

    fn cargo_build(&self, workspace: &Path, target: &Path) -> Result<Command> {
        let mut command = Command::new(&self.cargo);
        // Only what is named below may decide the bytes.
        step::without_cargo_settings(&mut command);
        command
            .current_dir(workspace)
            .args(["build", "--locked", "--profile", "bpf", "--package", "tercel-sensor-ebpf"])
            .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
            .arg(target)
            .env("RUSTC", &self.rustc)
            // -Z on a stable compiler: core for the BPF target exists as source only.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("PATH", self.path()?)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(workspace)?.join("\u{1f}"));
        Ok(command)
    }

    /// cargo and rustc of one toolchain first, and the linker, which rustc finds by its name.
    fn path(&self) -> Result<std::ffi::OsString> {
        let parents = [&self.linker, &self.cargo].map(|file| file.parent().unwrap_or(Path::new("/")).to_owned());
        let rest = std::env::var_os("PATH").unwrap_or_default();
        Ok(std::env::join_paths(parents.into_iter().chain(std::env::split_paths(&rest)))?)
    }

    /// BTF wants debug information; the remappings keep this machine's folders out of it. The last match wins, so the
    /// narrower folders come last.
    fn rustflags(&self, workspace: &Path) -> Result<Vec<String>> {
        let cargo_home = step::cargo_home()?;
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        Ok(vec![
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            remap(workspace, "."),
            remap(&cargo_home, "cargo"),
            remap(&self.rust_src, "rust"),
        ])
    }
}

fn committed() -> PathBuf {
    step::workspace().join("sensor/bpf")
}

fn read(name: &str) -> Result<Vec<u8>> {
    let file = committed().join(name);
    std::fs::read(&file).with_context(|| format!("cannot read {}; `cargo xtask ebpf` makes it", file.display()))
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}
