//! Rules "File whose name is no text" and "Program whose name is no text": line breaks, terminal codes, bytes that are no
//! UTF-8.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use serde_json::Value;

use crate::stage::{Said, Stage, create, idle};
use crate::technique::Technique;

const FILE: &str = "File whose name is no text";
const PROGRAM: &str = "Program whose name is no text";

const ODD_FILE: &[u8] = b"odd-name\n{\"rule\":\"\x1b[31m\xff\xfe\xc3";

/// Fifteen bytes, as many as the kernel keeps of a program's name.
const ODD_PROGRAM: &[u8] = b"odd\n\x1b[1m\"\\\xff\xc3% $";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("file-name-is-no-text", FILE, open).says(&[("user.name", "root")]),
    Technique::near_miss("file-name-is-text", FILE, |stage| create(stage.path("odd-name"))),
    Technique::fires("program-name-is-no-text", PROGRAM, |stage| {
        let path = stage.program(Path::new(OsStr::from_bytes(ODD_PROGRAM)))?;
        Err(idle(path, &["argument"]).exec().into())
    }),
];

/// In an alert every byte that is no text is a replacement character; everything else stays as it is.
fn open(stage: &Stage) -> anyhow::Result<()> {
    let path = stage.path("").join(OsStr::from_bytes(ODD_FILE));
    let shown = Value::String(String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned());
    stage.say(&Said::Field("fd.name".to_owned(), shown))?;
    File::create(path)?;
    Ok(())
}
