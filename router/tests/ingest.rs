//! From the socket to the answer: what senders send, well-formed and not, to a whole router.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tercel_router::config::{TlsSettings, Token};
use tercel_router::{Router, Settings};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Longer than any answer of a router that is well.
const SOON: Duration = Duration::from_secs(10);

const ROUTING: &str = "[[route]]\nto = [\"archive\"]\n[enrich]\ncustomfields = { cluster = \"test\" }\n";

/// As Falco's `http_output` posts it.
const FALCO: &str = include_str!("fixtures/falco-alerts.jsonl");

/// As Falcosidekick's webhook passes it on: with an id of its own, version 4.
const FALCOSIDEKICK: &str = r#"{"uuid":"a3bb189e-8bf9-4888-9912-ace4e6543002",
    "output":"16:31:56.746609046: Error File below a known binary directory opened for writing","priority":"Error",
    "rule":"Write below binary dir","time":"2001-01-01T01:10:00Z","source":"syscalls",
    "output_fields":{"evt.time":1507591916746609046,"fd.name":"/bin/hack","proc.cmdline":"touch /bin/hack","user.name":"root"},
    "tags":null,"hostname":"test-host"}"#;

struct TestRouter {
    router: Router,
    folder: TempDir,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl TestRouter {
    async fn start(change: impl FnOnce(&Path, &mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut settings = Settings {
            routing: folder.path().join("routing.toml"),
            listen: Some(free),
            unix: Some(folder.path().join("router.sock")),
            state: folder.path().join("state"),
            admin: free,
            ..Settings::default()
        };
        std::fs::write(&settings.routing, ROUTING).unwrap();
        change(folder.path(), &mut settings);
        Self { router: Router::start(settings).await.unwrap(), folder }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.router.ingest_addr().unwrap()).await.unwrap()
    }

    /// A whole request's answer.
    async fn ask(&self, request: &[u8]) -> Answer {
        ask(&mut self.connect().await, request).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(post(path, "", body.as_bytes()).as_slice()).await
    }

    /// Sum of a metric's lines that begin with this.
    async fn metric(&self, name: &str) -> u64 {
        let mut admin = TcpStream::connect(self.router.admin_addr()).await.unwrap();
        let text = ask(&mut admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.text;
        let lines: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix(&format!("tercel_router_{name}"))).collect();
        assert!(!lines.is_empty(), "{name} is not in\n{text}");
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    async fn rejected(&self, reason: &str) -> u64 {
        self.metric(&format!("ingest_rejected_total{{reason=\"{reason}\"}}")).await
    }

    /// What the archive has by now.
    async fn archived(&self, count: usize) -> Vec<Value> {
        let path = self.folder.path().join("state/archive/alerts.ndjson");
        for _ in 0..200 {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.ends_with('\n') && text.lines().count() >= count {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the archive has not got {count} alerts: {:?}", std::fs::read_to_string(path));
    }
}

/// `headers`: more of them, each with its line end.
fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> Answer {
    // The router may have answered and gone before it has read all.
    drop(stream.write_all(request).await);
    drop(stream.flush().await);
    let mut bytes = Vec::new();
    drop(timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("an answer, or the end"));
    let text = String::from_utf8(bytes).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, text }
}

fn alert(rule: &str) -> Value {
    json!({"time": "2026-01-01T00:00:00Z", "rule": rule, "priority": "error"})
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_falco_and_falcosidekick_send_is_taken_as_it_is() {
    let router = TestRouter::start(|_, _| ()).await;
    let falco: Vec<_> = FALCO.lines().collect();
    for line in &falco {
        assert_eq!(router.post("/", line).await.status, 202, "{line}");
    }
    assert_eq!(router.post("/", FALCOSIDEKICK).await.status, 202);
    // `json_include_output_fields_property: false` and its like.
    for missing in ["output_fields", "output", "tags"] {
        let mut bare: Value = serde_json::from_str(falco[0]).unwrap();
        bare.as_object_mut().unwrap().remove(missing);
        assert_eq!(router.post("/", &bare.to_string()).await.status, 202, "without {missing}");
    }
    let archived = router.archived(falco.len() + 4).await;
    for (line, kept) in falco.iter().zip(&archived) {
        let mut sent: Value = serde_json::from_str(line).unwrap();
        sent["output_fields"]["cluster"] = "test".into();
        sent["uuid"] = kept["uuid"].clone();
        sent["tags"].as_array_mut().unwrap().sort_by_key(|tag| tag.as_str().map(str::to_owned));
        assert_eq!(&sent, kept);
    }
    let forwarded = &archived[falco.len()];
    assert_eq!(forwarded["original_uuid"], "a3bb189e-8bf9-4888-9912-ace4e6543002");
    assert_eq!(forwarded["uuid"].as_str().unwrap().as_bytes()[14], b'7');
    assert_eq!(forwarded["output_fields"]["evt.time"], json!(1_507_591_916_746_609_046_u64));
}

#[tokio::test]
async fn probes_that_were_written_for_falcosidekick_find_what_they_look_for() {
    let router = TestRouter::start(|_, _| ()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    let ping = router.ask(&get("/ping")).await;
    assert!(ping.status == 200 && ping.text.ends_with("\r\n\r\npong\n"), "{ping:?}");
    let health = router.ask(&get("/healthz")).await;
    assert!(health.status == 200 && health.text.ends_with("{\"status\": \"ok\"}\n"), "{health:?}");
    assert_eq!(router.post("/test", "").await.status, 404);
    assert_eq!(router.post("/anything", FALCOSIDEKICK).await.status, 404);
    assert_eq!(router.rejected("path").await, 2);
}

#[tokio::test]
async fn gzip_is_unpacked_and_a_bomb_is_refused() {
    let router = TestRouter::start(|_, _| ()).await;
    let lines = format!("{}\n{}\n", alert("a"), alert("b"));
    let answer = router.ask(&post("/v1/alerts", "content-encoding: gzip\r\n", &gzip(lines.as_bytes()))).await;
    assert!(answer.status == 202 && answer.text.contains("\"accepted\":2"), "{answer:?}");
    assert_eq!(router.metric("ingest_bytes_total ").await, lines.len() as u64);
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    for (encoding, body, status, reason) in [
        ("gzip", &bomb[..], 413, "body_size"),
        ("gzip", lines.as_bytes(), 400, "encoding"),
        ("br", lines.as_bytes(), 415, "encoding"),
    ] {
        let before = router.rejected(reason).await;
        let answer = router.ask(&post("/", &format!("content-encoding: {encoding}\r\n"), body)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(router.rejected(reason).await, before + 1, "{reason}");
    }
}

#[tokio::test]
async fn lengths_that_lie_and_broken_chunks_take_nothing_and_hurt_nobody() {
    let router = TestRouter::start(|_, _| ()).await;
    let body = alert("a").to_string();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(router.ask(chunked.as_bytes()).await.status, 202);
    let half = body.len() / 2;
    for (bad, statuses) in [
        (format!("{head}content-length: {half}\r\n\r\n{body}"), &[400][..]),
        (format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"), &[400]),
        (format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{body}"), &[400]),
        (format!("{head}content-length: 99999999999\r\n\r\n{body}"), &[413]),
        (format!("{head}content-length: 99999999999999999999999\r\n\r\n{body}"), &[400]),
        (format!("{head}transfer-encoding: gzip\r\n\r\n{body}"), &[400, 501]),
    ] {
        let answer = router.ask(bad.as_bytes()).await;
        assert!(statuses.contains(&answer.status), "{bad}: {answer:?}");
    }
    // More is promised than comes, and the sender hangs up.
    let mut stream = router.connect().await;
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 1).as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(router.post("/", &body).await.status, 202);
    assert_eq!(router.metric("alerts_received_total").await, 2);
    assert_eq!(router.metric("ingest_in_flight ").await, 0);
}

#[tokio::test]
async fn who_may_not_administer_is_not_told_what_there_is() {
    let router = TestRouter::start(|_, settings| settings.token = Some(Token::new("opensesame"))).await;
    let get = |token: &str| {
        format!("GET /v1/nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n")
    };
    let admin = async |token: &str| {
        let mut stream = TcpStream::connect(router.router.admin_addr()).await.unwrap();
        ask(&mut stream, get(token).as_bytes()).await.status
    };
    assert_eq!((admin("wrong").await, admin("opensesame").await), (401, 404));
    // The socket knows who is there: this process's own user.
    let mut socket = UnixStream::connect(router.router.unix_path().unwrap()).await.unwrap();
    assert_eq!(ask(&mut socket, get("wrong").as_bytes()).await.status, 404);
}

#[tokio::test]
async fn over_tls_senders_show_a_certificate() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let sign = |name: &str| {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap(), key)
    };
    let (server, server_key) = sign("router.test");
    let router = TestRouter::start(|folder, settings| {
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        settings.tls = Some(TlsSettings {
            certificate: write("server.pem", server.pem()),
            key: write("server.key", server_key.serialize_pem()),
            client_ca: Some(write("ca.pem", authority.pem())),
        });
    })
    .await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let builder = || rustls::ClientConfig::builder().with_root_certificates(roots.clone());
    let (client, client_key) = sign("sensor.test");
    let shown = builder().with_client_auth_cert(vec![client.der().clone()], client_key.into()).unwrap();
    let send = async |config: rustls::ClientConfig| {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("router.test").unwrap();
        let Ok(mut stream) = connector.connect(name, router.connect().await).await else { return 0 };
        ask(&mut stream, &post("/", "", alert("a").to_string().as_bytes())).await.status
    };
    assert_eq!(send(shown).await, 202);
    assert_eq!(send(builder().with_no_client_auth()).await, 0);
    assert_eq!(router.post("/", &alert("a").to_string()).await.status, 0, "plain");
    assert_eq!(router.rejected("tls").await, 2);
}
