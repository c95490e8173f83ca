//! Kafka: the alert as it is, as a record whose key keeps what is equal in one partition. Delivered means that all replicas in
//! sync have it.
//!
//! A request carries the records of one partition; each is judged by its own partition's answer. Records have the notification's
//! id as a header: the cluster keeps both where an answer was lost and the record came again.

mod cluster;
mod error;
mod partition;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use rskafka::chrono::DateTime;
use rskafka::client::partition::Compression;
use rskafka::client::{Credentials, SaslConfig};
use rskafka::record::Record;
use schemars::JsonSchema;
use serde::Deserialize;

use super::live::Live;
use super::server::{Server, TlsSettings};
use super::service::{Service, without_posts};
use super::settings::{Folders, Settings, WITHHELD_KEY};
use super::terms::{Batch, Habit};
use super::{Notification, Problem, Reason, Receipt, Retry, SendError};
use crate::render::{Inline, InlineContext, Renderer};
use crate::secret::{Secret, SecretRef};

use cluster::{Access, Cluster, Lot};

/// Where nothing else is said.
const TOPIC: &str = "tercel";

/// What Kafka takes for the name of a topic.
const TOPIC_BYTES_MAX: usize = 249;

/// What a value may bring into it.
const TOPIC_VALUE_CHARS_MAX: usize = 64;

/// More of a key is cut: it tells records apart, and goes with each.
const KEY_BYTES_MAX: usize = 1_024;

/// Requests at once: each partition has a leader and a connection of its own.
const LOTS_AT_ONCE: usize = 8;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KafkaConfig {
    /// Brokers of one cluster, to begin with: they name the others.
    brokers: Vec<Server>,
    /// Present: connections are encrypted, and these are trusted.
    tls: Option<TlsSettings>,
    sasl: Option<SaslSettings>,
    /// Templates may stand in it; absent: `tercel`.
    topic: Option<String>,
    /// Records with the same key go to the same partition. Templates may stand in it; absent: the dedup key, or else the rule.
    key: Option<String>,
    #[serde(default)]
    compression: CompressionName,
    /// Absent: as for every destination that takes many.
    batch: Option<Batch>,
    /// A Handlebars file that gives the JSON body. Absent: the alert as it is.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SaslSettings {
    mechanism: Mechanism,
    user: String,
    password: SecretRef,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
enum Mechanism {
    /// The password as it is: over TLS only.
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// `compression`: of the records of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CompressionName {
    #[default]
    None,
    Gzip,
    Snappy,
}

struct Kafka {
    cluster: Cluster,
    topic: Inline,
    key: Option<Inline>,
    body: Renderer,
}

impl Settings for KafkaConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        if self.brokers.is_empty() {
            return Err(Problem::new("`brokers` is empty"));
        }
        if self.tls.is_none() && self.sasl.as_ref().is_some_and(|sasl| matches!(sasl.mechanism, Mechanism::Plain)) {
            return Err(Problem::new(
                "`sasl.password` would be sent in clear text; set `tls`, or a mechanism of SCRAM",
            ));
        }
        let access = Access {
            brokers: self.brokers.iter().map(Server::to_string).collect(),
            tls: self.tls.as_ref().map(|tls| live_tls(tls, base)).transpose()?,
            sasl: self.sasl.as_ref().map(|sasl| sasl.live(base)).transpose()?,
        };
        let compression = match self.compression {
            CompressionName::None => Compression::NoCompression,
            CompressionName::Gzip => Compression::Gzip,
            CompressionName::Snappy => Compression::Snappy,
        };
        let topic = self.topic.as_deref().unwrap_or(TOPIC);
        if !Inline::is_template(topic) {
            check_topic(topic).map_err(|problem| Problem::new(format!("`topic` {problem}")))?;
        }
        Ok(Box::new(Kafka {
            cluster: Cluster::new(access, compression),
            topic: Inline::compile("topic", topic, topic_part)?,
            key: self.key.as_deref().map(|key| Inline::compile("key", key, str::to_owned)).transpose()?,
            body: Renderer::build(None, self.template.as_deref(), self.raw, base)?,
        }))
    }

    fn habit(&self) -> Habit {
        Habit::Bulk(self.batch)
    }

    fn withhold_secrets(&mut self) {
        self.sasl.iter_mut().for_each(|sasl| sasl.password = SecretRef::Withheld(WITHHELD_KEY));
        self.tls = None;
    }
}

fn live_tls(tls: &TlsSettings, base: &Path) -> Result<Live<rustls::ClientConfig>, Problem> {
    let (tls, base) = (tls.clone(), base.to_owned());
    Live::new(tls.files(&base), move || tls.client(&base))
}

impl SaslSettings {
    fn live(&self, base: &Path) -> Result<Live<SaslConfig>, Problem> {
        let (sasl, base) = (self.clone(), base.to_owned());
        Live::new(self.password.file(&base), move || Ok(sasl.with(&sasl.password.resolve(&base)?)))
    }

    fn with(&self, password: &Secret) -> SaslConfig {
        let credentials = Credentials::new(self.user.clone(), password.expose().to_owned());
        match self.mechanism {
            Mechanism::Plain => SaslConfig::Plain(credentials),
            Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
            Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
        }
    }
}

/// A value as a part of a topic's name.
fn topic_part(value: &str) -> String {
    let plain =
        |character: char| if character.is_ascii_alphanumeric() || "._-".contains(character) { character } else { '_' };
    value.chars().take(TOPIC_VALUE_CHARS_MAX).map(plain).collect()
}

fn check_topic(topic: &str) -> Result<(), String> {
    let is_plain = topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !is_plain || matches!(topic, "." | "..") {
        let shown = crate::render::truncate(&crate::render::visible(topic), TOPIC_BYTES_MAX);
        return Err(format!(
            "is `{shown}`, which Kafka does not take for a name: 1 to 249 letters, digits, `.`, `_`, `-`"
        ));
    }
    Ok(())
}

impl Service for Kafka {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        async {
            let results = self.produce(std::slice::from_ref(notification)).await;
            results.into_iter().next().unwrap_or_else(|| Err(error::late()))
        }
        .boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        self.produce(notifications).map(without_posts).boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        let (topic, record) = self.record(notification)?;
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let headers =
            record.headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
        let headers: String = headers.collect();
        Ok(format!("{topic}\n{}\n{headers}{}", text(&record.key), text(&record.value)))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl Kafka {
    /// One result for each.
    async fn produce(&self, notifications: &[Notification]) -> Vec<Result<(), SendError>> {
        let mut results: Vec<_> = notifications.iter().map(|_| Err(error::late())).collect();
        let mut by_topic: BTreeMap<String, Vec<(usize, Record)>> = BTreeMap::new();
        for (index, notification) in notifications.iter().enumerate() {
            match self.record(notification) {
                Ok((topic, record)) => by_topic.entry(topic).or_default().push((index, record)),
                Err(error) => results[index] = Err(error),
            }
        }
        let (mut lots, mut outage) = (Vec::new(), None);
        for (topic, records) in by_topic {
            // Each topic would wait for brokers that are away as long as the first.
            let refused = match outage.clone() {
                Some(error) => (records.into_iter().map(|(index, _)| index).collect(), error),
                None => match self.cluster.lots(&topic, records).await {
                    Ok(more) => {
                        lots.extend(more);
                        continue;
                    }
                    Err(refused) => refused,
                },
            };
            let (indexes, error): (Vec<usize>, SendError) = refused;
            outage = outage.or_else(|| error.is_outage().then(|| error.clone()));
            indexes.into_iter().for_each(|index| results[index] = Err(error.clone()));
        }
        let mut produced = stream::iter(lots).map(|lot: Lot| self.cluster.produce(lot)).buffer_unordered(LOTS_AT_ONCE);
        while let Some(ended) = produced.next().await {
            ended.into_iter().for_each(|(index, result)| results[index] = result);
        }
        results
    }

    fn record(&self, notification: &Notification) -> Result<(String, Record), SendError> {
        let context = InlineContext::new(notification);
        let unusable = |cause: String| SendError::new(Reason::Render, Retry::Never, cause);
        let topic = self.topic.render(&context).map_err(|cause| unusable(format!("cannot make the topic: {cause}")))?;
        check_topic(&topic).map_err(|problem| unusable(format!("the topic {problem}")))?;
        let key = match &self.key {
            Some(key) => key.render(&context).map_err(|cause| unusable(format!("cannot make the key: {cause}")))?,
            None => notification.dedup_key.as_deref().unwrap_or(&notification.alert.rule).to_owned(),
        };
        let key = key[..key.floor_char_boundary(KEY_BYTES_MAX)].as_bytes().to_vec();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("notification", notification.kind.name().to_owned()),
            ("uuid", notification.id.to_string()),
        ];
        let time = DateTime::from_timestamp_millis(notification.alert.time.as_millisecond());
        let record = Record {
            key: Some(key),
            value: Some(self.body.render_text(notification)?.into_bytes()),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
            timestamp: time.unwrap_or_default(),
        };
        Ok((topic, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let folders = Folders { base: Path::new("/"), state: Path::new("/") };
        for (more, cause) in [
            ("brokers = []", "`brokers` is empty"),
            ("brokers = [\"k:9092\"]\ntopic = \"a b\"", "`topic` is `a b`"),
            (
                "brokers = [\"k:9092\"]\nsasl = { mechanism = \"PLAIN\", user = \"u\", password = { file = \"/x\" } }",
                "clear text",
            ),
        ] {
            let config: KafkaConfig = toml::from_str(more).unwrap();
            let message = config.build(folders).err().unwrap().message;
            assert!(message.contains(cause), "{more}: {message}");
        }
    }

    #[test]
    fn a_value_cannot_make_a_topic_that_kafka_refuses() {
        for (value, expected) in
            [("Error", "Error"), ("Shell in a container", "Shell_in_a_container"), ("é/\n*", "____")]
        {
            assert_eq!(topic_part(value), expected);
            assert!(check_topic(&topic_part(value)).is_ok());
        }
        assert_eq!(topic_part(&"x".repeat(100_000)).len(), TOPIC_VALUE_CHARS_MAX);
        for topic in ["", ".", "..", "a b", "é", &"x".repeat(250)] {
            assert!(check_topic(topic).is_err(), "{topic}");
        }
    }
}
