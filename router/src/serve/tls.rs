//! TLS for the ingest address: certificate, key and, where senders must show one, the authority of their certificates.
//! All three are read again when their files change; what cannot be used leaves those in force that were.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::stream::Stream;
use crate::config::TlsSettings;
use crate::metrics::Metrics;

/// The largest of the files: a bundle of all public authorities has a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How often the files are looked at. Mounted secrets change their files by renaming folders, which notifications miss
/// easily and a look at the content never.
const LOOK_PERIOD: Duration = Duration::from_secs(10);

/// Who has not shown who they are by then is sent away.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// The certificates in force.
pub(crate) struct Tls {
    files: TlsSettings,
    /// Of what was read at the start.
    first: [u8; 32],
    current: RwLock<Arc<ServerConfig>>,
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {cause}; give another file with {flag}", path.display())]
    File { path: PathBuf, cause: String, flag: &'static str },
    #[error("{}: {cause}", path.display())]
    Content { path: PathBuf, cause: String },
}

/// The content of the files, as it was read at one time.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is missing, or holds nothing that can be used.
    pub(crate) fn new(files: TlsSettings) -> Result<Self, TlsError> {
        let material = Material::read(&files)?;
        let config = material.config(&files)?;
        Ok(Self { files, first: material.hash(), current: RwLock::new(Arc::new(config)) })
    }

    /// Looks at the files from time to time; never ends.
    pub(crate) async fn keep_current(&self, metrics: &Metrics) {
        let mut seen = Some(self.first);
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            let found = self.hash().await;
            if found != seen {
                self.replace(metrics).await;
                seen = found;
            }
        }
    }

    /// # Errors
    /// The other end speaks no TLS, shows no certificate that is asked for, or takes too long.
    pub(super) async fn accept(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let acceptor = TlsAcceptor::from(self.current());
        match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
            Ok(accepted) => Ok(Box::new(accepted?)),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `None`: they cannot be read.
    async fn hash(&self) -> Option<[u8; 32]> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || Material::read(&files)).await.ok()?;
        read.ok().map(|material| material.hash())
    }

    async fn replace(&self, metrics: &Metrics) {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || Material::read(&files)?.config(&files)).await;
        match read {
            Ok(Ok(config)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                metrics.ingest.tls_stale.set(0);
                info!("the certificates were read again");
            }
            Ok(Err(error)) => {
                metrics.ingest.tls_stale.set(1);
                warn!(%error, "the certificates have changed and cannot be used; those from before stay in force");
            }
            Err(error) => warn!(%error, "the certificates could not be read"),
        }
    }
}

impl Material {
    fn read(files: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate, "--tls-certificate")?,
            key: read(&files.key, "--tls-key")?,
            client_ca: files.client_ca.as_deref().map(|path| read(path, "--tls-client-ca")).transpose()?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn config(&self, files: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| content(&files.key, &error))?;
        let builder = ServerConfig::builder();
        let builder = match self.client_ca.as_deref().zip(files.client_ca.as_deref()) {
            None => builder.with_no_client_auth(),
            Some((authority, path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(authority, path)? {
                    roots.add(certificate).map_err(|error| content(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| content(path, &error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| content(&files.certificate, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|error| content(path, &error))?;
    if certificates.is_empty() { Err(content(path, &"no certificate in PEM form is in it")) } else { Ok(certificates) }
}

fn read(path: &Path, flag: &'static str) -> Result<Vec<u8>, TlsError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let cause = match read {
        Ok(_) if bytes.len() as u64 <= FILE_BYTES_MAX => return Ok(bytes),
        Ok(_) => format!("it is larger than {FILE_BYTES_MAX} bytes"),
        Err(error) => error.to_string(),
    };
    Err(TlsError::File { path: path.to_owned(), cause, flag })
}

fn content(path: &Path, cause: &dyn std::fmt::Display) -> TlsError {
    TlsError::Content { path: path.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests;
