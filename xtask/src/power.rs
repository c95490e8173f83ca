//! The lane `power`: a machine with the router loses its power again and again under load, with a disk that forgets what was
//! not flushed; in the end every alert that was acknowledged is at its destination and in the archive.

mod account;
mod disk;
mod guest;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kernels::{self, initramfs};
use crate::lanes::Outcome;
use crate::step;

use account::Account;
use disk::Disk;
use guest::Guest;

const INIT: &str = include_str!("power/init.sh");
const PROGRAMS: [&str; 2] = ["tercel-router", "power"];
const FOLDERS: [&str; 9] = ["bin", "dev", "disk", "lib64", "modules", "proc", "root", "sys", "tmp"];
/// To a destination that nobody is until the end, and to the archive.
const ROUTING: &str = "\
[[route]]
to = [\"hook\", \"archive\"]
dedup = { window = \"0s\" }
[destination.hook]
type = \"webhook\"
url = \"http://127.0.0.1:9000/\"
[destination.archive]
type = \"archive\"
";

/// How long a guest is left at work after its first acknowledgement, at most.
const BUSY_MAX_MS: u64 = 3_000;

/// # Errors
/// If an acknowledged alert is missing in the end, or a guest does not come to work.
pub(crate) fn lane(losses: u64) -> Result<Outcome> {
    let (kernel, modules) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    step::say("building the router and the load");
    step::run(&mut step::cargo(&["build", "--package", "tercel-router", "--package", "e2e", "--bins"]))?;
    let folder = step::target().join("power");
    let guest = Guest { kernel, initramfs: initramfs(&folder, &modules)?, logs: folder.join("logs") };
    let disk = Disk::new(&folder)?;
    let (mut account, mut lost, start) = (Account::default(), 0, Instant::now());
    for life in 0..losses {
        let while_busy = Duration::from_millis(u64::from(random()?) * BUSY_MAX_MS / u64::from(u16::MAX));
        let console = guest.live(&disk, life, while_busy).with_context(|| format!("life {life}"))?;
        account.read(&console)?;
        let mut next = u32::from(random()?);
        // A disk may lose all that was not flushed, or any of it.
        let replayed = disk.end(|| life % 2 == 1 && coin(&mut next))?;
        ensure!(replayed.flushes > 0, "life {life}: nothing was flushed although alerts were acknowledged");
        step::note(format!(
            "life {life}: power lost after {:.1} s; {} alerts acknowledged so far; {} flushes, {} writes kept, {} lost",
            start.elapsed().as_secs_f64(),
            account.acknowledged(),
            replayed.flushes,
            replayed.kept,
            replayed.lost
        ));
        lost += replayed.lost;
    }
    step::say("waiting for everything that is owed");
    account.read(&guest.settle(&disk)?)?;
    let (undelivered, unarchived) = account.missing();
    let acknowledged = account.acknowledged();
    ensure!(acknowledged > losses * 5, "only {acknowledged} alerts were acknowledged in {losses} lives");
    ensure!(
        undelivered == 0 && unarchived == 0,
        "of {acknowledged} acknowledged alerts {undelivered} did not arrive and {unarchived} are not in the archive"
    );
    Ok(Outcome::Remarked(format!(
        "{losses} power losses, {lost} writes lost with them, {acknowledged} acknowledged alerts all delivered and archived"
    )))
}

fn prepare() -> Result<(PathBuf, Vec<PathBuf>)> {
    let kernel = kernels::with_disk()?;
    ensure!(step::find("mke2fs").is_some(), "no mke2fs on the PATH; Debian: apt install e2fsprogs");
    Ok(kernel)
}

fn initramfs(folder: &Path, modules: &[PathBuf]) -> Result<PathBuf> {
    let root = folder.join("root");
    initramfs::empty(&root, &FOLDERS)?;
    initramfs::init(&root, INIT)?;
    for name in PROGRAMS {
        initramfs::program(&root, name)?;
    }
    for (number, module) in modules.iter().enumerate() {
        initramfs::copy(module, &root.join("modules").join(number.to_string()))?;
    }
    std::fs::write(root.join("routing.toml"), ROUTING).context("cannot write the guest's routing")?;
    let archive = folder.join("initramfs.cpio");
    initramfs::pack(&root, &archive)?;
    Ok(archive)
}

/// Sixteen bits of the kernel's.
fn random() -> Result<u16> {
    let mut bytes = [0; 2];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}

/// The next toss of a row that its start determines.
fn coin(state: &mut u32) -> bool {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *state >> 31 == 1
}
