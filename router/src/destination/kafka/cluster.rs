//! The brokers of a cluster: connections, which topics there are, and one request for the records of one partition.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, SaslConfig};
use rskafka::record::Record;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::super::SendError;
use super::super::live::Live;
use super::error::{is_too_much, judge, late, no_topic};
use super::partition;

/// One request, with what is asked before it; also the first connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request is repeated within an attempt while a partition's leader moves.
const RETRY_TIME_MAX: Duration = Duration::from_secs(4);
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Partitions that are written to and keep a connection each. One more, and the one is closed that was not used for longest.
const PARTITIONS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Topics whose partitions are known; the same.
const TOPICS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// How long it is believed how many partitions a topic has, as by Kafka's own clients.
const TOPIC_AGE_MAX: Duration = Duration::from_mins(5);

/// What a broker may answer: the topics of a large cluster.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is asked for to connect.
pub(super) struct Access {
    /// `host:port` each.
    pub(super) brokers: Vec<String>,
    pub(super) tls: Option<Live<rustls::ClientConfig>>,
    pub(super) sasl: Option<Live<SaslConfig>>,
}

pub(super) struct Cluster {
    access: Access,
    compression: Compression,
    state: Mutex<State>,
}

struct State {
    /// As the access was when it was made.
    client: Option<(Secrets, Arc<Client>)>,
    topics: LruCache<String, Topic>,
    partitions: LruCache<Place, Arc<PartitionClient>>,
}

type Secrets = (Option<Arc<rustls::ClientConfig>>, Option<Arc<SaslConfig>>);

/// A topic and the number of one of its partitions.
type Place = (String, i32);

#[derive(Clone)]
struct Topic {
    partitions: Arc<[i32]>,
    known: Instant,
}

/// Records that go to one partition, each with its place among those that are to be sent.
pub(super) struct Lot {
    place: Place,
    records: Vec<(usize, Record)>,
}

/// How records ended, by their places.
pub(super) type Ended = Vec<(usize, Result<(), SendError>)>;

impl Cluster {
    pub(super) fn new(access: Access, compression: Compression) -> Self {
        let (topics, partitions) = (LruCache::new(TOPICS_MAX), LruCache::new(PARTITIONS_MAX));
        Self { access, compression, state: Mutex::new(State { client: None, topics, partitions }) }
    }

    /// The records of a topic by their partitions.
    ///
    /// # Errors
    /// The topic's partitions are not to be had; with the places of all records.
    pub(super) async fn lots(
        &self,
        topic: &str,
        records: Vec<(usize, Record)>,
    ) -> Result<Vec<Lot>, (Vec<usize>, SendError)> {
        let known = timeout(TIMEOUT, self.topic(topic)).await.unwrap_or_else(|_elapsed| Err(late()));
        let partitions = match known {
            Ok(topic) => topic.partitions,
            Err(error) => return Err((records.into_iter().map(|(index, _)| index).collect(), error)),
        };
        let mut lots: Vec<_> = partitions
            .iter()
            .map(|partition| Lot { place: (topic.to_owned(), *partition), records: Vec::new() })
            .collect();
        for (index, record) in records {
            let partition = partition::of(record.key.as_deref().unwrap_or_default(), lots.len());
            lots[partition].records.push((index, record));
        }
        lots.retain(|lot| !lot.records.is_empty());
        Ok(lots)
    }

    /// With one request; with more where the broker takes fewer at once.
    pub(super) async fn produce(&self, lot: Lot) -> Ended {
        let (mut ended, mut left) = (Vec::new(), vec![lot]);
        while let Some(Lot { place, mut records }) = left.pop() {
            let sent = records.iter().map(|(_, record)| record.clone()).collect();
            let result = match timeout(TIMEOUT, self.try_produce(&place, sent)).await {
                Ok(Err(error)) if is_too_much(&error) && records.len() > 1 => {
                    let second = records.split_off(records.len() / 2);
                    left.extend([Lot { place: place.clone(), records: second }, Lot { place, records }]);
                    continue;
                }
                Ok(result) => result.map_err(|error| judge(&error)),
                Err(_elapsed) => Err(late()),
            };
            if result.is_err() {
                self.forget(&place).await;
            }
            ended.extend(records.into_iter().map(|(index, _)| (index, result.clone())));
        }
        ended
    }

    async fn try_produce(&self, place: &Place, records: Vec<Record>) -> rskafka::client::error::Result<()> {
        let partition = self.partition(place).await?;
        partition.produce(records, self.compression).await.map(|_offsets| ())
    }

    async fn partition(&self, place: &Place) -> rskafka::client::error::Result<Arc<PartitionClient>> {
        let client = self.client().await?;
        if let Some(partition) = self.state.lock().await.partitions.get(place) {
            return Ok(Arc::clone(partition));
        }
        let (topic, number) = place;
        let partition = client.partition_client(topic.as_str(), *number, UnknownTopicHandling::Error).await?;
        let partition = Arc::new(partition);
        self.state.lock().await.partitions.put(place.clone(), Arc::clone(&partition));
        Ok(partition)
    }

    async fn topic(&self, name: &str) -> Result<Topic, SendError> {
        let known = self.state.lock().await.topics.get(name).cloned();
        if let Some(topic) = known.filter(|topic| topic.known.elapsed() < TOPIC_AGE_MAX) {
            return Ok(topic);
        }
        let client = self.client().await.map_err(|error| judge(&error))?;
        let topics = client.list_topics().await.map_err(|error| judge(&error))?;
        let Some(found) = topics.into_iter().find(|topic| topic.name == name && !topic.partitions.is_empty()) else {
            self.state.lock().await.topics.pop(name);
            // To be asked for by name makes a topic where the cluster does so.
            let made = client.partition_client(name, 0, UnknownTopicHandling::Error).await;
            return Err(made.map_or_else(|error| judge(&error), |_partition| no_topic(name)));
        };
        let topic = Topic { partitions: found.partitions.into_iter().collect(), known: Instant::now() };
        self.state.lock().await.topics.put(name.to_owned(), topic.clone());
        Ok(topic)
    }

    /// The one there is, or another where a certificate or password has changed.
    async fn client(&self) -> rskafka::client::error::Result<Arc<Client>> {
        let secrets = (self.access.tls.as_ref().map(Live::current), self.access.sasl.as_ref().map(Live::current));
        if let Some((used, client)) = &self.state.lock().await.client
            && is_same(used, &secrets)
        {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.connect(&secrets).await?);
        let mut state = self.state.lock().await;
        state.partitions.clear();
        state.client = Some((secrets, Arc::clone(&client)));
        Ok(client)
    }

    async fn connect(&self, (tls, sasl): &Secrets) -> rskafka::client::error::Result<Client> {
        let backoff = BackoffConfig {
            init_backoff: RETRY_WAIT_MIN,
            max_backoff: RETRY_WAIT_MAX,
            deadline: Some(RETRY_TIME_MAX),
            ..BackoffConfig::default()
        };
        let mut builder = ClientBuilder::new(self.access.brokers.clone())
            .client_id("tercel-router")
            .max_message_size(ANSWER_BYTES_MAX)
            .backoff_config(backoff);
        if let Some(tls) = tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(sasl) = sasl {
            builder = builder.sasl_config(SaslConfig::clone(sasl));
        }
        builder.build().await
    }

    /// What was known of it may be what was wrong.
    async fn forget(&self, place: &Place) {
        let mut state = self.state.lock().await;
        state.partitions.pop(place);
        state.topics.pop(&place.0);
    }
}

fn is_same(one: &Secrets, other: &Secrets) -> bool {
    let same_tls = match (&one.0, &other.0) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let same_sasl = match (&one.1, &other.1) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    same_tls && same_sasl
}
