//! What docs/security.md claims of the manifests, compared with them: its table has a row for each container, and its
//! sentences hold.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Build;
use super::object::{Container, Object};
use crate::step;

const PAGE: &str = "docs/security.md";

/// Kinds that give an account rights.
const RIGHTS: [&str; 4] = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];

type OfContainer = fn(&Container<'_>) -> bool;
type OfPod = fn(&Value) -> bool;

/// Sentences of the page, and whether each holds for a container.
const OF_CONTAINERS: [(&str, OfContainer); 5] = [
    ("Nothing is privileged.", |container| container.security("privileged") != &Value::Bool(true)),
    ("Every container drops all capabilities before it adds one.", |container| container.drops_all()),
    ("No process can gain privileges.", |container| {
        container.security("allowPrivilegeEscalation") == &Value::Bool(false)
    }),
    ("Every root file system is read-only.", |container| {
        container.security("readOnlyRootFilesystem") == &Value::Bool(true)
    }),
    ("Seccomp is the runtime's default everywhere.", |container| {
        container.security("seccompProfile")["type"] == "RuntimeDefault"
    }),
];

/// The same for a pod.
const OF_PODS: [(&str, OfPod); 2] = [
    ("No pod uses the host's network or IPC.", |pod| pod["hostNetwork"] != true && pod["hostIPC"] != true),
    ("The service account's token is mounted nowhere.", |pod| pod["automountServiceAccountToken"] == false),
];

/// And for all objects together.
const NO_RIGHTS: &str = "There is no Role and no binding.";

pub(super) fn check(build: &Build) -> Result<()> {
    let page = std::fs::read_to_string(step::workspace().join(PAGE))?;
    // A sentence may be broken into lines.
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = contradictions(&page, &build.objects);
    ensure!(wrong.is_empty(), "{}: {PAGE} says something else:\n  {}", build.name, wrong.join("\n  "));
    Ok(())
}

fn contradictions(page: &str, objects: &[Object]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claim = |sentence: &str, holds: bool, place: &str| {
        if !page.contains(sentence) {
            wrong.push(format!("it lacks: {sentence}"));
        } else if !holds {
            wrong.push(format!("not so in {place}: {sentence}"));
        }
    };
    let rights = objects.iter().find(|object| RIGHTS.contains(&object.kind()));
    claim(NO_RIGHTS, rights.is_none(), &rights.map(Object::name).unwrap_or_default());
    for object in objects {
        for (sentence, holds) in object.pod().iter().flat_map(|pod| OF_PODS.map(|(text, test)| (text, test(pod)))) {
            claim(sentence, holds, &object.name());
        }
        for container in object.containers() {
            for (sentence, holds) in OF_CONTAINERS {
                claim(sentence, holds(&container), &container.name());
            }
            claim(&row(&container), true, "");
        }
    }
    let shares_ids = |object: &&Object| object.pod().is_some_and(|pod| pod["hostPID"] == true);
    for object in objects.iter().filter(shares_ids) {
        claim(&format!("`{}` sees the host's processes.", object.name()), true, "");
    }
    wrong
}

/// As it stands in the page's table.
fn row(container: &Container<'_>) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let name = format!("{}{}", container.name(), if container.is_init { " (init)" } else { "" });
    let user =
        container.security("runAsUser").as_u64().map_or_else(|| "the image's".to_owned(), |user| user.to_string());
    let capabilities = container.capabilities().iter().map(|name| format!("`CAP_{name}`")).collect();
    let paths = container
        .host_paths()
        .into_iter()
        .map(|(path, writes)| format!("`{path}`{}", if writes { "" } else { " (read-only)" }));
    let ports = container.ports().iter().map(u64::to_string).collect();
    format!("| {name} | {user} | {} | {} | {} |", list(capabilities), list(paths.collect()), list(ports))
}

#[cfg(test)]
mod tests {
    use super::super::object::read;
    use super::*;

    const PAGE: &str = "There is no Role and no binding. No pod uses the host's network or IPC. The service account's token is \
        mounted nowhere. Nothing is privileged. Every container drops all capabilities before it adds one. No process can gain \
        privileges. Every root file system is read-only. Seccomp is the runtime's default everywhere. \
        | DaemonSet d: c | 7 | `CAP_BPF` | `/sys` (read-only) | 80 |";

    const GOOD: &str = r"
kind: DaemonSet
metadata: {name: d}
spec:
  template:
    spec:
      automountServiceAccountToken: false
      securityContext: {seccompProfile: {type: RuntimeDefault}, runAsUser: 7}
      containers:
        - name: c
          ports: [{containerPort: 80}]
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL], add: [BPF]}
          volumeMounts: [{name: v, mountPath: /x, readOnly: true}]
      volumes: [{name: v, hostPath: {path: /sys}}]
";

    #[track_caller]
    fn check(manifest: &str, expected: &str) {
        let wrong = contradictions(PAGE, &read(manifest).unwrap());
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}");
    }

    #[test]
    fn manifests_that_are_as_the_page_says_contradict_nothing() {
        assert_eq!(contradictions(PAGE, &read(GOOD).unwrap()), [""; 0]);
    }

    #[test]
    fn one_more_right_of_any_kind_is_noticed() {
        check(
            &GOOD.replace("[BPF]", "[BPF, SYS_ADMIN]"),
            "it lacks: | DaemonSet d: c | 7 | `CAP_BPF`, `CAP_SYS_ADMIN` |",
        );
        check(&GOOD.replace(", readOnly: true}", "}"), "| `/sys` |");
        check(&GOOD.replace("containerPort: 80", "containerPort: 81"), "| 81 |");
        check(&GOOD.replace("runAsUser: 7", "runAsUser: 0"), "| 0 |");
        check(&GOOD.replace("drop: [ALL], ", ""), "not so in DaemonSet d: c: Every container drops");
        check(&GOOD.replace("allowPriv", "privileged: true\n            allowPriv"), "Nothing is privileged.");
        check(
            &GOOD.replace("      containers:", "      hostNetwork: true\n      containers:"),
            "not so in DaemonSet d: No pod uses",
        );
        check(
            &GOOD.replace("      containers:", "      hostPID: true\n      containers:"),
            "sees the host's processes",
        );
        check(&format!("{GOOD}---\nkind: ClusterRole\nmetadata: {{name: r}}\n"), "not so in ClusterRole r");
    }
}
