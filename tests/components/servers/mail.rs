//! A real SMTP server, aiosmtpd, which keeps mails as files.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::{SEEN_WITHIN, folder, listening, routing};
use crate::harness::{Process, TestRouter, alert, eventually, free_address};

struct Server {
    _process: Process,
    address: SocketAddr,
    /// `new` in it has one file a mail.
    mailbox: TempDir,
}

impl Server {
    /// `encryption`: files of a certificate and its key, for STARTTLS.
    async fn start(encryption: Option<(&Path, &Path)>) -> Self {
        let (mailbox, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", folder().join("python")).args(["-m", "aiosmtpd", "-n", "-l", &address.to_string()]);
        if let Some((certificate, key)) = encryption {
            command.arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
        }
        command.args(["-c", "aiosmtpd.handlers.Mailbox"]).arg(mailbox.path().join("box"));
        let process = Process::start(&mut command);
        listening(&process, address).await;
        Self { _process: process, address, mailbox }
    }

    fn mails(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.mailbox.path().join("box/new")).into_iter().flatten();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    async fn wait_for(&self, count: usize) -> Vec<String> {
        eventually("the mails are there", SEEN_WITHIN, async || match self.mails().len() {
            there if there == count => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        self.mails()
    }
}

/// Names of headers, without lines that go on.
fn headers(mail: &str) -> Vec<String> {
    let head = mail.split("\n\n").next().unwrap_or_default();
    let lines = head.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split(':').next().unwrap_or_default().to_lowercase()).collect()
}

fn table(address: SocketAddr, more: &str) -> String {
    format!(
        "type = \"smtp\"\nserver = \"{address}\"\nfrom = \"Tercel <tercel@example.com>\"\nto = [\"soc@example.com\"]\n{more}"
    )
}

#[tokio::test]
#[ignore = "needs a real SMTP server: cargo xtask test --components"]
async fn a_mail_goes_to_whom_it_should_whatever_an_alert_says() {
    let server = Server::start(None).await;
    let router = TestRouter::start(&routing(&table(server.address, "encryption = \"none\""))).await;
    let injection = "x\r\nBcc: evil@example.com\r\nX-Evil: 1\r\n\r\n.\r\nRCPT TO:<evil@example.com>\r\n";
    let mut hostile = alert("Rule", "Critical", "cat");
    hostile["rule"] = json!(format!("Größe {injection}"));
    hostile["hostname"] = json!(injection);
    hostile["output"] = json!(format!("{injection}\r\n.\r\n.hidden {}", "long ".repeat(2_000)));
    hostile["output_fields"]["proc.cmdline"] = json!(injection);
    router.send(&hostile).await;
    let mail = server.wait_for(1).await.remove(0);
    let known = [
        "from",
        "to",
        "subject",
        "message-id",
        "references",
        "in-reply-to",
        "date",
        "content-type",
        "content-transfer-encoding",
        "auto-submitted",
        "x-peer",
        "x-mailfrom",
        "x-rcptto",
        "mime-version",
    ];
    let strange: Vec<_> = headers(&mail).into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}\n{mail}");
    assert!(mail.contains("X-RcptTo: soc@example.com\n"), "{mail}");
    assert!(mail.contains("RCPT TO") && mail.contains("hidden"), "the text is whole:\n{mail}");
}

#[tokio::test]
#[ignore = "needs a real SMTP server: cargo xtask test --components"]
async fn mail_is_encrypted_or_does_not_go() {
    let files = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| files.path().join(name));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start(Some((&certificate, &key))).await;
    let trusting = table(server.address, &format!("tls = {{ ca = \"{}\" }}", certificate.display()));
    let router = TestRouter::start(&routing(&trusting)).await;
    router.send(&alert("Shell", "Critical", "bash")).await;
    server.wait_for(1).await;
    let plain = Server::start(None).await;
    let router = TestRouter::start(&routing(&table(plain.address, ""))).await;
    router.send(&alert("Shell", "Critical", "bash")).await;
    eventually("an attempt failed", SEEN_WITHIN, async || {
        let failures = router.metrics().await.sum("tercel_router_send_failures_total", &[("destination", "there")]);
        if failures > 0 { Ok(()) } else { Err("none failed".to_owned()) }
    })
    .await;
    assert!(plain.mails().is_empty(), "{:?}", plain.mails());
}
