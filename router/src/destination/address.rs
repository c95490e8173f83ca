//! Where requests go: an address that is kept as it is, or one whose path and query are made for each notification.
//!
//! Values are percent-encoded, so none can open another path segment, a query or a fragment; `.` and `..`, which would
//! lead out of a folder even when they are encoded, are written with `_` in their place.

use std::path::Path;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::http::parse_url;
use super::live::Live;
use super::{Notification, Problem, Reason, Retry, SendError};
use crate::render::{Inline, InlineContext, truncate};
use crate::secret::PlainOrSecret;

/// What a value may bring into an address.
const VALUE_CHARS_MAX: usize = 256;

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) enum Address {
    Fixed(Live<Url>),
    Made {
        /// Scheme, host and port, and what they look like.
        origin: Box<Url>,
        start: String,
        rest: Box<Inline>,
    },
}

impl Address {
    /// `setting`: its name, for messages.
    ///
    /// # Errors
    /// It is no address, or scheme, host or port are not written out.
    pub(super) fn build(setting: &'static str, value: &PlainOrSecret, base: &Path) -> Result<Self, Problem> {
        match value {
            PlainOrSecret::Plain(text) if Inline::is_template(text) => Self::made(setting, text, base),
            _ => {
                let (value, base) = (value.clone(), base.to_owned());
                Ok(Self::Fixed(Live::new(value.file(&base), move || parse_url(setting, &value, &base))?))
            }
        }
    }

    fn made(setting: &str, text: &str, base: &Path) -> Result<Self, Problem> {
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let end = text[after_scheme..].find(['/', '?', '#']).map_or(text.len(), |at| after_scheme + at);
        let (start, rest) = text.split_at(end);
        if Inline::is_template(start) {
            return Err(Problem::new(format!(
                "`{setting}` makes scheme, host or port of a value; write them out, only path and query may hold templates"
            )));
        }
        let origin = Box::new(parse_url(setting, &PlainOrSecret::Plain(start.to_owned()), base)?);
        let rest = Box::new(Inline::compile(setting, rest, encode)?);
        Ok(Self::Made { origin, start: start.to_owned(), rest })
    }

    /// Whether it is made of values.
    pub(super) fn is_made(&self) -> bool {
        matches!(self, Self::Made { .. })
    }

    /// One that says all that a client must know.
    pub(super) fn representative(&self) -> Arc<Url> {
        match self {
            Self::Fixed(url) => url.current(),
            Self::Made { origin, .. } => Arc::new(Url::clone(origin)),
        }
    }

    /// # Errors
    /// The template fails on this notification.
    pub(super) fn of(&self, notification: &Notification) -> Result<Url, SendError> {
        let (origin, start, rest) = match self {
            Self::Fixed(url) => return Ok(Url::clone(&url.current())),
            Self::Made { origin, start, rest } => (origin, start, rest),
        };
        let failed =
            |cause: String| SendError::new(Reason::Render, Retry::Never, format!("cannot make the address: {cause}"));
        let rest = rest.render(&InlineContext::new(notification)).map_err(failed)?;
        let url = Url::parse(&format!("{start}{}", without_dot_segments(&rest)));
        match url {
            Ok(url) if url.origin() == origin.origin() => Ok(url),
            Ok(_) => Err(failed("it leads to another host".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// A value as a part of a path segment or of a query.
pub(super) fn encode(value: &str) -> String {
    utf8_percent_encode(&truncate(value, VALUE_CHARS_MAX), ENCODED).to_string()
}

fn without_dot_segments(rest: &str) -> String {
    let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let segment = |segment: &str| match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
        "." => "_".to_owned(),
        ".." => "__".to_owned(),
        _ => segment.to_owned(),
    };
    let path: Vec<_> = path.split('/').map(segment).collect();
    format!("{}{query}", path.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notification(pod: &str) -> Notification {
        Notification::of(json!({
            "time": "2026-11-23T16:00:00Z", "rule": "R", "priority": "error", "output_fields": { "k8s.pod.name": pod },
        }))
    }

    fn address(text: &str) -> Result<Address, String> {
        Address::build("url", &PlainOrSecret::Plain(text.to_owned()), Path::new("")).map_err(|problem| problem.message)
    }

    #[test]
    fn a_value_stays_within_its_segment_whatever_it_holds() {
        let address =
            address("http://host:8080/pods/{{field \"k8s.pod.name\"}}/alerts?pod={{field \"k8s.pod.name\"}}").unwrap();
        for (pod, expected) in [
            ("shop-1", "/pods/shop-1/alerts?pod=shop-1"),
            ("a/b?c#d", "/pods/a%2Fb%3Fc%23d/alerts?pod=a%2Fb%3Fc%23d"),
            ("..", "/pods/__/alerts?pod=.."),
            (".", "/pods/_/alerts?pod=."),
            ("a&b=\r\n\\@é", "/pods/a%26b%3D%0D%0A%5C%40%C3%A9/alerts?pod=a%26b%3D%0D%0A%5C%40%C3%A9"),
            ("", "/pods//alerts?pod="),
            ("{{id}}", "/pods/%7B%7Bid%7D%7D/alerts?pod=%7B%7Bid%7D%7D"),
        ] {
            assert_eq!(
                address.of(&notification(pod)).unwrap().as_str(),
                format!("http://host:8080{expected}"),
                "{pod}"
            );
        }
        let long = address.of(&notification(&"é".repeat(100_000))).unwrap();
        assert!(long.as_str().len() < 4_096);
    }

    #[test]
    fn only_path_and_query_are_made_of_values() {
        for text in [
            "http://{{alert.hostname}}/x",
            "{{alert.source}}://host/",
            "http://host:{{count}}/",
            "http://u{{id}}@host/",
        ] {
            assert!(address(text).err().unwrap().contains("write them out"), "{text}");
        }
        for (text, cause) in [
            ("http://host/{{titel}}", "nothing called `titel`"),
            ("http://host/{{{title}}}", "without escaping"),
            ("http://user:pw@host/{{title}}", "password"),
            ("ftp://host/{{title}}", "https://"),
        ] {
            assert!(address(text).err().unwrap().contains(cause), "{text}");
        }
    }
}
