//! Images as the image specification 1.1 of the Open Container Initiative has them: documents and layers named by their
//! digests, in one tar archive. Written out here, since the crate for these documents keeps labels in no order, and then no
//! two builds are equal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use super::contents::ROUTER_USER;
use super::{Arch, Built, Origin, Program};

const REGISTRY: &str = "ghcr.io/tercel-security";
const SOURCE: &str = "https://github.com/tercel-security/tercel";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layer, packed.
pub(super) struct Layer {
    pub(super) compressed: Vec<u8>,
    /// Of the archive before it was compressed.
    pub(super) plain_digest: String,
}

/// An image for one or more machines.
pub(super) struct Image {
    program: Program,
    name: String,
    created: String,
    time_s: u64,
    labels: Value,
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Image {
    pub(super) fn new(origin: &Origin, program: Program) -> Result<Self> {
        let created = i64::try_from(origin.time_s).ok().and_then(|time_s| jiff::Timestamp::from_second(time_s).ok());
        let created = created.context("the commit's time is none")?.to_string();
        let name = format!("{REGISTRY}/{}:{}", program.name(), origin.version);
        let labels = labels(origin, program, &created);
        let (blobs, manifests) = (BTreeMap::new(), Vec::new());
        Ok(Self { program, name, created, time_s: origin.time_s, labels, blobs, manifests })
    }

    pub(super) fn add(&mut self, arch: Arch, layer: &Layer) {
        let config = json!({
            "created": self.created,
            "architecture": arch.name(),
            "os": "linux",
            "config": run_settings(self.program, &self.labels),
            "rootfs": {"type": "layers", "diff_ids": [layer.plain_digest]},
            "history": [{"created": self.created, "created_by": "cargo xtask image"}],
        });
        let layers = [self.blob(LAYER, layer.compressed.clone())];
        let config = self.blob(CONFIG, document(&config));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": self.labels,
        });
        let mut manifest = self.blob(MANIFEST, document(&manifest));
        manifest["platform"] = json!({"architecture": arch.name(), "os": "linux"});
        self.manifests.push(manifest);
    }

    /// The archive; its digest is the manifest's, or the index's where there are several.
    pub(super) fn write(mut self, archive: &Path) -> Result<Built> {
        let mut root = match self.manifests.as_slice() {
            [only] => only.clone(),
            several => {
                let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": several});
                self.blob(INDEX, document(&index))
            }
        };
        let digest = root["digest"].as_str().unwrap_or_default().to_owned();
        root["annotations"] =
            json!({"org.opencontainers.image.ref.name": self.name, "io.containerd.image.name": self.name});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [root]});

        let mut files = vec![
            ("oci-layout".to_owned(), document(&json!({"imageLayoutVersion": "1.0.0"}))),
            ("index.json".to_owned(), document(&index)),
        ];
        let path = |digest: &str| format!("blobs/{}", digest.replacen(':', "/", 1));
        files.extend(self.blobs.into_iter().map(|(digest, bytes)| (path(&digest), bytes)));
        std::fs::write(archive, tar(&files, self.time_s)?)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        Ok(Built { archive: archive.to_owned(), name: self.name, digest })
    }

    /// Keeps it, and gives what refers to it.
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }
}

/// `org.opencontainers.image.…`, of the image and of its manifest.
fn labels(origin: &Origin, program: Program, created: &str) -> Value {
    let (description, licenses) = match program {
        Program::Router => ("Routes, deduplicates, limits and delivers security alerts", "Apache-2.0"),
        // The kernel programs may be taken under either.
        Program::Sensor => ("Watches system calls with eBPF and raises alerts by Falco rules", "Apache-2.0"),
    };
    json!({
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": description,
        "org.opencontainers.image.licenses": licenses,
        "org.opencontainers.image.revision": origin.revision,
        "org.opencontainers.image.source": SOURCE,
        "org.opencontainers.image.title": program.name(),
        "org.opencontainers.image.version": origin.version,
    })
}

/// What runs, and as whom, where nobody says something else.
fn run_settings(program: Program, labels: &Value) -> Value {
    let entry = format!("/{}", program.name());
    match program {
        Program::Router => json!({
            "User": format!("{ROUTER_USER}:{ROUTER_USER}"),
            "ExposedPorts": {"2801/tcp": {}, "2802/tcp": {}},
            "Entrypoint": [entry],
            "Cmd": ["run", "--routing=/etc/tercel/routing.toml", "--state=/var/lib/tercel/router"],
            "Volumes": {"/var/lib/tercel/router": {}},
            "WorkingDir": "/",
            "Labels": labels,
        }),
        // Root, by its number alone: what the sensor may do are the capabilities that it is given.
        Program::Sensor => json!({
            "User": "0:0",
            "ExposedPorts": {"2803/tcp": {}},
            "Entrypoint": [entry],
            "Cmd": ["run", "--rules=/etc/tercel/rules"],
            "WorkingDir": "/",
            "Labels": labels,
        }),
    }
}

fn document(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn tar(files: &[(String, Vec<u8>)], time_s: u64) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(time_s);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_slice()).with_context(|| format!("cannot pack {path}"))?;
    }
    tar.into_inner().context("cannot end the archive")
}

/// `sha256:` and the digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step;

    fn image(arches: &[Arch]) -> (Built, BTreeMap<String, Vec<u8>>) {
        let origin = Origin { version: "1.2.3".to_owned(), revision: "abc".to_owned(), time_s: 1_700_000_000 };
        let mut image = Image::new(&origin, Program::Router).unwrap();
        for arch in arches {
            image.add(*arch, &Layer { compressed: arch.name().into(), plain_digest: sha256(b"plain") });
        }
        let folder = step::target().join("image-tests");
        std::fs::create_dir_all(&folder).unwrap();
        let built = image.write(&folder.join(format!("{}.tar", arches.len()))).unwrap();
        let mut archive = tar::Archive::new(std::fs::File::open(&built.archive).unwrap());
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        let files = files.collect();
        (built, files)
    }

    /// What a descriptor refers to; its digest and size must be right.
    fn follow<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!((sha256(bytes).as_str(), descriptor["size"].as_u64()), (digest, Some(bytes.len() as u64)));
        bytes
    }

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn every_descriptor_leads_to_what_it_says_down_to_the_layer() {
        let (built, files) = image(&[Arch::Amd64]);
        let index = parsed(&files["index.json"]);
        assert_eq!(index["manifests"][0]["digest"], built.digest.as_str());
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], built.name.as_str());
        let manifest = parsed(follow(&files, &index["manifests"][0]));
        let config = parsed(follow(&files, &manifest["config"]));
        assert_eq!(follow(&files, &manifest["layers"][0]), b"amd64");
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        assert_eq!((&config["architecture"], &config["config"]["User"]), (&"amd64".into(), &"65532:65532".into()));
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "abc");
        assert_eq!(config["rootfs"]["diff_ids"][0], sha256(b"plain").as_str());
    }

    #[test]
    fn an_image_for_two_machines_is_an_index_of_both() {
        let (built, files) = image(&[Arch::Amd64, Arch::Arm64]);
        let root = &parsed(&files["index.json"])["manifests"][0];
        assert_eq!((&root["mediaType"], &root["digest"]), (&INDEX.into(), &built.digest.as_str().into()));
        let both = parsed(follow(&files, root));
        for (number, arch) in ["amd64", "arm64"].into_iter().enumerate() {
            let descriptor = &both["manifests"][number];
            assert_eq!(descriptor["platform"]["architecture"], arch);
            let manifest = parsed(follow(&files, descriptor));
            assert_eq!(parsed(follow(&files, &manifest["config"]))["architecture"], arch);
        }
    }
}
