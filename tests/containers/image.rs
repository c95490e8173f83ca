//! A small image: a static `BusyBox` and some links to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::run;

/// The same files under this name: a sandbox runs what the image says, which is to wait.
pub(crate) const SANDBOX_IMAGE: &str = "docker.io/local/pause:1";

const BUSYBOX: &str = "/usr/bin/busybox";
const APPLETS: [&str; 5] = ["sh", "sleep", "cat", "ls", "true"];

/// What an attacker looks for.
const SHADOW: &str = "root:*:20000:0:99999:7:::\n";

/// Its files as a tar archive in this folder.
pub(crate) fn files(folder: &Path) -> PathBuf {
    let (root, files) = (folder.join("image"), folder.join("files.tar"));
    if files.is_file() {
        return files;
    }
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/shadow"), SHADOW).unwrap();
    archive(&root, &files)
}

/// An OCI archive of it in this folder, under this name. What it runs where nobody says what is to wait, as a pod's sandbox does.
pub(crate) fn oci_archive(folder: &Path, name: &str) -> PathBuf {
    let layout = folder.join(name.replace('/', "-"));
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        fs::write(layout.join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let bytes = |value: &Value| value.to_string().into_bytes();
    let layer = blob("layer.v1.tar", &fs::read(files(folder)).unwrap());
    let config = blob(
        "config.v1+json",
        &bytes(&json!({
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/sleep", "86400"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        })),
    );
    let mut manifest =
        blob("manifest.v1+json", &bytes(&json!({"schemaVersion": 2, "config": config, "layers": [layer]})));
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    archive(&layout, &layout.with_extension("oci"))
}

fn archive(folder: &Path, archive: &Path) -> PathBuf {
    run(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg("."));
    archive.to_owned()
}
