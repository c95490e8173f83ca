use std::collections::{HashMap, VecDeque};

use super::*;
use crate::metrics::Metrics;

const URGENT: Lane = Lane::Urgent;
const USUAL: Lane = Lane::Usual;

fn outbox() -> Outbox {
    Outbox::new(Order::ByKey, Metrics::new().destination("d"))
}

/// `key` 0: none.
fn waiting(id: u64, key: u8, lane: Lane) -> Waiting {
    Waiting {
        id,
        key: (key > 0).then_some(Fingerprint([key; 32])),
        lane,
        accepted: Timestamp::now(),
        bytes: 1_000,
        kind: Kind::Alert,
        notification: None,
        repeats: None,
    }
}

fn filled(entries: &[(u64, u8, Lane)]) -> Outbox {
    let outbox = outbox();
    for (id, key, lane) in entries {
        outbox.push([waiting(*id, *key, *lane)]);
    }
    outbox
}

fn take(outbox: &Outbox) -> Option<Entry> {
    outbox.take(Instant::now(), Choice::Oldest)
}

/// Takes all that may go out, without an end of any.
fn take_all(outbox: &Outbox) -> Vec<Entry> {
    std::iter::from_fn(|| take(outbox)).collect()
}

fn ids(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id).collect()
}

/// Sends one after the other, each successfully.
fn sent(outbox: &Outbox) -> Vec<u64> {
    let send = || {
        let entry = take(outbox)?;
        outbox.release(&entry);
        Some(entry.id)
    };
    std::iter::from_fn(send).collect()
}

#[test]
fn one_entry_of_a_key_is_in_flight_and_the_others_keep_their_order() {
    let outbox = filled(&[(1, 1, USUAL), (2, 1, USUAL), (3, 2, USUAL), (4, 1, USUAL), (5, 2, USUAL)]);
    let flights = take_all(&outbox);
    assert_eq!(ids(&flights), [1, 3]);
    outbox.release(&flights[0]);
    let next = take_all(&outbox);
    assert_eq!(ids(&next), [2]);
    outbox.push([waiting(6, 1, USUAL)]);
    outbox.release(&next[0]);
    assert_eq!(ids(&take_all(&outbox)), [4]);
}

#[test]
fn entries_without_a_key_wait_for_nobody() {
    let outbox = filled(&[(1, 0, USUAL), (2, 0, USUAL), (3, 0, USUAL)]);
    assert_eq!(ids(&take_all(&outbox)), [1, 2, 3]);
}

#[test]
fn a_key_that_waits_for_its_retry_holds_up_no_other_and_keeps_its_order() {
    let outbox = filled(&[(1, 1, USUAL), (2, 1, USUAL), (3, 2, USUAL)]);
    let first = take(&outbox).unwrap();
    let due = Instant::now() + Duration::from_secs(5);
    outbox.retry(first, due);
    assert_eq!(outbox.next_due(), Some(due));
    assert_eq!(sent(&outbox), [3]);
    outbox.push([waiting(4, 1, USUAL)]);
    assert!(take(&outbox).is_none());
    let again = outbox.take(due, Choice::Oldest).unwrap();
    assert_eq!((again.id, outbox.next_due()), (1, None));
    outbox.release(&again);
    assert_eq!(sent(&outbox), [2, 4]);
    assert_eq!(outbox.len(), 0);
}

#[test]
fn an_urgent_entry_does_not_wait_for_the_retry_of_a_usual_one_with_its_key() {
    let outbox = filled(&[(1, 1, USUAL), (2, 1, USUAL), (3, 1, URGENT)]);
    let urgent = take(&outbox).unwrap();
    assert_eq!(urgent.id, 3);
    assert!(take(&outbox).is_none(), "one in flight for each key");
    outbox.release(&urgent);
    outbox.retry(take(&outbox).unwrap(), Instant::now() + Duration::from_mins(1));
    outbox.push([waiting(4, 1, URGENT)]);
    assert_eq!(sent(&outbox), [4]);
}

#[test]
fn urgent_ones_go_first_and_a_tenth_is_left_to_the_others() {
    let mut entries: Vec<_> = (1..=30).map(|id| (id, 0, USUAL)).collect();
    entries.extend((31..=60).map(|id| (id, 0, URGENT)));
    let order = sent(&filled(&entries));
    let usual: Vec<_> = order[..33].iter().enumerate().filter(|(_, id)| **id <= 30).collect();
    assert_eq!(usual, [(9, &1), (19, &2), (29, &3)]);
    assert_eq!(order.len(), 60);
}

#[test]
fn an_urgent_one_goes_next_after_a_long_usual_run() {
    let outbox = filled(&[(1, 0, USUAL), (2, 0, USUAL), (3, 0, USUAL)]);
    outbox.release(&take(&outbox).unwrap());
    outbox.push([waiting(9, 0, URGENT)]);
    assert_eq!(take(&outbox).unwrap().id, 9);
}

#[test]
fn a_probe_is_not_made_with_what_failed_before_unless_there_is_nothing_else() {
    let outbox = filled(&[(1, 1, URGENT), (2, 2, USUAL)]);
    outbox.retry(take(&outbox).unwrap(), Instant::now());
    let probe = outbox.take(Instant::now(), Choice::Untried).unwrap();
    assert_eq!(probe.id, 2);
    assert_eq!(outbox.take(Instant::now(), Choice::Untried).unwrap().id, 1);
}

#[test]
fn a_bulk_destination_gets_as_many_as_fit_in_no_order_of_keys() {
    let outbox = Outbox::new(Order::None, Metrics::new().destination("d"));
    (1..=5).for_each(|id| outbox.push([waiting(id, 1, USUAL)]));
    let now = Instant::now();
    assert_eq!(ids(&outbox.next_batch(now, 10, 2_999)), [1, 2]);
    assert_eq!(ids(&outbox.next_batch(now, 2, 1_000_000)), [3, 4]);
    assert_eq!(ids(&outbox.next_batch(now, 10, 1)), [5], "one at least");
    assert!(outbox.next_batch(now, 10, 1_000_000).is_empty());
}

#[test]
fn what_is_drained_keeps_each_keys_order_and_counts_until_it_is_released() {
    let outbox = filled(&[(1, 1, USUAL), (2, 2, USUAL), (3, 1, USUAL), (4, 2, USUAL), (5, 1, USUAL), (6, 0, USUAL)]);
    let in_flight = take(&outbox).unwrap();
    outbox.retry(take(&outbox).unwrap(), Instant::now() + Duration::from_mins(1));
    assert!(take(&outbox).is_some_and(|entry| entry.id == 6));
    outbox.push([waiting(7, 1, USUAL)]);
    let drained: Vec<_> = [outbox.drain(2), outbox.drain(100)].into_iter().flatten().collect();
    let of_key = |key: u8| drained.iter().filter(move |entry| entry.key == Some(Fingerprint([key; 32])));
    assert_eq!(of_key(1).map(|entry| entry.id).collect::<Vec<_>>(), [3, 5, 7]);
    assert_eq!(of_key(2).map(|entry| entry.id).collect::<Vec<_>>(), [2, 4]);
    assert_eq!((outbox.len(), outbox.metrics.queued.get()), (7, 7));
    for entry in &drained {
        outbox.release(entry);
    }
    outbox.push([waiting(8, 1, USUAL)]);
    assert!(take(&outbox).is_none(), "1 is still in flight");
    outbox.release(&in_flight);
    assert_eq!(take(&outbox).unwrap().id, 8);
}

#[test]
fn what_is_older_than_a_limit_is_found_wherever_it_waits() {
    let outbox = outbox();
    let old = |id, key| Waiting {
        accepted: Timestamp::now() - jiff::SignedDuration::from_hours(2),
        ..waiting(id, key, USUAL)
    };
    for entry in [old(1, 1), old(2, 2), old(3, 1), old(4, 2), waiting(5, 2, USUAL), old(6, 0), waiting(7, 0, USUAL)] {
        outbox.push([entry]);
    }
    let in_flight = take(&outbox).unwrap();
    outbox.retry(take(&outbox).unwrap(), Instant::now() + Duration::from_mins(1));
    let hour_ago = Instant::now() - Duration::from_hours(1);
    let mut drained = ids(&outbox.drain_older(hour_ago));
    drained.sort_unstable();
    assert_eq!((in_flight.id, drained), (1, vec![2, 3, 4, 6]));
    assert_eq!(sent(&outbox), [5, 7], "what stood behind them goes on");
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_old_and_nothing_eternal() {
    let outbox = outbox();
    let accepted = Timestamp::now() + jiff::SignedDuration::from_hours(1_000);
    outbox.push([Waiting { accepted, ..waiting(1, 0, USUAL) }]);
    assert!(outbox.oldest_age() < Duration::from_secs(10));
    assert!(outbox.drain_older(Instant::now() - Duration::from_secs(10)).is_empty());
    assert_eq!(outbox.drain_older(Instant::now() + Duration::from_secs(1)).len(), 1);
}

#[test]
fn the_oldest_counts_also_while_it_is_in_flight() {
    let outbox = outbox();
    let accepted = Timestamp::now() - jiff::SignedDuration::from_secs(100);
    outbox.push([Waiting { accepted, ..waiting(1, 0, USUAL) }]);
    outbox.push([waiting(2, 0, USUAL)]);
    let oldest = take(&outbox).unwrap();
    assert!(outbox.oldest_age() >= Duration::from_secs(100));
    outbox.release(&oldest);
    assert!(outbox.oldest_age() < Duration::from_secs(100));
}

#[test]
fn a_filling_outbox_refuses_the_least_urgent_first_and_never_what_is_committed() {
    let outbox = outbox();
    let part = ENTRIES_MAX / 100;
    (0..part * 80).for_each(|id| outbox.push([waiting(id as u64, 0, USUAL)]));
    let room = |priority| outbox.has_room_for(1, priority);
    assert_eq!((room(Priority::Debug), room(Priority::Error), room(Priority::Critical)), (false, true, true));
    (part * 80..ENTRIES_MAX + 5).for_each(|id| outbox.push([waiting(id as u64, 0, USUAL)]));
    assert!(!room(Priority::Emergency) && outbox.has_room_for(0, Priority::Debug));
    assert_eq!(outbox.len(), ENTRIES_MAX + 5);
}

#[test]
fn bodies_stay_at_hand_up_to_a_bound() {
    let outbox = outbox();
    let large = |id| Waiting {
        bytes: u32::try_from(BODY_BYTES_MAX / 2).unwrap(),
        notification: Some(Arc::new(Notification::minimal())),
        ..waiting(id, 0, USUAL)
    };
    outbox.push((1..=3).map(large));
    let flights = take_all(&outbox);
    let at_hand: Vec<_> = flights.iter().map(|entry| entry.notification.is_some()).collect();
    assert_eq!(at_hand, [true, true, false]);
    outbox.release(&flights[0]);
    outbox.push([large(4)]);
    assert!(take(&outbox).unwrap().notification.is_some());
}

/// What 100,000 entries cost; `key` says which key each has.
fn cost(key: impl Fn(u64) -> Option<Fingerprint>) -> u64 {
    let outbox = outbox();
    let measured = allocation_counter::measure(|| {
        for id in 0..100_000 {
            outbox.push([Waiting { key: key(id), ..waiting(id, 0, USUAL) }]);
        }
        assert_eq!(take(&outbox).unwrap().id, 0);
        drop(take(&outbox));
    });
    measured.bytes_max
}

#[test]
fn a_hundred_thousand_entries_cost_less_than_twenty_mebibytes() {
    let of = |id: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        Some(Fingerprint(bytes))
    };
    for cost in [cost(|_| of(1)), cost(of), cost(|id| of(id % 1_000)), cost(|_| None)] {
        assert!(cost < 20 << 20, "{cost} bytes");
    }
}

/// Random pushes, takes, failures and ends: whatever happens, each key's entries end in their order, one at a time, and
/// nothing is left behind.
#[test]
fn every_key_keeps_its_order_under_random_failures() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let outbox = outbox();
        let mut plain: HashMap<(u8, u8), VecDeque<u64>> = HashMap::new();
        let mut flights: Vec<Entry> = Vec::new();
        let (start, mut id) = (Instant::now(), 0);
        for step in 0..600_u64 {
            let now = start + Duration::from_millis(step);
            match random.u8(..10) {
                0..4 if step < 400 => {
                    id += 1;
                    let (key, lane) = (random.u8(1..6), if random.bool() { URGENT } else { USUAL });
                    outbox.push([waiting(id, key, lane)]);
                    plain.entry((key, lane as u8)).or_default().push_back(id);
                }
                0..7 => flights.extend(outbox.take(now, if random.bool() { Choice::Oldest } else { Choice::Untried })),
                _ if flights.is_empty() => {}
                _ => {
                    let entry = flights.swap_remove(random.usize(..flights.len()));
                    if step < 400 && random.bool() {
                        outbox.retry(entry, now + Duration::from_millis(random.u64(..20)));
                    } else {
                        let key = entry.key.unwrap().0[0];
                        let first = plain.get_mut(&(key, entry.lane as u8)).unwrap().pop_front();
                        assert_eq!(first, Some(entry.id));
                        outbox.release(&entry);
                    }
                }
            }
            let mut keys: Vec<_> = flights.iter().map(|entry| entry.key.unwrap().0[0]).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "two of one key in flight");
        }
        for entry in &flights {
            outbox.release(entry);
        }
        let end = start + Duration::from_secs(10);
        while let Some(entry) = outbox.take(end, Choice::Oldest) {
            outbox.release(&entry);
        }
        assert_eq!((outbox.len(), outbox.metrics.queued.get(), outbox.metrics.queue_bytes.get()), (0, 0, 0));
    }
}

#[test]
fn what_was_parked_goes_out_after_the_order_is_given_up_and_taken_up_again() {
    let outbox = filled(&[(1, 1, USUAL), (2, 1, USUAL), (3, 1, USUAL), (4, 2, USUAL)]);
    let flights = take_all(&outbox);
    assert_eq!(ids(&flights), [1, 4]);
    outbox.open(Order::None);
    outbox.push([waiting(5, 1, USUAL)]);
    assert_eq!(ids(&take_all(&outbox)), [5], "the parked ones still wait for the first");
    outbox.retry(flights.into_iter().next().unwrap(), Instant::now());
    assert_eq!(sent(&outbox), [1, 2, 3]);
    outbox.open(Order::ByKey);
    outbox.push([waiting(6, 1, USUAL)]);
    outbox.push([waiting(7, 1, USUAL)]);
    assert_eq!(ids(&take_all(&outbox)), [6]);
}

#[test]
fn a_removed_outbox_is_done_only_when_the_router_stops() {
    let outbox = filled(&[]);
    outbox.remove();
    assert!(outbox.is_removed() && !outbox.is_done());
    outbox.close();
    assert!(outbox.is_done());
}
