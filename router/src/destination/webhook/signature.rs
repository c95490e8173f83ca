//! The signature of a webhook's body: HMAC-SHA256 with the time in it, so that a receiver can tell who sent it and that
//! nobody sends it again later.

use std::fmt::Write as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::super::Problem;
use super::super::live::Live;
use crate::secret::{Secret, SecretRef};

/// `t=SECONDS,v1=HEX`: the seconds since 1970, and the HMAC of those seconds, a full stop and the body.
pub(super) const HEADER: &str = "x-tercel-signature";

/// The shortest key, in bytes: what can be guessed signs nothing.
const KEY_BYTES_MIN: usize = 16;

pub(super) struct Signature {
    key: Live<Secret>,
}

impl Signature {
    pub(super) fn new(key: &SecretRef, base: &Path) -> Result<Self, Problem> {
        let (reference, base) = (key.clone(), base.to_owned());
        let key = Live::new(key.file(&base), move || {
            let key = reference.resolve(&base)?;
            // What stands in the place of a key that is not shown is as good.
            if key.expose().len() < KEY_BYTES_MIN && !matches!(reference, SecretRef::Withheld(_)) {
                return Err(Problem::new(format!("`signing_key` has fewer than {KEY_BYTES_MIN} bytes")));
            }
            Ok(key)
        })?;
        Ok(Self { key })
    }

    pub(super) fn of(&self, body: &[u8], now: Timestamp) -> String {
        sign(self.key.current().expose().as_bytes(), body, now.as_second())
    }
}

fn sign(key: &[u8], body: &[u8], seconds: i64) -> String {
    let mut header = format!("t={seconds},v1=");
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return header };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    for byte in mac.finalize().into_bytes() {
        write!(header, "{byte:02x}").ok(); // a String takes whatever is written to it
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_documented_recipe() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1700000000,v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
        assert_eq!(sign(b"0123456789abcdef", br#"{"a":1}"#, 1_700_000_000), expected);
    }
}
