use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;

use super::*;

/// An authority, and what it has signed, in a folder.
struct Office {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    fn new() -> Self {
        crate::install_crypto();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// Writes NAME.pem and NAME.key for this host.
    fn sign(&self, name: &str, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.authority).unwrap();
        let (certificate_file, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&certificate_file, signed.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate_file, key_file)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, with_client_ca: bool) -> TlsSettings {
        let (certificate, key) = self.sign("server", "router.test");
        TlsSettings { certificate, key, client_ca: with_client_ca.then(|| self.path("ca.pem")) }
    }

    /// A client that trusts this office, and shows a certificate of `shown`'s.
    fn client(&self, shown: Option<&Self>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(office) => {
                let (certificate, key) = office.sign("client", "sensor.test");
                let chain = certificates(&std::fs::read(&certificate).unwrap(), &certificate).unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Sends one byte through and back.
async fn echo(tls: &Tls, connector: &TlsConnector, host: &'static str) -> io::Result<u8> {
    let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(16 * 1024);
    let server = async {
        let mut stream = tls.accept(Box::new(ours)).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await
    };
    let client = async {
        let mut stream = connector.connect(ServerName::try_from(host).unwrap(), theirs).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let (sent, received) = tokio::join!(server, client);
    sent.and(received)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_gets_through() {
    let office = Office::new();
    let tls = Tls::new(office.settings(false)).unwrap();
    assert_eq!(echo(&tls, &office.client(None), "router.test").await.unwrap(), 7);
    assert!(echo(&tls, &office.client(None), "other.test").await.is_err());
    assert!(echo(&tls, &Office::new().client(None), "router.test").await.is_err());
}

#[tokio::test]
async fn where_a_client_certificate_is_asked_for_only_one_of_the_authority_will_do() {
    let office = Office::new();
    let tls = Tls::new(office.settings(true)).unwrap();
    assert_eq!(echo(&tls, &office.client(Some(&office)), "router.test").await.unwrap(), 7);
    assert!(echo(&tls, &office.client(None), "router.test").await.is_err());
    assert!(echo(&tls, &office.client(Some(&Office::new())), "router.test").await.is_err());
}

#[tokio::test]
async fn plain_http_and_silence_are_sent_away() {
    let tls = Tls::new(Office::new().settings(false)).unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(tls.accept(Box::new(ours)).await.is_err());
    tokio::time::pause();
    let (ours, _theirs) = tokio::io::duplex(1024);
    assert_eq!(tls.accept(Box::new(ours)).await.err().unwrap().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn new_files_are_taken_and_bad_ones_leave_the_old_in_force() {
    let office = Office::new();
    let settings = office.settings(false);
    let (tls, metrics) = (Tls::new(settings.clone()).unwrap(), Metrics::new());
    let client = office.client(None);
    let checks = async {
        // The pair is half written.
        std::fs::write(&settings.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        tokio::time::sleep(LOOK_PERIOD * 2).await;
        assert_eq!(metrics.ingest.tls_stale.get(), 1);
        assert_eq!(echo(&tls, &client, "router.test").await.unwrap(), 7);

        std::fs::remove_file(&settings.certificate).unwrap();
        tokio::time::sleep(LOOK_PERIOD * 2).await;
        assert_eq!(metrics.ingest.tls_stale.get(), 1);
        assert_eq!(echo(&tls, &client, "router.test").await.unwrap(), 7);

        office.sign("server", "renamed.test");
        tokio::time::sleep(LOOK_PERIOD * 2).await;
        assert_eq!(metrics.ingest.tls_stale.get(), 0);
        assert_eq!(echo(&tls, &client, "renamed.test").await.unwrap(), 7);
        assert!(echo(&tls, &client, "router.test").await.is_err());
    };
    tokio::select! {
        () = tls.keep_current(&metrics) => unreachable!("it never ends"),
        () = checks => (),
    }
}

#[test]
fn what_cannot_be_used_is_named_with_its_file() {
    let office = Office::new();
    let good = office.settings(true);
    let (empty, missing) = (office.path("empty.pem"), office.path("missing.pem"));
    std::fs::write(&empty, "no PEM").unwrap();
    for (bad, expected) in [
        (TlsSettings { certificate: missing.clone(), ..good.clone() }, "missing.pem: No such file"),
        (TlsSettings { certificate: empty.clone(), ..good.clone() }, "empty.pem: no certificate"),
        (TlsSettings { key: empty.clone(), ..good.clone() }, "empty.pem: "),
        (TlsSettings { client_ca: Some(missing), ..good.clone() }, "--tls-client-ca"),
        (TlsSettings { client_ca: Some(empty), ..good.clone() }, "empty.pem: no certificate"),
        (TlsSettings { key: office.sign("other", "x.test").1, ..good }, "server.pem: "),
    ] {
        let message = Tls::new(bad).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
