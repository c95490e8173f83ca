//! The lane `manifests`: what Kustomize makes of deploy/kustomize, built as a cluster's administrator would, and looked at from
//! four sides: nothing forgotten, valid for two versions of Kubernetes, what a policy linter says, and what docs/security.md
//! says of it.

mod claims;
mod kustomize;
mod object;
mod policy;
mod python;
mod schema;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::lanes::Outcome;
use crate::step;
use object::Object;

/// Folders of deploy/kustomize that can be applied as they are.
const APPLIED: [&str; 3] = ["base", "overlays/dev", "overlays/production"];

/// Components, each with those that it needs before it; a component alone can only be built upon the base.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("prometheus-operator", &[]),
    ("grafana-dashboards", &[]),
    ("external-router", &[]),
    ("tls", &["external-router"]),
];

/// Whose files the manifests ship: folder and extension.
const SHIPPED: [(&str, &str); 3] = [("rules", "yaml"), ("templates", "hbs"), ("grafana", "json")];

/// Everything that is shipped is in this one.
const WHOLE: &str = "overlays/production";

/// Manifests, as `kubectl apply -k` would send them.
struct Build {
    name: String,
    /// For the tools that read files.
    file: PathBuf,
    objects: Vec<Object>,
}

pub(crate) fn lane() -> Result<Outcome> {
    let tool = match kustomize::find()? {
        Ok(tool) => tool,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let folder = step::target().join("manifests");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut builds = Vec::new();
    for name in APPLIED {
        builds.push(build(&tool, &deploy(name), name, &folder)?);
    }
    for (component, before) in COMPONENTS {
        let overlay = overlay(component, before, &folder)?;
        builds.push(build(&tool, &overlay, component, &folder)?);
    }
    let whole = builds.iter().find(|build| build.name == WHOLE).context("the whole is built")?;
    let forgotten = forgotten(&whole.objects)?;
    ensure!(
        forgotten.is_empty(),
        "in no ConfigMap: {}; the folder's Kustomization names its files",
        forgotten.join(", ")
    );
    for build in &builds {
        ensure_versions(build)?;
        claims::check(build)?;
    }
    let python = match python::prepare() {
        Ok(python) => python,
        Err(error) => return Ok(Outcome::Skipped(format!("built, and not validated: {error:#}"))),
    };
    schema::check(&python, &builds)?;
    policy::check(&python, &builds)?;
    let objects: usize = builds.iter().map(|build| build.objects.len()).sum();
    Ok(Outcome::Remarked(format!(
        "{} builds, {objects} objects, valid for Kubernetes {}, by checkov's policies but for {} with a reason",
        builds.len(),
        schema::VERSIONS.join(" and "),
        policy::EXCEPTIONS.len()
    )))
}

fn build(tool: &kustomize::Tool, source: &Path, name: &str, folder: &Path) -> Result<Build> {
    let text = step::read(&mut tool.build(source)).with_context(|| format!("{name} does not build"))?;
    let file = folder.join(format!("{}.yaml", name.replace('/', "-")));
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    let objects = object::read(&text).with_context(|| format!("{name}: Kustomize's output cannot be read"))?;
    Ok(Build { name: name.to_owned(), file, objects })
}

/// A kustomization of the base with this component.
fn overlay(component: &str, before: &[&str], folder: &Path) -> Result<PathBuf> {
    let place = folder.join(component);
    std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    // Kustomize takes relative paths only.
    let root = "../".repeat(place.components().count() - 1);
    let path = |name: &str| format!("{root}{}", deploy(name).display().to_string().trim_start_matches('/'));
    let mut text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: tercel\nresources: [{}]\ncomponents:\n",
        path("base")
    );
    for name in before.iter().chain(&[component]) {
        _ = writeln!(text, "  - {}", path(&format!("components/{name}")));
    }
    std::fs::write(place.join("kustomization.yaml"), text).context("cannot write an overlay")?;
    Ok(place)
}

fn deploy(name: &str) -> PathBuf {
    step::workspace().join("deploy/kustomize").join(name)
}

/// Files of the shipped folders that are in no ConfigMap: Kustomize takes no pattern, so a new one is easily forgotten.
fn forgotten(objects: &[Object]) -> Result<Vec<String>> {
    let keys: Vec<_> = objects.iter().flat_map(Object::config_keys).collect();
    let mut forgotten = Vec::new();
    for (folder, extension) in SHIPPED {
        for entry in std::fs::read_dir(step::workspace().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_meant = name.ends_with(&format!(".{extension}")) && name != "kustomization.yaml";
            if is_meant && !keys.contains(&name) {
                forgotten.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(forgotten)
}

/// Two kustomizations name the images' version.
fn ensure_versions(build: &Build) -> Result<()> {
    let end = format!(":{}", env!("CARGO_PKG_VERSION"));
    for container in build.objects.iter().flat_map(Object::containers) {
        let image = container.image();
        ensure!(image.ends_with(&end), "{}: the image {image} is not this version's ({end})", build.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_no_config_map_holds_are_named() {
        let objects = object::read("kind: ConfigMap\ndata:\n  lists.yaml: x\n").unwrap();
        let forgotten = forgotten(&objects).unwrap();
        assert!(forgotten.contains(&"rules/macros.yaml".to_owned()), "{forgotten:?}");
        assert!(!forgotten.contains(&"rules/lists.yaml".to_owned()), "{forgotten:?}");
    }
}
