//! `_bulk`: what is sent, and what the answer says about each document.

use std::io::{self, Write as _};
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Notification, Reason, Retry, SendError};
use super::DATE;
use super::document::document;
use crate::render::{truncate, visible};

/// Only what the answer is judged by; else it repeats the documents' ids and places. And how long the cluster waits for a
/// shard, so that documents for others are not held up with it: less than we wait for the cluster.
pub(super) const QUERY: [(&str, &str); 2] =
    [("filter_path", "items.*.status,items.*.error.type,items.*.error.reason"), ("timeout", "20s")];

const DATE_FORMAT: &str = "%Y.%m.%d";

/// What is repeated of the cluster's words about a document.
const ERROR_TYPE_CHARS_MAX: usize = 80;
const ERROR_REASON_CHARS_MAX: usize = 300;

/// What these words are followed by comes out of the document, and may be anybody's.
const REPEATS_THE_DOCUMENT: [&str; 2] = ["Preview of field's value", "The prefix of the first immense term"];

/// Where documents go, and in which shape.
pub(super) struct Target {
    /// Of an index, with [`DATE`] where the event's day belongs, or of a data stream.
    pub(super) name: String,
    pub(super) is_data_stream: bool,
    pub(super) key_values: bool,
}

/// Two lines: where it goes, and the document.
pub(super) fn lines(target: &Target, notification: &Notification) -> String {
    let index = target.name.replace(DATE, &date(notification.alert.time));
    let document = document(notification, target.key_values);
    let action = json!({ "create": { "_index": index, "_id": document["event"]["id"] } });
    format!("{action}\n{document}\n")
}

fn date(time: Timestamp) -> String {
    time.strftime(DATE_FORMAT).to_string()
}

/// Cuts documents into requests of at most so many bytes; one that is larger goes alone.
pub(super) fn requests(documents: &[String], bytes_max: usize) -> Vec<Range<usize>> {
    let (mut requests, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (number, document) in documents.iter().enumerate() {
        if number > start && bytes + document.len() > bytes_max {
            requests.push(start..number);
            (start, bytes) = (number, 0);
        }
        bytes += document.len();
    }
    requests.push(start..documents.len());
    requests
}

pub(super) fn body(documents: &[String], gzip: bool) -> io::Result<bytes::Bytes> {
    if !gzip {
        return Ok(documents.concat().into());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for document in documents {
        encoder.write_all(document.as_bytes())?;
    }
    Ok(encoder.finish()?.into())
}

/// A 200 says that the request was read; whether a document was taken stands in its item. One result for each of `count`
/// documents.
pub(super) fn judge(answer: &[u8], count: usize) -> Vec<Result<(), SendError>> {
    match items(answer, count) {
        Ok(items) => items.iter().map(judge_item).collect(),
        Err(cause) => {
            let error = SendError::new(Reason::Other, Retry::Backoff, format!("answered 200 {cause}"));
            vec![Err(error); count]
        }
    }
}

fn items(answer: &[u8], count: usize) -> Result<Vec<Value>, &'static str> {
    let mut answer: Value = serde_json::from_slice(answer).map_err(|_cause| "without JSON")?;
    let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else { return Err("without items") };
    if items.len() != count {
        return Err("with too few or too many items");
    }
    items.into_iter().map(|mut item| item.get_mut("create").map(Value::take).ok_or("without the item")).collect()
}

fn judge_item(item: &Value) -> Result<(), SendError> {
    let status = item.get("status").and_then(Value::as_u64).unwrap_or_default();
    let (reason, retry) = match status {
        // 409: an earlier attempt brought it.
        200..=299 | 409 => return Ok(()),
        429 => (Reason::RateLimited, Retry::Backoff),
        500..=599 => (Reason::ServerError, Retry::Backoff),
        401 | 403 if is_index_block(item) => (Reason::ServerError, Retry::Backoff),
        401 | 403 => (Reason::AuthError, Retry::Never),
        _ => (Reason::ClientError, Retry::Never),
    };
    Err(SendError::new(reason, retry, format!("refused the document with {status}: {}", words(item))))
}

/// An index that is read-only for now, as a cluster makes it when a disk is almost full.
fn is_index_block(item: &Value) -> bool {
    item.pointer("/error/type").and_then(Value::as_str) == Some("cluster_block_exception")
}

/// Type and reason of an error, without what it repeats of the document.
fn words(item: &Value) -> String {
    let text = |path| item.pointer(path).and_then(Value::as_str);
    let kind = truncate(&visible(text("/error/type").unwrap_or("no error type")), ERROR_TYPE_CHARS_MAX);
    let reason = text("/error/reason").unwrap_or_default();
    let end = REPEATS_THE_DOCUMENT.iter().filter_map(|words| reason.find(words)).min().unwrap_or(reason.len());
    match reason[..end].trim_end() {
        "" => kind,
        reason => format!("{kind}: {}", truncate(&visible(reason), ERROR_REASON_CHARS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(status: u64, error: &Value) -> Value {
        json!({ "create": { "status": status, "error": error } })
    }

    fn judged(status: u64) -> Result<(), (&'static str, Retry)> {
        let answer = json!({ "items": [item(status, &json!({ "type": "t" }))] }).to_string();
        judge(answer.as_bytes(), 1).remove(0).map_err(|error| (error.reason.name(), error.retry))
    }

    #[test]
    fn an_item_is_judged_by_its_own_status() {
        assert_eq!(judged(201), Ok(()));
        assert_eq!(judged(409), Ok(()), "it is there already");
        assert_eq!(judged(400), Err(("client_error", Retry::Never)));
        assert_eq!(judged(403), Err(("auth_error", Retry::Never)));
        assert_eq!(judged(429), Err(("rate_limited", Retry::Backoff)));
        assert_eq!(judged(503), Err(("server_error", Retry::Backoff)));
        assert_eq!(judged(0), Err(("client_error", Retry::Never)));
    }

    #[test]
    fn a_cluster_whose_disk_is_full_is_asked_again() {
        let answer = json!({ "items": [item(403, &json!({ "type": "cluster_block_exception" }))] }).to_string();
        assert_eq!(judge(answer.as_bytes(), 1).remove(0).unwrap_err().retry, Retry::Backoff);
    }

    #[test]
    fn each_document_has_the_result_of_its_own_item() {
        let answer = json!({ "items": [item(201, &Value::Null), item(429, &json!({})), item(409, &Value::Null)] });
        let results = judge(answer.to_string().as_bytes(), 3);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn an_answer_that_says_nothing_about_the_documents_is_no_success() {
        let other = r#"{"items":[{"index":{"status":400}}]}"#;
        let one_of_two = r#"{"items":[{"create":{"status":201}}]}"#;
        for (answer, count) in
            [("", 1), ("ok", 1), ("{}", 1), (r#"{"items":[]}"#, 1), (r#"{"items":{}}"#, 1), (other, 1), (one_of_two, 2)]
        {
            let results = judge(answer.as_bytes(), count);
            assert_eq!(results.len(), count, "{answer}");
            assert!(results.iter().all(|result| result.as_ref().is_err_and(|e| e.retry == Retry::Backoff)), "{answer}");
        }
    }

    #[test]
    fn the_reason_is_told_without_what_it_repeats_of_the_document() {
        let error = json!({
            "type": "mapper_parsing_exception",
            "reason": "failed to parse field [a] of type [long] in document with id '7'. Preview of field's value: 'secret'",
        });
        let answer = json!({ "items": [item(400, &error)] }).to_string();
        let shown = judge(answer.as_bytes(), 1).remove(0).unwrap_err().to_string();
        let expected = "refused the document with 400: mapper_parsing_exception: \
                        failed to parse field [a] of type [long] in document with id '7'.";
        assert_eq!(shown, expected);
    }

    #[test]
    fn documents_are_cut_into_requests_by_size_and_none_is_left_out() {
        let documents = ["aaaa", "bb", "cc", "dddddddd", "e"].map(str::to_owned);
        assert_eq!(requests(&documents, 6), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(requests(&documents, 100), vec![0..5]);
        assert_eq!(requests(&documents, 1).len(), 5);
    }

    #[test]
    fn a_compressed_body_is_the_same_body() {
        use std::io::Read as _;
        let documents = ["{}\n{}\n".to_owned(), "x".repeat(10_000)];
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*body(&documents, true).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), &*body(&documents, false).unwrap());
    }

    #[test]
    fn the_index_is_that_of_the_event_in_utc() {
        assert_eq!(date("2026-11-23T23:59:59.999999999Z".parse().unwrap()), "2026.11.23");
    }
}
