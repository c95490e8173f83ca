//! What a runtime tells of a container, the same whichever runtime it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tercel_filter::Glob;

use super::image::Image;
use crate::enrich::kubernetes::Pod;

/// Bytes of one text: a name, a label's value, a path.
const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes of all labels of a container or pod, and of all its mounts.
const LABELS_BYTES_MAX: usize = 8 << 10;
const MOUNTS_BYTES_MAX: usize = 16 << 10;

/// A container as its runtime describes it. Texts are whoever's who made the container or its image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub name: Option<String>,
    pub image: Image,
    pub is_privileged: Option<bool>,
    pub mounts: Mounts,
    pub labels: Labels,
    /// The command line of its health check; `NONE` where the image's is switched off.
    pub healthcheck: Option<String>,
    /// Nanoseconds since 1970. Missing until it is started.
    pub started_ns: Option<i64>,
    pub ip: Option<String>,
    /// Whether it shares these namespaces with the host.
    pub host_pid: Option<bool>,
    pub host_network: Option<bool>,
    pub host_ipc: Option<bool>,
    pub pod: Option<Pod>,
    /// The runtime announced the container, and is yet to tell the rest.
    pub is_partial: bool,
}

impl Metadata {
    /// Cuts every text to what is kept of it; whether there was anything to cut. To be called by whoever has it from outside.
    pub(crate) fn bound(&mut self) -> bool {
        let Image { reference, id, repository, tag, digest } = &mut self.image;
        let texts = [&mut self.name, &mut self.healthcheck, &mut self.ip, reference, id, repository, tag, digest];
        let mut cut = texts.into_iter().flatten().fold(false, |cut, text| bound(text) | cut);
        if let Some(pod) = &mut self.pod {
            cut |= pod.texts().fold(false, |cut, text| bound(text) | cut);
            cut |= pod.labels.is_cut;
        }
        cut | self.labels.is_cut | self.mounts.is_cut
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let Image { reference, id, repository, tag, digest } = &self.image;
        let texts = [&self.name, &self.healthcheck, &self.ip, reference, id, repository, tag, digest];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let pod = self.pod.as_ref().map_or(0, Pod::bytes);
        size_of::<Self>() + texts + self.labels.bytes() + self.mounts.bytes() + pod
    }
}

/// Cuts at a character's boundary.
pub(crate) fn bound(text: &mut String) -> bool {
    let is_long = text.len() > TEXT_BYTES_MAX;
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    is_long
}

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels {
    by_name: BTreeMap<String, String>,
    text: String,
    is_cut: bool,
}

impl Labels {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// `name:value` with commas between them; `None`: there are none.
    pub fn text(&self) -> Option<&str> {
        (!self.text.is_empty()).then_some(&*self.text)
    }

    pub(crate) fn bytes(&self) -> usize {
        2 * self.text.len()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    /// Those that there is room for, in their order.
    fn from(labels: BTreeMap<String, String>) -> Self {
        let mut kept = Self::default();
        for (mut name, mut value) in labels {
            kept.is_cut |= bound(&mut name) | bound(&mut value);
            let comma = if kept.text.is_empty() { "" } else { "," };
            let label = format!("{comma}{name}:{value}");
            if kept.text.len() + label.len() > LABELS_BYTES_MAX {
                kept.is_cut = true;
                break;
            }
            kept.text.push_str(&label);
            kept.by_name.insert(name, value);
        }
        kept
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.by_name
    }
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: String,
    pub destination: String,
    pub mode: String,
    pub is_writable: bool,
    pub propagation: String,
    /// All of that.
    #[serde(skip)]
    pub text: String,
}

/// What is mounted in a container, in the runtime's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Mount>", into = "Vec<Mount>")]
pub struct Mounts {
    all: Vec<Mount>,
    text: String,
    is_cut: bool,
}

impl Mounts {
    /// `source:destination:mode:writable:propagation` with commas between them; `None`: there are none.
    pub fn text(&self) -> Option<&str> {
        (!self.text.is_empty()).then_some(&*self.text)
    }

    /// The mount at a place from 0, or the first of which what `path` says is the key or, as a glob, matches it.
    pub fn find(&self, key: &str, path: impl Fn(&Mount) -> &str) -> Option<&Mount> {
        if let Ok(place) = key.parse::<usize>() {
            return self.all.get(place);
        }
        let glob = Glob::new(key.as_bytes(), false);
        self.all.iter().find(|mount| glob.matches(path(mount).as_bytes()))
    }

    pub(super) fn bytes(&self) -> usize {
        3 * self.text.len() + self.all.len() * size_of::<Mount>()
    }
}

impl From<Vec<Mount>> for Mounts {
    /// Those that there is room for, in their order.
    fn from(mounts: Vec<Mount>) -> Self {
        let mut kept = Self::default();
        for mut mount in mounts {
            let Mount { source, destination, mode, propagation, .. } = &mut mount;
            kept.is_cut |=
                [source, destination, mode, propagation].into_iter().fold(false, |cut, text| bound(text) | cut);
            let Mount { source, destination, mode, is_writable, propagation, .. } = &mount;
            mount.text = format!("{source}:{destination}:{mode}:{is_writable}:{propagation}");
            if kept.text.len() + 1 + mount.text.len() > MOUNTS_BYTES_MAX {
                kept.is_cut = true;
                break;
            }
            if !kept.text.is_empty() {
                kept.text.push(',');
            }
            kept.text.push_str(&mount.text);
            kept.all.push(mount);
        }
        kept
    }
}

impl From<Mounts> for Vec<Mount> {
    fn from(mounts: Mounts) -> Self {
        mounts.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: &str, destination: &str) -> Mount {
        let [source, destination] = [source, destination].map(str::to_owned);
        Mount { source, destination, mode: "ro".to_owned(), propagation: "rprivate".to_owned(), ..Mount::default() }
    }

    #[test]
    fn mounts_are_found_by_place_path_and_glob() {
        let mounts = Mounts::from(vec![mount("/proc/sys", "/host/sys"), mount("/etc", "/host/etc")]);
        assert_eq!(mounts.text(), Some("/proc/sys:/host/sys:ro:false:rprivate,/etc:/host/etc:ro:false:rprivate"));
        let destination = |key| mounts.find(key, |mount| &mount.source).map(|mount| mount.destination.as_str());
        assert_eq!(destination("0"), Some("/host/sys"));
        assert_eq!(destination("1"), Some("/host/etc"));
        assert_eq!(destination("2"), None);
        assert_eq!(destination("/etc"), Some("/host/etc"));
        assert_eq!(destination("/proc*"), Some("/host/sys"));
        assert_eq!(destination("/"), None);
    }

    #[test]
    fn what_is_too_long_is_cut_and_said() {
        let labels: BTreeMap<_, _> = (0..100).map(|number| (format!("{number:03}"), "ä".repeat(600))).collect();
        let labels = Labels::from(labels);
        assert_eq!(labels.get("000").map(str::len), Some(TEXT_BYTES_MAX));
        assert!(labels.is_cut && labels.text().unwrap().len() <= LABELS_BYTES_MAX && labels.get("099").is_none());
        let mounts = Mounts::from(vec![mount(&"/x".repeat(1_000), "/y"); 100]);
        assert!(mounts.is_cut && mounts.text().unwrap().len() <= MOUNTS_BYTES_MAX);
        let mut metadata = Metadata { name: Some("x".repeat(2_000)), ..Metadata::default() };
        assert!(metadata.bound() && !metadata.bound());
        assert!(!Metadata::default().bound());
    }
}
