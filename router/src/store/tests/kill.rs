//! A process that is killed while it commits.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const KILLS: u64 = 25;
/// Where the child keeps its store; only with it is it one.
const FOLDER: &str = "TERCEL_TEST_STORE";
const GROUP: u64 = 7;

/// Not a test by itself: the process that [`what_was_told_as_committed_is_there_after_a_kill`] kills.
#[test]
fn the_child_that_commits() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Store::open(&Path::new(&folder).join("store"), Options::default()).unwrap();
    let mut next = ids(&store, Table::Alerts).last().map_or(0, |last| last + 1);
    loop {
        store.commit(group(next..next + GROUP, &[b'x'; 1_000]), Durability::Synced).unwrap();
        println!("committed {next}");
        if next >= 10 * GROUP {
            let old = next - 10 * GROUP;
            store.commit(removal(old..old + GROUP), Durability::Written).unwrap();
            println!("removed {old}");
        }
        next += GROUP;
    }
}

#[test]
fn what_was_told_as_committed_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut commits, mut torn) = (0, 0);
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::tests::kill::the_child_that_commits"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.find(|line| line.starts_with("committed")).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut committed, mut removed) = (Vec::new(), Vec::new());
            for line in std::iter::once(first).chain(lines) {
                match line.split_once(' ') {
                    Some(("committed", id)) => committed.push(id.parse::<u64>().unwrap()),
                    Some(("removed", id)) => removed.push(id.parse::<u64>().unwrap()),
                    _ => {}
                }
            }
            (committed, removed)
        });
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (committed, removed) = reader.join().unwrap();

        let store = open(folder.path());
        let alerts: std::collections::BTreeSet<u64> = ids(&store, Table::Alerts).into_iter().collect();
        for start in &committed {
            // The removal may have been made and not told.
            let is_old =
                removed.last().is_some_and(|last| *start <= last + GROUP) || removed.is_empty() && committed.len() > 10;
            assert!(is_old || (*start..start + GROUP).all(|id| alerts.contains(&id)), "{start} is lost");
        }
        for start in &removed {
            assert!((*start..start + GROUP).all(|id| !alerts.contains(&id)), "{start} is back");
        }
        let deliveries = ids(&store, Table::Deliveries);
        let expected: Vec<u64> = alerts.iter().flat_map(|id| [2 * id, 2 * id + 1]).collect();
        assert_eq!(deliveries, expected, "a batch is there as a whole or not at all");
        assert_eq!(alerts.len() as u64 % GROUP, 0);
        commits += committed.len();
        torn += store.statistics().torn_tails;
        assert_eq!((store.statistics().corrupt, store.statistics().quarantines), (0, 0));
    }
    eprintln!("{KILLS} kills, {commits} commits, {torn} torn tails");
    assert!(commits as u64 > 3 * KILLS, "{commits} commits");
}
