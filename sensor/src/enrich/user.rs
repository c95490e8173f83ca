//! uid and gid → name, out of `/etc/passwd` and `/etc/group`: the host's, and those of each container. Nothing is asked over
//! the network.

mod container;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use container::{ContainerNames, Found};
pub(crate) use container::{Counts, Inhabitant};

use tracing::warn;

/// Bytes read of one file; the rest is left out with a warning.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Bytes of one line; longer ones are left out.
const LINE_BYTES_MAX: usize = 1_024;

/// Where in a line of `/etc/passwd` they stand, from 0.
const PASSWD_HOME: usize = 5;
const PASSWD_SHELL: usize = 6;

/// What stands for an id without a name, as in Falco.
pub const UNKNOWN: &str = "<NA>";

/// The names of users and groups.
#[derive(Debug)]
pub struct Users {
    passwd: Names,
    group: Names,
    containers: ContainerNames,
}

/// What is asked about a user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    User,
    Home,
    Shell,
    Group,
}

impl Users {
    pub fn new(passwd: &Path, group: &Path) -> Self {
        let containers = ContainerNames::default();
        let mut users = Self { passwd: Names::new(passwd), group: Names::new(group), containers };
        users.refresh();
        users
    }

    /// Knows what it is told by the two `learn_`s.
    pub(crate) fn recorded() -> Self {
        Self::new(Path::new(""), Path::new(""))
    }

    /// A line of `/etc/passwd`. `false`: there is no room for more, or no number in it.
    pub(crate) fn learn_user(&mut self, line: &str) -> bool {
        self.passwd.learn(line)
    }

    /// A line of `/etc/group`. The same.
    pub(crate) fn learn_group(&mut self, line: &str) -> bool {
        self.group.learn(line)
    }

    /// What is looked up of users, as lines of `/etc/passwd`: neither passwords nor descriptions.
    pub(crate) fn user_lines(&self) -> impl Iterator<Item = String> {
        let of = &self.passwd.lines;
        let line = |id: &u32| {
            let (home, shell) = (of.member(*id, PASSWD_HOME), of.member(*id, PASSWD_SHELL));
            format!("{}:x:{id}:::{home}:{shell}", of.name(*id))
        };
        of.0.keys().map(line)
    }

    /// What is looked up of groups, as lines of `/etc/group`.
    pub(crate) fn group_lines(&self) -> impl Iterator<Item = String> {
        let of = &self.group.lines;
        of.0.keys().map(|id| format!("{}:x:{id}:", of.name(*id)))
    }

    /// Reads the files again where they changed. To be called about once a second.
    pub fn refresh(&mut self) {
        self.passwd.refresh();
        self.group.refresh();
    }

    /// The answer of the host's files. `root` is uid 0 even without a file.
    pub(crate) fn of_host(&self, question: Question, id: u32) -> &str {
        question.ask(&self.passwd.lines, &self.group.lines, id)
    }

    /// Appends the answer of a container's own files, which are read through one of its processes where that is due and
    /// `may_read`.
    pub(crate) fn write_of_container(
        &self,
        (container, inhabitant): (&str, Inhabitant),
        question: Question,
        id: u32,
        may_read: impl FnOnce() -> bool,
        text: &mut Vec<u8>,
    ) {
        let found = self.containers.of(container, inhabitant, may_read, |names| {
            let lines = if question == Question::Group { &names.groups } else { &names.users };
            lines.0.contains_key(&id)
        });
        let none = Lines::default();
        let answer = match &found {
            Found::Names(names) => question.ask(&names.users, &names.groups, id),
            Found::Host => self.of_host(question, id),
            Found::Unknown => question.ask(&none, &none, id),
        };
        text.extend_from_slice(answer.as_bytes());
    }

    pub(crate) fn container_counts(&self) -> Counts {
        self.containers.counts()
    }
}

impl Question {
    fn ask<'l>(self, users: &'l Lines, groups: &'l Lines, id: u32) -> &'l str {
        match self {
            Self::User => users.name(id),
            Self::Home => users.member(id, PASSWD_HOME),
            Self::Shell => users.member(id, PASSWD_SHELL),
            Self::Group => groups.name(id),
        }
    }
}

/// Whole lines `name:password:number:…`, by number.
#[derive(Debug, Default)]
struct Lines(HashMap<u32, Box<str>>);

impl Lines {
    fn name(&self, id: u32) -> &str {
        let line = self.0.get(&id).map(|line| line.split(':').next().unwrap_or_default());
        line.unwrap_or(if id == 0 { "root" } else { UNKNOWN })
    }

    /// The member at this place of the line, counted from 0.
    fn member(&self, id: u32, place: usize) -> &str {
        self.0.get(&id).and_then(|line| line.split(':').nth(place)).unwrap_or(UNKNOWN)
    }
}

/// One of the host's files.
#[derive(Debug)]
struct Names {
    /// Empty where there is no file.
    path: PathBuf,
    changed: Option<SystemTime>,
    lines: Lines,
    /// Bytes of those lines that did not come out of the file.
    learnt_bytes: u64,
}

impl Names {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), changed: None, lines: Lines::default(), learnt_bytes: 0 }
    }

    fn learn(&mut self, line: &str) -> bool {
        self.learnt_bytes += line.len() as u64;
        let Some(id) = id_of(line).filter(|_| self.learnt_bytes <= FILE_BYTES_MAX) else { return false };
        self.lines.0.entry(id).or_insert_with(|| line.into());
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
            Ok(text) => self.lines = parse(&text, usize::MAX),
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

/// At most `lines_max` lines by number. The first of a number counts, as with `getpwuid`.
fn parse(text: &str, lines_max: usize) -> Lines {
    let mut lines = HashMap::new();
    for line in text.lines().take(lines_max).filter(|line| line.len() <= LINE_BYTES_MAX) {
        if let Some(id) = id_of(line) {
            lines.entry(id).or_insert_with(|| line.into());
        }
    }
    Lines(lines)
}

fn id_of(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_broken_lines_do_not() {
        let names = parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nnobody\nbad:x:many:\nweb:x:33:33::/:\n", 9);
        assert_eq!(names.0.len(), 2);
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
        let user = |users: &Users, id| users.of_host(Question::User, id).to_owned();
        assert_eq!((&*user(&users, 1000), &*user(&users, 1001)), ("alice", UNKNOWN));
        assert_eq!(users.of_host(Question::Group, 0), "root");

        fs::write(&passwd, "bob:x:1000:1000::/:\n").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        File::open(&passwd).unwrap().set_modified(later).unwrap();
        users.refresh();
        assert_eq!(user(&users, 1000), "bob");
    }
}
