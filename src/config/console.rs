//! `[console]`: where the pages for people are, and how people are known there.

use jiff::tz::TimeZone;

use super::admin::{addresses_of, is_near};
use super::check::Checker;
use super::listeners::clash;
use super::{Admin, Console, ListenAddress, Listener, Mode, Tls, raw};

/// Header fields that mean something else, so that no proxy can put a user's name there.
const RESERVED: [&str; 9] = [
    "host",
    "cookie",
    "origin",
    "referer",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept",
    "x-forwarded-for",
];

/// The settings in force; mistakes are recorded. `None` where there are no pages.
pub(super) fn check(
    checker: &mut Checker<'_>,
    raw: raw::Console,
    listeners: &[Listener],
    admin: &Admin,
    tls: Option<&Tls>,
) -> Option<Console> {
    let has_own = [raw.certificate.is_some(), raw.key.is_some()];
    let own = if has_own == [false, false] {
        None
    } else {
        checker.certificate("console", raw.certificate, raw.key)
    };
    let time_zone = time_zone(checker, raw.time_zone.as_deref());
    let names = raw.names.map(|names| names.0).unwrap_or_default();
    let proxies = raw.trusted_proxies.map(|proxies| proxies.0).filter(|proxies| !proxies.is_empty());
    let trusted_header = trusted_header(checker, raw.trusted_header, proxies.is_some());
    let addresses = raw.listen.map(|addresses| addresses.0).unwrap_or_default();
    let listen = addresses_of(checker, "console.listen", addresses, listeners, |_| None);
    if listen.is_empty() {
        return None;
    }
    let is_shown = |listener: &Listener| listener.mode == Mode::Verify;
    if !cfg!(feature = "console") {
        checker.wrong("console.listen", "this waxseal was built without the console (feature `console`)");
    } else if !listeners.iter().any(is_shown) && checker.places.is_missing("listener") {
        let reason = "the console shows what a verifying listener judges, and there is none: add a listener with \
                      mode = \"verify\", or remove this";
        checker.wrong("console.listen", reason);
    }
    for (position, address) in listen.iter().enumerate() {
        let path = checker.places.element("console.listen", position);
        let shared = admin.listen.iter().find(|other| clash(address, other));
        if let Some(other) = shared.filter(|other| *other != address) {
            let reason =
                format!("`{address}` is taken by `{other}` of [admin]; write the same address to share it");
            checker.wrong(&path, reason);
        }
        if shared == Some(address) && !is_near(address) {
            let advice = format!(
                "`{address}` is under TLS, for the console, so `waxseal health` cannot ask there: add a second address to \
                 [admin], such as 127.0.0.1:9825"
            );
            checker.warn(&path, advice);
        }
        if !is_near(address) && own.is_none() && tls.is_none() && has_own == [false, false] {
            let reason = format!(
                "`{address}` can be reached from other machines, and passwords go over it: add certificate and key, \
                 here or in [tls], or listen on 127.0.0.1"
            );
            checker.wrong(&path, reason);
        }
    }
    let trusted_proxies = proxies.unwrap_or_default().into_iter().collect();
    Some(Console {
        listen,
        tls: own.or_else(|| tls.cloned()),
        names,
        time_zone,
        trusted_proxies,
        trusted_header,
    })
}

impl Console {
    /// Whether connections to an address are under TLS: unless only this machine reaches it.
    pub fn is_secured(&self, address: &ListenAddress) -> bool {
        !is_near(address)
    }
}

fn time_zone(checker: &mut Checker<'_>, name: Option<&str>) -> TimeZone {
    let Some(name) = name else { return TimeZone::UTC };
    TimeZone::get(name).unwrap_or_else(|_| {
        let reason =
            format!("`{name}` is no time zone that this system knows; write \"Europe/Vienna\" or \"UTC\"");
        checker.wrong("console.time_zone", reason);
        TimeZone::UTC
    })
}

/// The field by which proxies say who somebody is.
fn trusted_header(checker: &mut Checker<'_>, header: Option<String>, has_proxies: bool) -> Option<String> {
    let header = header?.to_ascii_lowercase();
    let is_fit = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    if header.is_empty() || !header.bytes().all(is_fit) || RESERVED.contains(&header.as_str()) {
        let reason = format!("`{header}` cannot hold a user's name; write \"X-Remote-User\"");
        checker.wrong("console.trusted_header", reason);
    }
    if !has_proxies && checker.places.is_missing("console.trusted_proxies") {
        let reason = "anybody could send this field: write who may, trusted_proxies = [\"127.0.0.1\"]";
        checker.wrong("console.trusted_header", reason);
    }
    Some(header)
}
