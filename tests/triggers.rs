//! For every shipped rule one action that it must see, as harmless as it can be made: files are written in a folder of
//! the test's own, or in a mount namespace that ends with its process; nothing is sent to another machine.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

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

pub(crate) const TRIGGERS: [Trigger; 22] = [
    Trigger {
        rule: "Network tool runs a program",
        priority: "Critical",
        action: |stage| stage.named("nc", &["-e", "/bin/true", "127.0.0.1", "9"]),
        process: "nc",
        file: None,
    },
    Trigger {
        rule: "Shell connects to the network",
        priority: "Critical",
        // Nobody listens there; the rule leaves out 127.0.0.1 alone of this machine's own addresses.
        action: |_| program("bash", &["-c", "exec 3<>/dev/tcp/127.0.0.2/9"]),
        process: "bash",
        file: None,
    },
    Trigger {
        rule: "Download piped into an interpreter",
        priority: "Warning",
        action: |_| shell(": curl -s http://127.0.0.1:9/x | sh"),
        process: "sh",
        file: None,
    },
    Trigger {
        rule: "Credential file read",
        priority: "Warning",
        action: |_| program("cat", &["/etc/shadow"]),
        process: "cat",
        file: Some("/etc/shadow"),
    },
    Trigger {
        rule: "SSH private key read",
        priority: "Warning",
        action: |stage| stage.on_file("cat", ".ssh/id_ed25519"),
        process: "cat",
        file: Some(".ssh/id_ed25519"),
    },
    Trigger {
        rule: "Cloud credentials read with a file tool",
        priority: "Warning",
        action: |stage| stage.on_file("cat", ".aws/credentials"),
        process: "cat",
        file: Some(".aws/credentials"),
    },
    Trigger {
        rule: "Search for private keys",
        priority: "Warning",
        action: |stage| program("grep", &["-r", "BEGIN OPENSSH PRIVATE KEY", &stage.path("nothing")]),
        process: "grep",
        file: None,
    },
    Trigger {
        rule: "Cloud metadata service contacted",
        priority: "Warning",
        // To connect a UDP socket sends nothing.
        action: |_| {
            let script = "socket(S, PF_INET, SOCK_DGRAM, 0); connect(S, sockaddr_in(80, inet_aton('169.254.169.254')))";
            program("perl", &["-MSocket", "-e", script])
        },
        process: "perl",
        file: None,
    },
    Trigger {
        rule: "Shell history erased",
        priority: "Warning",
        action: |stage| stage.redirect(">", ".bash_history"),
        process: "sh",
        file: Some(".bash_history"),
    },
    Trigger {
        rule: "System log erased",
        priority: "Warning",
        action: |_| program("rm", &["-f", "/var/log/there-is-no-such-log"]),
        process: "rm",
        file: None,
    },
    Trigger {
        rule: "Search for setuid programs",
        priority: "Notice",
        action: |stage| program("find", &[&stage.path(""), "-perm", "-4000"]),
        process: "find",
        file: None,
    },
    Trigger {
        rule: "Program run from shared memory",
        priority: "Critical",
        action: |_| copied_to("/dev/shm"),
        process: "true",
        file: None,
    },
    Trigger {
        rule: "Program run from a temporary directory",
        priority: "Notice",
        action: |_| copied_to("/tmp"),
        process: "true",
        file: None,
    },
    Trigger {
        rule: "Decoded text piped into an interpreter",
        priority: "Warning",
        action: |_| shell(": base64 -d | sh"),
        process: "sh",
        file: None,
    },
    Trigger {
        rule: "Package manager run in a container",
        priority: "Notice",
        action: |stage| stage.named("apk", &["add", "nmap"]).in_pod(&stage.pod),
        process: "apk",
        file: None,
    },
    Trigger {
        rule: "Terminal shell in a container",
        priority: "Notice",
        action: |stage| program("sh", &["-c", ":"]).on_terminal().in_pod(&stage.pod),
        process: "sh",
        file: None,
    },
    Trigger {
        rule: "Preload file written",
        priority: "Critical",
        action: |stage| stage.redirect(">>", "etc/ld.so.preload"),
        process: "sh",
        file: Some("etc/ld.so.preload"),
    },
    Trigger {
        rule: "Scheduled job written",
        priority: "Warning",
        action: |_| over("/etc", "/etc/crontab"),
        process: "sh",
        file: Some("/etc/crontab"),
    },
    Trigger {
        rule: "Service definition written",
        priority: "Warning",
        action: |_| over("/etc", "/etc/systemd/system/x.service"),
        process: "sh",
        file: Some("/etc/systemd/system/x.service"),
    },
    Trigger {
        rule: "Authorized keys written",
        priority: "Warning",
        action: |stage| stage.redirect(">>", ".ssh/authorized_keys"),
        process: "sh",
        file: Some(".ssh/authorized_keys"),
    },
    Trigger {
        rule: "File below etc written",
        priority: "Notice",
        action: |_| over("/etc", "/etc/x.conf"),
        process: "sh",
        file: Some("/etc/x.conf"),
    },
    Trigger {
        rule: "System program written",
        priority: "Warning",
        action: |_| over("/usr/sbin", "/usr/sbin/x"),
        process: "sh",
        file: Some("/usr/sbin/x"),
    },
];

impl Trigger {
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

    /// A program of any name that does nothing.
    fn named(&self, name: &str, arguments: &[&str]) -> Action {
        let path = self.path(name);
        symlink("/bin/true", &path).unwrap();
        program(&path, arguments)
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
    let parent = file.rsplit_once('/').unwrap().0;
    let mut action = shell(&format!("mount -n -t tmpfs none {folder} && mkdir -p {parent} && : > {file}"));
    action.words.splice(0..0, ["unshare", "--mount"].map(str::to_owned));
    action
}

/// A program from this folder that does nothing.
fn copied_to(folder: &str) -> Action {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let path = folder.path().join("true").display().to_string();
    // By another process: a file that this one had open for writing could be busy when it is run.
    assert!(Command::new("cp").args(["/bin/true", &path]).status().unwrap().success());
    Action { folder: Some(folder), ..program(&path, &[]) }
}
