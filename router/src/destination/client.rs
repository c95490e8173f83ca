//! The HTTP client of one destination, as `http = { … }` in its table has it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Identity, Proxy, Url, redirect};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Problem;
use super::http::innermost;
use super::live::Live;
use crate::duration;
use crate::secret::{PlainOrSecret, SecretRef};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the first byte sent to the last byte of the answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Bounds on both. The longest is below what the worker gives an attempt.
const TIMEOUT_LEAST: Duration = Duration::from_millis(100);
const TIMEOUT_MOST: Duration = Duration::from_mins(1);

/// The longest file of certificates; that of a whole system has some 200 KiB.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;

/// `http` in `[destination.NAME]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpSettings {
    /// From the first byte sent to the last byte of the answer; absent: 15 s.
    timeout: Option<Timeout>,
    /// Until there is a connection; absent: 5 s.
    connect_timeout: Option<Timeout>,
    /// A proxy's address, with user and password if it is kept as a secret. Absent: what the environment says.
    pub(super) proxy: Option<PlainOrSecret>,
    /// A PEM file with certificates that are trusted beside those of the system.
    ca: Option<PathBuf>,
    /// A PEM file with the certificate that the router shows, and the chain behind it.
    certificate: Option<PathBuf>,
    /// Its key.
    pub(super) key: Option<SecretRef>,
    /// The destination may be at a link-local address, where clouds answer with credentials.
    allow_link_local: bool,
}

/// `timeout` and `connect_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Timeout(Duration);

impl HttpSettings {
    /// The client for these addresses, made anew when one of its files changes. Its pool is its own, so that no destination
    /// waits for another.
    pub(super) fn client(&self, urls: &[Url], base: &Path) -> Result<Live<Client>, Problem> {
        if !self.allow_link_local && urls.iter().filter_map(url_address).any(is_link_local) {
            return Err(Problem::new(format!(
                "the address is link-local, where clouds keep credentials; {ALLOW_LINK_LOCAL} allows it"
            )));
        }
        let files = self.ca.iter().chain(&self.certificate).map(|file| base.join(file));
        let files = files.chain(self.key.as_ref().and_then(|key| key.file(base)));
        let files = files.chain(self.proxy.as_ref().and_then(|proxy| proxy.file(base)));
        let (settings, urls, base) = (self.clone(), urls.to_vec(), base.to_owned());
        Live::new(files.collect::<Vec<_>>(), move || settings.build(&urls, &base))
    }

    fn build(&self, urls: &[Url], base: &Path) -> Result<Client, Problem> {
        // Fails only where a provider is installed already, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = Client::builder()
            .user_agent(concat!("Tercel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout.map_or(CONNECT_TIMEOUT, |Timeout(wait)| wait))
            .timeout(self.timeout.map_or(TOTAL_TIMEOUT, |Timeout(wait)| wait))
            .redirect(redirect::Policy::none());
        if !self.allow_link_local {
            builder = builder.dns_resolver(NoLinkLocal);
        }
        if urls.iter().all(|url| url.scheme() == "http") && self.proxy.is_none() {
            // Reading the system's certificates fails where there are none, and plain HTTP needs none.
            builder = builder.tls_certs_only([]);
        } else if let Some(ca) = &self.ca {
            builder = builder.tls_certs_merge(certificates(&base.join(ca))?);
        }
        if let Some(identity) = self.identity(base)? {
            builder = builder.identity(identity);
        }
        match &self.proxy {
            Some(proxy) => builder = builder.proxy(proxy_at(proxy, base)?),
            // What stays on this machine is no business of a proxy's.
            None if urls.iter().all(is_loopback) => builder = builder.no_proxy(),
            None => {}
        }
        builder.build().map_err(|error| {
            let cause = innermost(&error);
            Problem::new(format!("no HTTPS client: {cause}; install ca-certificates or set SSL_CERT_FILE"))
        })
    }

    fn identity(&self, base: &Path) -> Result<Option<Identity>, Problem> {
        let (certificate, key) = match (&self.certificate, &self.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (base.join(certificate), key.resolve(base)?),
            _ => return Err(Problem::new("`http.certificate` and `http.key` go together")),
        };
        let mut pem = read_bounded(&certificate)?;
        pem.extend_from_slice(b"\n");
        pem.extend_from_slice(key.expose().as_bytes());
        pem.extend_from_slice(b"\n");
        Identity::from_pem(&pem).map(Some).map_err(|_may_quote_the_key| {
            Problem::new("`http.certificate` and `http.key` are no PEM certificate with its key")
        })
    }
}

/// What a message tells to write.
const ALLOW_LINK_LOCAL: &str = "http = { allow_link_local = true }";

fn certificates(path: &Path) -> Result<Vec<Certificate>, Problem> {
    let place = path.display();
    match Certificate::from_pem_bundle(&read_bounded(path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Problem::new(format!("`http.ca`: {place} holds no certificate"))),
        Err(error) => Err(Problem::new(format!("`http.ca`: {place} is no PEM file: {}", innermost(&error)))),
    }
}

pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, Problem> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| Problem::new(format!("cannot read {}: {error}", path.display()));
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CERTIFICATES_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(unreadable)?;
    if content.len() as u64 > CERTIFICATES_BYTES_MAX {
        return Err(Problem::new(format!("{} is longer than {CERTIFICATES_BYTES_MAX} bytes", path.display())));
    }
    Ok(content)
}

fn proxy_at(proxy: &PlainOrSecret, base: &Path) -> Result<Proxy, Problem> {
    let url = super::http::parse_url("http.proxy", proxy, base)?;
    Proxy::all(url).map_err(|_shows_the_address| Problem::new("`http.proxy` is no address of a proxy"))
}

fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || url_address(url).is_some_and(|address| address.is_loopback())
}

/// Where the host is an address and no name.
fn url_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The system's resolver without what is link-local: a name that somebody else may point at it is no way around.
struct NoLinkLocal;

#[derive(Debug, thiserror::Error)]
#[error("the name leads to a link-local address; {ALLOW_LINK_LOCAL} allows it")]
struct LinkLocal;

impl Resolve for NoLinkLocal {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(permitted(found)?)
        })
    }
}

fn permitted(found: Vec<SocketAddr>) -> Result<Addrs, LinkLocal> {
    let is_empty = found.is_empty();
    let permitted: Vec<_> = found.into_iter().filter(|address| !is_link_local(address.ip())).collect();
    if permitted.is_empty() && !is_empty { Err(LinkLocal) } else { Ok(Box::new(permitted.into_iter())) }
}

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration::parse(&text) {
            Some(wait) if (TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&wait) => Ok(Self(wait)),
            Some(_) => Err(format!("`{text}` is out of bounds: 100ms at least, 1m at most")),
            None => Err(format!("`{text}` is no duration; write 500ms, 5s or 1m")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<HttpSettings, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    fn refusal(text: &str, url: &str, base: &Path) -> String {
        settings(text).unwrap().client(&[Url::parse(url).unwrap()], base).err().expect(text).message
    }

    #[test]
    fn plain_http_needs_no_certificates_of_the_system() {
        assert!(HttpSettings::default().client(&[Url::parse("http://127.0.0.1:1/").unwrap()], Path::new("")).is_ok());
    }

    #[test]
    fn a_link_local_address_needs_permission_however_it_is_written() {
        let base = Path::new("");
        for url in [
            "http://169.254.169.254/",
            "http://2852039166/",
            "http://0xa9.0xfe.1.2/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
        ] {
            assert!(refusal("", url, base).contains("allow_link_local = true"), "{url}");
            let allowed = settings("allow_link_local = true").unwrap();
            assert!(allowed.client(&[Url::parse(url).unwrap()], base).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_name_that_leads_to_a_link_local_address_leads_nowhere() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert!(permitted(addresses(&["169.254.169.254:0", "[fe80::1]:0"])).is_err());
        let left: Vec<_> = permitted(addresses(&["169.254.169.254:0", "10.0.0.1:0"])).unwrap().collect();
        assert_eq!(left, addresses(&["10.0.0.1:0"]));
        assert_eq!(permitted(Vec::new()).unwrap().count(), 0);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty.pem"), "").unwrap();
        std::fs::write(folder.path().join("key"), "hunter2").unwrap();
        let url = "https://host/";
        for (text, cause) in [
            ("ca = \"none.pem\"", "none.pem"),
            ("ca = \"empty.pem\"", "holds no certificate"),
            ("certificate = \"empty.pem\"", "go together"),
            ("certificate = \"empty.pem\"\nkey = { file = \"key\" }", "no PEM certificate"),
            ("proxy = \"nowhere\"", "`http.proxy`"),
            ("proxy = \"http://user:hunter2@proxy/\"", "`http.proxy` holds a user name or password"),
        ] {
            let message = refusal(text, url, folder.path());
            assert!(message.contains(cause) && !message.contains("hunter2"), "{text}: {message}");
        }
        for (text, cause) in
            [("timeout = \"2m\"", "1m at most"), ("timeout = \"soon\"", "write 500ms"), ("timout = \"1s\"", "timeout")]
        {
            assert!(settings(text).unwrap_err().contains(cause), "{text}");
        }
    }
}
