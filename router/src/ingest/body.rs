//! Receiving a body: bounded in bytes before and after decompression, in time, and in memory over all requests.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Refusal, refusal};
use crate::metrics::Rejected;

/// The largest body, compressed or not, and the longest line of standard input.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bodies in memory, over all requests.
const BODIES_BYTES_MAX: usize = 32 * BODY_BYTES_MAX;

/// Room is given out in pieces of this size: as many as a semaphore can count.
const ROOM_BYTES: usize = 1024;

/// How long a request waits for others to end.
const ROOM_TIME_MAX: Duration = Duration::from_secs(2);

/// A body that has not arrived by then is given up.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The room for bodies that are being received, read, or decided on.
pub(super) struct Bodies {
    room: Arc<Semaphore>,
}

/// A body's room; it is given back when dropped.
pub(super) type Room = OwnedSemaphorePermit;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
}

/// What becomes of a body's pieces.
enum Sink {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// Refuses what would make it longer than [`BODY_BYTES_MAX`], so that a bomb ends where the bound is.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(BODIES_BYTES_MAX / ROOM_BYTES)) }
    }

    /// The body as it was before compression. Waits for room before it reads anything.
    pub(super) async fn read(&self, request: Request<impl Body<Data = Bytes>>) -> Result<(Vec<u8>, Room), Refusal> {
        let encoding = Encoding::of(request.headers())?;
        let length = request.body().size_hint().exact();
        if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let length = length.and_then(|length| usize::try_from(length).ok()).filter(|_| encoding == Encoding::Plain);
        let room = self.room(length.unwrap_or(BODY_BYTES_MAX)).await?;
        let body = timeout(BODY_TIME_MAX, receive(request.into_body(), encoding)).await.map_err(|_elapsed| {
            let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
            refusal(StatusCode::REQUEST_TIMEOUT, Rejected::BodyRead, message)
        })??;
        Ok((body, room))
    }

    async fn room(&self, bytes: usize) -> Result<Room, Refusal> {
        let pieces = u32::try_from(bytes.div_ceil(ROOM_BYTES)).unwrap_or(u32::MAX);
        let room = timeout(ROOM_TIME_MAX, Arc::clone(&self.room).acquire_many_owned(pieces)).await;
        room.ok().and_then(Result::ok).ok_or_else(|| {
            let message = "too many requests at once; send it again later, or fewer and larger ones";
            refusal(StatusCode::TOO_MANY_REQUESTS, Rejected::Busy, message)
        })
    }
}

async fn receive(body: impl Body<Data = Bytes>, encoding: Encoding) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut sink = Sink::new(encoding);
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_broken| refusal(StatusCode::BAD_REQUEST, Rejected::BodyRead, "the body broke off"))?;
        // What is no data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > BODY_BYTES_MAX {
            return Err(too_large());
        }
        sink.add(&data)?;
    }
    sink.finish()
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        match (first.as_deref(), values.next()) {
            (None | Some("" | "identity"), None) => Ok(Self::Plain),
            (Some("gzip" | "x-gzip"), None) => Ok(Self::Gzip),
            _ => {
                let message = "of the content encodings only gzip is understood, and only once";
                Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Rejected::Encoding, message))
            }
        }
    }
}

impl Sink {
    fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Plain => Self::Plain(Bounded::default()),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Bounded::default()))),
        }
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let (written, is_over) = match self {
            Self::Plain(bounded) => (bounded.write_all(piece), bounded.is_over),
            Self::Gzip(decoder) => (decoder.write_all(piece), decoder.get_ref().is_over),
        };
        written.map_err(|error| unreadable(&error, is_over))
    }

    fn finish(self) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes),
            Self::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|error| unreadable(&error, decoder.get_ref().is_over))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.is_over |= self.bytes.len() + bytes.len() > BODY_BYTES_MAX;
        if self.is_over {
            return Err(std::io::Error::other("beyond the bound"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What `pieces` of a gzip body hold, for the fuzzer.
pub(super) fn unpack<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut sink = Sink::new(Encoding::Gzip);
    pieces.into_iter().try_for_each(|piece| sink.add(piece)).ok()?;
    sink.finish().ok()
}

fn unreadable(error: &std::io::Error, is_over: bool) -> Refusal {
    if is_over {
        return too_large();
    }
    refusal(StatusCode::BAD_REQUEST, Rejected::Encoding, format!("the body is no whole gzip: {error}"))
}

fn too_large() -> Refusal {
    let message = format!("the body is larger than {BODY_BYTES_MAX} bytes; send fewer alerts at once");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, Rejected::BodySize, message)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read(body: Vec<u8>, encoding: Option<&'static str>) -> Result<Vec<u8>, (u16, Rejected)> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        request.headers_mut().extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding.parse().unwrap())));
        answer(Bodies::new().read(request).await)
    }

    fn answer(read: Result<(Vec<u8>, Room), Refusal>) -> Result<Vec<u8>, (u16, Rejected)> {
        read.map(|(body, _)| body).map_err(|refusal| (refusal.status.as_u16(), refusal.reason))
    }

    #[tokio::test]
    async fn a_gzip_body_is_read_as_what_it_was() {
        let text = b"{\"rule\": 1}\n".repeat(1_000);
        assert_eq!(read(text.clone(), None).await.unwrap(), text);
        assert_eq!(read(text.clone(), Some("identity")).await.unwrap(), text);
        for encoding in ["gzip", "GZIP", "x-gzip"] {
            assert_eq!(read(gzip(&text), Some(encoding)).await.unwrap(), text, "{encoding}");
        }
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(read(two, Some("gzip")).await.unwrap(), b"a\nb\n");
    }

    #[tokio::test]
    async fn what_is_no_whole_gzip_is_told() {
        let whole = gzip(b"some text");
        let mut flipped = whole.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        for bad in [
            b"some text".to_vec(),
            Vec::new(),
            whole[..whole.len() - 1].to_vec(),
            flipped,
            [&whole[..], b"rest"].concat(),
        ] {
            assert_eq!(read(bad.clone(), Some("gzip")).await, Err((400, Rejected::Encoding)), "{bad:?}");
        }
        for encoding in ["br", "deflate", "zstd", "gzip, gzip", "\u{e9}"] {
            assert_eq!(read(whole.clone(), Some(encoding)).await, Err((415, Rejected::Encoding)), "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_bomb_ends_at_the_bound() {
        let whole = vec![b' '; BODY_BYTES_MAX];
        assert_eq!(read(gzip(&whole), Some("gzip")).await.unwrap().len(), BODY_BYTES_MAX);
        let bomb = gzip(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert!(bomb.len() < 2_000);
        assert_eq!(read(bomb, Some("gzip")).await, Err((413, Rejected::BodySize)));
        // Half a terabyte when unpacked, were it not for the bound.
        let mut sink = Sink::new(Encoding::Gzip);
        let piece = gzip(&vec![0; 64 * 1024]);
        let told = (0..8_000_000).find_map(|_| sink.add(&piece).err()).unwrap();
        assert_eq!((told.status.as_u16(), told.reason), (413, Rejected::BodySize));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_bounded_all_the_same() {
        let pieces = |count: usize| {
            let piece = || Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(vec![b' '; BODY_BYTES_MAX / 4])));
            Request::new(StreamBody::new(futures::stream::iter((0..count).map(move |_| piece()))))
        };
        assert_eq!(answer(Bodies::new().read(pieces(4)).await).unwrap().len(), BODY_BYTES_MAX);
        assert_eq!(answer(Bodies::new().read(pieces(5)).await), Err((413, Rejected::BodySize)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>());
        assert_eq!(answer(Bodies::new().read(Request::new(body)).await), Err((408, Rejected::BodyRead)));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_room_wait_and_are_then_sent_away() {
        let bodies = Bodies::new();
        let mut held = Vec::new();
        for _ in 0..BODIES_BYTES_MAX / BODY_BYTES_MAX {
            held.push(bodies.room(BODY_BYTES_MAX).await.unwrap());
        }
        let small = || Request::new(Full::new(Bytes::from_static(b"x")));
        assert_eq!(answer(bodies.read(small()).await), Err((429, Rejected::Busy)));
        let (waiting, ()) = tokio::join!(bodies.read(small()), async {
            tokio::time::sleep(ROOM_TIME_MAX / 2).await;
            held.pop();
        });
        assert_eq!(answer(waiting).unwrap(), b"x");
    }
}
