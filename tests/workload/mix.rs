//! At a steady pace, or in great number of one kind.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Gid, Uid, chroot};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::OWN_NAME;
use crate::actor::{connect_without_a_packet, run};
use crate::storm::join;

/// Between two rounds of each kind.
const PAUSE_OF_PROGRAMS: Duration = Duration::from_millis(10);
const PAUSE_OF_CALLS: Duration = Duration::from_millis(5);

/// Opens of one round.
const OPENS: usize = 20;

/// Whoever lives in a container.
const TENANT: u32 = 4_321;

/// Every kind in a thread of its own.
pub(crate) fn mix(folder: &Path, time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let for_all = folder.join("for-all");
    fs::create_dir_all(&for_all)?;
    fs::set_permissions(&for_all, fs::Permissions::from_mode(0o1777))?;
    let kinds: [(Duration, &(dyn Fn() -> anyhow::Result<()> + Sync)); 4] = [
        (PAUSE_OF_PROGRAMS, &|| run(Command::new(folder.join("mixer")).arg(&for_all))),
        (PAUSE_OF_CALLS, &|| open_some(folder)),
        (PAUSE_OF_CALLS, &|| rename_some(folder)),
        (PAUSE_OF_CALLS, &converse),
    ];
    thread::scope(|scope| {
        let threads = kinds.map(|(pause, act)| {
            scope.spawn(move || {
                while Instant::now() < end {
                    act()?;
                    thread::sleep(pause);
                }
                anyhow::Ok(())
            })
        });
        join(threads)
    })
}

pub(crate) fn sockets(count: u64) -> anyhow::Result<()> {
    (0..count).try_for_each(|_| connect_without_a_packet())
}

/// Goes into a cgroup, then into another root, loses its rights, opens a file there, and stays until standard input ends.
pub(crate) fn inhabit(root: &Path, cgroup: Option<&Path>) -> anyhow::Result<()> {
    if let Some(cgroup) = cgroup {
        let mut processes =
            OpenOptions::new().write(true).open(cgroup).with_context(|| cgroup.display().to_string())?;
        processes.write_all(std::process::id().to_string().as_bytes())?;
        return Err(Command::new("/proc/self/exe").args(["inhabit", "--root"]).arg(root).arg0(OWN_NAME).exec().into());
    }
    chroot(root)?;
    std::env::set_current_dir("/")?;
    let (uid, gid) = (Uid::from_raw(TENANT), Gid::from_raw(TENANT));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    File::open("/etc/passwd")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn open_some(folder: &Path) -> anyhow::Result<()> {
    fs::write(folder.join("opened"), "nothing\n")?;
    for _ in 0..OPENS {
        File::open(folder.join("opened"))?;
        File::open("/etc/hostname").ok();
    }
    Ok(())
}

fn rename_some(folder: &Path) -> anyhow::Result<()> {
    let [first, second, link] = ["first", "second", "link"].map(|name| folder.join(name));
    fs::write(&first, "nothing\n")?;
    fs::set_permissions(&first, fs::Permissions::from_mode(0o600))?;
    fs::rename(&first, &second)?;
    fs::hard_link(&second, &first)?;
    symlink(&first, &link)?;
    [first, second, link].iter().try_for_each(|path| Ok(fs::remove_file(path)?))
}

/// A connection of this process to itself.
fn converse() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"hello")?;
    let mut heard = [0; 5];
    server.read_exact(&mut heard)?;
    connect_without_a_packet()
}
