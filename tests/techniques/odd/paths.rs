//! Rules "File at the longest path", "File deeper than any path" and "Path that the kernel refuses".

use std::env::set_current_dir;
use std::fs::{self, File};
use std::path::PathBuf;

use serde_json::json;

use crate::stage::{Said, Stage};
use crate::technique::Technique;

const LONGEST: &str = "File at the longest path";
const DEEPER: &str = "File deeper than any path";
const REFUSED: &str = "Path that the kernel refuses";

/// The kernel's bound without the byte that ends it.
const PATH_BYTES_MAX: usize = 4_095;
const NAME_BYTES_MAX: usize = 255;

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("longest-path", LONGEST, open_longest),
    // Short once it is made lexical: 4,095 bytes, most of them `./`.
    Technique::fires("longest-path-of-dots", LONGEST, |stage| {
        let (folder, end) = (stage.path("").display().to_string(), "deep-end");
        let dots = PATH_BYTES_MAX - folder.len() - end.len();
        let path = format!("{folder}{}{end}", "./".repeat(dots / 2) + &"/"[..dots % 2]);
        stage.say(&Said::Field("fd.name".to_owned(), json!(stage.path(end))))?;
        File::create(path)?;
        Ok(())
    }),
    Technique::fires("deeper-than-any-path", DEEPER, |stage| {
        let mut deep = open_folder(stage.path(""))?;
        for _ in 0..PATH_BYTES_MAX / NAME_BYTES_MAX + 2 {
            let name = "d".repeat(NAME_BYTES_MAX);
            rustix::fs::mkdirat(&deep, &name, rustix::fs::Mode::RWXU)?;
            deep = rustix::fs::openat(
                &deep,
                &name,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )?;
        }
        rustix::process::fchdir(&deep)?;
        File::create("over-the-edge")?;
        Ok(set_current_dir("/")?)
    }),
    Technique::fires("path-refused", REFUSED, |_| {
        File::open("/tmp/".repeat(PATH_BYTES_MAX)).err();
        Ok(())
    })
    .by("too-long", &[]),
    Technique::near_miss("path-not-refused", REFUSED, |_| {
        File::open("/tmp/there-is-none").err();
        Ok(())
    })
    .by("too-long", &[]),
];

fn open_folder(path: PathBuf) -> anyhow::Result<std::os::fd::OwnedFd> {
    Ok(File::open(path)?.into())
}

fn open_longest(stage: &Stage) -> anyhow::Result<()> {
    let end = "/deep-end";
    let mut path = stage.path("l").display().to_string();
    while path.len() + 1 + NAME_BYTES_MAX + end.len() < PATH_BYTES_MAX {
        path = format!("{path}/{}", "l".repeat(NAME_BYTES_MAX));
    }
    let rest = PATH_BYTES_MAX - path.len() - end.len();
    path = if rest > 1 { format!("{path}/{}", "l".repeat(rest - 1)) } else { path };
    fs::create_dir_all(&path)?;
    File::create(path + end)?;
    Ok(())
}
