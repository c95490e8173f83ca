use std::sync::{Arc, Mutex};

use tercel_alert::Alert;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use super::*;
use crate::emit::{Bound, Peer, queue};

/// Status line, further headers, body.
type Reply = (&'static str, String, String);

/// A queue that is closed, with alerts of the rules `r0`, `r1`, …
fn queued(count: usize, metrics: &Metrics) -> Alerts {
    let (mut queue, alerts) = queue(Bound::default(), metrics);
    for number in 0..count {
        let text = format!(r#"{{"time":"2026-01-01T00:00:00Z","rule":"r{number}","priority":"info"}}"#);
        queue.push(&serde_json::from_str(&text).unwrap());
    }
    alerts
}

/// Reads one request and answers it as told; the request.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: impl FnOnce(&str) -> Reply) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, content)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if content.len() == length.parse::<usize>().unwrap() {
                let (status, headers, body) = reply(content);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}");
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request ended early: {text}");
        request.extend_from_slice(&buffer[..read]);
    }
}

/// Sends `count` alerts to a service at this path; every request, when all have their outcome.
async fn exchange(path: &str, count: usize, metrics: &Metrics, service: impl FnMut(&str) -> Reply) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let client = Client::tcp(url.parse().unwrap(), Some(Token::new("s3cret").unwrap())).unwrap();
    let (requests, service) = (Mutex::new(Vec::new()), Mutex::new(service));
    let serve = async {
        loop {
            let stream = listener.accept().await.unwrap().0;
            let request = answer(stream, |content| (service.lock().unwrap())(content)).await;
            requests.lock().unwrap().push(request);
        }
    };
    tokio::select! {
        () = run(&client, queued(count, metrics), metrics) => {}
        () = serve => {}
    }
    requests.into_inner().unwrap()
}

fn reply(status: &'static str, body: &str) -> Reply {
    (status, "retry-after: 0\r\n".to_owned(), body.to_owned())
}

/// A service that gives these replies, one after the other.
fn script(replies: &[(&'static str, &str)]) -> impl FnMut(&str) -> Reply {
    let mut replies: std::collections::VecDeque<_> = replies.iter().map(|(status, body)| reply(status, body)).collect();
    move |_| replies.pop_front().expect("no further request")
}

/// The rules of the alerts in a request.
fn rules(content: &str) -> Vec<String> {
    content.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap().rule).collect()
}

/// (acknowledged, refused, rejected); and nothing is left.
fn outcome(metrics: &Metrics) -> (u64, u64, u64) {
    let balance = metrics.alerts.balance();
    assert_eq!((balance.queued, balance.queue_bytes), (0, 0));
    assert_eq!(balance.made, balance.acknowledged + balance.dropped);
    (balance.acknowledged, metrics.alerts.dropped(Reason::Refused), metrics.alerts.dropped(Reason::Rejected))
}

#[tokio::test]
async fn a_batch_is_sent_again_until_it_is_taken_and_what_was_rejected_is_counted() {
    let metrics = Metrics::new().unwrap();
    let taken = r#"{"accepted":2,"rejected":[{"line":2,"code":"bad","message":"m"}]}"#;
    let answers = [("503 Service Unavailable", ""), ("202 Accepted", taken)];
    let requests = exchange("/v1/alerts", 3, &metrics, script(&answers)).await;
    assert!(requests[0].starts_with("POST /v1/alerts ") && requests[0].contains("authorization: Bearer s3cret"));
    assert_eq!(requests[0].matches("\"rule\":").count(), 3);
    assert_eq!(requests[0], requests[1]);
    assert_eq!((outcome(&metrics), metrics.retries.get()), ((2, 0, 1), 1));
}

#[tokio::test]
async fn an_alert_in_flight_is_still_queued() {
    let metrics = Metrics::new().unwrap();
    let seen = Mutex::new(Vec::new());
    exchange("/v1/alerts", 2, &metrics, |_| {
        seen.lock().unwrap().push(metrics.alerts.balance().queued);
        reply(if seen.lock().unwrap().len() == 1 { "500 x" } else { "202 Accepted" }, "{}")
    })
    .await;
    assert_eq!((seen.into_inner().unwrap(), outcome(&metrics)), (vec![2, 2], (2, 0, 0)));
}

#[tokio::test]
async fn another_path_gets_one_alert_per_request_and_a_refusal_is_final() {
    let metrics = Metrics::new().unwrap();
    let requests = exchange("/", 2, &metrics, script(&[("400 Bad Request", ""), ("200 OK", "ok")])).await;
    assert!(requests[0].contains("\"r0\"") && !requests[0].contains("\"r1\"") && requests[1].contains("\"r1\""));
    assert_eq!((outcome(&metrics), metrics.retries.get()), ((1, 1, 0), 0));
}

#[tokio::test]
async fn one_alert_that_nobody_bears_does_not_cost_the_others_nor_their_order() {
    for status in ["400 Bad Request", "413 Payload Too Large"] {
        let metrics = Metrics::new().unwrap();
        let taken = Mutex::new(Vec::new());
        exchange("/v1/alerts", 100, &metrics, |content| {
            let rules = rules(content);
            if rules.contains(&"r41".to_owned()) {
                return reply(status, "");
            }
            taken.lock().unwrap().extend(rules);
            reply("202 Accepted", "{}")
        })
        .await;
        let others: Vec<_> = (0..100).filter(|number| *number != 41).map(|number| format!("r{number}")).collect();
        assert_eq!((taken.into_inner().unwrap(), outcome(&metrics)), (others, (99, 1, 0)), "{status}");
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_arrives_in_parts() {
    let metrics = Metrics::new().unwrap();
    let requests = exchange("/v1/alerts", 64, &metrics, |content| {
        if rules(content).len() > 10 { reply("413 Payload Too Large", "") } else { reply("202 Accepted", "{}") }
    })
    .await;
    assert_eq!((requests.len(), outcome(&metrics)), (15, (64, 0, 0)), "1 + 2 + 4 refused, 8 taken");
}

#[tokio::test]
async fn a_refusal_of_the_sender_is_not_tried_in_parts() {
    let metrics = Metrics::new().unwrap();
    let requests = exchange("/v1/alerts", 100, &metrics, script(&[("401 Unauthorized", "")])).await;
    assert_eq!((requests.len(), outcome(&metrics)), (1, (0, 100, 0)));
}

#[tokio::test]
async fn a_batch_of_which_the_answer_rejects_every_alert_is_not_tried_in_parts() {
    let metrics = Metrics::new().unwrap();
    let answer = r#"{"accepted":0,"rejected":[{"line":1}],"rejected_in_all":120}"#;
    let requests = exchange("/v1/alerts", 120, &metrics, script(&[("400 Bad Request", answer)])).await;
    assert_eq!((requests.len(), outcome(&metrics)), (1, (0, 0, 120)));
}

#[tokio::test]
async fn rejections_beyond_those_that_the_answer_lists_are_counted_too() {
    let metrics = Metrics::new().unwrap();
    let answer = r#"{"accepted":20,"rejected":[{"line":1},{"line":2}],"rejected_in_all":180}"#;
    exchange("/v1/alerts", 200, &metrics, script(&[("202 Accepted", answer)])).await;
    assert_eq!(outcome(&metrics), (20, 0, 180));
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept_in_seconds_and_as_a_date() {
    let in_two_seconds = || {
        let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap()
    };
    for is_date in [false, true] {
        let metrics = Metrics::new().unwrap();
        let times = Mutex::new(Vec::new());
        exchange("/v1/alerts", 1, &metrics, |_| {
            let mut times = times.lock().unwrap();
            times.push(Instant::now());
            let status = if times.len() == 1 { "429 Too Many Requests" } else { "202 Accepted" };
            let after = if is_date { in_two_seconds() } else { "1".to_owned() };
            (status, format!("retry-after: {after}\r\n"), String::new())
        })
        .await;
        let times = times.into_inner().unwrap();
        // The date has whole seconds: of two seconds at least one is left.
        assert!(times[1] - times[0] > std::time::Duration::from_millis(900), "{times:?}");
        assert_eq!((outcome(&metrics), metrics.retries.get()), ((1, 0, 0), 1));
    }
}

#[tokio::test]
async fn more_than_one_request_holds_comes_in_several_in_order() {
    let metrics = Metrics::new().unwrap();
    let requests =
        exchange("/v1/alerts", BATCH_ALERTS_MAX + 1, &metrics, script(&[("202 a", ""), ("202 a", "")])).await;
    let content: Vec<_> = requests.iter().map(|request| rules(request.split_once("\r\n\r\n").unwrap().1)).collect();
    assert_eq!((content[0].len(), content[1].clone()), (BATCH_ALERTS_MAX, vec!["r256".to_owned()]));
    assert_eq!(outcome(&metrics), (257, 0, 0));
}

#[tokio::test]
async fn the_two_ends_of_a_connection_that_answers_are_told() {
    let metrics = Metrics::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let client = Client::tcp(format!("http://localhost:{}/", remote.port()).parse().unwrap(), None).unwrap();
    let peers = client.peer.peers();
    let server = async {
        let (stream, local) = listener.accept().await.unwrap();
        assert_eq!(*peers.borrow(), None, "nobody has answered yet");
        answer(stream, |_| reply("202 Accepted", "{}")).await;
        local
    };
    let ((), local) = tokio::join!(run(&client, queued(1, &metrics), &metrics), server);
    assert_eq!(*peers.borrow(), Some(Peer::Connection { local, remote }));
}

#[tokio::test]
async fn a_router_s_unix_socket_takes_batches() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::unix(&path, None).unwrap();
    let server = async { answer(listener.accept().await.unwrap().0, |_| reply("202 Accepted", "{}")).await };
    let ((), request) = tokio::join!(run(&client, queued(2, &metrics), &metrics), server);
    assert!(request.starts_with("POST /v1/alerts ") && request.contains("application/x-ndjson"));
    assert_eq!(outcome(&metrics), (2, 0, 0));
}
