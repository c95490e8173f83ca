//! `cargo xtask image`: two OCI images without a container engine. A static program, the authorities' certificates and what
//! ships with it are one layer; nothing else is in an image, no shell and no library. What goes in is pinned (toolchain,
//! Cargo.lock, times), so that two builds give one digest, which `--check` shows.

mod binary;
mod contents;
mod oci;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{folder, step};

/// For one image as it is stored and pulled.
const IMAGE_BYTES_MAX: u64 = 20 << 20;

#[derive(Args)]
pub(crate) struct Options {
    /// Build once more, from a copy of the sources in another folder, and compare the digests
    #[arg(long)]
    check: bool,
    /// For which machines; the sensor is for amd64 only
    #[arg(long, value_enum, value_delimiter = ',', default_value = "amd64")]
    arch: Vec<Arch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Router,
    Sensor,
}

/// An image in a file, as `ctr images import` and `podman load` take it.
pub(crate) struct Built {
    pub(crate) archive: PathBuf,
    /// Under which name it is imported.
    pub(crate) name: String,
    pub(crate) digest: String,
}

/// Where is built from, and where to.
struct Place {
    source: PathBuf,
    target: PathBuf,
    origin: Origin,
}

/// What an image says of where it came from.
#[derive(Clone)]
struct Origin {
    version: String,
    /// The commit; `-dirty` behind it where the sources are not that commit's.
    revision: String,
    /// Seconds since 1970: of the commit, not of the build.
    time_s: u64,
}

impl Program {
    pub(crate) const ALL: [Self; 2] = [Self::Router, Self::Sensor];

    fn name(self) -> &'static str {
        match self {
            Self::Router => "tercel-router",
            Self::Sensor => "tercel-sensor",
        }
    }

    fn runs_on(self, arch: Arch) -> bool {
        self == Self::Router || arch == Arch::Amd64
    }
}

impl Arch {
    /// As images name it.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Builds both images, and says what they are.
pub(crate) fn run(options: &Options) -> Result<()> {
    let origin = Origin::of(&step::workspace());
    let images = Place::of(origin.clone()).images(&options.arch)?;
    for image in &images {
        let bytes = std::fs::metadata(&image.archive).context("the image is gone")?.len();
        step::note(format!("{}\n    {} {}", image.archive.display(), image.name, image.digest));
        step::note(format!("  {:.1} MiB", mib(bytes)));
        ensure!(bytes < IMAGE_BYTES_MAX, "{} has {bytes} bytes, more than {IMAGE_BYTES_MAX}", image.archive.display());
    }
    if options.check {
        check(&images, origin, &options.arch)?;
    }
    Ok(())
}

/// Builds the images, and gives the folder that they are in.
pub(crate) fn build(arches: &[Arch]) -> Result<PathBuf> {
    let place = Place::of(Origin::of(&step::workspace()));
    place.images(arches)?;
    Ok(place.target)
}

/// # Errors
/// If an image built from a copy of the sources is another one.
fn check(images: &[Built], origin: Origin, arches: &[Arch]) -> Result<()> {
    let again = step::target().join("image/again");
    folder::empty(&again)?;
    let place = Place { origin, source: again.join("source"), target: again.join("target") };
    step::say("building once more, from a copy in another folder");
    copy_sources(&step::workspace(), &place.source)?;
    for (other, image) in place.images(arches)?.iter().zip(images) {
        ensure!(
            other.digest == image.digest,
            "{} is not reproducible: {} and, from a copy of the sources, {}; compare {} with {}",
            image.name,
            image.digest,
            other.digest,
            image.archive.display(),
            other.archive.display()
        );
        step::note(format!("{}: two builds, one digest", image.name));
    }
    std::fs::remove_dir_all(&again).with_context(|| format!("cannot remove {}", again.display()))
}

/// What git tracks, and what is not yet committed of it.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let files = step::read(Command::new("git").args(["ls-files", "-z"]).current_dir(from))?;
    for file in files.split_terminator('\0').filter(|file| from.join(file).is_file()) {
        let copy = to.join(file);
        let folder = copy.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        std::fs::copy(from.join(file), &copy).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

impl Place {
    fn of(origin: Origin) -> Self {
        Self { origin, source: step::workspace(), target: step::target().join("image") }
    }

    /// In the order of [`Program::ALL`], those that there are for these machines.
    fn images(&self, arches: &[Arch]) -> Result<Vec<Built>> {
        for arch in arches {
            binary::build_all(self, *arch)?;
        }
        let is_wanted = |program: &Program| arches.iter().any(|arch| program.runs_on(*arch));
        Program::ALL.into_iter().filter(is_wanted).map(|program| self.image(program, arches)).collect()
    }

    fn image(&self, program: Program, arches: &[Arch]) -> Result<Built> {
        let mut image = oci::Image::new(&self.origin, program)?;
        for arch in arches.iter().copied().filter(|arch| program.runs_on(*arch)) {
            let binary = binary::built(self, program, arch)?;
            let sbom = sbom::write(self, program, arch)?;
            let layer = contents::layer(self, program, &binary, &sbom)?;
            image.add(arch, &layer);
        }
        image.write(&self.target.join(format!("{}.tar", program.name())))
    }
}

impl Origin {
    /// Of the sources in this folder; without git, of nobody knows which commit at the beginning of time.
    fn of(source: &Path) -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").args(arguments).current_dir(source).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let revision = git(&["describe", "--always", "--dirty", "--abbrev=40", "--match="]);
        let time_s = git(&["log", "-1", "--format=%ct"]).and_then(|seconds| seconds.parse().ok());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision.unwrap_or_else(|| "unknown".to_owned()),
            time_s: time_s.unwrap_or_default(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
