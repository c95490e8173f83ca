use std::collections::BTreeMap;

use super::*;
use crate::destination::{Digest, Summary};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn notification(key: Option<&str>, route: &str, kind: NotificationKind) -> Notification {
    Notification { route: route.into(), dedup_key: key.map(Into::into), kind, ..Notification::minimal() }
}

fn alert(key: &str) -> Notification {
    notification(Some(key), "page", NotificationKind::Alert)
}

fn summary(key: &str, route: &str) -> Notification {
    let summary = Summary { count: 1, first: at(0), last: at(0), samples: Vec::new(), window: Duration::ZERO };
    notification(Some(key), route, NotificationKind::Summary(summary))
}

fn digest(route: &str) -> Notification {
    let digest = Digest { count: 1, since: at(0), until: at(0), rules: Vec::new(), time_window: None };
    notification(None, route, NotificationKind::Digest(digest))
}

fn posts() -> (Arc<Board>, Posts) {
    let board = Arc::default();
    let posts = Posts::load("chat", &board, std::iter::empty());
    (board, posts)
}

/// What another process finds of these records.
fn restarted(table: &Table, destination: &str) -> (Arc<Board>, Posts) {
    let board = Arc::default();
    let posts = Posts::load(destination, &board, table.clone().into_iter());
    (board, posts)
}

fn found(board: &Board, notification: &Notification, now: Timestamp) -> Option<String> {
    board.find(notification, now).map(|text| text.to_string())
}

#[test]
fn a_summary_finds_the_post_of_its_alert_and_of_no_other() {
    let (board, _) = posts();
    board.pin(&alert("a"), "first".into(), at(0)).unwrap();
    assert_eq!(found(&board, &summary("a", "page"), at(1)).as_deref(), Some("first"));
    for other in [summary("b", "page"), summary("a", "other"), digest("page"), alert("a")] {
        assert_eq!(found(&board, &other, at(1)), None, "{other:?}");
    }
    assert_eq!(board.pin(&notification(None, "page", NotificationKind::Alert), "x".into(), at(0)), None);
}

#[test]
fn what_was_kept_is_found_after_a_restart() {
    let (board, mut posts) = posts();
    posts.keep(board.pin(&alert("a"), "first".into(), at(0)).unwrap());
    posts.keep(board.pin(&digest("page"), "storm".into(), at(0)).unwrap());
    let mut table = Table::new();
    posts.record(&mut table);
    let (board, posts) = restarted(&table, "chat");
    assert_eq!(posts.len(), 2);
    assert_eq!(found(&board, &summary("a", "page"), at(60)).as_deref(), Some("first"));
    assert_eq!(found(&board, &digest("page"), at(60)).as_deref(), Some("storm"));
    assert_eq!(restarted(&table, "other").1.len(), 0);
}

#[test]
fn a_post_goes_when_nothing_can_follow_it_any_more() {
    let (board, mut posts) = posts();
    posts.keep(board.pin(&alert("a"), "first".into(), at(0)).unwrap());
    posts.keep(board.pin(&digest("page"), "storm".into(), at(0)).unwrap());
    let mut table = Table::new();
    posts.record(&mut table);
    assert_eq!(posts.next_due(), Some(at(3_600)));
    assert_eq!(found(&board, &digest("page"), at(3_600)), None);
    posts.expire(at(3_600));
    posts.record(&mut table);
    assert_eq!((posts.len(), table.len(), posts.take_tally()), (1, 1, Tally::default()));
    posts.expire(at(7 * 86_400 + 3_600));
    posts.record(&mut table);
    assert_eq!((posts.len(), table.len(), board.posts().len()), (0, 0, 0));
}

#[test]
fn a_digest_that_follows_keeps_its_storm_together() {
    let (board, mut posts) = posts();
    for second in [0, 3_000, 6_000] {
        posts.keep(board.pin(&digest("page"), "storm".into(), at(second)).unwrap());
        posts.expire(at(second));
    }
    assert_eq!(found(&board, &digest("page"), at(9_000)).as_deref(), Some("storm"));
    assert_eq!((posts.len(), posts.next_due()), (1, Some(at(9_600))));
}

#[test]
fn of_too_many_the_oldest_goes_and_is_counted() {
    let (board, mut posts) = posts();
    posts.count_max = 2;
    let mut table = Table::new();
    for (second, key) in ["a", "b", "c"].into_iter().enumerate() {
        let now = at(i64::try_from(second).unwrap());
        posts.keep(board.pin(&alert(key), key.into(), now).unwrap());
        posts.record(&mut table);
    }
    assert_eq!((posts.len(), table.len(), board.posts().len()), (2, 2, 2));
    assert_eq!(posts.take_tally(), Tally { evicted: 1, senseless: 0 });
    assert_eq!(found(&board, &summary("a", "page"), at(3)), None);
    assert_eq!(found(&board, &summary("c", "page"), at(3)).as_deref(), Some("c"));
}

#[test]
fn a_destination_that_says_too_much_of_a_message_is_not_remembered() {
    let (board, mut posts) = posts();
    posts.keep(board.pin(&alert("a"), "x".repeat(POST_BYTES_MAX + 1).into(), at(0)).unwrap());
    assert_eq!((posts.len(), posts.take_tally().evicted), (0, 1));
    assert_eq!(found(&board, &summary("a", "page"), at(1)), None);
}

#[test]
fn what_was_posted_meanwhile_stays_on_the_board() {
    let (board, mut posts) = posts();
    let first = board.pin(&alert("a"), "first".into(), at(0)).unwrap();
    board.pin(&alert("a"), "second".into(), at(5)).unwrap();
    posts.keep(first);
    posts.expire(at(7 * 86_400 + 3_600));
    assert_eq!(found(&board, &summary("a", "page"), at(6)).as_deref(), Some("second"));
    board.take_down(&summary("a", "page"));
    assert_eq!(found(&board, &summary("a", "page"), at(6)), None);
}

#[test]
fn after_a_commit_that_failed_the_records_hold_and_the_board_stays() {
    let (board, mut posts) = posts();
    let mut table = Table::new();
    posts.keep(board.pin(&alert("a"), "first".into(), at(0)).unwrap());
    posts.record(&mut table);
    let second = board.pin(&alert("b"), "second".into(), at(1)).unwrap();
    posts.keep(second.clone());
    posts.record(&mut Table::new());
    posts.reload(table.clone().into_iter());
    assert_eq!(posts.len(), 1);
    assert_eq!(found(&board, &summary("b", "page"), at(2)).as_deref(), Some("second"));
    // The outcome is told again.
    posts.keep(second);
    posts.record(&mut table);
    assert_eq!(table.len(), 2);
}

#[test]
fn a_record_that_makes_no_sense_is_counted_and_removed() {
    let key = Owner::new(&["chat"]).key(&[b"k"]);
    let mut table = Table::from([(key, b"{}".to_vec())]);
    let (_, mut posts) = restarted(&table, "chat");
    assert_eq!(posts.take_tally(), Tally { evicted: 0, senseless: 1 });
    posts.record(&mut table);
    assert!(table.is_empty());
}
