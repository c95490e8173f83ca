//! Processes written down, and a table that knows nothing but what was written down.

use std::cell::Cell;
use std::sync::Arc;

use super::super::container::{self, Container};
use super::super::procfs;
use super::{Image, Limits, Process, Processes, ProgramFile};
use crate::recording::bytes::{Bytes, put_text, put_u32s, put_u64, put_u64s};

impl Processes {
    /// Asks /proc nothing.
    pub(crate) fn recorded() -> Self {
        Self { budget: Cell::new(0), lookups_per_tick: 0, ..Self::default() }
    }

    /// From now on what /proc answers is kept for [`Self::take_answers`].
    pub(crate) fn keep_answers(&mut self) {
        self.answers = Some(Vec::new());
    }

    /// The processes that were found in /proc since the last time.
    pub(crate) fn take_answers(&mut self) -> Vec<Process> {
        self.answers.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Every process in the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Process> {
        self.by_tgid.values()
    }

    /// A process that was written down, in the place of the one with its number.
    pub(crate) fn learn(&mut self, process: Process) {
        self.insert(process);
    }

    /// The environment of a process, each variable ended by a NUL, where the table has none.
    pub(crate) fn learn_environment(&mut self, tgid: u32, start_ns: u64, environment: &[u8]) {
        let Some(process) = self.by_tgid.get_mut(&tgid).filter(|process| process.is(start_ns)) else { return };
        if process.environment().is_none() {
            process.image = Arc::new(Image { environment: environment.into(), ..(*process.image).clone() });
            self.text_bytes += environment.len();
            self.keep_within_bounds();
        }
    }

    /// The environment of a process that the table has none of, from /proc and within the budget; `None` where neither
    /// tells.
    pub(crate) fn ask_environment(&self, tgid: u32) -> Option<Vec<u8>> {
        let process = self.get(tgid).filter(|process| process.environment().is_none())?;
        let mut environment = Vec::new();
        if self.spend_lookup() {
            procfs::append_environment(process.tgid, &mut environment);
        }
        Some(environment).filter(|environment| !environment.is_empty())
    }
}

impl Process {
    /// Everything that rules may ask of it but its environment.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        let words = [self.tgid, self.ppid, self.sid, self.pgid, self.vpid, self.vpgid, self.pid_namespace, self.tty];
        put_u32s(buffer, &words);
        let Limits { descriptors_max, minor_faults, major_faults } = self.limits;
        let wide = [self.start_ns, self.pid_namespace_start_ns, self.cgroup_id, descriptors_max];
        put_u64s(buffer, &wide);
        put_u64s(buffer, &[minor_faults, major_faults]);
        write_container(self.container.as_deref(), buffer);
        put_text(buffer, self.cwd.as_deref().unwrap_or_default());
        self.image.write(buffer);
    }

    /// What [`Self::write`] wrote.
    pub(crate) fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            tgid: bytes.u32()?,
            ppid: bytes.u32()?,
            sid: bytes.u32()?,
            pgid: bytes.u32()?,
            vpid: bytes.u32()?,
            vpgid: bytes.u32()?,
            pid_namespace: bytes.u32()?,
            tty: bytes.u32()?,
            start_ns: bytes.u64()?,
            pid_namespace_start_ns: bytes.u64()?,
            cgroup_id: bytes.u64()?,
            limits: Limits { descriptors_max: bytes.u64()?, minor_faults: bytes.u64()?, major_faults: bytes.u64()? },
            container: read_container(bytes).ok()?.map(Arc::new),
            cwd: Some(bytes.text()?).filter(|cwd| !cwd.is_empty()).map(Into::into),
            image: Arc::new(Image::read(bytes)?),
            ..Self::default()
        })
    }
}

impl Image {
    fn write(&self, buffer: &mut Vec<u8>) {
        for text in [&self.comm, &self.cmdline, &self.exe, &self.exe_path] {
            put_text(buffer, text);
        }
        put_u64(buffer, self.arguments_at as u64);
        let lengths: Vec<u8> = self.argument_bytes.iter().flat_map(|length| length.to_le_bytes()).collect();
        put_text(buffer, &lengths);
        let ProgramFile { inode, ctime_ns, mtime_ns, mode, uid, gid, layer } = self.file;
        put_u64s(buffer, &[inode, ctime_ns, mtime_ns]);
        put_u32s(buffer, &[mode, uid, gid, layer]);
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (comm, cmdline, exe, exe_path) = (bytes.text()?, bytes.text()?, bytes.text()?, bytes.text()?);
        let arguments_at = usize::try_from(bytes.u64()?).ok().filter(|at| *at <= cmdline.len())?;
        let lengths = bytes.text()?.as_chunks().0;
        let argument_bytes = lengths.iter().map(|length| u16::from_le_bytes(*length)).collect();
        let file = ProgramFile {
            inode: bytes.u64()?,
            ctime_ns: bytes.u64()?,
            mtime_ns: bytes.u64()?,
            mode: bytes.u32()?,
            uid: bytes.u32()?,
            gid: bytes.u32()?,
            layer: bytes.u32()?,
        };
        let environment = Box::default();
        let [comm, cmdline, exe, exe_path] = [comm, cmdline, exe, exe_path].map(Into::into);
        Some(Self { comm, cmdline, arguments_at, argument_bytes, exe, exe_path, environment, file })
    }
}

/// The id and the rest; no id is no container.
pub(crate) fn write_container(container: Option<&Container>, buffer: &mut Vec<u8>) {
    let Some(Container { id, full_id, runtime, pod_uid }) = container else { return put_text(buffer, b"") };
    for text in [id.as_str(), full_id, runtime, pod_uid.as_deref().unwrap_or_default()] {
        put_text(buffer, text.as_bytes());
    }
}

/// It is not what [`write_container`] wrote.
pub(crate) struct Malformed;

/// `None`: the host.
pub(crate) fn read_container(bytes: &mut Bytes<'_>) -> Result<Option<Container>, Malformed> {
    let id = bytes.utf8().ok_or(Malformed)?;
    if id.is_empty() { Ok(None) } else { read_rest(id, bytes).map(Some).ok_or(Malformed) }
}

fn read_rest(id: &str, bytes: &mut Bytes<'_>) -> Option<Container> {
    let full_id = bytes.utf8()?.to_owned();
    let runtime = container::runtime(bytes.utf8()?)?;
    let pod_uid = Some(bytes.utf8()?.to_owned()).filter(|uid| !uid.is_empty());
    Some(Container { id: id.to_owned(), full_id, runtime, pod_uid })
}
