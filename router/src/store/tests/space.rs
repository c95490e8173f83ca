//! Disks that are full or may not be written, and the space of what was removed.

use std::process::Command;

use super::*;

/// A file system in memory; unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(test: &str, size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED {test}: it needs the right to mount a tmpfs");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy"]).arg(self.0.path()).status());
    }
}

/// Commits alerts until there is no room; how many.
fn fill(store: &Store, from: u64) -> (u64, StoreError) {
    let body = vec![b'x'; 10_000];
    let mut id = from;
    loop {
        if let Err(error) = store.check_room(10 * body.len() as u64) {
            return (id, error);
        }
        store.commit(group(id..id + 10, &body), Durability::Synced).unwrap();
        id += 10;
    }
}

#[test]
fn a_full_disk_refuses_alerts_before_the_engine_breaks_and_outcomes_are_still_written() {
    let Some(disk) = Tmpfs::mount("full disk", "100m") else { return };
    let store = open(disk.path());
    let (count, error) = fill(&store, 0);
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("bytes are free"), "{error}");
    assert!(count >= 1_000, "{count}");
    store.commit(removal(0..10), Durability::Written).unwrap();
    let mut outcome = Batch::new();
    outcome.put(Table::Dead, b"dead letter", b"x".repeat(10_000));
    store.commit(outcome, Durability::Written).unwrap();
    assert_eq!(ids(&store, Table::Alerts), (10..count).collect::<Vec<_>>());
    disk.remount("size=200m");
    store.check_room(100).unwrap();
    store.commit(group(count..count + 10, b"on"), Durability::Synced).unwrap();
    assert_eq!((store.statistics().failures, store.statistics().refusals), (0, 1));
}

#[test]
fn a_disk_that_others_fill_fails_commits_and_the_store_works_again_when_there_is_room() {
    let Some(disk) = Tmpfs::mount("disk filled by others", "100m") else { return };
    let store = open(disk.path());
    store.commit(group(0..100, &[b'x'; 1_000]), Durability::Synced).unwrap();
    let other = disk.path().join("other");
    // The last pages too: what the store has is not enough for one more byte.
    let mut file = std::fs::File::create(&other).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
    let mut failed = 0;
    for id in 0..2_000 {
        let mut batch = Batch::new();
        // Removals are not refused, and they take some room too.
        (0..20).for_each(|key| batch.remove(Table::Seen, format!("{id}.{key} {}", "k".repeat(500)).as_bytes()));
        failed += u64::from(store.commit(batch, Durability::Synced).is_err());
        if failed > 0 {
            break;
        }
    }
    assert_eq!(failed, 1, "the disk is full");
    assert_eq!(store.statistics().failures, 1);
    drop(file);
    std::fs::remove_file(&other).unwrap();
    assert_eq!(ids(&store, Table::Alerts), (0..100).collect::<Vec<_>>(), "opened anew, and nothing is lost");
    let refused = store.commit(group(100..101, b"x"), Durability::Synced).unwrap_err();
    assert!(refused.to_string().contains("less than a second ago"), "{refused}");
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    store.commit(group(100..101, b"x"), Durability::Synced).unwrap();
    drop(store);
    assert_eq!(ids(&open(disk.path()), Table::Alerts), (0..101).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_may_not_be_written_is_an_error_that_says_what_to_do_and_stays_as_it_is() {
    let Some(disk) = Tmpfs::mount("read-only disk", "100m") else { return };
    let store = open(disk.path());
    store.commit(group(0..1, b"x"), Durability::Synced).unwrap();
    drop(store);
    disk.remount("ro");
    let error = Store::open(&disk.path().join("store"), Options::default()).err().unwrap().to_string();
    assert!(error.contains("Read-only file system") && error.contains("--state"), "{error}");
    disk.remount("rw");
    let store = open(disk.path());
    assert_eq!((ids(&store, Table::Alerts), store.statistics().quarantines), (vec![0], 0));
}

#[test]
fn the_space_of_what_was_removed_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let body = vec![b'x'; 1_024];
    for start in (0..100_000).step_by(100) {
        store.commit(group(start..start + 100, &body), Durability::Written).unwrap();
    }
    let full = store.disk_bytes();
    assert!(store.bytes() > 100_000_000 && full > 100_000_000, "{} bytes, {full} on disk", store.bytes());
    for start in (0..100_000).step_by(100) {
        store.commit(removal(start..start + 100), Durability::Written).unwrap();
    }
    store.tidy().unwrap();
    eprintln!("{full} bytes on disk with 100,000 alerts, {} without", store.disk_bytes());
    assert!(store.disk_bytes() <= full / 2, "{} of {full} bytes are still taken", store.disk_bytes());
    assert!(store.bytes() < 1_000, "{}", store.bytes());
    assert_eq!(ids(&store, Table::Alerts), Vec::<u64>::new());
}
