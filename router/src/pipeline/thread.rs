//! The decider's thread: takes what waits, decides it as one group, and wakes when something falls due.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::ask::Ask;
use super::decider::Decider;
use super::group::Answer;
use super::next::Next;
use super::{Received, Refused};
use crate::deliver::Finished;

/// Requests that one commit may hold: more would make the first of them wait for the last.
const GROUP_REQUESTS_MAX: usize = 256;

/// Outcomes that one commit may hold.
const GROUP_OUTCOMES_MAX: usize = 4_096;

/// The longest sleep: the clock may be set forward.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The shortest: a clock that stands still must not turn into a busy loop.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// What is asked of the decider.
pub(super) enum Message {
    Alerts(Vec<Received>, Answer),
    Ask(Ask),
    /// Another configuration, and who waits to hear whether it is in force.
    Reload(Box<Next>, oneshot::Sender<Result<(), Refused>>),
    /// Nothing is taken after this.
    Close,
}

/// Where the decider hears from.
pub(super) struct Inbox {
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) finished: mpsc::Receiver<Finished>,
}

/// Ends when every sender is gone: requests first, then workers.
pub(super) async fn run(mut decider: Decider, mut inbox: Inbox) {
    let (mut messages, mut finished) = (Vec::new(), Vec::new());
    let (mut takes_requests, mut has_workers) = (true, true);
    while takes_requests || has_workers {
        let due = decider.next_due(Timestamp::now());
        tokio::select! {
            count = inbox.messages.recv_many(&mut messages, GROUP_REQUESTS_MAX), if takes_requests => {
                takes_requests = count > 0;
            }
            count = inbox.finished.recv_many(&mut finished, GROUP_OUTCOMES_MAX), if has_workers => {
                has_workers = count > 0;
            }
            () = sleep(until(due)) => {}
        }
        if messages.iter().any(|message| matches!(message, Message::Close)) {
            inbox.messages.close();
        }
        // What came in beside it goes into the same commit.
        while finished.len() < GROUP_OUTCOMES_MAX
            && let Ok(one) = inbox.finished.try_recv()
        {
            finished.push(one);
        }
        decide(&mut decider, &mut messages, &mut finished);
    }
}

/// In the order of their coming; a reload stands between two groups.
fn decide(decider: &mut Decider, messages: &mut Vec<Message>, finished: &mut Vec<Finished>) {
    let mut messages = messages.drain(..).peekable();
    loop {
        let group = std::iter::from_fn(|| messages.next_if(|message| !matches!(message, Message::Reload(..))));
        decider.decide(group, finished.drain(..), Timestamp::now());
        let Some(Message::Reload(next, answer)) = messages.next() else { return };
        // Who hung up has no use for the answer.
        drop(answer.send(decider.reload(*next, Timestamp::now())));
    }
}

fn until(due: Option<Timestamp>) -> Duration {
    let Some(due) = due else { return SLEEP_MAX };
    let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    left.clamp(SLEEP_MIN, SLEEP_MAX)
}
