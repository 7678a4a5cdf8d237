//! A PostgreSQL server of the tests' own: on a UNIX socket in a folder of its own, in a process that ends with the tests.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;
use waxseal::store::{Label, Location};

use crate::program::run::{self, Run};
use crate::program::skip::are_there;
use crate::program::{folder, is_root, wait_for};

/// The port that names a server's socket, if no other is chosen.
const DEFAULT_PORT: u16 = 5_432;

/// A server; every test that does not harm it shares one.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    options: Vec<String>,
    databases: AtomicU32,
    process: Mutex<Child>,
}

/// Where Debian has the programs; the newest if there are several.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    folders.filter(|bin| bin.join("initdb").exists()).max()
}

/// Whom the server runs as: it refuses to be root's.
fn user() -> Option<(u32, u32)> {
    let id = |option: &str| {
        let found = Command::new("id").args([option, "postgres"]).run();
        String::from_utf8(found.stdout).ok()?.trim().parse::<u32>().ok()
    };
    is_root().then(|| Some((id("-u")?, id("-g")?)))?
}

impl Postgres {
    /// The server that tests share; `None`, and the test is skipped, where PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        if !are_there(&[("PostgreSQL", programs().is_some())]) {
            return None;
        }
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// A server of a test's own.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| Vec::new())
    }

    /// The same with more options, which may name files in its folder.
    pub(crate) fn start_with(options: impl Fn(&Path) -> Vec<String>) -> Option<Self> {
        let programs = programs()?;
        let folder = folder();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((user, group)) = user() {
            for path in [folder.path(), &data] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let made = as_user(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "waxseal", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .run();
        assert!(made.status.success(), "{made:?}");
        let options = options(folder.path());
        for entry in fs::read_dir(folder.path()).unwrap() {
            if let Some((user, group)) = user() {
                chown(entry.unwrap().path(), Some(user), Some(group)).unwrap();
            }
        }
        let process = Mutex::new(spawn(&programs, folder.path(), &options));
        let server = Self { programs, folder, options, databases: AtomicU32::new(0), process };
        server.await_answer();
        Some(server)
    }

    /// A database with nothing in it, for a gateway of this label with this folder.
    pub(crate) fn place(&self, folder: &Path, label: &str) -> Location {
        Self::place_at(&self.database(), folder, label)
    }

    /// The place of a gateway at a database that is there.
    pub(crate) fn place_at(url: &str, folder: &Path, label: &str) -> Location {
        let label: Label = label.parse().unwrap();
        Location { folder: folder.to_owned(), server: Some(url.parse().unwrap()), label }
    }

    /// A new database's URL.
    pub(crate) fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        self.run_sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let socket = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://waxseal@{socket}/{database}")
    }

    /// Runs SQL in a database, named or by its URL, and gives what it prints.
    pub(crate) fn run_sql(&self, database: &str, sql: &str) -> String {
        self.run_sql_at(DEFAULT_PORT, database, sql)
    }

    /// The same for a server that has another port.
    pub(crate) fn run_sql_at(&self, port: u16, database: &str, sql: &str) -> String {
        let database = database.rsplit('/').next().unwrap();
        let ran = Command::new(self.programs.join("psql"))
            .args(["-p", &port.to_string()])
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "waxseal",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(self.folder.path())
            .run();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// Stops it, as a machine stops that loses its power.
    pub(crate) fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        if process.try_wait().unwrap().is_none() {
            // Its children end at once as well.
            run::signal(&process, Signal::QUIT);
            process.wait().unwrap();
        }
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        *self.process.lock().unwrap() = spawn(&self.programs, self.folder.path(), &self.options);
        self.await_answer();
    }

    fn await_answer(&self) {
        let is_there = || {
            let chosen = self.options.iter().find_map(|option| option.strip_prefix("port="));
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-p", chosen.unwrap_or("5432")])
                .arg("-h")
                .arg(self.folder.path())
                .run();
            asked.status.success().then_some(())
        };
        assert!(wait_for(is_there).is_some(), "PostgreSQL does not start");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program as a user that is not root, which is sent SIGQUIT when the thread that started it ends.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = user() {
        command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program);
    command
}

/// The server's process. The thread that starts it sleeps until all ends, and the server with it.
fn spawn(programs: &Path, folder: &Path, options: &[String]) -> Child {
    let mut command = as_user(&programs.join("postgres"));
    let socket = folder.to_str().unwrap();
    command.args([
        "-k",
        socket,
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=off",
        "-c",
        "shared_buffers=16MB",
        "-D",
    ]);
    command
        .arg(folder.join("data"))
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (started, child) = mpsc::channel();
    thread::spawn(move || {
        started.send(command.spawn().unwrap()).unwrap();
        loop {
            thread::park();
        }
    });
    child.recv().unwrap()
}
