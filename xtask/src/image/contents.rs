//! What is in an image: files with fixed rights, owners and times, in a fixed order.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::oci::{Layer, sha256};
use super::{Place, Program};

/// Nobody's number on a machine; that of the images called `nonroot` elsewhere.
pub(super) const ROUTER_USER: u64 = 65_532;

const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\ntercel:x:65532:65532:tercel:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ntercel:x:65532:\n";
const NSSWITCH: &str = "hosts: files dns\n";

/// Where the system's certificates are looked for.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

enum Entry {
    /// Content and mode.
    File(Vec<u8>, u32),
    /// Mode and owner.
    Folder(u32, u64),
}

/// By path, so that folders come before what is in them.
type Tree = BTreeMap<String, Entry>;

/// The one layer of an image.
pub(super) fn layer(place: &Place, program: Program, binary: &Path, sbom: &Path) -> Result<Layer> {
    let mut tree = Tree::new();
    let name = program.name();
    add(&mut tree, name, read(binary)?, 0o755);
    add(&mut tree, "etc/passwd", PASSWD.into(), 0o644);
    add(&mut tree, "etc/group", GROUP.into(), 0o644);
    add(&mut tree, "etc/nsswitch.conf", NSSWITCH.into(), 0o644);
    add(&mut tree, CERTIFICATES, certificates().into_bytes(), 0o644);
    // Where scanners look for it.
    add(&mut tree, &format!("usr/share/sbom/{name}.cdx.json"), read(sbom)?, 0o644);
    add(
        &mut tree,
        &format!("usr/share/licenses/{name}/LICENSE-APACHE"),
        read(&place.source.join("LICENSE-APACHE"))?,
        0o644,
    );
    match program {
        Program::Router => router(&mut tree, &place.source)?,
        Program::Sensor => sensor(&mut tree, &place.source)?,
    }
    archive(tree, place.origin.time_s)
}

/// With the routing that ships, and a folder of its own for what it keeps.
fn router(tree: &mut Tree, source: &Path) -> Result<()> {
    add(tree, "etc/tercel/routing.toml", read(&source.join("routing.toml"))?, 0o644);
    folders_above(tree, "var/lib/tercel/router");
    tree.insert("var/lib/tercel/router".to_owned(), Entry::Folder(0o700, ROUTER_USER));
    Ok(())
}

/// With the rules that ship. Its kernel object, under the GPL as well, is in the program.
fn sensor(tree: &mut Tree, source: &Path) -> Result<()> {
    let rules = source.join("rules");
    for entry in std::fs::read_dir(&rules).with_context(|| format!("cannot read {}", rules.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            add(tree, &format!("etc/tercel/rules/{name}"), read(&path)?, 0o644);
        }
    }
    let licence = read(&source.join("LICENSE-GPL-2.0"))?;
    add(tree, "usr/share/licenses/tercel-sensor/LICENSE-GPL-2.0", licence, 0o644);
    Ok(())
}

fn add(tree: &mut Tree, path: &str, content: Vec<u8>, mode: u32) {
    folders_above(tree, path);
    tree.insert(path.to_owned(), Entry::File(content, mode));
}

fn folders_above(tree: &mut Tree, path: &str) {
    for (end, _) in path.match_indices('/') {
        tree.entry(path[..end].to_owned()).or_insert(Entry::Folder(0o755, 0));
    }
}

/// Mozilla's authorities, as Cargo.lock pins them, in PEM.
fn certificates() -> String {
    let pem = |der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|certificate| pem(certificate)).collect()
}

fn archive(tree: Tree, time_s: u64) -> Result<Layer> {
    let mut tar = Builder::new(Vec::new());
    for (path, entry) in tree {
        let mut header = Header::new_ustar();
        header.set_mtime(time_s);
        let (content, mode, owner) = match entry {
            Entry::File(content, mode) => (content, mode, 0),
            Entry::Folder(mode, owner) => {
                header.set_entry_type(EntryType::Directory);
                (Vec::new(), mode, owner)
            }
        };
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, &path, content.as_slice()).with_context(|| format!("cannot pack {path}"))?;
    }
    let plain = tar.into_inner().context("cannot end the layer")?;
    // No name and no time in its header.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&plain).context("cannot compress the layer")?;
    Ok(Layer { plain_digest: sha256(&plain), compressed: gzip.finish().context("cannot compress the layer")? })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files_and_times_and_owners_are_fixed() {
        let mut tree = Tree::new();
        add(&mut tree, "etc/ssl/x", b"x".to_vec(), 0o644);
        tree.insert("var".to_owned(), Entry::Folder(0o700, ROUTER_USER));
        let layer = archive(tree, 7).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.compressed.as_slice()));
        let entries: Vec<_> = archive.entries().unwrap().map(Result::unwrap).collect();
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| {
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap())
            })
            .collect();
        let expected = [
            ("etc", 0o755, 0, 7),
            ("etc/ssl", 0o755, 0, 7),
            ("etc/ssl/x", 0o644, 0, 7),
            ("var", 0o700, ROUTER_USER, 7),
        ];
        assert_eq!(seen, expected.map(|(path, mode, owner, time)| (path.to_owned(), mode, owner, time)));
    }

    #[test]
    fn the_certificates_are_more_than_a_hundred_and_in_pem() {
        let pem = certificates();
        let begins = pem.matches("-----BEGIN CERTIFICATE-----\n").count();
        assert!(begins > 100 && begins == pem.matches("-----END CERTIFICATE-----\n").count(), "{begins}");
        assert!(pem.lines().all(|line| line.len() <= 64), "PEM has lines of 64 characters");
    }
}
