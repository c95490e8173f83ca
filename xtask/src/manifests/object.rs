//! Objects of Kubernetes, as far as the lane asks something of them.

use anyhow::{Context, Result};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

/// An object out of a manifest.
pub(super) struct Object(Value);

/// A container of a pod that a workload makes.
pub(super) struct Container<'a> {
    /// `DaemonSet tercel`
    workload: String,
    pod: &'a Value,
    spec: &'a Value,
    pub(super) is_init: bool,
}

/// All documents of a file.
pub(super) fn read(text: &str) -> Result<Vec<Object>> {
    let documents = Yaml::load_from_str(text)?;
    documents.iter().map(|document| value(document).map(Object)).collect()
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        text(&self.0["kind"])
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.kind(), text(&self.0["metadata"]["name"]))
    }

    /// Keys of a ConfigMap's files.
    pub(super) fn config_keys(&self) -> Vec<String> {
        let data = self.0["data"].as_object().filter(|_| self.kind() == "ConfigMap");
        data.map(|data| data.keys().cloned().collect()).unwrap_or_default()
    }

    /// The pod that a workload makes.
    pub(super) fn pod(&self) -> Option<&Value> {
        let pod = &self.0["spec"]["template"]["spec"];
        pod.is_object().then_some(pod)
    }

    pub(super) fn containers(&self) -> Vec<Container<'_>> {
        let Some(pod) = self.pod() else { return Vec::new() };
        let of = |key: &str, is_init: bool| {
            let containers = list(&pod[key]).iter();
            containers.map(move |spec| Container { workload: self.name(), pod, spec, is_init })
        };
        of("initContainers", true).chain(of("containers", false)).collect()
    }
}

impl Container<'_> {
    /// `DaemonSet tercel: sensor`
    pub(super) fn name(&self) -> String {
        format!("{}: {}", self.workload, text(&self.spec["name"]))
    }

    pub(super) fn image(&self) -> &str {
        text(&self.spec["image"])
    }

    /// A setting of its security context, or of its pod's.
    pub(super) fn security(&self, key: &str) -> &Value {
        match &self.spec["securityContext"][key] {
            Value::Null => &self.pod["securityContext"][key],
            own => own,
        }
    }

    /// Of those that are added.
    pub(super) fn capabilities(&self) -> Vec<&str> {
        let mut added = texts(&self.spec["securityContext"]["capabilities"]["add"]);
        added.sort_unstable();
        added
    }

    pub(super) fn drops_all(&self) -> bool {
        texts(&self.spec["securityContext"]["capabilities"]["drop"]) == ["ALL"]
    }

    /// Paths of the node that it sees, and whether it may write there.
    pub(super) fn host_paths(&self) -> Vec<(&str, bool)> {
        let mut paths: Vec<_> = list(&self.spec["volumeMounts"])
            .iter()
            .filter_map(|mount| {
                let volume = list(&self.pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"])?;
                let path = volume["hostPath"]["path"].as_str()?;
                Some((path, mount["readOnly"] != true))
            })
            .collect();
        paths.sort_unstable();
        paths
    }

    pub(super) fn ports(&self) -> Vec<u64> {
        let ports = list(&self.spec["ports"]).iter();
        let mut ports: Vec<_> = ports.filter_map(|port| port["containerPort"].as_u64()).collect();
        ports.sort_unstable();
        ports
    }
}

fn value(yaml: &Yaml<'_>) -> Result<Value> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => items.iter().map(value).collect::<Result<Vec<_>>>()?.into(),
        Yaml::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, item)| Ok((key.as_str().context("a key is no text")?.to_owned(), value(item)?)));
            Value::Object(entries.collect::<Result<Map<_, _>>>()?)
        }
        other => anyhow::bail!("nothing that Kustomize writes: {other:?}"),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
