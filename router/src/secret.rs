//! Secrets: the configuration names where one is kept, never what it is.
//!
//! `{ env = "NAME" }` reads an environment variable, `{ file = "/run/secrets/x" }` a file. A literal string is refused:
//! whoever may read routing.toml, or the error that quotes its line, would otherwise read the secret.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest secret that is read: keys and URLs are far shorter, and a wrong path may name a log file.
const SECRET_BYTES_MAX: u64 = 8 * 1024;

/// How both forms of a reference look, for messages.
const FORMS: &str = r#"{ env = "NAME" } or { file = "/path/to/secret" }"#;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// Name of an environment variable.
    Env(String),
    /// A file; a relative path starts at the folder of routing.toml.
    File(PathBuf),
    /// Nowhere: this text stands in its place. For those who want to see what would be sent, and not the secret.
    Withheld(&'static str),
}

/// A resolved secret. Prints `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A setting that may be written out or kept as a secret: a URL, a header value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainOrSecret {
    Plain(String),
    Secret(SecretRef),
}

/// A reference that leads nowhere. Names the reference and the cause, never the value.
#[derive(Debug, thiserror::Error)]
#[error("secret {reference}: {cause}")]
pub struct SecretError {
    reference: String,
    cause: String,
}

impl SecretRef {
    /// Reads the secret; one trailing line end is cut. `base`: where relative files start.
    ///
    /// # Errors
    /// The variable or the file is missing, empty, not UTF-8, unreadable or longer than [`SECRET_BYTES_MAX`].
    pub fn resolve(&self, base: &Path) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Env(name) => read_env(name),
            Self::File(path) => read_file(&base.join(path)),
            Self::Withheld(text) => Ok((*text).to_owned()),
        };
        text.and_then(|text| {
            let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            if trimmed.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret(trimmed.to_owned())) }
        })
        .map_err(|cause| SecretError { reference: self.to_string(), cause })
    }
}

impl SecretRef {
    /// The file that holds it, if one does.
    pub(crate) fn file(&self, base: &Path) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(base.join(path)),
            Self::Env(_) | Self::Withheld(_) => None,
        }
    }
}

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The value itself. Only for the place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// For headers such as `Authorization: ApiKey …`.
    pub(crate) fn prefixed(&self, prefix: &str) -> Self {
        Self(format!("{prefix}{}", self.0))
    }
}

impl PlainOrSecret {
    /// Puts `text` in the place of a secret.
    pub(crate) fn withhold(&mut self, text: &'static str) {
        if let Self::Secret(reference) = self {
            *reference = SecretRef::Withheld(text);
        }
    }

    /// The file that holds it, if one does.
    pub(crate) fn file(&self, base: &Path) -> Option<PathBuf> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(reference) => reference.file(base),
        }
    }

    /// # Errors
    /// As [`SecretRef::resolve`].
    pub fn resolve(&self, base: &Path) -> Result<Secret, SecretError> {
        match self {
            Self::Plain(text) => Ok(Secret(text.clone())),
            Self::Secret(reference) => reference.resolve(base),
        }
    }
}

fn read_env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => "the variable is not set".to_owned(),
        std::env::VarError::NotUnicode(_) => "the variable is not UTF-8".to_owned(),
    })
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot open: {error}"))?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| format!("cannot read: {error}"))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("longer than {SECRET_BYTES_MAX} bytes, is this the right file?"));
    }
    Ok(text)
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "{{ env = {name:?} }}"),
            Self::File(path) => write!(f, "{{ file = {:?} }}", path.to_string_lossy()),
            Self::Withheld(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The table form, so that serde words the errors about unknown and missing keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl Table {
    fn into_ref<E: serde::de::Error>(self) -> Result<SecretRef, E> {
        match (self.env, self.file) {
            (Some(name), None) => Ok(SecretRef::Env(name)),
            (None, Some(path)) => Ok(SecretRef::File(path)),
            _ => Err(E::custom(format_args!("a secret needs exactly one of {FORMS}"))),
        }
    }
}

struct RefVisitor;

impl<'de> Visitor<'de> for RefVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret as {FORMS}")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(format_args!("a secret is not written here, only where it is kept: use {FORMS}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretRef, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map))?.into_ref()
    }
}

struct PlainOrSecretVisitor;

impl<'de> Visitor<'de> for PlainOrSecretVisitor {
    type Value = PlainOrSecret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string, or a secret as {FORMS}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PlainOrSecret, E> {
        if text.is_empty() {
            return Err(E::custom("must not be empty"));
        }
        Ok(PlainOrSecret::Plain(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PlainOrSecret, A::Error> {
        RefVisitor.visit_map(map).map(PlainOrSecret::Secret).map_err(A::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RefVisitor)
    }
}

impl<'de> Deserialize<'de> for PlainOrSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainOrSecretVisitor)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let form = |key: &str, what: &str| {
            json_schema!({
                "type": "object",
                "properties": {key: {"type": "string", "description": what}},
                "required": [key],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "Where a secret is kept; it is never written here itself.",
            "oneOf": [form("env", "An environment variable."), form("file", "A file; a relative path starts at the folder of routing.toml.")],
        })
    }
}

impl JsonSchema for PlainOrSecret {
    fn schema_name() -> Cow<'static, str> {
        "PlainOrSecret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretRef>();
        json_schema!({"anyOf": [{"type": "string", "minLength": 1}, secret]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        key: SecretRef,
    }

    fn parse(text: &str) -> Result<SecretRef, String> {
        toml::from_str::<Holder>(text).map(|holder| holder.key).map_err(|error| error.message().to_owned())
    }

    fn file_with(text: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), text).unwrap();
        (folder, SecretRef::File("key".into()))
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse(r#"key = { env = "A" }"#), Ok(SecretRef::Env("A".into())));
        assert_eq!(parse(r#"key = { file = "/a" }"#), Ok(SecretRef::File("/a".into())));
    }

    #[test]
    fn a_literal_is_refused_and_not_repeated() {
        let message = parse(r#"key = "hunter2""#).unwrap_err();
        assert!(
            message.contains("{ env = ") && message.contains("{ file = ") && !message.contains("hunter2"),
            "{message}"
        );
    }

    #[test]
    fn a_reference_is_one_of_the_two() {
        for text in ["key = {}", r#"key = { env = "A", file = "/a" }"#, r#"key = { vault = "A" }"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_trailing_line_end_is_cut() {
        for text in [&b"s3cret"[..], b"s3cret\n", b"s3cret\r\n"] {
            let (folder, reference) = file_with(text);
            assert_eq!(reference.resolve(folder.path()).unwrap().expose(), "s3cret");
        }
    }

    #[test]
    fn a_useless_file_is_named_with_the_cause() {
        for (text, cause) in [(&b"\n"[..], "is empty"), (b"\xff", "UTF-8"), (&[b'a'; 9000], "longer than 8192 bytes")] {
            let (folder, reference) = file_with(text);
            let message = reference.resolve(folder.path()).unwrap_err().to_string();
            assert!(message.contains(cause) && message.contains(r#"file = "key""#), "{message}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let message = SecretRef::Env("TERCEL_NO_SUCH".into()).resolve(Path::new("/")).unwrap_err().to_string();
        assert_eq!(message, r#"secret { env = "TERCEL_NO_SUCH" }: the variable is not set"#);
    }

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    }
}
