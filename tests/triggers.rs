//! For every shipped rule one action that it must see, as harmless as it can be made: files are written in a folder of
//! the test's own, or in a mount namespace that ends with its process; nothing is sent to another machine. Programs that do
//! harm are links to one that does nothing, with arguments that do nothing even where one program is all of them.

mod table;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

pub(crate) use self::table::{TRIGGERS, UNTRIGGERED};
use crate::harness::Pod;

/// One action and what its alert must say.
pub(crate) struct Trigger {
    pub(crate) rule: &'static str,
    pub(crate) priority: &'static str,
    action: fn(&Stage) -> Action,
    /// `proc.name`.
    pub(crate) process: &'static str,
    /// `fd.name`, where the rule is about a file: absolute, or below the action's folder.
    file: Option<&'static str>,
}

/// What actions may use.
pub(crate) struct Stage {
    folder: TempDir,
    pod: Pod,
}

/// A program to start. The process that is started is the one that the alert is about.
struct Action {
    words: Vec<String>,
    /// `proc.cmdline` when the rule matches.
    line: String,
    /// `container.id`.
    container: String,
    terminal: Option<Terminal>,
    /// Goes after the program.
    folder: Option<TempDir>,
}

struct Terminal {
    _master: OwnedFd,
    slave: OwnedFd,
}

/// An action that was done.
pub(crate) struct Done {
    pub(crate) pid: u32,
    /// What the alert must say, as (field, value).
    pub(crate) fields: Vec<(&'static str, String)>,
    /// How it ended, and what it said.
    pub(crate) report: String,
}

impl Trigger {
    const fn new(
        rule: &'static str,
        priority: &'static str,
        process: &'static str,
        action: fn(&Stage) -> Action,
    ) -> Self {
        Self { rule, priority, action, process, file: None }
    }

    const fn file(self, file: &'static str) -> Self {
        Self { file: Some(file), ..self }
    }

    /// Does it, and waits for its end.
    pub(crate) fn pull(&self, stage: &Stage) -> Done {
        let action = (self.action)(stage);
        let mut command = Command::new(&action.words[0]);
        command.args(&action.words[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(
            action.terminal.as_ref().map_or(Stdio::null(), |terminal| Stdio::from(terminal.slave.try_clone().unwrap())),
        );
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let file = self.file.map(|file| ("fd.name", stage.path(file)));
        drop(action.folder);
        let fields =
            [("proc.name", self.process.to_owned()), ("proc.cmdline", action.line), ("container.id", action.container)];
        Done {
            pid,
            fields: fields.into_iter().chain(file).collect(),
            report: format!("{command:?}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr)),
        }
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), pod: Pod::new() }
    }

    /// An absolute path as it is, any other below the folder.
    fn path(&self, path: &str) -> String {
        self.folder.path().join(path).display().to_string().trim_end_matches('/').to_owned()
    }

    /// As [`Self::path`], with the folder that it lies in.
    fn made_path(&self, path: &str) -> String {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path.display().to_string()
    }

    /// A program that reads a file.
    fn on_file(&self, name: &str, file: &str) -> Action {
        let path = self.made_path(file);
        fs::write(&path, "no secret\n").unwrap();
        program(name, &[&path])
    }

    /// A shell that opens a file for writing, by itself.
    fn redirect(&self, operator: &str, file: &str) -> Action {
        shell(&format!(": {operator} {}", self.made_path(file)))
    }

    /// A file that gets another name.
    fn moved(&self, from: &str, to: &str) -> Action {
        let (from, to) = (self.made_path(from), self.made_path(to));
        fs::write(&from, "").unwrap();
        program("mv", &[&from, &to])
    }

    /// A program of any name that does nothing.
    fn named(&self, name: &str, arguments: &[&str]) -> Action {
        self.alias(name, "/bin/true", arguments)
    }

    /// A program under another name.
    fn alias(&self, name: &str, target: &str, arguments: &[&str]) -> Action {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = folder.path().join(name).display().to_string();
        symlink(target, &path).unwrap();
        Action { folder: Some(folder), ..program(&path, arguments) }
    }
}

impl Action {
    fn in_pod(mut self, pod: &Pod) -> Self {
        let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let before = ["sh", "-c", enter, &pod.path().display().to_string()].map(str::to_owned);
        self.words.splice(0..0, before);
        pod.container_id().clone_into(&mut self.container);
        self
    }

    /// The process runs another program when the rule matches.
    fn with_line(self, line: &str) -> Self {
        Self { line: line.to_owned(), ..self }
    }

    fn in_own_mounts(mut self) -> Self {
        self.words.splice(0..0, ["unshare", "--mount"].map(str::to_owned));
        self
    }

    /// Gives it a terminal of its own.
    fn on_terminal(mut self) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        self.terminal = Some(Terminal { _master: master, slave });
        self.words.splice(0..0, ["setsid", "--ctty"].map(str::to_owned));
        self
    }
}

fn program(path: &str, arguments: &[&str]) -> Action {
    let name = path.rsplit('/').next().unwrap_or(path);
    let line = [&[name], arguments].concat().join(" ");
    let words = [&[path], arguments].concat().into_iter().map(str::to_owned).collect();
    Action { words, line, container: "host".to_owned(), terminal: None, folder: None }
}

fn shell(script: &str) -> Action {
    program("sh", &["-c", script])
}

/// Writes a file in a folder that is replaced, for this one process, by an empty one.
fn over(folder: &str, file: &str) -> Action {
    shell(&write_over(folder, file)).in_own_mounts()
}

fn write_over(folder: &str, file: &str) -> String {
    let parent = file.rsplit_once('/').unwrap().0;
    format!("mount -n -t tmpfs none {folder} && mkdir -p {parent} && : > {file}")
}

/// A program from this folder that does nothing.
fn copied_to(folder: &str) -> Action {
    copied(tempfile::tempdir_in(folder).unwrap(), "true", &[])
}

fn copied(folder: TempDir, name: &str, arguments: &[&str]) -> Action {
    let path = folder.path().join(name).display().to_string();
    // By another process: a file that this one had open for writing could be busy when it is run.
    assert!(Command::new("cp").args(["/bin/true", &path]).status().unwrap().success());
    Action { folder: Some(folder), ..program(&path, arguments) }
}

/// Connects a socket, by a program that says nothing else about itself.
fn connect(domain: &str, kind: &str, address: &str) -> Action {
    let script = format!("socket(S, {domain}, {kind}, 0); connect(S, {address})");
    program("perl", &["-MSocket", "-e", &script])
}

/// To connect a UDP socket sends nothing.
fn connect_to(address: &str, port: u16) -> Action {
    connect("PF_INET", "SOCK_DGRAM", &format!("sockaddr_in({port}, inet_aton('{address}'))"))
}

fn connect_to_socket(path: &str) -> Action {
    connect("PF_UNIX", "SOCK_STREAM", &format!("sockaddr_un('{path}')"))
}
