use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Answer, Received, Reply, Service};

/// The longest request body; the router's own bodies end at 8 MiB.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A running receiver. Ends, with its connections, when it is dropped.
pub struct Receiver<S: Service> {
    address: SocketAddr,
    shared: Arc<Shared<S>>,
    accepting: AbortHandle,
}

struct Shared<S> {
    state: Mutex<State<S>>,
    arrival: Notify,
}

struct State<S> {
    service: S,
    received: Vec<Received>,
    next: VecDeque<Answer>,
    always: Answer,
    /// Each answer ends its connection.
    closes: bool,
}

impl<S: Service> Receiver<S> {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// Where no port can be bound.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port of 127.0.0.1");
        Self::on(listener)
    }

    /// Listens on a port that was in use before: a service that comes back.
    ///
    /// # Panics
    /// Where the port cannot be bound.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        Self::on(listener)
    }

    /// Takes requests by a socket that listens already: of another network, say.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    pub fn start_on(listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).expect("a socket can be set so");
        Self::on(TcpListener::from_std(listener).expect("a runtime runs"))
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State {
            service: S::default(),
            received: Vec::new(),
            next: VecDeque::new(),
            always: Answer::Normal,
            closes: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), arrival: Notify::new() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, accepting }
    }

    /// Where the service takes requests.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, S::PATH)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// The requests that were answered with 2xx.
    pub fn accepted(&self) -> Vec<Received> {
        self.received().into_iter().filter(Received::is_accepted).collect()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.lock().received.len()
    }

    /// Waits until `count` requests have come, or `within` has passed, and gives what came.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Vec<Received> {
        let deadline = Instant::now() + within;
        loop {
            let arrival = self.shared.arrival.notified();
            if self.count() >= count || timeout_at(deadline, arrival).await.is_err() {
                return self.received();
            }
        }
    }

    /// How the next requests are answered, one after the other; later ones as [`Receiver::answer_always`] says.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().next.extend(answers);
    }

    /// The next `count` requests are answered with `status`.
    pub fn fail_next(&self, status: u16, count: usize) {
        self.answer_next(std::iter::repeat_n(Answer::Status(status), count));
    }

    /// How all requests are answered that no other answer waits for; at the start normally.
    pub fn answer_always(&self, answer: Answer) {
        self.shared.lock().always = answer;
    }

    /// From now on each request needs a connection of its own.
    pub fn close_after_answers(&self) {
        self.shared.lock().closes = true;
    }

    /// Looks into what the service keeps, or changes it.
    pub fn with_service<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.shared.lock().service)
    }
}

impl<S: Service> Drop for Receiver<S> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl<S: Service> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about the answer and records the request in one step, so that no reader sees the one without the other.
    fn take(&self, mut request: Received) -> (Answer, Reply) {
        let mut state = self.lock();
        let answer = state.next.pop_front().unwrap_or_else(|| state.always.clone());
        let reply = match &answer {
            Answer::Normal | Answer::Slow(_) => state.service.reply(&request),
            Answer::Status(status) | Answer::RetryAfter(status, _) => Reply::text(*status, ""),
            Answer::Body(status, body) => Reply { body: body.clone(), ..Reply::text(*status, "") },
            Answer::Hang | Answer::Close => Reply::text(0, ""),
        };
        request.status = (reply.status > 0).then_some(reply.status);
        state.received.push(request);
        drop(state);
        self.arrival.notify_waiters();
        (answer, reply)
    }
}

/// Connections live in the set, and end with it.
async fn accept<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve<S: Service>(stream: TcpStream, shared: Arc<Shared<S>>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    // A client that goes away in the middle is what some tests are about.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer<S: Service>(request: Request<Incoming>, shared: Arc<Shared<S>>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    let request = Received {
        time: Timestamp::now(),
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body,
        status: None,
    };
    let (answer, reply) = shared.take(request);
    let closes = shared.lock().closes;
    match answer {
        Answer::Hang => pending::<()>().await,
        Answer::Close => return Err(io::ErrorKind::ConnectionReset.into()),
        Answer::Slow(wait) => sleep(wait).await,
        Answer::Normal | Answer::Status(_) | Answer::RetryAfter(..) | Answer::Body(..) => {}
    }
    let mut response = Response::new(Full::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).map_err(io::Error::other)?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = reply.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Answer::RetryAfter(_, text) = answer {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(text));
    }
    Ok(response)
}
