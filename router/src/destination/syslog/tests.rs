use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::super::{Destination, Reason, Retry};
use super::*;

fn notification(rule: &str) -> Notification {
    Notification::of(json!({ "time": "2026-11-23T16:00:00Z", "rule": rule, "priority": "error" }))
}

fn syslog(address: impl std::fmt::Display, more: &str, base: &Path) -> Destination {
    let table = format!("type = \"syslog\"\nserver = \"{address}\"\n{more}");
    Destination::build("d", &toml::from_str(&table).unwrap(), base, base).unwrap()
}

/// One message with its count in front.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut count = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => count.push(char::from(digit)),
        }
    }
    let mut message = vec![0; count.parse().unwrap()];
    stream.read_exact(&mut message).await.unwrap();
    String::from_utf8(message).unwrap()
}

#[tokio::test]
async fn a_connection_serves_many_messages_and_one_that_was_closed_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let destination = syslog(listener.local_addr().unwrap(), "", Path::new(""));
    destination.send(&notification("first é")).await.unwrap();
    destination.send(&notification("second")).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(read(&mut stream).await.ends_with("] first é"));
    assert!(read(&mut stream).await.ends_with("] second"));
    drop(stream);
    destination.send(&notification("third")).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(read(&mut stream).await.ends_with("] third"));
    drop((stream, listener));
    let error = destination.send(&notification("fourth")).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Connect, Retry::Backoff));
}

#[tokio::test]
async fn over_tls_the_server_must_be_who_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let trusting = "transport = \"tls\"\ntls = { ca = \"ca.pem\" }";
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            match acceptor.accept(stream).await {
                Ok(mut stream) => seen.push(Some(read(&mut stream).await)),
                Err(_) => seen.push(None),
            }
        }
        seen
    });
    syslog(format!("localhost:{port}"), trusting, folder.path()).send(&notification("secret")).await.unwrap();
    let stranger = syslog(format!("127.0.0.1:{port}"), trusting, folder.path());
    let error = stranger.send(&notification("secret")).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Connect, Retry::Backoff));
    let seen = server.await.unwrap();
    assert!(seen[0].as_ref().is_some_and(|message| message.ends_with("] secret")) && seen[1].is_none(), "{seen:?}");
}

#[tokio::test]
async fn a_datagram_is_one_message_without_a_count() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let destination = syslog(socket.local_addr().unwrap(), "transport = \"udp\"", Path::new(""));
    destination.send(&notification("first")).await.unwrap();
    let mut bytes = [0; 2_048];
    let count = socket.recv(&mut bytes).await.unwrap();
    let text = std::str::from_utf8(&bytes[..count]).unwrap();
    assert!(
        text.starts_with("<131>1 2026-11-23T16:00:00.000000Z - tercel - alert [tercel@32473 id=")
            && text.ends_with("] first"),
        "{text}"
    );
}
