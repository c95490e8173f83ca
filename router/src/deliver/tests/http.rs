//! A worker and a webhook over real sockets.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the receiver does with one connection, after it has read the request.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Ok,
    /// 429 and a `Retry-After` of one second.
    Later,
    /// 503 and a `Retry-After` that is a date one or two seconds ahead.
    LaterByDate,
    Broken,
    /// Closes the connection with a reset.
    Reset,
    Garbage,
    HalfAnAnswer,
    Refused,
}

/// Answers one connection after the other in these moods and then well; notes who was told `ok`.
async fn receiver(moods: Vec<Mood>) -> (SocketAddr, Arc<Mutex<Vec<u64>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut moods = moods.into_iter();
        loop {
            let (stream, _peer) = listener.accept().await.unwrap();
            answer(stream, moods.next().unwrap_or(Mood::Ok), &noted).await;
        }
    });
    (address, taken)
}

async fn answer(mut stream: TcpStream, mood: Mood, taken: &Mutex<Vec<u64>>) {
    let body = read_request(&mut stream).await;
    let date =
        (Timestamp::now() + jiff::SignedDuration::from_secs(2)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let answer = match mood {
        Mood::Ok => "HTTP/1.1 200 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        Mood::Later => "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        Mood::LaterByDate => {
            format!("HTTP/1.1 503 x\r\nretry-after: {date}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        Mood::Broken => "HTTP/1.1 500 x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbad".to_owned(),
        Mood::Reset => return stream.set_zero_linger().unwrap(),
        Mood::Garbage => "\u{0}\u{1}garbage\r\n\r\n".to_owned(),
        Mood::HalfAnAnswer => "HTTP/1.1 200 x\r\ncontent-len".to_owned(),
        Mood::Refused => "HTTP/1.1 410 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    if matches!(mood, Mood::Ok) {
        let alert: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id: Uuid = serde_json::from_value(alert["uuid"].clone()).unwrap();
        taken.lock().unwrap().push(id.as_u64_pair().1);
    }
}

/// The body of a request with `content-length`.
async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request broke off");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let body = &bytes[head.len() + 4..];
        if body.len() >= length {
            return body.to_vec();
        }
    }
}

fn webhook(address: SocketAddr, terms: Terms) -> Bench {
    let config = toml::from_str(&format!("type = \"webhook\"\nurl = \"http://{address}/\"")).unwrap();
    bench_with(terms, Destination::build("d", &config, Path::new(""), Path::new("")).unwrap())
}

fn failures(bench: &Bench, reason: &str) -> bool {
    bench.all_metrics.text().contains(&format!("send_failures_total{{destination=\"d\",reason=\"{reason}\"}} 1"))
}

/// Three alerts of one key to a receiver in these moods: how the first ends, why its attempts failed, and how long it took.
/// The others arrive after it.
async fn through(moods: [Mood; 3]) -> (Outcome, String, Duration) {
    let (address, taken) = receiver(moods.to_vec()).await;
    let mut bench = webhook(address, TERMS);
    bench.push((1..=3).map(|id| waiting(id, 1)));
    let start = Instant::now();
    let mut ended = bench.ended(3).await;
    assert_eq!(ended[1..], delivered([2, 3]));
    let (first, outcome) = ended.swap_remove(0);
    let expected: &[u64] = if outcome == Outcome::Delivered { &[1, 2, 3] } else { &[2, 3] };
    assert_eq!((first, &**taken.lock().unwrap()), (1, expected));
    (outcome, bench.all_metrics.text(), start.elapsed())
}

#[tokio::test]
async fn whatever_a_receiver_does_each_alert_arrives_once_it_is_well_and_in_order() {
    let moods = [Mood::Later, Mood::Reset, Mood::Garbage];
    let others = [Mood::Broken, Mood::LaterByDate, Mood::Refused];
    let ((outcome, text, took), (refused, refused_text, refused_took)) = tokio::join!(through(moods), through(others));
    let count = |text: &str, reason: &str, count: u64| {
        text.contains(&format!("send_failures_total{{destination=\"d\",reason=\"{reason}\"}} {count}"))
    };
    assert_eq!(outcome, Outcome::Delivered);
    assert!(count(&text, "rate_limited", 1) && count(&text, "other", 2), "{text}");
    assert_eq!(reason(&refused), "client_error");
    assert!(count(&refused_text, "server_error", 2) && count(&refused_text, "client_error", 1), "{refused_text}");
    assert!(took >= Duration::from_secs(1) && refused_took >= Duration::from_secs(1), "the pauses were kept");
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_head_is_no_delivery() {
    let (address, taken) = receiver(vec![Mood::HalfAnAnswer]).await;
    let mut bench = webhook(address, TERMS);
    bench.push([waiting(1, 1)]);
    assert_eq!(bench.ended(1).await, delivered([1]));
    assert!(failures(&bench, "other"));
    assert_eq!(*taken.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_within_its_time_and_others_are_not_held_up() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = webhook(hanging.local_addr().unwrap(), TERMS);
    let (address, _taken) = receiver(Vec::new()).await;
    let mut well = webhook(address, TERMS);
    slow.push([waiting(1, 1)]);
    well.push((1..=20).map(|id| waiting(id, 1)));
    let start = Instant::now();
    assert_eq!(well.ended(20).await, delivered(1..=20));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let (_held, _peer) = hanging.accept().await.unwrap();
    while !failures(&slow, "timeout") {
        sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() < Duration::from_secs(20), "{}", slow.all_metrics.text());
    }
    assert!(start.elapsed() >= Duration::from_secs(14), "{:?}", start.elapsed());
}

#[tokio::test]
async fn nobody_listening_opens_the_breaker_and_somebody_who_comes_closes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut bench = webhook(address, Terms { concurrency: 8, ..TERMS });
    bench.push((1..=20).map(|id| waiting(id, u8::try_from(id).unwrap())));
    let opened = async {
        while bench.metrics.breaker.get() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), opened).await.unwrap();
    assert!(bench.metrics.attempts.get() <= 13, "{} attempts", bench.metrics.attempts.get());
    let listener = TcpListener::bind(address).await.unwrap();
    let noted = Mutex::default();
    let serving = async {
        loop {
            let (stream, _peer) = listener.accept().await.unwrap();
            answer(stream, Mood::Ok, &noted).await;
        }
    };
    tokio::select! {
        ended = bench.ended(20) => assert!(ended.iter().all(|(_, outcome)| *outcome == Outcome::Delivered)),
        () = serving => {}
    }
    assert_eq!((noted.lock().unwrap().len(), bench.metrics.breaker.get()), (20, 0));
}
