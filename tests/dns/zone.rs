//! A tree of real zones, served on loopback by Knot DNS: a signed root, and below it zones that are signed, unsigned, and
//! signed by other keys than the root says.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;

use crate::program::run::{self, Run};
use crate::program::skip::are_there;
use crate::program::smtp::free_port;
use crate::program::{folder, wait_for, word};

/// A zone below the root, and its lines beside SOA and NS.
pub(crate) struct Zone<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) lines: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The root vouches for it.
    Signed,
    /// The root says that it is not signed.
    Unsigned,
    /// The root vouches for another key.
    Bogus,
    /// The root says that it is not signed, and it is: by one key for the others, and by another for the rest.
    Island,
}

/// Where a name server is, and what else is unusual.
pub(crate) struct Place<'a> {
    /// Its address; a free port if none is named.
    pub(crate) address: Option<SocketAddr>,
    /// Names and addresses of other servers, for the root to know.
    pub(crate) others: &'a [(&'a str, IpAddr)],
    /// For how many seconds an absence may be remembered.
    pub(crate) negative_ttl: u32,
}

impl Default for Place<'_> {
    fn default() -> Self {
        Self { address: None, others: &[], negative_ttl: 60 }
    }
}

/// Addresses of this machine whose port 53 is free to us; `None` where that port is not ours.
pub(crate) fn addresses<const N: usize>() -> Option<[SocketAddr; N]> {
    let mut free = (1..=u8::MAX).filter_map(|n| {
        let address = SocketAddr::from((Ipv4Addr::new(127, 88, (std::process::id() % 251) as u8, n), 53));
        UdpSocket::bind(address).is_ok().then_some(address)
    });
    let all: Vec<SocketAddr> = free.by_ref().take(N).collect();
    let all = all.try_into().ok();
    are_there(&[("port 53 on loopback", all.is_some())]);
    all
}

/// A name server that runs, killed when dropped.
pub(crate) struct Knot {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    serial: u32,
    negative_ttl: u32,
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl Knot {
    /// `None` where there is no Knot DNS.
    pub(crate) fn start(zones: &[Zone<'_>]) -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        // A port may be taken between the look and the use.
        (0..5)
            .find_map(|_| Self::try_start(&Place::default(), zones))
            .or_else(|| panic!("Knot DNS does not start"))
    }

    /// As [`Knot::start`], at this address alone; the root knows those of other name servers.
    pub(crate) fn start_at(
        address: SocketAddr,
        others: &[(&str, IpAddr)],
        zones: &[Zone<'_>],
    ) -> Option<Self> {
        Self::start_as(&Place { address: Some(address), others, ..Place::default() }, zones)
    }

    /// As [`Knot::start`], otherwise than usual.
    pub(crate) fn start_as(place: &Place<'_>, zones: &[Zone<'_>]) -> Option<Self> {
        Self::is_there().then(|| Self::try_start(place, zones).expect("Knot DNS does not start"))
    }

    fn is_there() -> bool {
        are_there(&[("Knot DNS", command("knotd").arg("--version").succeeds())])
    }

    fn try_start(place: &Place<'_>, zones: &[Zone<'_>]) -> Option<Self> {
        let folder = folder();
        let (address, negative_ttl) = (place.address.unwrap_or_else(free_port), place.negative_ttl);
        let config = folder.path().join("knot.conf");
        fs::write(&config, configuration(folder.path(), address, zones)).unwrap();
        let mut root = format!("@ NS ns.\nns. A {}\n", address.ip());
        for (name, address) in place.others {
            writeln!(root, "{name}. A {address}").unwrap();
        }
        keymgr(&config, &[".", "generate", "ksk=yes", "zsk=yes", "algorithm=ecdsap256sha256"]);
        for zone in zones {
            writeln!(root, "{}. NS ns.", zone.name).unwrap();
            if zone.kind == Kind::Unsigned {
                continue;
            }
            if zone.kind == Kind::Island {
                for kind in [["ksk=yes", "zsk=no"], ["ksk=no", "zsk=yes"]] {
                    let made = [zone.name, "generate", kind[0], kind[1], "algorithm=ecdsap256sha256"];
                    keymgr(&config, &made);
                }
                continue;
            }
            keymgr(&config, &[zone.name, "generate", "ksk=yes", "zsk=yes", "algorithm=ecdsap256sha256"]);
            let all = keymgr(&config, &[zone.name, "ds"]);
            let ds = all.lines().find(|line| line.contains(" 13 2 ")).unwrap();
            let (front, digest) = ds.rsplit_once(' ').unwrap();
            match zone.kind {
                Kind::Bogus => writeln!(root, "{front} {}", "0".repeat(digest.len())).unwrap(),
                _ => writeln!(root, "{ds}").unwrap(),
            }
        }
        let anchor = keymgr(&config, &[".", "dnskey"]);
        fs::write(folder.path().join("anchors"), anchor).unwrap();
        write_zone(folder.path(), ".", (1, negative_ttl), &root);
        for zone in zones {
            write_zone(folder.path(), zone.name, (1, negative_ttl), zone.lines);
        }
        let log = File::create(folder.path().join("log")).unwrap();
        let child = command("knotd")
            .args(["--config", word(&config)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut knot = Self { child, folder, address, serial: 1, negative_ttl };
        let serves = |name: &str| serial(address, name).is_some();
        let is_up = wait_for(|| match knot.child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => (serves(".") && zones.iter().all(|zone| serves(zone.name))).then_some(true),
        });
        is_up.unwrap_or_else(|| panic!("{}", knot.log())).then_some(knot)
    }

    /// The root's key, as `[dns] trust_anchors` wants it.
    pub(crate) fn anchors(&self) -> std::path::PathBuf {
        self.folder.path().join("anchors")
    }

    /// What `keymgr ZONE ds` or `keymgr ZONE dnskey` prints.
    pub(crate) fn keymgr(&self, zone: &str, what: &str) -> String {
        keymgr(&self.folder.path().join("knot.conf"), &[zone, what])
    }

    /// Puts other lines into a zone.
    pub(crate) fn change(&mut self, zone: &str, lines: &str) {
        self.serial += 1000;
        write_zone(self.folder.path(), zone, (self.serial, self.negative_ttl), lines);
        let config = self.folder.path().join("knot.conf");
        let reload = command("knotc").args(["--config", word(&config), "zone-reload", zone]).run();
        assert!(reload.status.success(), "{reload:?}");
        let wanted = self.serial;
        let is_new = || serial(self.address, zone).filter(|serial| *serial >= wanted).map(drop);
        assert!(wait_for(is_new).is_some(), "{}", self.log());
    }

    fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.folder.path().join("log")).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        run::kill(&mut self.child);
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PATH);
    command
}

fn keymgr(config: &Path, arguments: &[&str]) -> String {
    let output = command("keymgr").args(["--config", word(config)]).args(arguments).run();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn configuration(folder: &Path, address: SocketAddr, zones: &[Zone<'_>]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "server:\n  rundir: {folder}\n  listen: {}@{}\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n\
         database:\n  storage: {folder}\nlog:\n  - target: stderr\n    any: info\n\
         policy:\n  - id: signed\n    manual: on\n    single-type-signing: on\n    algorithm: ecdsap256sha256\n  \
         - id: apart\n    manual: on\n    algorithm: ecdsap256sha256\n\
         template:\n  - id: default\n    storage: {folder}\n    zonefile-sync: -1\n    zonefile-load: whole\n    \
         journal-content: none\nzone:\n",
        address.ip(),
        address.port()
    );
    let all = zones.iter().map(|zone| (zone.name, zone.kind)).chain([(".", Kind::Signed)]);
    for (name, kind) in all {
        writeln!(text, "  - domain: {name}\n    file: {}", file_name(name)).unwrap();
        if kind != Kind::Unsigned {
            let policy = if kind == Kind::Island { "apart" } else { "signed" };
            writeln!(text, "    dnssec-signing: on\n    dnssec-policy: {policy}").unwrap();
        }
    }
    text
}

fn file_name(zone: &str) -> String {
    format!("{}.zone", zone.trim_end_matches('.').replace('.', "-"))
}

fn write_zone(folder: &Path, name: &str, (serial, negative_ttl): (u32, u32), lines: &str) {
    let origin = if name == "." { ".".to_owned() } else { format!("{name}.") };
    let head =
        format!("$ORIGIN {origin}\n$TTL 300\n@ SOA ns. hostmaster. {serial} 3600 600 86400 {negative_ttl}\n");
    let ns = if name == "." { "" } else { "@ NS ns.\n" };
    fs::write(folder.join(file_name(name)), format!("{head}{ns}{lines}\n")).unwrap();
}

/// The serial number of a zone, once it is served.
fn serial(address: SocketAddr, zone: &str) -> Option<u32> {
    let reply = ask(address, &format!("{}.", zone.trim_end_matches('.')), RecordType::SOA)?;
    reply.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// The server's own answer, with its proofs.
pub(crate) fn ask(address: SocketAddr, name: &str, record_type: RecordType) -> Option<Message> {
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4096);
    query.set_edns(edns);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.send_to(&query.to_vec().unwrap(), address).ok()?;
    let mut reply = [0; 4096];
    let length = socket.recv(&mut reply).ok()?;
    Message::from_vec(&reply[..length]).ok()
}
