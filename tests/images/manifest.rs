//! Containers of the DaemonSet, as the manifests of the base have them, in the words of the runtime's API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::containers::cri::{
    Capability, ContainerConfig, ContainerMetadata, ContainerSecurityContext, ImageSpec, Int64Value, KeyValue,
    LinuxContainerConfig, MASKED_PATHS, Mount, NODES_PROCESSES, READ_ONLY_PATHS, SecurityProfile,
};
use crate::harness::workspace;

const BASE: &str = "deploy/kustomize/base";

/// The pod of the DaemonSet.
pub(super) struct Manifest(Value);

/// Where this machine is not a node: what lies elsewhere, and what an argument or variable becomes.
#[derive(Default)]
pub(super) struct Changes {
    /// Folders in place of volumes, by the volume's name.
    pub(super) volumes: BTreeMap<String, PathBuf>,
    /// Texts in arguments.
    pub(super) texts: Vec<(String, String)>,
}

impl Manifest {
    pub(super) fn read() -> Self {
        let mut kustomize = Command::new("kubectl");
        kustomize.arg("kustomize").arg(workspace().join(BASE)).stdout(Stdio::piped());
        let mut kustomize = kustomize.spawn().unwrap();
        let yaml = kustomize.stdout.take().unwrap();
        // It changes nothing but the form: kubectl tells objects as JSON only after a command about them.
        let mut json = Command::new("kubectl");
        json.args(["annotate", "--local", "--output", "json", "--filename", "-", "as=json"]).stdin(yaml);
        let output = json.output().unwrap();
        assert!(kustomize.wait().unwrap().success() && output.status.success(), "{output:?}");
        let mut objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(Result::unwrap);
        let daemon_set = objects.find(|object| object["kind"] == "DaemonSet").expect("the base has a DaemonSet");
        Self(daemon_set["spec"]["template"]["spec"].clone())
    }

    pub(super) fn fs_group(&self) -> i64 {
        self.0["securityContext"]["fsGroup"].as_i64().unwrap()
    }

    pub(super) fn shares_process_ids(&self) -> bool {
        self.0["hostPID"] == true
    }

    /// Name and configuration of each; those of `initContainers` first, and apart.
    pub(super) fn containers(&self, changes: &Changes, without: Option<&str>) -> [Vec<(String, ContainerConfig)>; 2] {
        ["initContainers", "containers"].map(|key| {
            let containers = list(&self.0[key]).iter();
            containers.map(|one| (text(&one["name"]), self.container(one, changes, without))).collect()
        })
    }

    fn container(&self, container: &Value, changes: &Changes, without: Option<&str>) -> ContainerConfig {
        let name = text(&container["name"]);
        let envs: Vec<_> = list(&container["env"]).iter().map(variable).collect();
        // As the kubelet does it.
        let expand = |argument: &Value| {
            let texts = envs.iter().map(|(name, value)| (format!("$({name})"), value.clone()));
            let texts = texts.chain(changes.texts.iter().cloned());
            texts.fold(text(argument), |argument, (from, to)| argument.replace(&from, &to))
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec { image: text(&container["image"]) }),
            command: Vec::new(),
            args: list(&container["args"]).iter().map(expand).collect(),
            mounts: list(&container["volumeMounts"]).iter().map(|mount| self.mount(mount, changes)).collect(),
            labels: BTreeMap::from([("io.kubernetes.container.name".to_owned(), name.clone())]),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig { security_context: Some(self.security(container, without)) }),
            envs: envs.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
        }
    }

    fn mount(&self, mount: &Value, changes: &Changes) -> Mount {
        let name = text(&mount["name"]);
        let volume = list(&self.0["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
        let of_the_node = || text(&volume.unwrap_or_else(|| panic!("no volume {name}"))["hostPath"]["path"]);
        let host_path = changes.volumes.get(&name).map_or_else(of_the_node, |path| path.display().to_string());
        assert!(Path::new(&host_path).is_absolute(), "nothing stands for the volume {name}");
        Mount { container_path: text(&mount["mountPath"]), host_path, readonly: mount["readOnly"] == true }
    }

    fn security(&self, container: &Value, without: Option<&str>) -> ContainerSecurityContext {
        let own = &container["securityContext"];
        let number = |key: &str| own[key].as_i64().map(|value| Int64Value { value });
        let names = |key: &str| list(&own["capabilities"][key]).iter().map(text).collect::<Vec<_>>();
        let mut added = names("add");
        added.retain(|name| Some(name.as_str()) != without);
        let profile = |value: &Value| {
            let profile_type = match value["type"].as_str() {
                Some("RuntimeDefault") => SecurityProfile::RUNTIME_DEFAULT,
                Some("Unconfined") => SecurityProfile::UNCONFINED,
                other => panic!("the test knows no profile {other:?}"),
            };
            SecurityProfile { profile_type }
        };
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        ContainerSecurityContext {
            capabilities: Some(Capability { add: added, drop: names("drop") }),
            namespace_options: Some(NODES_PROCESSES),
            run_as_user: number("runAsUser"),
            run_as_group: number("runAsGroup"),
            readonly_rootfs: own["readOnlyRootFilesystem"] == true,
            supplemental_groups: vec![self.fs_group()],
            no_new_privs: own["allowPrivilegeEscalation"] == false,
            masked_paths: paths(&MASKED_PATHS),
            readonly_paths: paths(&READ_ONLY_PATHS),
            seccomp: Some(profile(&self.0["securityContext"]["seccompProfile"])),
        }
    }
}

fn variable(value: &Value) -> (String, String) {
    let from_node = value["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName";
    let own = if from_node { "node-of-the-test".to_owned() } else { text(&value["value"]) };
    (text(&value["name"]), own)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
