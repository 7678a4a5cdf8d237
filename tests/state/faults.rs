//! Disks that are full or read-only, servers and connections that fail: what was acknowledged is there, and it comes back by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use waxseal::store::{Filter, Held, HoldError, Kept, Quotas, State};

use crate::contract::{held, hold};
use crate::program::skip::are_there;
use crate::program::{is_root, wait_for};

/// A file system of 4 MiB that is unmounted with this.
struct Disk(TempDir);

impl Disk {
    /// `None`, and the test is skipped, where nothing may be mounted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4m", "waxseal-test"])
                .arg(folder.path())
                .output()
                .is_ok_and(|done| done.status.success());
        are_there(&[("the right to mount", mounted)]).then(|| Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

fn try_to_hold(state: &State, size: usize) -> Result<Kept, HoldError> {
    let message = vec![b'x'; size];
    let held = Held { size: size as u64, ..held("2026-11-23T06:11:12Z") };
    state.quarantine.hold(&Quotas::default(), &held, &[], &mut &*message)
}

fn count(state: &State) -> usize {
    state.quarantine.list(&Filter::default(), None, 10_000).unwrap().held.len()
}

#[test]
fn a_full_disk_keeps_what_it_has_and_comes_back() {
    let Some(disk) = Disk::mount() else { return };
    let state = State::open_to_serve(&disk.0.path().join("state").as_path().into()).unwrap();
    let mut kept = 0;
    let error = loop {
        match try_to_hold(&state, 300_000) {
            Ok(_) => kept += 1,
            Err(error) => break error.error,
        }
    };
    assert!(kept > 3 && error.is_no_space(), "{kept}: {error:?}");
    // Down to the last octet, so that the database has no room either.
    let filling = disk.0.path().join("filling");
    let mut file = fs::File::create(&filling).unwrap();
    while std::io::Write::write(&mut file, &[0; 4_096]).is_ok_and(|written| written > 0) {}
    assert!(try_to_hold(&state, 10).is_err());
    assert!(state.quarantine.check_writable().is_err());
    assert!(wait_for(|| (!state.memories.is_open()).then_some(())).is_some(), "nobody notices");
    assert_eq!(count(&state), kept, "it can be read");
    assert!(state.quarantine.incomplete().unwrap().is_empty());
    drop(file);
    fs::remove_file(filling).unwrap();
    assert!(wait_for(|| state.memories.is_open().then_some(())).is_some(), "it does not come back");
    try_to_hold(&state, 10).unwrap();
    state.quarantine.check_writable().unwrap();
    assert_eq!(count(&state), kept + 1);
    drop(state);
}

/// Runs a command that must succeed.
fn run(command: &str, arguments: &[&str], last: &Path) {
    let done = Command::new(command).args(arguments).arg(last).output().unwrap();
    assert!(done.status.success(), "{command} {arguments:?}: {done:?}");
}

/// By path, nothing can be written any more, as where the system remounts a disk that fails.
#[test]
fn a_disk_that_turns_read_only_comes_back() {
    let Some(disk) = Disk::mount() else { return };
    let folder = disk.0.path().join("state");
    let state = State::open_to_serve(&folder.as_path().into()).unwrap();
    hold(&state, "2026-11-23T06:11:12Z", b"x");
    let same = folder.to_str().unwrap();
    run("mount", &["--bind", same], &folder);
    run("mount", &["-o", "remount,bind,ro"], &folder);
    let failed = (try_to_hold(&state, 10).is_err(), state.quarantine.check_writable().is_err());
    let is_noticed = wait_for(|| (!state.memories.is_open()).then_some(())).is_some();
    let listed = count(&state);
    run("umount", &[], &folder);
    assert_eq!((failed, is_noticed, listed), ((true, true), true, 1));
    assert!(wait_for(|| state.memories.is_open().then_some(())).is_some(), "it does not come back");
    try_to_hold(&state, 10).unwrap();
    assert_eq!(count(&state), 2);
    drop(state);
}

/// The first page of a hundred thousand messages is there at once, and so is what a filter finds.
#[test]
fn a_hundred_thousand_messages_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    let first = hold(&state, "2026-11-23T06:11:12Z", b"x");
    many(folder.path(), first.as_str());
    let started = std::time::Instant::now();
    let page = state.quarantine.list(&Filter::default(), None, 50).unwrap();
    let took = started.elapsed();
    assert_eq!(page.held.len(), 50);
    assert!(took.as_secs() < 10, "{took:?}");
    let started = std::time::Instant::now();
    let filter = Filter { from: Some("nobody@nowhere.example".into()), ..Filter::default() };
    assert!(state.quarantine.list(&filter, None, 50).unwrap().held.is_empty());
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(state.quarantine.usage().unwrap().messages, 100_000);
    let (mut seen, mut after) = (0, None);
    loop {
        let page = state.quarantine.list(&Filter::default(), after.as_ref(), 1_000).unwrap();
        seen += page.held.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 100_000);
}

/// Makes rows like that of one message.
fn many(folder: &Path, like: &str) {
    let database = rusqlite::Connection::open(folder.join("memory.sqlite")).unwrap();
    database
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 99999)
             INSERT INTO held (id, gateway, verified, size, received, senders, recipients, domains, verdict, facts)
             SELECT printf('20261124T%06d-%06x', n, n), gateway, verified, size, received + n, senders, recipients, domains,
                    verdict, facts FROM held, n WHERE id = ?1",
            [like],
        )
        .unwrap();
}

#[cfg(feature = "postgres")]
mod server {
    use std::io::copy;
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    use waxseal::store::{Location, What};

    use super::*;
    use crate::program::smtp::free_port;
    use crate::program::tls::{Authority, Identity};
    use crate::server::Postgres;

    #[test]
    fn a_server_must_show_the_right_certificate() {
        if Postgres::shared().is_none() {
            return;
        }
        let authority = Authority::new("the site's");
        let Identity { certificate, key } = authority.issue(&["localhost"]);
        let port = free_port().port();
        let server = Postgres::start_with(|folder| {
            fs::write(folder.join("server.crt"), &certificate).unwrap();
            fs::write(folder.join("server.key"), &key).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(folder.join("server.key"), mode).unwrap();
            let file = |name: &str| folder.join(name).display().to_string();
            [
                "listen_addresses=127.0.0.1".to_owned(),
                format!("port={port}"),
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", file("server.crt")),
                format!("ssl_key_file={}", file("server.key")),
            ]
            .into_iter()
            .flat_map(|option| ["-c".to_owned(), option])
            .collect()
        });
        let server = server.unwrap();
        server.run_sql_at(port, "postgres", "CREATE DATABASE tls");
        let folder = tempfile::tempdir().unwrap();
        let (right, wrong) = (folder.path().join("right.pem"), folder.path().join("wrong.pem"));
        fs::write(&right, authority.pem()).unwrap();
        fs::write(&wrong, Authority::new("another's").pem()).unwrap();
        let place = |host: &str, roots: &Path| {
            let url = format!(
                "postgres://waxseal@{host}:{port}/tls?sslmode=verify-full&sslrootcert={}",
                roots.display()
            );
            Postgres::place_at(&url, folder.path(), "mx1")
        };
        for (host, roots) in [("localhost", &wrong), ("127.0.0.1", &right)] {
            let state = State::open_to_serve(&place(host, roots)).unwrap();
            assert!(!state.memories.is_open(), "{host}");
            assert!(try_to_hold(&state, 10).is_err());
        }
        let state = State::open_to_serve(&place("localhost", &right)).unwrap();
        assert!(state.memories.is_open());
        hold(&state, "2026-11-23T06:11:12Z", b"x");
        let ssl = server.run_sql_at(port, "tls", "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'waxseal'");
        assert_eq!(ssl, "t");
    }

    /// The way between gateway and server, which can be cut.
    struct Way {
        address: SocketAddr,
        is_cut: Arc<AtomicBool>,
        streams: Arc<Mutex<Vec<TcpStream>>>,
    }

    impl Way {
        fn to(port: u16) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let way = Self {
                address: listener.local_addr().unwrap(),
                is_cut: Arc::default(),
                streams: Arc::default(),
            };
            let (is_cut, streams) = (Arc::clone(&way.is_cut), Arc::clone(&way.streams));
            thread::spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                    if is_cut.load(Ordering::Relaxed) {
                        continue;
                    }
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        streams.lock().unwrap().push(from.try_clone().unwrap());
                        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        thread::spawn(move || {
                            let _ = copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                }
            });
            way
        }

        fn cut(&self) {
            self.is_cut.store(true, Ordering::Relaxed);
            for stream in self.streams.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }

        fn mend(&self) {
            self.is_cut.store(false, Ordering::Relaxed);
        }
    }

    /// What was acknowledged is there, whole, with its deed; and gateways find the server again.
    #[test]
    fn a_connection_that_is_cut_loses_nothing() {
        if Postgres::shared().is_none() {
            return;
        }
        let port = free_port().port();
        let server = Postgres::start_with(|_| {
            let options = ["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")];
            options.into_iter().flat_map(|option| ["-c".to_owned(), option]).collect()
        });
        let server = server.unwrap();
        server.run_sql_at(port, "postgres", "CREATE DATABASE cut");
        let way = Way::to(port);
        let folder = tempfile::tempdir().unwrap();
        let url = format!("postgres://waxseal@{}/cut", way.address);
        let place: Location = Postgres::place_at(&url, folder.path(), "mx1");
        let state = State::open_to_serve(&place).unwrap();
        let acknowledged = Mutex::new(Vec::new());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        match try_to_hold(&state, 300_000) {
                            Ok(kept) => acknowledged.lock().unwrap().push(kept.id),
                            Err(_) => thread::sleep(Duration::from_millis(20)),
                        }
                    }
                });
            }
            for n in 0..6 {
                thread::sleep(Duration::from_millis(300 + 70 * n));
                way.cut();
                thread::sleep(Duration::from_millis(300));
                way.mend();
                let is_back = || state.memories.is_open().then_some(());
                assert!(wait_for(is_back).is_some(), "the gateway does not find the server again");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let acknowledged = acknowledged.into_inner().unwrap();
        assert!(!acknowledged.is_empty());
        assert!(wait_for(|| state.memories.is_open().then_some(())).is_some());
        assert!(state.quarantine.incomplete().unwrap().is_empty());
        for id in &acknowledged {
            assert_eq!(state.quarantine.show(id).unwrap().held.size, 300_000);
            assert_eq!(state.audit.of(id).unwrap()[0].what, What::Held);
        }
    }
}
