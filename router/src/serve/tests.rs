use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;

const CALLER: Caller = Caller::Process { uid: 4_000_000, gid: 4_000_000, pid: None };

struct Conversation {
    theirs: DuplexStream,
    metrics: Arc<Metrics>,
    ended: tokio::task::JoinHandle<()>,
}

/// A house with one connection, behind which nothing is served.
fn converse(buffer: usize) -> Conversation {
    let metrics = Arc::new(Metrics::new());
    let house = House::new(&metrics);
    let service = Service { ingest: None, admin: None, access: Arc::new(Access::new(None, None)) };
    let (ours, theirs) = duplex(buffer);
    let ended = tokio::spawn(async move { house.converse(&service, Box::new(ours), CALLER).await });
    Conversation { theirs, metrics, ended }
}

impl Conversation {
    #[track_caller]
    fn check(&self, expected: &[Rejected]) {
        for reason in [Rejected::Slow, Rejected::Head] {
            let line = format!("tercel_router_ingest_rejected_total{{reason=\"{}\"}} ", reason.name());
            let text = self.metrics.text();
            let count: usize = text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap();
            assert_eq!(count, expected.iter().filter(|one| **one == reason).count(), "{reason:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_given_up_and_counted() {
    let mut slow = converse(1024);
    let begun = Instant::now();
    for byte in b"POST / HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x')) {
        if slow.ended.is_finished() || slow.theirs.write_u8(*byte).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    (&mut slow.ended).await.unwrap();
    assert!(begun.elapsed() <= HEAD_TIME_MAX + Duration::from_secs(2), "{:?}", begun.elapsed());
    slow.check(&[Rejected::Slow]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_blame() {
    let mut idle = converse(1024);
    idle.theirs.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    idle.theirs.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    (&mut idle.ended).await.unwrap();
    idle.check(&[]);

    let mut silent = converse(1024);
    (&mut silent.ended).await.unwrap();
    silent.check(&[]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answer_is_left() {
    let mut deaf = converse(64);
    let asking = tokio::spawn(async move {
        let request = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
        while deaf.theirs.write_all(request).await.is_ok() {}
        deaf
    });
    let mut deaf = asking.await.unwrap();
    (&mut deaf.ended).await.unwrap();
    deaf.check(&[Rejected::Slow]);
}

#[tokio::test]
async fn what_is_no_http_and_heads_that_are_too_large_are_refused_and_counted() {
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for (bad, status) in [
        ("\x16\x03\x01 hello\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (&large, 431),
        (&many, 431),
    ] {
        let mut conversation = converse(64 * 1024);
        conversation.theirs.write_all(bad.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        conversation.theirs.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bad:.40}: {answer}");
        (&mut conversation.ended).await.unwrap();
        conversation.check(&[Rejected::Head]);
    }
}
