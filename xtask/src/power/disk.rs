//! A disk that forgets: what the guest wrote and did not flush is lost with its power, all of it or any part.
//!
//! QEMU writes down every request in the order in which it ends (blklogwrites, the format of the kernel's dm-log-writes). The
//! disk of the next life is that of the last one with all requests up to the last flush, and of those after it some.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;

const SIZE: &str = "256M";
/// Of the log of one life; sparse.
const LOG_BYTES: u64 = 4 << 30;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// A disk between two lives, and the files of the life that is being lived.
pub(crate) struct Disk {
    kept: PathBuf,
    pub(crate) live: PathBuf,
    pub(crate) log: PathBuf,
}

/// What became of the requests of one life.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) flushes: u64,
    pub(crate) kept: u64,
    pub(crate) lost: u64,
}

struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data begin in the log.
    data: u64,
}

impl Disk {
    /// With an empty file system.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = |name: &str| folder.join(name);
        let disk = Self { kept: path("kept.img"), live: path("live.img"), log: path("log.img") };
        fs::remove_file(&disk.kept).or_else(absent_is_fine).context("cannot remove the old disk")?;
        step::run(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&disk.kept).arg(SIZE))?;
        Ok(disk)
    }

    /// Makes ready for a life.
    pub(crate) fn begin(&self) -> Result<()> {
        step::run(Command::new("cp").arg("--sparse=always").arg(&self.kept).arg(&self.live))?;
        let log = File::create(&self.log).and_then(|file| file.set_len(LOG_BYTES));
        log.with_context(|| format!("cannot write {}", self.log.display()))
    }

    /// The power is gone. `keeps`: whether a request that was not flushed is on the disk nevertheless.
    pub(crate) fn end(&self, keeps: impl FnMut() -> bool) -> Result<Replayed> {
        let log = File::open(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        let kept = File::options().write(true).open(&self.kept);
        let kept = kept.with_context(|| format!("cannot write {}", self.kept.display()))?;
        replay(&log, &kept, keeps)
    }
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn replay(log: &File, disk: &File, mut keeps: impl FnMut() -> bool) -> Result<Replayed> {
    let (sector_bytes, entries) = read(log).context("cannot read the log of the disk")?;
    let last_flush = entries.iter().rposition(|entry| entry.flags & FLUSH != 0);
    let mut replayed = Replayed::default();
    for (number, entry) in entries.iter().enumerate() {
        replayed.flushes += entry.flags & FLUSH;
        if entry.sectors == 0 || entry.flags & DISCARD != 0 {
            continue;
        }
        if last_flush.is_none_or(|last| number > last) && !keeps() {
            replayed.lost += 1;
            continue;
        }
        replayed.kept += 1;
        let mut data = vec![0; usize::try_from(entry.sectors * sector_bytes)?];
        log.read_exact_at(&mut data, entry.data)?;
        disk.write_all_at(&data, entry.sector * sector_bytes)?;
    }
    Ok(replayed)
}

/// Bytes of a sector, and all entries: the count in the first sector is only now and then brought up to date.
fn read(log: &File) -> Result<(u64, Vec<Entry>)> {
    let length = log.metadata()?.len();
    let mut reader = BufReader::new(log);
    let magic = number(&mut reader)?;
    ensure!(magic == MAGIC, "it begins with {magic:#x}");
    let (_version, count, sector_bytes) =
        (number(&mut reader)?, number(&mut reader)?, number(&mut reader)? & 0xffff_ffff);
    ensure!(sector_bytes.is_power_of_two(), "its sectors have {sector_bytes} bytes");
    let mut entries = Vec::new();
    let mut at = sector_bytes;
    while at < length {
        reader.seek(SeekFrom::Start(at))?;
        let [sector, sectors, flags, _data_bytes] =
            [number(&mut reader)?, number(&mut reader)?, number(&mut reader)?, number(&mut reader)?];
        if sectors == 0 && flags == 0 {
            break;
        }
        entries.push(Entry { sector, sectors, flags, data: at + sector_bytes });
        at += sector_bytes * (1 + if flags & DISCARD == 0 { sectors } else { 0 });
    }
    ensure!(entries.len() as u64 >= count, "it has {} entries and says {count}", entries.len());
    Ok((sector_bytes, entries))
}

fn number(reader: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, &[u8], u64)]) -> Vec<u8> {
        let sector = |numbers: &[u64]| {
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector(&[MAGIC, 1, 0, 512]);
        for (at, data, flags) in entries {
            bytes.extend(sector(&[*at, data.len() as u64 / 512, *flags, 0]));
            bytes.extend_from_slice(data);
        }
        bytes.extend(sector(&[]));
        bytes
    }

    fn replayed(keeps: bool) -> (Replayed, Vec<u8>) {
        let folder = step::target().join("power-test").join(keeps.to_string());
        fs::create_dir_all(&folder).unwrap();
        let [old, new, late] = [[1_u8; 512], [2; 512], [3; 512]];
        let text = log(&[(0, &old, 0), (1, &new, 0), (0, &[], FLUSH), (0, &late, 0)]);
        fs::write(folder.join("log"), text).unwrap();
        fs::write(folder.join("disk"), [0; 1_024]).unwrap();
        let disk = File::options().write(true).open(folder.join("disk")).unwrap();
        let replayed = replay(&File::open(folder.join("log")).unwrap(), &disk, || keeps).unwrap();
        (replayed, fs::read(folder.join("disk")).unwrap())
    }

    #[test]
    fn what_was_flushed_stays_and_what_came_later_may_or_may_not() {
        let (counts, disk) = replayed(false);
        assert_eq!(counts, Replayed { flushes: 1, kept: 2, lost: 1 });
        assert_eq!((disk[0], disk[511], disk[512], disk[1_023]), (1, 1, 2, 2));
        let (counts, disk) = replayed(true);
        assert_eq!(counts, Replayed { flushes: 1, kept: 3, lost: 0 });
        assert_eq!((disk[0], disk[512]), (3, 2));
    }
}
