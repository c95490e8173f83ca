//! The router is killed and its store damaged at random: it always starts, and delivers what the damage did not hit.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::receivers::{Answer, Webhook};

use crate::harness::{Router, alert, eventually, webhook};

/// Fills the memory of a table, 4 MiB, so that there are files of all kinds; a journal holds 64 MiB, so all of it.
const ALERTS: u64 = 150;
const OUTPUT_BYTES: usize = 40_000;

const PAGE_BYTES: u64 = 4_096;
const FLIPS_MAX: u64 = 3;
const CUT_BYTES_MAX: u64 = 100_000;

const SETTLED: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// Some bits of single bytes.
    Flips(u64),
    /// The last so many bytes are gone.
    Cut(u64),
    ZeroPage,
    /// The file is there and empty.
    Emptied,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_costs_the_alerts_that_were_hit_and_no_other() {
    for damage in
        [Damage::Flips(fastrand::u64(1..=FLIPS_MAX)), Damage::Cut(fastrand::u64(1..CUT_BYTES_MAX)), Damage::ZeroPage]
    {
        let hurt = hurt(damage, |path| path.extension().is_some_and(|end| end == "jnl")).await;
        let hit_max = match damage {
            Damage::Flips(count) => count,
            Damage::Cut(bytes) => bytes / OUTPUT_BYTES as u64 + 2,
            Damage::ZeroPage | Damage::Emptied => 2,
        };
        assert!(hurt.lost <= hit_max, "{hurt:?}: {hit_max} can be hit");
        assert!(hurt.counted > 0, "{hurt:?}");
        println!("{hurt:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_beside_a_sound_journal_costs_nothing() {
    for damage in [Damage::Flips(FLIPS_MAX), Damage::Cut(fastrand::u64(1..64)), Damage::ZeroPage, Damage::Emptied] {
        let hurt = hurt(damage, |path| path.extension().is_none_or(|end| end != "jnl")).await;
        assert_eq!(hurt.lost, 0, "{hurt:?}");
        println!("{hurt:?}");
    }
}

/// What became of a damaged store.
#[derive(Debug)]
#[expect(dead_code, reason = "shown where a test fails")]
struct Hurt {
    damage: Damage,
    file: PathBuf,
    lost: u64,
    /// Faults that the router counted.
    counted: u64,
}

/// Alerts are acknowledged, the router is killed, one file is damaged, and the router started again.
async fn hurt(damage: Damage, which: impl Fn(&Path) -> bool) -> Hurt {
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let folder = tempfile::tempdir().unwrap();
    let routing = format!("[[route]]\nto = [\"hook\"]\ndedup = {{ window = \"0s\" }}\n{}", webhook("hook", &hook));
    let mut router = Router::start(folder.path().join("state"), &routing).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..ALERTS {
        let mut alert = alert("Rule", "Critical", "cat");
        alert["output"] = "x".repeat(OUTPUT_BYTES).into();
        assert_eq!(router.post(&alert).await.status, 202);
        acknowledged.insert(alert["uuid"].as_str().unwrap().to_owned());
    }
    router.killed().await;
    let file = damaged(&router.state.join("store"), damage, which);
    let router = router.started_again().await;
    hook.answer_always(Answer::Normal);
    let metrics = eventually("all that is left is delivered", SETTLED, async || {
        let metrics = router.metrics().await;
        let owed = metrics.of("hook", "queued");
        if owed == 0 { Ok(metrics) } else { Err(format!("{owed} owed after {damage:?} of {}", file.display())) }
    })
    .await;
    let arrived: BTreeSet<_> =
        hook.accepted().iter().map(|request| request.json()["uuid"].as_str().unwrap().to_owned()).collect();
    assert!(arrived.is_subset(&acknowledged), "nothing arrives that nobody sent");
    assert_eq!(router.post(&alert("Rule", "Critical", "cat")).await.status, 202, "it goes on");
    let kinds = ["corrupt", "torn_tails", "quarantines"];
    let counted = kinds.iter().map(|kind| metrics.sum("tercel_router_store_faults", &[("kind", kind)])).sum();
    Hurt { damage, file, lost: (acknowledged.len() - arrived.len()) as u64, counted }
}

/// Damages one of the store's files that are not empty; which one it was.
fn damaged(store: &Path, damage: Damage, which: impl Fn(&Path) -> bool) -> PathBuf {
    let candidates: Vec<_> = files(store).into_iter().filter(|path| which(path) && used(path) > 0).collect();
    let path = candidates[fastrand::usize(..candidates.len())].clone();
    let (length, file) = (used(&path), File::options().read(true).write(true).open(&path).unwrap());
    match damage {
        Damage::Flips(count) => (0..count).for_each(|_| {
            let (at, mut byte) = (fastrand::u64(..length), [0]);
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << fastrand::u32(..8)], at).unwrap();
        }),
        Damage::Cut(bytes) => file.set_len(length.saturating_sub(bytes)).unwrap(),
        Damage::ZeroPage => {
            let page = fastrand::u64(..length.div_ceil(PAGE_BYTES)) * PAGE_BYTES;
            let bytes = PAGE_BYTES.min(file.metadata().unwrap().len() - page);
            file.write_all_at(&vec![0; bytes.try_into().unwrap()], page).unwrap();
        }
        Damage::Emptied => file.set_len(0).unwrap(),
    }
    path
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Bytes up to the last one that is not zero: a journal is longer than what is in it.
fn used(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}
