//! The addresses of one cluster: asked in turn, and one that does not answer is left alone for a while.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{RequestBuilder, StatusCode, Url};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;

use super::super::http::{explained, judge, parse_url, read_answer, transport_error};
use super::super::{Problem, SendError};
use crate::secret::PlainOrSecret;

/// The most addresses of one cluster. A request that none of them answers has asked all of them.
const NODES_MAX: usize = 16;

/// How long a node that did not answer is asked only if no other one answers.
const REST: Duration = Duration::from_secs(30);

/// `url`: one address or a list.
#[derive(Debug, Clone)]
pub(super) struct Urls(Vec<PlainOrSecret>);

pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// Which one is first in turn.
    turn: AtomicUsize,
}

struct Node {
    url: Url,
    rests_until: Mutex<Option<Instant>>,
}

/// Why no node gave an answer of the 200s.
pub(super) struct Refusal {
    pub(super) error: SendError,
    /// What the last node said, if one did.
    pub(super) status: Option<StatusCode>,
    pub(super) answer: Vec<u8>,
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Self { error, status: None, answer: Vec::new() }
    }
}

impl Nodes {
    pub(super) fn new(urls: Vec<Url>) -> Self {
        let nodes = urls.into_iter().map(|url| Node { url, rests_until: Mutex::default() }).collect();
        Self { nodes, turn: AtomicUsize::new(0) }
    }

    /// The answer of the first node that takes the request. One that cannot be reached, or says that it cannot now, hands
    /// on to the next; all else is the cluster's word. `path`: what is added to the node's address.
    pub(super) async fn ask(
        &self,
        path: &str,
        query: &[(&str, &str)],
        request: impl Fn(Url) -> RequestBuilder,
        answer_bytes_max: usize,
    ) -> Result<Vec<u8>, Refusal> {
        let mut last = None;
        for node in self.in_turn(Instant::now()) {
            let refusal = match ask_one(request(extended(&node.url, path, query)), answer_bytes_max).await {
                Ok(answer) => {
                    node.rest(None);
                    return Ok(answer);
                }
                Err(refusal) => refusal,
            };
            if !refusal.error.is_outage() {
                return Err(refusal);
            }
            node.rest(Some(Instant::now() + REST));
            last = Some(refusal);
        }
        Err(last.map_or_else(
            || SendError::new(super::Reason::Other, super::Retry::Never, "there is no node").into(),
            |last| self.no_node(last),
        ))
    }

    /// Those that rest come last.
    fn in_turn(&self, now: Instant) -> Vec<&Node> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len().max(1);
        let (before, after) = self.nodes.split_at(turn);
        let mut nodes: Vec<_> = after.iter().chain(before).collect();
        nodes.sort_by_key(|node| node.rests(now));
        nodes
    }

    fn no_node(&self, last: Refusal) -> Refusal {
        match self.nodes.len() {
            0 | 1 => last,
            count => {
                let detail = format!("none of {count} nodes; the last one: {}", last.error);
                Refusal { error: SendError::new(last.error.reason, last.error.retry, detail), ..last }
            }
        }
    }
}

impl Node {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| until > now)
    }

    fn rest(&self, until: Option<Instant>) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

async fn ask_one(request: RequestBuilder, answer_bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let response = request.send().await.map_err(transport_error)?;
    let status = response.status();
    let verdict = judge(status, response.headers(), Timestamp::now());
    let answer = read_answer(response, answer_bytes_max).await;
    match verdict {
        Ok(()) => Ok(answer?),
        Err(error) => {
            let answer = answer.unwrap_or_default();
            let error = match kind_of(&answer) {
                Some(kind) => explained(error, &kind),
                None => error,
            };
            Err(Refusal { error, status: Some(status), answer })
        }
    }
}

/// The error's type: the one part of an answer that the server words itself.
fn kind_of(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    Some(answer.pointer("/error/type")?.as_str()?.to_owned())
}

fn extended(url: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

impl Urls {
    pub(super) fn resolve(&self, base: &Path) -> Result<Vec<Url>, Problem> {
        self.0.iter().map(|url| parse_url("url", url, base)).collect()
    }

    /// Puts `text` in the place of what is kept as a secret.
    pub(crate) fn withhold(&mut self, text: &'static str) {
        self.0.iter_mut().for_each(|url| url.withhold(text));
    }
}

impl JsonSchema for Urls {
    fn schema_name() -> Cow<'static, str> {
        "Urls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<PlainOrSecret>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": NODES_MAX}]})
    }
}

struct UrlsVisitor;

impl<'de> Visitor<'de> for UrlsVisitor {
    type Value = Urls;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an address, or a list of the addresses of one cluster's nodes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Urls, E> {
        PlainOrSecret::deserialize(serde::de::value::StrDeserializer::new(text)).map(|url| Urls(vec![url]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Urls, A::Error> {
        PlainOrSecret::deserialize(MapAccessDeserializer::new(map)).map(|url| Urls(vec![url]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Urls, A::Error> {
        let urls = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        match urls.len() {
            1..=NODES_MAX => Ok(Urls(urls)),
            count => {
                Err(A::Error::custom(format_args!("`url` lists {count} addresses; 1 at least, {NODES_MAX} at most")))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Urls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u16) -> Nodes {
        Nodes::new((1..=count).map(|port| Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap()).collect())
    }

    fn order(nodes: &Nodes, now: Instant) -> Vec<u16> {
        nodes.in_turn(now).iter().map(|node| node.url.port().unwrap()).collect()
    }

    #[test]
    fn nodes_take_turns_and_those_that_did_not_answer_come_last_for_a_while() {
        let (nodes, now) = (nodes(3), Instant::now());
        assert_eq!(order(&nodes, now), [1, 2, 3]);
        assert_eq!(order(&nodes, now), [2, 3, 1]);
        nodes.nodes[2].rest(Some(now + REST));
        assert_eq!(order(&nodes, now), [1, 2, 3], "its turn, but it rests");
        assert_eq!(order(&nodes, now), [1, 2, 3]);
        assert_eq!(order(&nodes, now + REST), [2, 3, 1], "it has rested");
    }

    #[test]
    fn one_address_or_several_may_be_written_each_plain_or_secret() {
        #[derive(Debug, Deserialize)]
        struct Table {
            url: Urls,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map_err(|error| error.message().to_owned());
        assert_eq!(read("url = \"http://a/\"").unwrap().url.0.len(), 1);
        assert_eq!(read("url = { env = \"A\" }").unwrap().url.0.len(), 1);
        assert_eq!(read("url = [\"http://a/\", { env = \"B\" }]").unwrap().url.0.len(), 2);
        assert!(read("url = []").unwrap_err().contains("1 at least, 16 at most"));
        assert!(read("url = 7").unwrap_err().contains("a list of the addresses"));
        assert!(read("url = \"\"").unwrap_err().contains("must not be empty"));
    }

    #[test]
    fn the_address_may_have_a_path_of_its_own() {
        for (url, expected) in [("http://h", "/_bulk"), ("http://h/", "/_bulk"), ("http://h/a/", "/a/_bulk")] {
            assert_eq!(extended(&Url::parse(url).unwrap(), "_bulk", &[("a", "b")]).path(), expected);
        }
    }
}
