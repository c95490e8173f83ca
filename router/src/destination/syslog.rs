//! Syslog: messages of RFC 5424, over TCP or TLS with octet counting (RFC 6587, RFC 5425), or over UDP (RFC 5426).
//!
//! Nobody acknowledges a message of syslog. Delivered means that the kernel took it for a connection whose other end was there a
//! moment before; what is on its way when that end goes is lost, and with UDP nobody would know.

mod cef;
mod connection;
mod message;

use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::live::Live;
use super::server::{Server, TlsSettings};
use super::service::Service;
use super::settings::{Folders, Settings};
use super::terms::Habit;
use super::{Notification, Problem, SendError};

use connection::Connection;
use message::Facility;

/// Bounds on `max_bytes`: what every receiver must take, and what one datagram holds.
const MESSAGE_BYTES_LEAST: usize = 480;
const MESSAGE_BYTES_MOST: usize = 65_000;

/// What rsyslog takes unless told otherwise.
const MESSAGE_BYTES_DEFAULT: usize = 8 * 1024;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyslogConfig {
    /// The server, with its port: 514, or 6514 with TLS.
    server: Server,
    #[serde(default)]
    transport: Transport,
    /// Whom to trust.
    #[serde(default)]
    tls: TlsSettings,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    facility: Facility,
    /// The longest message; 8,192 bytes unless told otherwise.
    max_bytes: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Udp,
    #[default]
    Tcp,
    Tls,
}

/// What follows the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Rule and output; the fields that matter most are structured data.
    #[default]
    Text,
    /// The alert.
    Json,
    /// `ArcSight`'s Common Event Format.
    Cef,
}

struct Syslog {
    server: Server,
    transport: Transport,
    tls: Option<Live<rustls::ClientConfig>>,
    format: Format,
    facility: Facility,
    bytes_max: usize,
    /// `None`: there is none, or it broke.
    connection: Mutex<Option<Connection>>,
}

impl Settings for SyslogConfig {
    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let bytes_max = self.max_bytes.unwrap_or(MESSAGE_BYTES_DEFAULT);
        if !(MESSAGE_BYTES_LEAST..=MESSAGE_BYTES_MOST).contains(&bytes_max) {
            return Err(Problem::new(format!(
                "`max_bytes` is {bytes_max}; {MESSAGE_BYTES_LEAST} at least, {MESSAGE_BYTES_MOST} at most"
            )));
        }
        Ok(Box::new(Syslog {
            server: self.server.clone(),
            transport: self.transport,
            tls: (self.transport == Transport::Tls).then(|| self.client(base)).transpose()?,
            format: self.format,
            facility: self.facility,
            bytes_max,
            connection: Mutex::default(),
        }))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    fn withhold_secrets(&mut self) {
        // Trust plays no part in what a message looks like.
        (self.tls, self.transport) = (TlsSettings::default(), Transport::Tcp);
    }
}

impl SyslogConfig {
    fn client(&self, base: &Path) -> Result<Live<rustls::ClientConfig>, Problem> {
        let (tls, base) = (self.tls.clone(), base.to_owned());
        Live::new(tls.files(&base), move || tls.client(&base))
    }
}

impl Service for Syslog {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        async {
            let message = self.message(notification);
            let mut place = self.connection.lock().await;
            // Taken out: an attempt that is given up in the middle of a message leaves no connection behind.
            let mut connection = match reuse(place.take()).await {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            connection.write(&message).await?;
            *place = Some(connection);
            Ok(())
        }
        .boxed()
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(self.message(notification))
    }
}

impl Syslog {
    async fn connect(&self) -> Result<Connection, SendError> {
        Connection::open(&self.server, self.transport, self.tls.as_ref()).await
    }

    fn message(&self, notification: &Notification) -> String {
        message::message(notification, self.facility, self.format, self.bytes_max)
    }
}

/// The last connection, unless the other end closed it.
async fn reuse(last: Option<Connection>) -> Option<Connection> {
    let mut connection = last?;
    connection.is_open().await.then_some(connection)
}

#[cfg(test)]
mod tests;
