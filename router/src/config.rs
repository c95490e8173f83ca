//! Settings of the process: defaults < file < `TERCEL_ROUTER_*` environment < flags.
//!
//! What happens to alerts is not here but in routing.toml ([`crate::routing`]).

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Config, Environment, File, FileFormat, Map};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// Falcosidekick's port, so that a sender of its alerts needs no change.
const INGEST_PORT: u16 = 2801;
const ADMIN_PORT: u16 = 2802;

/// What may be owed where nothing is said.
const STORE_BYTES: u64 = 1 << 30;

const ENVIRONMENT_PREFIX: &str = "TERCEL_ROUTER_";

/// Everything the process needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The routing file.
    pub routing: PathBuf,
    /// Where alerts are taken by TCP; `none` in file and environment: nowhere.
    #[serde(deserialize_with = "address_or_none")]
    pub listen: Option<SocketAddr>,
    /// Where alerts are taken by a Unix socket.
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// The router's own folder: the archive lies here.
    pub state: PathBuf,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub admin: SocketAddr,
    /// What senders by TCP must show as `Authorization: Bearer …`.
    #[serde(default)]
    pub token: Option<Token>,
    /// What the TCP address for alerts shows and asks for; absent: it is plain.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Number of the group whose members may administer the router over its Unix socket, as root and the router's own
    /// user may.
    #[serde(default)]
    pub admin_group: Option<u32>,
    /// How long a stopping router goes on delivering what it has taken.
    #[serde(deserialize_with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required::deserialize")]
    pub drain: Duration,
    /// Whether each commit waits for the disk. Without it a power loss takes what was acknowledged last.
    pub fsync: bool,
    /// What may be owed, in bytes of the store.
    pub store_bytes: u64,
    /// Where it is written down what was decided about each alert, and what became of it.
    pub audit: AuditTo,
    /// Read alerts from standard input as well, one JSON object a line; the router stops at its end.
    pub stdin: bool,
}

/// Files in PEM form; they are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The router's certificate, with those between it and its authority behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of senders' certificates; absent: senders show none.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Where the audit trail goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditTo {
    #[default]
    Off,
    /// `audit/audit.ndjson` in the state folder, rotated at 100 MiB, five older ones kept.
    File,
    Stdout,
}

/// A token, kept as its hash only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Where a running router is asked, and as whom: the part of its settings that its commands need.
#[derive(Debug)]
pub struct Contact {
    pub admin: SocketAddr,
    pub unix: Option<PathBuf>,
    pub token: Option<Secret>,
}

/// Settings given as flags; they go above all others.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub routing: Option<PathBuf>,
    pub listen: Option<String>,
    pub unix: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub admin: Option<String>,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_client_ca: Option<PathBuf>,
    pub stdin: bool,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("settings: {0}")]
pub struct SettingsError(String);

impl Default for Settings {
    fn default() -> Self {
        Self {
            routing: PathBuf::from("routing.toml"),
            listen: Some((Ipv4Addr::LOCALHOST, INGEST_PORT).into()),
            unix: None,
            state: PathBuf::from("tercel-state"),
            admin: (Ipv4Addr::LOCALHOST, ADMIN_PORT).into(),
            token: None,
            tls: None,
            admin_group: None,
            drain: Duration::from_secs(10),
            fsync: true,
            store_bytes: STORE_BYTES,
            audit: AuditTo::Off,
            stdin: false,
        }
    }
}

impl Settings {
    /// Layers file, environment and flags over the defaults. `environment`: all variables; those without our prefix are
    /// passed over.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value of the wrong form, or a combination that [`Settings::check`]
    /// refuses.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, SettingsError> {
        if let Some(path) = file {
            check_syntax(path)?;
        }
        let settings = layers(file, environment, flags)
            .and_then(Config::try_deserialize::<Self>)
            .map_err(|error| SettingsError(error.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    /// # Errors
    /// The ingest address can be reached from other machines, and senders need to show neither a token nor a certificate.
    pub fn check(&self) -> Result<(), SettingsError> {
        let asks_for_certificate = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        match self.listen {
            Some(address) if !address.ip().is_loopback() && self.token.is_none() && !asks_for_certificate => {
                Err(SettingsError(format!(
                    "listen = {address}: anybody who reaches this address could send alerts; set {ENVIRONMENT_PREFIX}TOKEN, or tls with client_ca, or listen on 127.0.0.1"
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Contact {
    /// As [`Settings::load`]. Whether the other settings are good is the router's business.
    ///
    /// # Errors
    /// A file that cannot be read, or an address of the wrong form.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, SettingsError> {
        #[derive(Deserialize)]
        struct Keys {
            admin: SocketAddr,
            unix: Option<PathBuf>,
            token: Option<String>,
        }
        if let Some(path) = file {
            check_syntax(path)?;
        }
        let keys = layers(file, environment, flags).and_then(Config::try_deserialize::<Keys>);
        let Keys { admin, unix, token } = keys.map_err(|error| SettingsError(error.to_string()))?;
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self { admin, unix, token: token.map(Secret::new) })
    }
}

impl Token {
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Compares hashes, so the time taken tells nothing about the token.
    pub fn is(&self, offered: &str) -> bool {
        Self::new(offered) == *self
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(serde::de::Error::custom("token is empty: leave it out, or give it a value"));
        }
        Ok(Self::new(text.trim()))
    }
}

/// A syntax error told without the line it is in, which may hold the token. A file that cannot be read is left to
/// [`layers`].
fn check_syntax(path: &Path) -> Result<(), SettingsError> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    text.parse::<toml::Table>().map(drop).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingsError(format!("{}:{line}: {}", path.display(), error.message().replace('\n', ", ")))
    })
}

fn layers(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, config::ConfigError> {
    let defaults = Settings::default();
    let mut builder = Config::builder()
        .set_default("routing", path_text(&defaults.routing))?
        .set_default("listen", defaults.listen.map_or_else(|| "none".to_owned(), |address| address.to_string()))?
        .set_default("state", path_text(&defaults.state))?
        .set_default("admin", defaults.admin.to_string())?
        .set_default("drain", format!("{}s", defaults.drain.as_secs()))?
        .set_default("fsync", defaults.fsync)?
        .set_default("store_bytes", defaults.store_bytes)?
        .set_default("audit", "off")?
        .set_default("stdin", defaults.stdin)?;
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    let environment = Environment::default().try_parsing(false).source(Some(own_variables(environment)));
    builder
        .add_source(environment)
        .set_override_option("routing", flags.routing.as_deref().map(path_text))?
        .set_override_option("listen", flags.listen.clone())?
        .set_override_option("unix", flags.unix.as_deref().map(path_text))?
        .set_override_option("state", flags.state.as_deref().map(path_text))?
        .set_override_option("admin", flags.admin.clone())?
        .set_override_option("tls.certificate", flags.tls_certificate.as_deref().map(path_text))?
        .set_override_option("tls.key", flags.tls_key.as_deref().map(path_text))?
        .set_override_option("tls.client_ca", flags.tls_client_ca.as_deref().map(path_text))?
        .set_override_option("stdin", flags.stdin.then_some(true))?
        .build()
}

/// Our variables without their prefix, `TLS_KEY` as `TLS.KEY`. `CONFIG` names the file and is no setting; Kubernetes adds variables for a service
/// called tercel-router that start with our prefix too.
fn own_variables(environment: impl IntoIterator<Item = (String, String)>) -> Map<String, String> {
    let is_foreign =
        |name: &str| name == "CONFIG" || name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_");
    let own: HashMap<_, _> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(ENVIRONMENT_PREFIX)?.to_owned(), value)))
        .filter(|(name, _)| !is_foreign(name))
        .map(|(name, value)| (name.strip_prefix("TLS_").map_or(name.clone(), |part| format!("TLS.{part}")), value))
        .collect();
    own.into_iter().collect()
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn address_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_ignored| {
        serde::de::Error::custom(format!("listen = {text}: expected an address and a port as 127.0.0.1:2801, or none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(&path), environment, flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broken_file_is_told_by_its_line_and_does_not_show_the_token() {
        for text in ["drain = \"10s\"\ntoken = hunter2", "drain = \"10s\"\ntoken = \"hunter2"] {
            let error = load(text, &[], &Flags::default()).unwrap_err();
            assert!(error.contains(":2: ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn each_layer_goes_above_the_one_before() {
        let file = "state = \"/file\"\nadmin = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\ndrain = \"1m30s\"";
        let environment =
            [("TERCEL_ROUTER_ADMIN", "127.0.0.1:3"), ("TERCEL_ROUTER_LISTEN", "127.0.0.1:4"), ("HOME", "/")];
        let flags = Flags { listen: Some("127.0.0.1:5".into()), ..Flags::default() };
        let settings = load(file, &environment, &flags).unwrap();
        assert_eq!(settings.routing, Path::new("routing.toml"));
        assert_eq!(settings.state, Path::new("/file"));
        assert_eq!(settings.drain, Duration::from_secs(90));
        assert_eq!(settings.admin.port(), 3);
        assert_eq!(settings.listen.unwrap().port(), 5);
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_known_ones_are_named() {
        let message = load("statee = \"x\"", &[], &Flags::default()).unwrap_err();
        assert!(message.contains("statee") && message.contains("state"), "{message}");
        let message = load("", &[("TERCEL_ROUTER_LISTN", "x")], &Flags::default()).unwrap_err();
        assert!(message.contains("listn"), "{message}");
    }

    #[test]
    fn what_kubernetes_says_about_a_service_of_our_name_is_passed_over() {
        let environment =
            [("TERCEL_ROUTER_SERVICE_HOST", "10.0.0.1"), ("TERCEL_ROUTER_PORT_2801_TCP", "tcp://10.0.0.1:2801")];
        assert!(load("", &environment, &Flags::default()).is_ok());
    }

    #[test]
    fn an_open_address_needs_a_token() {
        let open = ("TERCEL_ROUTER_LISTEN", "0.0.0.0:2801");
        let message = load("", &[open], &Flags::default()).unwrap_err();
        assert!(message.contains("TERCEL_ROUTER_TOKEN"), "{message}");
        let settings = load("", &[open, ("TERCEL_ROUTER_TOKEN", "s3cret")], &Flags::default()).unwrap();
        assert!(settings.token.as_ref().unwrap().is("s3cret") && !settings.token.as_ref().unwrap().is("s3cre"));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn an_open_address_may_ask_for_a_certificate_in_place_of_a_token() {
        let server = "listen = \"0.0.0.0:2801\"\n[tls]\ncertificate = \"/c\"\nkey = \"/k\"\n";
        let message = load(server, &[], &Flags::default()).unwrap_err();
        assert!(message.contains("client_ca"), "{message}");
        assert!(load(&format!("{server}client_ca = \"/a\""), &[], &Flags::default()).is_ok());
    }

    #[test]
    fn certificates_are_named_by_file_environment_or_flag() {
        let file = "[tls]\ncertificate = \"/file\"\nkey = \"/file\"\n";
        let environment = [("TERCEL_ROUTER_TLS_KEY", "/environment"), ("TERCEL_ROUTER_ADMIN_GROUP", "50")];
        let flags = Flags { tls_client_ca: Some("/flag".into()), ..Flags::default() };
        let settings = load(file, &environment, &flags).unwrap();
        let expected =
            TlsSettings { certificate: "/file".into(), key: "/environment".into(), client_ca: Some("/flag".into()) };
        assert_eq!((settings.tls, settings.admin_group), (Some(expected), Some(50)));
        let message = load("", &[("TERCEL_ROUTER_TLS_KEY", "/k")], &Flags::default()).unwrap_err();
        assert!(message.contains("certificate"), "{message}");
    }

    #[test]
    fn a_command_finds_the_router_by_the_same_settings_and_hides_the_token() {
        let environment = [("TERCEL_ROUTER_TOKEN", " s3cret\n"), ("TERCEL_ROUTER_UNIX", "/run/router.sock")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let flags = Flags { admin: Some("127.0.0.1:9".to_owned()), ..Flags::default() };
        let contact = Contact::load(None, environment, &flags).unwrap();
        assert_eq!((contact.admin.port(), contact.unix.as_deref()), (9, Some(Path::new("/run/router.sock"))));
        assert_eq!(contact.token.as_ref().map(Secret::expose), Some("s3cret"));
        assert!(!format!("{contact:?}").contains("s3cret"));
    }

    #[test]
    fn tcp_can_be_switched_off() {
        assert_eq!(load("listen = \"none\"", &[], &Flags::default()).unwrap().listen, None);
        assert!(load("listen = \"2801\"", &[], &Flags::default()).unwrap_err().contains("127.0.0.1:2801"));
    }
}
