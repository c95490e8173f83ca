//! Deduplication at one destination: the first of equal alerts passes at once, its repeats within a fixed window are
//! counted, and when the window closes one summary says how many there were.
//!
//! moka is the bounded look-up; a timer closes windows to the millisecond. A window that moka evicts closes early and
//! still tells what it counted. Planning changes nothing, so a request that is refused later leaves no trace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tercel_alert::Alert;
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::destination::Summary;
use crate::fingerprint::Fingerprint;

/// Memory of one destination's open windows, with their first alerts and all the samples they may come to hold: some
/// 2,000 alerts of usual size.
const WINDOWS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a window costs beside its alert and samples.
const WINDOW_BYTES: usize = 512;

/// Differing outputs that a summary shows.
const SAMPLES_MAX: usize = 3;

/// Bytes of one of them.
const SAMPLE_BYTES_MAX: usize = 1_024;

/// The open windows of one destination.
pub(crate) struct Dedup {
    windows: Cache<Fingerprint, OpenWindow>,
    closing: DelayQueue<Fingerprint>,
    /// Filled by moka's listener, emptied by [`Dedup::evicted`].
    evicted: Arc<Mutex<Vec<OpenWindow>>>,
}

/// A window that several places may count in.
#[derive(Clone)]
pub(crate) struct OpenWindow(Arc<Mutex<Window>>);

struct Window {
    key: Fingerprint,
    route: Arc<str>,
    alert: Arc<Alert>,
    /// Bytes of memory, with all samples: moka weighs a window when it is opened, samples come later.
    weight: usize,
    length: Duration,
    /// Repeats beyond the first alert.
    count: u64,
    last: Timestamp,
    samples: Vec<String>,
    /// `None` until the window is opened.
    timer: Option<delay_queue::Key>,
    opened: Instant,
}

/// The windows that a request would open.
#[derive(Default)]
pub(crate) struct Plan(HashMap<(usize, Fingerprint), OpenWindow>);

/// What an alert is to its destination.
pub(crate) enum Verdict {
    /// Passes, and opens this window.
    First(OpenWindow),
    /// Is counted in this window.
    Repeat(OpenWindow),
}

/// An alert that may open a window.
pub(crate) struct Candidate<'a> {
    pub(crate) alert: &'a Arc<Alert>,
    /// Bytes of memory.
    pub(crate) weight: usize,
    pub(crate) key: Fingerprint,
    pub(crate) route: &'a Arc<str>,
    pub(crate) window: Duration,
}

/// A window that has closed after at least one repeat.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) key: Fingerprint,
    pub(crate) route: Arc<str>,
    /// The first one.
    pub(crate) alert: Arc<Alert>,
    pub(crate) summary: Summary,
}

impl Dedup {
    pub(crate) fn new() -> Self {
        Self::with_capacity(WINDOWS_BYTES_MAX)
    }

    fn with_capacity(bytes: u64) -> Self {
        let evicted = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&evicted);
        let windows = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_key, window: &OpenWindow| u32::try_from(window.weight()).unwrap_or(u32::MAX))
            // The default policy may refuse a new entry, and every alert must open its window.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_key, window, cause| {
                if cause == RemovalCause::Size {
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(window);
                }
            })
            .build();
        Self { windows, closing: DelayQueue::new(), evicted }
    }

    /// Decides without changing anything but `plan`, which holds for one request. `destination`: this one's index.
    pub(crate) fn plan(&self, plan: &mut Plan, destination: usize, candidate: &Candidate<'_>) -> Verdict {
        if let Some(window) = self.windows.get(&candidate.key) {
            return Verdict::Repeat(window);
        }
        if let Some(window) = plan.0.get(&(destination, candidate.key)) {
            return Verdict::Repeat(window.clone());
        }
        let window = OpenWindow::new(candidate);
        plan.0.insert((destination, candidate.key), window.clone());
        Verdict::First(window)
    }

    /// From now on, for the window's length, equal alerts are repeats of `first`, which need not be the one that the
    /// window was planned for. Needs tokio's timer.
    pub(crate) fn open(&mut self, window: OpenWindow, first: &Candidate<'_>) {
        let timer = self.closing.insert(first.key, first.window);
        window.with(|window| *window = Window { timer: Some(timer), ..Window::new(first) });
        self.windows.insert(first.key, window);
    }

    /// Windows whose time is over. Ready with at least one.
    pub(crate) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<Vec<Closed>> {
        let mut closed = Vec::new();
        while let Poll::Ready(Some(expired)) = self.closing.poll_expired(context) {
            closed.extend(self.windows.remove(expired.get_ref()).and_then(|window| window.close()));
        }
        if closed.is_empty() { Poll::Pending } else { Poll::Ready(closed) }
    }

    /// Windows that had to make room since the last call, and how many there were; those without a repeat have nothing
    /// to tell.
    pub(crate) fn evicted(&mut self) -> (Vec<Closed>, u64) {
        self.windows.run_pending_tasks();
        let evicted = std::mem::take(&mut *self.evicted.lock().unwrap_or_else(PoisonError::into_inner));
        let count = evicted.len() as u64;
        let closed = evicted.into_iter().filter_map(|window| {
            if let Some(timer) = window.with(|window| window.timer.take()) {
                self.closing.try_remove(&timer);
            }
            window.close()
        });
        (closed.collect(), count)
    }

    /// Closes every window now.
    pub(crate) fn close_all(&mut self) -> Vec<Closed> {
        let (mut closed, _count) = self.evicted();
        closed.extend(self.windows.iter().filter_map(|(_key, window)| window.close()));
        self.windows.invalidate_all();
        self.closing.clear();
        closed
    }

    /// Number of open windows.
    pub(crate) fn len(&self) -> usize {
        self.closing.len()
    }
}

impl OpenWindow {
    fn new(candidate: &Candidate<'_>) -> Self {
        Self(Arc::new(Mutex::new(Window::new(candidate))))
    }

    /// False for one that was planned and whose first alert was then held back.
    pub(crate) fn is_open(&self) -> bool {
        self.with(|window| window.timer.is_some())
    }

    /// Counts a repeat.
    pub(crate) fn add(&self, alert: &Alert) {
        self.with(|window| {
            window.count += 1;
            window.last = window.last.max(alert.time);
            let is_new = alert.output != window.alert.output
                && !window.samples.iter().any(|sample| *sample == cut(&alert.output));
            if is_new && window.samples.len() < SAMPLES_MAX {
                window.samples.push(cut(&alert.output).to_owned());
            }
        });
    }

    fn weight(&self) -> usize {
        self.with(|window| window.weight)
    }

    /// `None`: nothing was repeated.
    fn close(&self) -> Option<Closed> {
        self.with(|window| {
            (window.count > 0).then(|| Closed {
                key: window.key,
                route: Arc::clone(&window.route),
                alert: Arc::clone(&window.alert),
                summary: Summary {
                    count: window.count,
                    first: window.alert.time,
                    last: window.last,
                    samples: std::mem::take(&mut window.samples),
                    window: window.open_for(),
                },
            })
        })
    }

    fn with<T>(&self, action: impl FnOnce(&mut Window) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Window {
    /// Not open yet.
    fn new(first: &Candidate<'_>) -> Self {
        Self {
            key: first.key,
            route: Arc::clone(first.route),
            alert: Arc::clone(first.alert),
            weight: first.weight + WINDOW_BYTES + SAMPLES_MAX * SAMPLE_BYTES_MAX,
            length: first.window,
            count: 0,
            last: first.alert.time,
            samples: Vec::new(),
            timer: None,
            opened: Instant::now(),
        }
    }

    /// The window's length; less where it closes early, in whole seconds, rounded up.
    fn open_for(&self) -> Duration {
        self.length.min(Duration::from_secs(self.opened.elapsed().as_secs() + 1))
    }
}

/// At most [`SAMPLE_BYTES_MAX`] bytes, ending at a character.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn alert(output: &str) -> Arc<Alert> {
        let value =
            serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error", "output": output});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    /// Plans and applies one alert; true: it passed.
    fn push(dedup: &mut Dedup, key: u8, output: &str) -> bool {
        let (alert, route) = (alert(output), Arc::from("route"));
        let candidate =
            Candidate { alert: &alert, weight: 1_000, key: Fingerprint([key; 32]), route: &route, window: WINDOW };
        match dedup.plan(&mut Plan::default(), 0, &candidate) {
            Verdict::First(window) => {
                dedup.open(window, &candidate);
                true
            }
            Verdict::Repeat(window) => {
                window.add(&alert);
                false
            }
        }
    }

    async fn closed(dedup: &mut Dedup) -> Vec<Closed> {
        poll_fn(|context| dedup.poll_closed(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_passes_and_the_window_tells_of_the_other_ninety_nine() {
        let mut dedup = Dedup::new();
        let passed = (0..100).filter(|number| push(&mut dedup, 1, &format!("output {}", number % 6))).count();
        let closed = closed(&mut dedup).await;
        assert_eq!((passed, closed.len(), closed[0].summary.count), (1, 1, 99));
        assert_eq!(closed[0].summary.samples, ["output 1", "output 2", "output 3"]);
        assert!(push(&mut dedup, 1, "o"), "the window is closed, so the next one is a first");
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_is_fixed_repeats_do_not_prolong_it() {
        let mut dedup = Dedup::new();
        let start = Instant::now();
        push(&mut dedup, 1, "o");
        for _ in 0..4 {
            advance(Duration::from_secs(70)).await;
            assert!(!push(&mut dedup, 1, "o"));
        }
        assert_eq!(closed(&mut dedup).await[0].summary.count, 4);
        assert!(start.elapsed() < WINDOW + Duration::from_millis(5), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_without_repeats_says_nothing() {
        let mut dedup = Dedup::new();
        push(&mut dedup, 1, "o");
        let silent = tokio::time::timeout(WINDOW * 2, closed(&mut dedup)).await;
        assert!(silent.is_err());
        assert_eq!(dedup.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_evicted_window_tells_at_once_what_it_counted() {
        let mut dedup = Dedup::with_capacity(10_000);
        push(&mut dedup, 0, "o");
        push(&mut dedup, 0, "o");
        let mut told = Vec::new();
        for key in 1..10 {
            push(&mut dedup, key, "o");
            told.extend(dedup.evicted().0);
        }
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].key, told[0].summary.count), (Fingerprint([0; 32]), 1));
        assert!(dedup.len() <= 2, "{}", dedup.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_samples_of_all_windows_lie_within_the_bound() {
        const BYTES_MAX: usize = 50_000;
        let mut dedup = Dedup::with_capacity(BYTES_MAX as u64);
        for key in 0..50 {
            push(&mut dedup, key, "first");
            for sample in 0..SAMPLES_MAX {
                push(&mut dedup, key, &format!("{sample}{}", "x".repeat(SAMPLE_BYTES_MAX)));
            }
            dedup.evicted();
        }
        let samples: usize = dedup
            .windows
            .iter()
            .map(|(_key, window)| window.with(|window| window.samples.iter().map(String::len).sum::<usize>()))
            .sum();
        assert!(samples > 0 && samples <= BYTES_MAX, "{samples}");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_all_tells_of_every_window_with_repeats() {
        let mut dedup = Dedup::new();
        for key in [1, 1, 2, 3, 3, 3] {
            push(&mut dedup, key, "o");
        }
        let mut counts: Vec<_> = dedup.close_all().iter().map(|closed| closed.summary.count).collect();
        counts.sort_unstable();
        assert_eq!((counts, dedup.len()), (vec![1, 2], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_closes_early_says_how_long_it_was_open() {
        let mut dedup = Dedup::new();
        push(&mut dedup, 1, "o");
        push(&mut dedup, 1, "o");
        advance(Duration::from_millis(1_500)).await;
        assert_eq!(dedup.close_all()[0].summary.window, Duration::from_secs(2));
    }

    #[test]
    fn samples_are_cut_at_a_character() {
        let text = format!("{}é", "x".repeat(SAMPLE_BYTES_MAX - 1));
        assert_eq!(cut(&text).len(), SAMPLE_BYTES_MAX - 1);
    }
}
