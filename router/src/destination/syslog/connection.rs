//! The way to a server of syslog.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::live::Live;
use super::super::server::Server;
use super::super::{Reason, Retry, SendError};
use super::Transport;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) enum Connection {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

impl Connection {
    pub(super) async fn open(
        server: &Server,
        transport: Transport,
        tls: Option<&Live<rustls::ClientConfig>>,
    ) -> Result<Self, SendError> {
        let opening = async {
            match (transport, tls) {
                (Transport::Udp, _) => datagrams(server).await.map(Self::Datagrams),
                (_, None) => Ok(Self::Stream(Box::new(stream(server).await?))),
                (_, Some(tls)) => {
                    let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
                    let connector = TlsConnector::from(Arc::clone(&tls.current()));
                    Ok(Self::Stream(Box::new(connector.connect(name, stream(server).await?).await?)))
                }
            }
        };
        let opened =
            timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|error| SendError::new(Reason::Connect, Retry::Backoff, format!("cannot connect: {error}")))
    }

    /// Whether the other end has not closed it. A server of syslog says nothing, so there is nothing to be read.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self::Stream(stream) = self else { return true };
        // So that the runtime hears of an end that was there before.
        tokio::task::yield_now().await;
        let mut byte = [0];
        let reading = pin!(stream.read(&mut byte));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(read) => read.is_ok_and(|count| count > 0),
        }
    }

    /// One message: a datagram, or its length, a space and itself.
    pub(super) async fn write(&mut self, message: &str) -> Result<(), SendError> {
        let writing = async {
            match self {
                Self::Datagrams(socket) => socket.send(message.as_bytes()).await.map(drop),
                Self::Stream(stream) => {
                    stream.write_all(format!("{} {message}", message.len()).as_bytes()).await?;
                    stream.flush().await
                }
            }
        };
        let written =
            timeout(WRITE_TIMEOUT, writing).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
        written
            .map_err(|error| SendError::new(Reason::Connect, Retry::Backoff, format!("the connection failed: {error}")))
    }
}

async fn stream(server: &Server) -> io::Result<TcpStream> {
    TcpStream::connect((&*server.host, server.port)).await
}

async fn datagrams(server: &Server) -> io::Result<UdpSocket> {
    let address = lookup_host((&*server.host, server.port)).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
