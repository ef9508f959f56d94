//! A storage that gives each change a name, and kills the process at one of them.

use std::fmt;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};
use std::thread;

use pagecache::storage::{
    Access, Entry, LocalStorage, LockError, Storage, StorageFile, StoreLock, TEMP_SUFFIX,
};
use rustix::process::{Signal, getpid, kill_process};

/// Where a process is killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kill {
    pub(super) step: String,
    /// The first time that the step is taken is 1.
    pub(super) number: u32,
    pub(super) when: When,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Before,
    After,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}/{}", self.when, self.number, self.step)
    }
}

impl Kill {
    pub(super) fn parse(text: &str) -> Kill {
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().expect("three parts");
        let when = match part() {
            "Before" => When::Before,
            _ => When::After,
        };
        Kill {
            when,
            number: part().parse().expect("a number"),
            step: part().to_owned(),
        }
    }
}

/// What was done so far.
#[derive(Debug)]
pub(super) struct Steps {
    kill: Option<Kill>,
    /// What is being done. Nothing: changes have no name.
    job: Mutex<&'static str>,
    taken: Mutex<Vec<String>>,
}

impl Steps {
    pub(super) fn new(kill: Option<Kill>) -> Steps {
        Steps {
            kill,
            job: Mutex::default(),
            taken: Mutex::default(),
        }
    }

    /// The changes that `run` makes are steps of this job.
    pub(super) fn during<T>(&self, job: &'static str, run: impl FnOnce() -> T) -> T {
        *self.job.lock().unwrap() = job;
        let result = run();
        *self.job.lock().unwrap() = "";
        result
    }

    /// What this thread is doing. What is given up has compaction begin in the background, maybe before the job is over.
    fn job(&self) -> &'static str {
        let job = *self.job.lock().unwrap();
        match (job, thread::current().name()) {
            ("gc", Some("layer-compact" | "layer-blocks")) => "compaction with gc",
            _ => job,
        }
    }

    /// The names of all steps, in order.
    pub(super) fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    fn step<T>(&self, operation: &str, path: &Path, change: impl FnOnce() -> T) -> T {
        let job = self.job();
        if job.is_empty() {
            return change();
        }
        let name = format!("{job}: {operation} {}", kind(path));
        let number = {
            let mut taken = self.taken.lock().unwrap();
            taken.push(name);
            let name = taken.last();
            taken.iter().filter(|before| Some(*before) == name).count()
        };
        let is_here = |kill: &&Kill| {
            let name = format!("{job}: {operation} {}", kind(path));
            kill.step == name && kill.number as usize == number
        };
        let when = self.kill.as_ref().filter(is_here).map(|kill| kill.when);
        if when == Some(When::Before) {
            die();
        }
        let result = change();
        if when == Some(When::After) {
            die();
        }
        result
    }
}

fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// What a file or directory of the store is.
fn kind(path: &Path) -> String {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names: Vec<&str> = names.collect();
    let last = names.last().copied().unwrap_or_default();
    let kind = match names.len() {
        0 => "directory of the store",
        1 => "directory of tenants",
        2 => "directory of the tenant",
        3 if last == "timelines" => "directory of timelines",
        3 => "manifest of the tenant",
        4 => "directory of the timeline",
        5 if last == "wal" => "directory of WAL",
        5 if last == "layers" => "directory of layers",
        5 => "manifest",
        _ if names[4] == "wal" => "WAL",
        _ => "layer",
    };
    match last.ends_with(TEMP_SUFFIX) {
        true => format!("new {kind}"),
        false => kind.to_owned(),
    }
}

/// Files of the operating system. A sync is a step, but not made: a kill takes nothing away that was written.
#[derive(Clone, Debug)]
pub(super) struct SteppedStorage {
    inner: LocalStorage,
    steps: Arc<Steps>,
}

impl SteppedStorage {
    pub(super) fn new(inner: LocalStorage, steps: &Arc<Steps>) -> SteppedStorage {
        SteppedStorage {
            inner,
            steps: Arc::clone(steps),
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(SteppedFile {
            inner: file,
            path: path.into(),
            steps: Arc::clone(&self.steps),
        })
    }
}

impl Storage for SteppedStorage {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self
            .steps
            .step("create", path, || self.inner.create(path))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.inner.open(path, access)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.steps
            .step("rename", from, || self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        // Many are looked for in vain before they are made.
        match self.inner.exists(path)? {
            true => self
                .steps
                .step("remove", path, || self.inner.remove_file(path)),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps
            .step("remove", path, || self.inner.remove_dir_all(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps
            .step("create", path, || self.inner.create_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.steps.step("sync", path, || Ok(()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn lock(&self) -> Result<StoreLock, LockError> {
        self.inner.lock()
    }
}

#[derive(Debug)]
struct SteppedFile {
    inner: Arc<dyn StorageFile>,
    path: Box<Path>,
    steps: Arc<Steps>,
}

impl StorageFile for SteppedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let write = || self.inner.write_all_at(buf, offset);
        self.steps.step("write", &self.path, write)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let cut = || self.inner.set_len(len);
        self.steps.step("cut", &self.path, cut)
    }

    fn sync(&self) -> io::Result<()> {
        self.steps.step("sync", &self.path, || Ok(()))
    }
}
