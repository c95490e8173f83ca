//! A webhook's further headers: written out, made for each notification, or secret.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::http::sensitive_header;
use super::super::live::Live;
use super::super::{Notification, Problem};
use crate::render::{Inline, InlineContext, Renderer, truncate};
use crate::secret::PlainOrSecret;

/// Headers that the router sets itself, or that would let a setting break the request.
const RESERVED: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    super::signature::HEADER,
];

/// What a value may bring into a header.
const VALUE_CHARS_MAX: usize = 1_024;

pub(super) struct Headers(Vec<(HeaderName, Header)>);

enum Header {
    Fixed(Live<HeaderValue>),
    Made(Inline),
}

impl Headers {
    pub(super) fn build(settings: &BTreeMap<String, PlainOrSecret>, base: &Path) -> Result<Self, Problem> {
        settings.iter().map(|(name, value)| header(name, value, base)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them is made of values.
    pub(super) fn are_made(&self) -> bool {
        self.0.iter().any(|(_, header)| matches!(header, Header::Made(_)))
    }

    /// Those for one notification. One whose value no header can carry is left out and counted: the body is worth more.
    pub(super) fn of(&self, notification: &Notification, counter: &Renderer) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut context = None;
        for (name, header) in &self.0 {
            let value = match header {
                Header::Fixed(value) => Ok(Arc::unwrap_or_clone(value.current())),
                Header::Made(template) => {
                    let context = context.get_or_insert_with(|| InlineContext::new(notification));
                    template.render(context).and_then(|text| carried(&text))
                }
            };
            match value {
                Ok(value) => drop(headers.insert(name.clone(), value)),
                Err(cause) => {
                    counter.count_left_out();
                    tracing::warn!(header = %name, id = %notification.id, cause, "a header was left out");
                }
            }
        }
        headers
    }
}

fn header(name: &str, value: &PlainOrSecret, base: &Path) -> Result<(HeaderName, Header), Problem> {
    let setting = format!("headers.{name}");
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_cause| Problem::new(format!("`{setting}` is no header name")))?;
    if RESERVED.contains(&header.as_str()) {
        return Err(Problem::new(format!("`{setting}` is set by the router itself, leave it out")));
    }
    let value = match value {
        PlainOrSecret::Plain(text) if Inline::is_template(text) => {
            Header::Made(Inline::compile(&setting, text, str::to_owned)?)
        }
        _ => {
            let (value, base) = (value.clone(), base.to_owned());
            Header::Fixed(Live::new(value.file(&base), move || sensitive_header(&setting, &value.resolve(&base)?))?)
        }
    };
    Ok((header, value))
}

/// UTF-8 goes as it is; what would end the header, or move a terminal's cursor, is refused.
fn carried(text: &str) -> Result<HeaderValue, String> {
    if text.chars().any(char::is_control) {
        return Err("its value holds control characters; `visible` writes them out".to_owned());
    }
    HeaderValue::from_bytes(truncate(text, VALUE_CHARS_MAX).as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_make_another_header_is_refused() {
        for text in ["a\r\nx-evil: 1", "a\0", "\u{1b}[31m", "\u{9b}", "a\tb"] {
            assert!(carried(text).is_err(), "{text:?}");
        }
        assert_eq!(carried("größe 🔴").unwrap().as_bytes(), "größe 🔴".as_bytes());
        assert_eq!(carried(&"é".repeat(100_000)).unwrap().as_bytes().len(), 2 * 1_023 + '…'.len_utf8());
    }
}
