//! The programs of a cluster, built from Debian's source package: it has the whole of Kubernetes with all that it is made of,
//! so nothing else is fetched. The version is old, and the newest that is to be had in a package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::{folder, install, step};

/// Whatever release of Debian this machine has: compilers of later ones do not take these sources any more.
const SOURCES: [(&str, &str); 1] = [("debian", "bookworm")];
const SOURCE_PACKAGE: &str = "kubernetes";
const VERSION: &str = "1.20.2";
/// The compiler with its library, the store behind the API server, and what mends the sources (see [`mend`]).
const PACKAGES: [&str; 4] =
    ["golang-1.19-go", "golang-1.19-src", "etcd-server", "golang-github-modern-go-reflect2-dev"];
const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
/// Without the libraries of clouds and of Docker.
const TAGS: &str = "providerless,dockerless";

/// Where Go looks for a package of this name.
const MODULE: &str = "k8s.io/kubernetes";
/// What the API server tells of its objects: generated, and not in the sources.
const OPENAPI: &str = "pkg/generated/openapi";
/// Beside the packages that ask for it.
const OPENAPI_INPUTS: [&str; 5] = ["api/resource", "apis/meta/v1", "runtime", "version", "util/intstr"];

/// A folder of programs. Built once for this recipe, which is this file: some five minutes of processor time, 150 MB to fetch,
/// and 220 MB to keep.
///
/// # Errors
/// If this is not Debian, or a package is gone, cannot be fetched or not be built.
pub(super) fn prepare(components: &Path) -> Result<PathBuf> {
    let place = components.join("kubernetes");
    let programs = place.join("bin");
    folder::once(&place, include_str!("build.rs"), || {
        ensure!(install::on_debian(), "Kubernetes is built from Debian's source package, and this is not Debian");
        step::say(format!("building Kubernetes {VERSION} from Debian's source package, some minutes"));
        build(&programs, &place.join("work"))
    })?;
    Ok(programs)
}

/// `work`: taken away again.
fn build(programs: &Path, work: &Path) -> Result<()> {
    folder::empty(programs)?;
    let apt = Apt::with_source_packages(work, &SOURCES, "Kubernetes")?;
    apt.unpack(&PACKAGES, &work.join("debian"))?;
    let sources = unpack_sources(&apt, work)?;
    mend(work, &sources)?;
    let go = Go { work, sources: &sources };
    generate_openapi(&go)?;
    for program in PROGRAMS {
        step::note(program);
        go.build(&format!("{MODULE}/cmd/{program}"), &programs.join(program))?;
    }
    let etcd = work.join("debian/usr/bin/etcd");
    std::fs::copy(&etcd, programs.join("etcd")).with_context(|| format!("no {}", etcd.display()))?;
    std::fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))
}

/// To where Go looks for them.
fn unpack_sources(apt: &Apt, work: &Path) -> Result<PathBuf> {
    let archives = work.join("source");
    let sources = work.join("gopath/src").join(MODULE);
    folder::empty(&archives)?;
    folder::empty(&sources)?;
    let mut fetch = apt.command("apt-get", &["source", "-qq", "--download-only", SOURCE_PACKAGE]);
    step::run(fetch.current_dir(&archives))?;
    for entry in std::fs::read_dir(&archives)? {
        let archive = entry?.path();
        if archive.to_string_lossy().contains(".orig.tar.") {
            let mut tar = Command::new("tar");
            step::run(tar.args(["--strip-components=1", "-xf"]).arg(&archive).arg("-C").arg(&sources))?;
            return Ok(sources);
        }
    }
    anyhow::bail!("the source package {SOURCE_PACKAGE} has no sources any more")
}

/// This version's reflect2 reads maps as Go had them before 1.18, and the API server with it ends at the first object of a
/// custom kind. Debian's library is the next version, with the same interface.
fn mend(work: &Path, sources: &Path) -> Result<()> {
    const LIBRARY: &str = "github.com/modern-go/reflect2";
    let broken = sources.join("vendor").join(LIBRARY);
    std::fs::remove_dir_all(&broken).with_context(|| format!("no {}", broken.display()))?;
    let good = work.join("debian/usr/share/gocode/src").join(LIBRARY);
    step::run(Command::new("cp").arg("--recursive").arg(good).arg(broken))
}

/// Go, with nothing of the environment's.
struct Go<'a> {
    work: &'a Path,
    sources: &'a Path,
}

impl Go<'_> {
    fn build(&self, package: &str, program: &Path) -> Result<()> {
        let root = self.work.join("debian/usr/lib/go-1.19");
        let version = |package: &str| format!("-X {MODULE}/vendor/k8s.io/{package}/version.git");
        let (own, client) = (version("component-base"), version("client-go/pkg"));
        let flags = format!("-s -w {own}Version=v{VERSION} {own}Major=1 {own}Minor=20 {client}Version=v{VERSION}");
        let mut go = Command::new(root.join("bin/go"));
        go.current_dir(self.sources)
            .args(["build", "-buildvcs=false", "-tags", TAGS, "-ldflags", &flags, "-o"])
            .arg(program)
            .arg(package);
        // Packages as folders below GOPATH: as a module these sources ask the network for more.
        go.env("GO111MODULE", "off").env("GOROOT", &root).env("GOPATH", self.work.join("gopath"));
        go.env("GOCACHE", self.work.join("cache")).env("GOFLAGS", "").env("CGO_ENABLED", "0");
        step::run(&mut go)
    }
}

fn generate_openapi(go: &Go<'_>) -> Result<()> {
    let generator = go.work.join("openapi-gen");
    go.build(&format!("{MODULE}/vendor/k8s.io/kube-openapi/cmd/openapi-gen"), &generator)?;
    let mut grep = Command::new("grep");
    grep.current_dir(go.sources).args(["-rlE", r"^// ?\+k8s:openapi-gen=", "--include=*.go"]);
    let files = step::read(grep.args(["staging/src/k8s.io", "pkg", "cmd"]))?;
    let mut inputs: Vec<_> = files.lines().filter_map(package_of).collect();
    inputs.extend(OPENAPI_INPUTS.map(|name| format!("{MODULE}/vendor/k8s.io/apimachinery/pkg/{name}")));
    inputs.sort_unstable();
    inputs.dedup();
    let out = go.work.join("out");
    let mut command = Command::new(&generator);
    command.current_dir(go.sources).arg("--input-dirs").arg(inputs.join(","));
    command.args(["--output-package", &format!("{MODULE}/{OPENAPI}"), "--output-file-base", "zz_generated.openapi"]);
    command.args(["--go-header-file", "hack/boilerplate/boilerplate.generatego.txt", "--output-base"]).arg(&out);
    command.arg("--report-filename").arg(go.work.join("openapi-report"));
    command.env("GO111MODULE", "off").env("GOPATH", go.work.join("gopath"));
    command.env("GOROOT", go.work.join("debian/usr/lib/go-1.19")).env("CGO_ENABLED", "0");
    step::run(&mut command)?;
    let generated = Path::new(OPENAPI).join("zz_generated.openapi.go");
    let from = out.join(MODULE).join(&generated);
    std::fs::copy(&from, go.sources.join(&generated)).with_context(|| format!("no {}", from.display()))?;
    Ok(())
}

/// The package of a file, by the name that Go knows it by; none for what is no part of the API.
fn package_of(file: &str) -> Option<String> {
    let folder = file.rsplit_once('/')?.0;
    if file.ends_with("_test.go") || file.contains("/sample-") {
        return None;
    }
    Some(match folder.strip_prefix("staging/src/") {
        Some(staged) => format!("{MODULE}/vendor/{staged}"),
        None => format!("{MODULE}/{folder}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_as_go_finds_them() {
        let is = |file: &str, package: Option<&str>| assert_eq!(package_of(file).as_deref(), package, "{file}");
        is("staging/src/k8s.io/api/core/v1/doc.go", Some("k8s.io/kubernetes/vendor/k8s.io/api/core/v1"));
        is("pkg/apis/abac/v1beta1/types.go", Some("k8s.io/kubernetes/pkg/apis/abac/v1beta1"));
        is("staging/src/k8s.io/sample-apiserver/pkg/apis/wardle/v1alpha1/doc.go", None);
        is("pkg/a/b_test.go", None);
    }
}
