//! uid and gid → name, out of `/etc/passwd` and `/etc/group`. Nothing is asked over the network.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

/// Bytes read of one file; the rest is left out with a warning.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where in a line of `/etc/passwd` they stand, from 0.
const PASSWD_HOME: usize = 5;
const PASSWD_SHELL: usize = 6;

/// What stands for an id without a name, as in Falco.
pub const UNKNOWN: &str = "<NA>";

/// The names of users and groups.
#[derive(Debug)]
pub struct Users {
    users: Names,
    groups: Names,
}

impl Users {
    pub fn new(passwd: &Path, group: &Path) -> Self {
        let mut users = Self { users: Names::new(passwd), groups: Names::new(group) };
        users.refresh();
        users
    }

    /// Knows what it is told by the two `learn_`s.
    pub(crate) fn recorded() -> Self {
        Self { users: Names::new(Path::new("")), groups: Names::new(Path::new("")) }
    }

    /// A line of `/etc/passwd`. `false`: there is no room for more, or no number in it.
    pub(crate) fn learn_user(&mut self, line: &str) -> bool {
        self.users.learn(line)
    }

    /// A line of `/etc/group`. The same.
    pub(crate) fn learn_group(&mut self, line: &str) -> bool {
        self.groups.learn(line)
    }

    /// What is looked up of users, as lines of `/etc/passwd`: neither passwords nor descriptions.
    pub(crate) fn user_lines(&self) -> impl Iterator<Item = String> {
        let of = &self.users;
        let line = |id: &u32| {
            let (home, shell) = (of.member(*id, PASSWD_HOME), of.member(*id, PASSWD_SHELL));
            format!("{}:x:{id}:::{home}:{shell}", of.name(*id))
        };
        of.by_id.keys().map(line)
    }

    /// What is looked up of groups, as lines of `/etc/group`.
    pub(crate) fn group_lines(&self) -> impl Iterator<Item = String> {
        self.groups.by_id.keys().map(|id| format!("{}:x:{id}:", self.groups.name(*id)))
    }

    /// Reads the files again where they changed. To be called about once a second.
    pub fn refresh(&mut self) {
        self.users.refresh();
        self.groups.refresh();
    }

    /// `root` is uid 0 even without a file.
    pub fn user(&self, uid: u32) -> &str {
        self.users.name(uid)
    }

    pub fn home(&self, uid: u32) -> &str {
        self.users.member(uid, PASSWD_HOME)
    }

    pub fn shell(&self, uid: u32) -> &str {
        self.users.member(uid, PASSWD_SHELL)
    }

    pub fn group(&self, gid: u32) -> &str {
        self.groups.name(gid)
    }
}

/// One file of lines `name:password:number:…`.
#[derive(Debug)]
struct Names {
    /// Empty where there is no file.
    path: PathBuf,
    changed: Option<SystemTime>,
    /// Whole lines.
    by_id: HashMap<u32, Box<str>>,
    /// Bytes of those lines that did not come out of the file.
    learnt_bytes: u64,
}

impl Names {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), changed: None, by_id: HashMap::new(), learnt_bytes: 0 }
    }

    fn name(&self, id: u32) -> &str {
        let line = self.by_id.get(&id).map(|line| line.split(':').next().unwrap_or_default());
        line.unwrap_or(if id == 0 { "root" } else { UNKNOWN })
    }

    /// The member at this place of the line, counted from 0.
    fn member(&self, id: u32, place: usize) -> &str {
        self.by_id.get(&id).and_then(|line| line.split(':').nth(place)).unwrap_or(UNKNOWN)
    }

    fn learn(&mut self, line: &str) -> bool {
        self.learnt_bytes += line.len() as u64;
        let Some(id) = id_of(line).filter(|_| self.learnt_bytes <= FILE_BYTES_MAX) else { return false };
        self.by_id.entry(id).or_insert_with(|| line.into());
        true
    }

    fn refresh(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        let changed = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        if changed.is_none() || changed == self.changed {
            return;
        }
        self.changed = changed;
        match read(&self.path) {
            Ok(text) => self.by_id = parse(&text),
            Err(error) => warn!(path = %self.path.display(), %error, "cannot read names, keeping the old ones"),
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == FILE_BYTES_MAX {
        warn!(path = %path.display(), bytes = FILE_BYTES_MAX, "file is too long, the rest of its names is left out");
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines by number. The first of a number counts, as with `getpwuid`.
fn parse(text: &str) -> HashMap<u32, Box<str>> {
    let mut lines = HashMap::new();
    for line in text.lines() {
        if let Some(id) = id_of(line) {
            lines.entry(id).or_insert_with(|| line.into());
        }
    }
    lines
}

fn id_of(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_broken_lines_do_not() {
        let by_id = parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nnobody\nbad:x:many:\nweb:x:33:33::/:\n");
        let names = Names { by_id, ..Names::new(Path::new("/nonexistent")) };
        assert_eq!(names.by_id.len(), 2);
        assert_eq!((names.name(0), names.name(33), names.name(34)), ("root", "web", UNKNOWN));
        assert_eq!((names.member(0, PASSWD_HOME), names.member(0, PASSWD_SHELL)), ("/root", "/bin/sh"));
        assert_eq!((names.member(33, PASSWD_SHELL), names.member(34, PASSWD_HOME)), ("", UNKNOWN));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let passwd = folder.path().join("passwd");
        fs::write(&passwd, "alice:x:1000:1000::/:\n").unwrap();
        let mut users = Users::new(&passwd, &folder.path().join("group"));
        assert_eq!((users.user(1000), users.user(1001), users.group(0)), ("alice", UNKNOWN, "root"));

        fs::write(&passwd, "bob:x:1000:1000::/:\n").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        File::open(&passwd).unwrap().set_modified(later).unwrap();
        users.refresh();
        assert_eq!(users.user(1000), "bob");
    }
}
