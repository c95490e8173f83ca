//! Files that are not what was written.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::super::engine::{Engine, Write};
use super::*;

fn flip(path: &Path, at: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
}

/// A store with a commit for each id, whose bodies can be found in the files.
fn filled(folder: &Path, count: u64) -> Store {
    let store = open(folder);
    for id in 0..count {
        store
            .commit(group(id..id + 1, format!("body <{id}> {}", "x".repeat(500)).as_bytes()), Durability::Written)
            .unwrap();
    }
    store
}

fn on_engine(store: &Store, deed: impl FnOnce(&Engine) -> Result<(), fjall::Error>) {
    store.with_engine(|engine| deed(engine).map_err(|error| store.error("test", error.to_string()))).unwrap();
}

fn quarantined(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("store.quarantine.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_record_whose_checksum_fails_is_put_aside_and_all_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 10));
    let engine = Engine::open(&folder.path().join("store")).unwrap();
    let mut stored = Vec::new();
    record::seal(Table::Alerts, &key(4), b"body", &mut stored);
    stored[6] ^= 1;
    engine.write(vec![Write { table: Table::Alerts, key: key(4).to_vec(), stored: Some(stored.into()) }]).unwrap();
    drop(engine);

    let store = open(folder.path());
    assert_eq!(ids(&store, Table::Alerts), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(store.statistics().corrupt, 1);
    let kept = quarantined(folder.path());
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0]["of"].as_str(), kept[0]["at"].as_str()), (Some("alerts"), Some("0000000000000004")));
    drop(store);
    assert_eq!(open(folder.path()).statistics().corrupt, 0, "it is gone");
}

#[test]
fn a_record_that_spoils_while_the_store_is_open_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 3);
    let spoilt = Write { table: Table::Alerts, key: key(1).to_vec(), stored: Some(vec![9, 9].into()) };
    on_engine(&store, |engine| engine.write(vec![spoilt]));
    assert_eq!(ids(&store, Table::Alerts), [0, 2]);
    assert_eq!(store.get(Table::Alerts, &key(1)).unwrap(), None);
    assert_eq!(store.statistics().corrupt, 2, "counted whenever it is met");
}

#[test]
fn a_torn_tail_costs_the_last_batch_only_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    for missing in [1, 3, 12, 40, 300, 600] {
        let folder = folder.path().join(missing.to_string());
        drop(filled(&folder, 5));
        let journal = journal::files(&folder.join("store")).unwrap().pop().unwrap();
        let bytes = std::fs::read(&journal).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        File::options().write(true).open(&journal).unwrap().set_len((end - missing) as u64).unwrap();

        let store = open(&folder);
        assert_eq!(ids(&store, Table::Alerts), [0, 1, 2, 3], "{missing} bytes are missing");
        assert_eq!(ids(&store, Table::Deliveries).len(), 8, "of a batch nothing is there or all");
        assert_eq!((store.statistics().torn_tails, store.statistics().corrupt), (1, 0));
        store.commit(group(4..6, b"again"), Durability::Synced).unwrap();
        drop(store);
        assert_eq!(ids(&open(&folder), Table::Alerts), [0, 1, 2, 3, 4, 5], "it is written on behind the cut");
    }
}

#[test]
fn a_flipped_byte_in_a_journal_costs_its_batch_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(filled(folder.path(), 10));
    let (path, at) = find(&store, b"body <6>").pop().unwrap();
    assert!(path.extension().is_some_and(|end| end == "jnl"), "{}", path.display());
    // In the value, its lengths, its tag, and the batch's start.
    for back in [0, 5 + 8 + 4, 5 + 8 + 20] {
        drop(open(folder.path()));
        flip(&path, at - back);
        let store = open(folder.path());
        assert_eq!(ids(&store, Table::Alerts), [0, 1, 2, 3, 4, 5, 7, 8, 9], "{back} bytes in front of the value");
        assert_eq!((store.statistics().corrupt, store.statistics().torn_tails), (1, 0));
        assert_eq!(quarantined(folder.path()).pop().unwrap()["problem"], "damaged batch");
        store.commit(group(6..7, format!("body <6> {}", "x".repeat(500)).as_bytes()), Durability::Written).unwrap();
        drop(store);
        std::fs::remove_dir_all(folder.path().join("store")).unwrap();
        drop(filled(folder.path(), 10));
    }
}

/// A store in files of its tables, with a byte of one flipped.
fn with_flipped_table(folder: &Path) {
    let store = filled(folder, 200);
    on_engine(&store, |engine| engine.compact(&[Table::Alerts]));
    drop(store);
    let (path, at) = find(&folder.join("store/keyspaces/1/tables"), b"body <100>").pop().unwrap();
    flip(&path, at);
}

#[test]
fn a_flipped_byte_in_a_tables_file_costs_nothing_while_the_journal_has_the_record() {
    let folder = tempfile::tempdir().unwrap();
    with_flipped_table(folder.path());
    let store = open(folder.path());
    assert_eq!(ids(&store, Table::Alerts), (0..200).collect::<Vec<_>>());
    assert_eq!((store.statistics().quarantines, store.statistics().corrupt), (1, 1));
}

#[test]
fn a_flipped_byte_in_a_tables_file_costs_its_block_and_the_folder_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    with_flipped_table(folder.path());
    for journal in journal::files(&folder.path().join("store")).unwrap() {
        std::fs::remove_file(journal).unwrap();
    }
    let store = open(folder.path());
    let left = ids(&store, Table::Alerts);
    assert!(!left.contains(&100));
    assert!(left.len() > 180, "{} of 200 are left", left.len());
    assert_eq!(ids(&store, Table::Deliveries).len(), 400);
    assert_eq!(store.statistics().quarantines, 1);
    let names = folders(folder.path());
    assert!(names.iter().any(|name| name.starts_with("store.quarantine-")), "{names:?}");
    store.commit(group(200..201, b"on"), Durability::Synced).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.statistics().quarantines, 0, "the new one is sound");
    assert_eq!(ids(&store, Table::Alerts).len(), left.len() + 1);
}

#[test]
fn what_reads_of_a_store_that_does_not_open_is_in_the_new_one() {
    type Deed = fn(&Path);
    let deeds: [(&str, Deed); 5] = [
        ("the engine's version", |store| std::fs::write(store.join("version"), b"nonsense").unwrap()),
        ("no version", |store| std::fs::remove_file(store.join("version")).unwrap()),
        ("the names of the tables", |store| std::fs::write(store.join("keyspaces/0/current"), b"nonsense").unwrap()),
        ("a table's list of files", |store| std::fs::write(store.join("keyspaces/1/current"), b"nonsense").unwrap()),
        ("a table's file", |store| {
            let tables = std::fs::read_dir(store.join("keyspaces/1/tables")).unwrap();
            tables.for_each(|file| File::create(file.unwrap().path()).map(drop).unwrap());
        }),
    ];
    for (name, deed) in deeds {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path(), 50);
        on_engine(&store, |engine| engine.compact(&[Table::Alerts]));
        store.commit(group(50..60, b"in the journal"), Durability::Written).unwrap();
        store.commit(removal(0..5), Durability::Written).unwrap();
        drop(store);
        deed(&folder.path().join("store"));

        let store = open(folder.path());
        assert_eq!(ids(&store, Table::Alerts), (5..60).collect::<Vec<_>>(), "{name}");
        assert_eq!(ids(&store, Table::Deliveries).len(), 110, "{name}");
        assert_eq!(store.statistics().quarantines, 1, "{name}");
    }
}

#[test]
fn a_folder_full_of_noise_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir_all(store.join("keyspaces/no number")).unwrap();
    for name in ["version", "lock", "3.jnl", "keyspaces/0"] {
        std::fs::write(store.join(name), [7; 5_000]).unwrap();
    }
    let store = open(folder.path());
    store.commit(group(0..1, b"x"), Durability::Synced).unwrap();
    assert_eq!((ids(&store, Table::Alerts), store.statistics().quarantines), (vec![0], 1));
}

#[test]
fn a_start_that_was_killed_while_it_made_or_salvaged_a_store_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("store.new/keyspaces/1")).unwrap();
    drop(filled(folder.path(), 3));
    std::fs::rename(folder.path().join("store"), folder.path().join("store.salvage")).unwrap();
    assert_eq!(ids(&open(folder.path()), Table::Alerts), [0, 1, 2], "complete, and not yet in its place");
    std::fs::create_dir_all(folder.path().join("store.salvage/keyspaces/1")).unwrap();
    assert_eq!(ids(&open(folder.path()), Table::Alerts), [0, 1, 2], "incomplete, and the old one still there");
}
