//! Which message a summary or a digest belongs to.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{Notification, Receipt};

/// `follow_ups`: what becomes of what is told about a message that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FollowUps {
    /// It goes into the message's thread.
    #[default]
    Thread,
    /// It takes the message's place.
    Update,
    /// It is a message of its own.
    Message,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Channel,
    Thread(Posted),
    Update(Posted),
}

/// What Slack says of a message that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Posted {
    /// An id, also where the settings have the channel's name.
    channel: String,
    ts: String,
}

/// What is kept of it: [`Receipt::post`].
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The channel as the settings of its time name it: another one is another conversation.
    under: String,
    #[serde(flatten)]
    posted: Posted,
}

impl FollowUps {
    /// `channel`: of the settings.
    pub(super) fn place(self, notification: &Notification, channel: &str) -> Place {
        let kept = notification.post.as_deref().and_then(|post| serde_json::from_str::<Kept>(post).ok());
        match (kept.filter(|kept| kept.under == channel), self) {
            (Some(kept), Self::Thread) => Place::Thread(kept.posted),
            (Some(kept), Self::Update) => Place::Update(kept.posted),
            (None, _) | (_, Self::Message) => Place::Channel,
        }
    }

    /// What is to be kept of a message that Slack took, which went to this place.
    pub(super) fn receipt(self, place: Place, channel: &str, answer: &[u8]) -> Receipt {
        if self == Self::Message {
            return Receipt::default();
        }
        let posted = match place {
            // An answer to a reply names the reply; the thread hangs at its first message.
            Place::Thread(first) | Place::Update(first) => Some(first),
            Place::Channel => serde_json::from_slice(answer).ok(),
        };
        let kept = posted.and_then(|posted| serde_json::to_string(&Kept { under: channel.to_owned(), posted }).ok());
        Receipt { post: kept.map(Arc::from) }
    }
}

impl Place {
    pub(super) fn address(&self, channel: &str, message: &mut Map<String, Value>) {
        let (channel, more) = match self {
            Self::Channel => (channel, None),
            Self::Thread(posted) => (posted.channel.as_str(), Some(("thread_ts", &posted.ts))),
            Self::Update(posted) => (posted.channel.as_str(), Some(("ts", &posted.ts))),
        };
        message.insert("channel".to_owned(), channel.into());
        if let Some((name, ts)) = more {
            message.insert(name.to_owned(), ts.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"ok":true,"channel":"C1","ts":"1.1"}"#;
    const REPLY: &str = r#"{"ok":true,"channel":"C1","ts":"2.2"}"#;

    /// One that follows this post.
    fn following(post: Option<Arc<str>>) -> Notification {
        Notification { post, ..Notification::minimal() }
    }

    /// What is kept of a message that follows this post.
    fn kept(follow_ups: FollowUps, post: Option<Arc<str>>, answer: &[u8]) -> Option<Arc<str>> {
        follow_ups.receipt(follow_ups.place(&following(post), "#alerts"), "#alerts", answer).post
    }

    #[test]
    fn what_follows_goes_to_the_first_message_and_leaves_it_the_first() {
        let first = kept(FollowUps::Thread, None, FIRST.as_bytes());
        let posted = Posted { channel: "C1".to_owned(), ts: "1.1".to_owned() };
        let summary = following(first.clone());
        assert_eq!(FollowUps::Thread.place(&summary, "#alerts"), Place::Thread(posted.clone()));
        assert_eq!(FollowUps::Update.place(&summary, "#alerts"), Place::Update(posted));
        assert_eq!(kept(FollowUps::Thread, summary.post, REPLY.as_bytes()), first);
    }

    #[test]
    fn a_message_of_its_own_follows_nothing_and_is_followed_by_nothing() {
        let first = kept(FollowUps::Thread, None, FIRST.as_bytes());
        assert_eq!(FollowUps::Message.place(&following(first), "#alerts"), Place::Channel);
        assert_eq!(kept(FollowUps::Message, None, FIRST.as_bytes()), None);
    }

    #[test]
    fn what_another_channel_or_another_service_left_behind_is_not_followed() {
        let first = kept(FollowUps::Thread, None, FIRST.as_bytes());
        assert_eq!(FollowUps::Thread.place(&following(first), "#other"), Place::Channel);
        assert_eq!(FollowUps::Thread.place(&following(Some("<1@tercel.invalid>".into())), "#alerts"), Place::Channel);
        assert_eq!(kept(FollowUps::Thread, None, b"{}"), None);
    }
}
