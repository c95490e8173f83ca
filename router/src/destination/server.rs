//! Servers that are spoken to by other protocols than HTTP: where they are, and whom to trust there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Problem;
use super::client::read_bounded;
use crate::secret::{Secret, SecretRef};

/// `host:port`; an address of IPv6 stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub(super) struct Server {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// `tls` in `[destination.NAME]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsSettings {
    /// A PEM file with certificates that are trusted beside those of the system.
    ca: Option<PathBuf>,
    /// A PEM file with the certificate that the router shows, and the chain behind it.
    certificate: Option<PathBuf>,
    /// Its key.
    key: Option<SecretRef>,
}

/// What [`TlsSettings`] name, read.
pub(super) struct TlsMaterial {
    pub(super) ca: Option<Vec<u8>>,
    /// Certificate with its chain, and key.
    pub(super) identity: Option<(Vec<u8>, Secret)>,
}

impl TlsSettings {
    /// Those that are read again when they change.
    pub(super) fn files(&self, base: &Path) -> Vec<PathBuf> {
        let key = self.key.as_ref().and_then(|key| key.file(base));
        self.ca.iter().chain(&self.certificate).map(|file| base.join(file)).chain(key).collect()
    }

    pub(super) fn read(&self, base: &Path) -> Result<TlsMaterial, Problem> {
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((read_bounded(&base.join(certificate))?, key.resolve(base)?)),
            _ => return Err(Problem::new("`tls.certificate` and `tls.key` go together")),
        };
        Ok(TlsMaterial { ca: self.ca.as_ref().map(|ca| read_bounded(&base.join(ca))).transpose()?, identity })
    }

    pub(super) fn client(&self, base: &Path) -> Result<ClientConfig, Problem> {
        let material = self.read(base)?;
        let mut trusted = RootCertStore::empty();
        // Where some of them cannot be read, the others are as good.
        trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(material.ca.as_deref().unwrap_or_default()) {
            let certificate = certificate.map_err(|error| Problem::new(format!("`tls.ca`: {error}")))?;
            trusted.add(certificate).map_err(|error| Problem::new(format!("`tls.ca`: {error}")))?;
        }
        if trusted.is_empty() {
            return Err(Problem::new("there are no certificates to trust: install ca-certificates or set `tls.ca`"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem::new(format!("no TLS client: {error}")))?
            .with_root_certificates(trusted);
        let Some((chain, key)) = material.identity else { return Ok(builder.with_no_client_auth()) };
        let unusable = "`tls.certificate` and `tls.key` are no PEM certificate with its key";
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| Problem::new(format!("`tls.certificate`: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|_may_quote_the_key| Problem::new(unusable))?;
        builder.with_client_auth_cert(chain, key).map_err(|_may_quote_the_key| Problem::new(unusable))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{}` is no server; write host:port, as logs.example.com:6514", text.escape_debug());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|character| character.is_ascii_alphanumeric() || ".-_".contains(character))
        };
        match inner {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                Ok(Self { host: address.to_owned(), port })
            }
            None if is_name(host) => Ok(Self { host: host.to_owned(), port }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for text in ["logs.example.com:6514", "127.0.0.1:25", "[::1]:4222"] {
            assert_eq!(Server::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in
            ["host", "host:", "host:0", "host:70000", ":25", "u:p@host:1", "http://host:1", "::1:25", "[x]:1", "a b:1"]
        {
            assert!(Server::try_from(text.to_owned()).unwrap_err().contains("write host:port"), "{text}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_refused_with_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "hunter2").unwrap();
        std::fs::write(folder.path().join("no.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        for (text, cause) in [
            ("ca = \"none.pem\"", "none.pem"),
            ("ca = \"no.pem\"", "`tls.ca`"),
            ("certificate = \"no.pem\"", "go together"),
        ] {
            let settings: TlsSettings = toml::from_str(text).unwrap();
            let message = settings.client(folder.path()).unwrap_err().message;
            assert!(message.contains(cause) && !message.contains("hunter2"), "{text}: {message}");
        }
    }
}
