//! Slack, by docs.slack.dev: incoming webhooks, and `chat.postMessage` and `chat.update` of the Web API.

mod blocks;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Received, Reply, Service};

/// What Slack takes for a channel is a message a second; clocks and the way there may shorten the time between two.
const BETWEEN_MIN: Duration = Duration::from_millis(900);

/// The token that the Web API takes, and the channel that it knows, by name and by id.
pub const SLACK_TOKEN: &str = "xoxb-1-2-test";
pub const SLACK_CHANNEL: &str = "#alerts";
pub const SLACK_CHANNEL_ID: &str = "C0000000001";

/// Checks messages and answers `ok`.
#[derive(Debug, Default)]
pub struct SlackService {
    mentions: Vec<String>,
    rate: Rate,
}

/// Keeps messages, by the time stamps that are their ids.
#[derive(Debug, Default)]
pub struct SlackApiService {
    messages: Vec<SlackMessage>,
    rate: Rate,
}

/// A message as it stands in the channel.
#[derive(Debug, Clone)]
pub struct SlackMessage {
    pub ts: String,
    pub thread_ts: Option<String>,
    pub body: Value,
    /// How often it was changed.
    pub updates: usize,
}

/// How fast messages may come; no limit at first.
#[derive(Debug, Default)]
struct Rate {
    is_limited: bool,
    last: Option<Instant>,
}

impl SlackService {
    /// What in the accepted messages would have notified somebody or made a link: `<!channel>`, `<@U1>`, `<https:…`.
    pub fn mentions(&self) -> &[String] {
        &self.mentions
    }

    /// From now on more than a message a second is answered with 429.
    pub fn limit_rate(&mut self) {
        self.rate.is_limited = true;
    }
}

impl SlackApiService {
    pub fn messages(&self) -> &[SlackMessage] {
        &self.messages
    }

    /// Somebody deletes all messages.
    pub fn delete_all(&mut self) {
        self.messages.clear();
    }

    fn post(&mut self, body: Value) -> Result<Value, &'static str> {
        let thread_ts = match &body["thread_ts"] {
            Value::Null => None,
            Value::String(ts) if self.messages.iter().any(|message| message.ts == *ts) => Some(ts.clone()),
            Value::String(_) => return Err("thread_not_found"),
            _ => return Err("invalid_arguments"),
        };
        let ts = format!("1700000000.{:06}", self.messages.len() + 1);
        self.messages.push(SlackMessage { ts: ts.clone(), thread_ts, body, updates: 0 });
        Ok(json!({ "ok": true, "channel": SLACK_CHANNEL_ID, "ts": ts }))
    }

    fn update(&mut self, body: Value) -> Result<Value, &'static str> {
        if body["channel"] != SLACK_CHANNEL_ID {
            return Err("channel_not_found"); // a name is not enough here
        }
        let ts = body["ts"].as_str().ok_or("invalid_arguments")?.to_owned();
        let message = self.messages.iter_mut().find(|message| message.ts == ts).ok_or("message_not_found")?;
        (message.body, message.updates) = (body, message.updates + 1);
        Ok(json!({ "ok": true, "channel": SLACK_CHANNEL_ID, "ts": ts }))
    }

    fn answer(&mut self, request: &Received) -> Result<Value, &'static str> {
        match request.header("authorization").strip_prefix("Bearer ") {
            None => return Err("not_authed"),
            Some(SLACK_TOKEN) => {}
            Some(_) => return Err("invalid_auth"),
        }
        if !request.header("content-type").starts_with("application/json") {
            return Err("invalid_form_data");
        }
        let body = request.json();
        if body["channel"] != SLACK_CHANNEL && body["channel"] != SLACK_CHANNEL_ID {
            return Err("channel_not_found");
        }
        blocks::check(&body)?;
        match request.path.as_str() {
            "/api/chat.postMessage" => self.post(body),
            "/api/chat.update" => self.update(body),
            _ => Err("unknown_method"),
        }
    }
}

impl Rate {
    fn refuses(&mut self) -> bool {
        let now = Instant::now();
        if self.is_limited && self.last.is_some_and(|last| now.duration_since(last) < BETWEEN_MIN) {
            return true;
        }
        self.last = Some(now);
        false
    }
}

impl Service for SlackService {
    const PATH: &'static str = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";

    fn reply(&mut self, request: &Received) -> Reply {
        if request.method != "POST" || request.path != Self::PATH {
            return Reply::text(404, "no_service");
        }
        if self.rate.refuses() {
            return Reply::text(429, "rate_limited").retry_after(1);
        }
        let message = request.json();
        if let Err(word) = blocks::check(&message) {
            return Reply::text(400, word);
        }
        blocks::collect_mentions(&message, &mut self.mentions);
        Reply::text(200, "ok")
    }
}

impl Service for SlackApiService {
    const PATH: &'static str = "/api/";

    fn reply(&mut self, request: &Received) -> Reply {
        if self.rate.refuses() {
            return Reply::json(429, &json!({ "ok": false, "error": "ratelimited" })).retry_after(1);
        }
        let answer = self.answer(request).unwrap_or_else(|error| json!({ "ok": false, "error": error }));
        Reply::json(200, &answer)
    }
}
