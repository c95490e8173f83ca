//! Any bytes as the body of a request, compressed or not: every line is an alert that stays what it is when it is stored
//! and read again, or it is told why it is none.

#![no_main]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use tercel_alert::Alert;
use tercel_router::read_body;

/// Bytes of a message that are passed back.
const MESSAGE_BYTES_MAX: usize = 256;

/// From this first byte on the body is said to be gzip, and from the next on it is: few bytes are by chance.
const GZIP: u8 = 128;
const REAL_GZIP: u8 = 192;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, body)) = bytes.split_first() else { return };
    // Also how large the pieces are in which it arrives.
    let pieces = first.checked_sub(GZIP).map(usize::from);
    let outcome = if first < REAL_GZIP { read_body(body, pieces) } else { read_body(&gzip(body), pieces) };
    match outcome {
        Ok(alerts) => alerts.iter().for_each(|alert| check(alert)),
        Err(refusals) => {
            for (line, code, message) in refusals.told {
                assert!(line > 0 && !code.is_empty() && !message.is_empty(), "{line} {code} {message}");
                assert!(message.len() <= MESSAGE_BYTES_MAX, "{message}");
            }
        }
    }
});

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn check(alert: &Alert) {
    assert!(alert.uuid.is_some() && !alert.rule.is_empty());
    let stored = serde_json::to_string(alert).expect("an alert is JSON");
    assert!(!stored.contains('\n'));
    let again: Alert = serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
    assert_eq!(&again, alert, "{stored}");
}
