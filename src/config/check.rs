//! Raw values to a [`Config`]: defaults, ranges, and what values mean together.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attachment_seal::domain::DomainName;

use super::admin;
use super::console;
use super::dns;
use super::layers::Layers;
use super::limits;
use super::listeners;
use super::mistake::{Located, Mistake, Warning};
use super::notices;
use super::partial::Partial;
use super::places::Places;
use super::policy;
use super::quantity::{Seconds, spoken};
use super::{Config, Correspondent, Log, SealingDomain, SealingKeys, Tls, raw};
use crate::store::{Label, Location, Server};

/// The folder of what must be on disk.
const FOLDER: &str = "/var/lib/waxseal";

/// What the path of a key begins with that systemd hands over.
const CREDENTIAL: &str = "credential:";

/// What the name of a key begins with that is in a PKCS#11 token (RFC 7512).
const TOKEN: &str = "pkcs11:";

/// Longest path of a UNIX socket, in octets: `sun_path` of Linux less its NUL.
const MAX_SOCKET_PATH: usize = 107;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Collects mistakes and warnings while the parts of the configuration are put together.
pub(super) struct Checker<'a> {
    pub(super) places: Places,
    pub(super) mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    folder: &'a Path,
}

/// Puts the configuration together, or reports everything that is wrong with it, in the file's order.
/// Relative paths start at `folder`.
pub(super) fn check(layers: Layers, folder: &Path) -> Result<Config, Vec<Mistake>> {
    let Partial { config, mistakes, .. } = check_parts(layers, folder);
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// Puts together what is right, and reports everything that is wrong, in the file's order.
pub(super) fn check_parts(layers: Layers, folder: &Path) -> Partial {
    let Layers { raw, places, mistakes } = layers;
    let mut checker = Checker { places, mistakes, warnings: Vec::new(), folder };
    let config = checker.config(raw);
    let Checker { places, mut mistakes, mut warnings, .. } = checker;
    warnings.sort();
    mistakes.sort_by(|a, b| (a.place.file.is_none(), a).cmp(&(b.place.file.is_none(), b)));
    mistakes.dedup();
    Partial::new(Config { warnings, ..config }, mistakes, &places)
}

impl Checker<'_> {
    /// What a mistake concerns is left out, or at its default.
    fn config(&mut self, raw: raw::File) -> Config {
        let hostname = self.hostname(raw.hostname.map(|name| name.0));
        let state = self.state(raw.state, raw.folder, raw.label.map(|label| label.0), hostname.as_ref());
        self.unique("domain", "name", raw.domain.iter().map(|raw| raw.name.as_ref().map(|name| &name.0)));
        let pinned = raw.correspondent.iter().map(|raw| raw.domain.as_ref().map(|name| &name.0));
        self.unique("correspondent", "domain", pinned);
        let is_given = listeners::Given { domain: !raw.domain.is_empty(), tls: raw.tls.is_some() };
        let listeners = listeners::check(self, raw.listener, is_given);
        let domains: Vec<_> =
            raw.domain.into_iter().enumerate().filter_map(|(i, raw)| self.domain(i, raw)).collect();
        let correspondents: Vec<_> = raw
            .correspondent
            .into_iter()
            .enumerate()
            .filter_map(|(i, raw)| self.correspondent(i, raw))
            .collect();
        let policy = policy::check(self, raw.policy);
        let dns = dns::check(self, raw.dns);
        let limits = limits::check(self, &raw.limits);
        let quarantine = limits::check_quarantine(self, &raw.quarantine);
        let held_mail = limits::check_held_mail(self, &raw.quarantine, raw.alerts.is_some());
        let tls = raw.tls.and_then(|raw| self.tls(raw));
        let alerts = raw.alerts.and_then(|raw| notices::alerts(self, raw, hostname.as_ref()));
        let notices = notices::notices(self, raw.notices, alerts.as_ref(), hostname.as_ref());
        let admin = admin::check(self, raw.admin, &listeners);
        let console = raw.console.map(|raw| console::check(self, raw, &listeners, &admin, tls.as_ref()));
        let log = self.log(raw.log);
        Config {
            // Without a mistake on record there is one.
            hostname: hostname.unwrap_or_else(nameless),
            state,
            listeners,
            domains,
            correspondents,
            policy,
            dns,
            limits,
            quarantine,
            held_mail,
            tls,
            alerts,
            notices,
            admin,
            console: console.flatten(),
            log,
            warnings: Vec::new(),
        }
    }

    /// Records a mistake.
    pub(super) fn wrong(&mut self, path: &str, reason: impl Into<String>) {
        let mistake = self.places.mistake(path, reason);
        self.mistakes.push(mistake);
    }

    /// Records what works and should be thought about all the same.
    pub(super) fn warn(&mut self, path: &str, advice: impl Into<String>) {
        self.warnings.push(Warning { place: self.places.of(path), advice: advice.into() });
    }

    /// A value that must be there.
    pub(super) fn required<T>(&mut self, path: &str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && self.places.is_missing(path) {
            self.wrong(path, format!("missing; write {example}"));
        }
        value
    }

    /// Records every value that an earlier table of that name has already.
    pub(super) fn unique<'v, T: Hash + Eq + std::fmt::Display + 'v>(
        &mut self,
        table: &str,
        key: &str,
        values: impl Iterator<Item = Option<&'v T>>,
    ) {
        let mut first: HashMap<&T, String> = HashMap::new();
        for (index, value) in values.enumerate() {
            let path = format!("{table}[{index}].{key}");
            let Some(value) = value else { continue };
            match first.get(value) {
                Some(earlier) => {
                    let line = self.places.of(earlier).line.unwrap_or_default();
                    self.wrong(&path, format!("`{value}` is already in line {line}"));
                }
                None => {
                    first.insert(value, path);
                }
            }
        }
    }

    /// A duration within its range, or the default.
    pub(super) fn duration(
        &mut self,
        path: &str,
        value: Option<Seconds>,
        default: Duration,
        (min, max): (Duration, Duration),
    ) -> Duration {
        let value = value.map_or(default, |seconds| seconds.0);
        if !(min..=max).contains(&value) {
            let (min, max) = (spoken(min), spoken(max));
            self.wrong(path, format!("{} is out of range; choose from {min} to {max}", spoken(value)));
        }
        value
    }

    fn hostname(&mut self, name: Option<DomainName>) -> Option<DomainName> {
        if name.is_some() || !self.places.is_missing("hostname") {
            return name;
        }
        let system = system_hostname();
        let name = system.parse().ok();
        if name.is_none() {
            let found =
                if system.is_empty() { "has none".to_owned() } else { format!("calls itself `{system}`") };
            self.wrong(
                "hostname",
                format!("missing, and the system {found}; write hostname = \"mx.example.org\""),
            );
        }
        name
    }

    fn state(
        &mut self,
        state: Option<String>,
        folder: Option<PathBuf>,
        label: Option<Label>,
        hostname: Option<&DomainName>,
    ) -> Location {
        let label = label.or_else(|| hostname.map(|name| Label::of_host(name.as_str()))).unwrap_or_default();
        let state = state.unwrap_or_else(|| FOLDER.to_owned());
        if !state.contains("://") {
            if state.is_empty() {
                self.wrong("state", "empty; name a folder");
            }
            let state = self.folder.join(state);
            if folder.is_some_and(|folder| self.folder.join(folder) != state) {
                self.wrong(
                    "folder",
                    "without a database all is in the folder that `state` names; remove this",
                );
            }
            return Location { folder: state, server: None, label };
        }
        let is_known = ["postgres://", "postgresql://"].iter().any(|scheme| state.starts_with(scheme));
        let server = if is_known {
            state.parse::<Server>()
        } else {
            Err("the only database server that is supported is PostgreSQL: postgres://…; or name a folder"
                .to_owned())
        };
        let server = server.map_err(|reason| self.wrong("state", reason)).ok();
        let folder = folder.unwrap_or_else(|| FOLDER.into());
        if folder.as_os_str().is_empty() {
            self.wrong("folder", "empty; name a folder");
        }
        Location { folder: self.folder.join(folder), server, label }
    }

    fn domain(&mut self, index: usize, raw: raw::Domain) -> Option<SealingDomain> {
        let at = |key: &str| format!("domain[{index}].{key}");
        let range = (HOUR, 90 * DAY);
        let lifetime = self.duration(&at("lifetime"), raw.lifetime, 14 * DAY, range);
        let name = self.required(&at("name"), raw.name, "name = \"example.org\"");
        let delegation = raw.delegation.and_then(|file| self.path(&at("delegation"), file));
        let succession = raw.succession.and_then(|file| self.path(&at("succession"), file));
        if delegation.is_some() && succession.is_some() {
            self.warn(&at("succession"), "not used: a root's delegation is put into seals in its place");
        }
        // A value that is none has its mistake already.
        let is_given = |key: &str, is_there: bool| is_there || !self.places.is_missing(&at(key));
        let is_one_key = is_given("key", raw.key.is_some()) || is_given("selector", raw.selector.is_some());
        let keys = if is_one_key && !is_given("keys", raw.keys.is_some()) {
            let selector = self.required(&at("selector"), raw.selector, "selector = \"gate1\"");
            let key = self.required(&at("key"), raw.key, "key = \"/etc/waxseal/gate1.pem\"");
            let key = key.and_then(|key| self.path(&at("key"), key));
            selector.zip(key).map(|(selector, key)| SealingKeys::Fixed {
                selector: selector.0,
                key,
                succession,
            })
        } else {
            if is_one_key {
                self.wrong(
                    &at("keys"),
                    "`key` and `selector` are for one key that stays: write those, or `keys`, a folder",
                );
            }
            if succession.is_some() {
                let advice = "not used: with `keys`, the earlier key in that folder vouches by itself";
                self.warn(&at("succession"), advice);
            }
            let folder = self.required(&at("keys"), raw.keys, "keys = \"/etc/waxseal/keys/example.org\"");
            let folder = folder.and_then(|folder| self.path(&at("keys"), folder));
            if folder.as_ref().is_some_and(|folder| starts_with(&folder.value, TOKEN)) {
                self.wrong(
                    &at("keys"),
                    "a folder; a file in it, <selector>.pkcs11, names the key in a token",
                );
            }
            folder.map(SealingKeys::Folder)
        };
        let name_servers = raw.name_servers.unwrap_or_default().into_iter().map(|server| server.0).collect();
        let subdomains = raw.subdomains.unwrap_or(false);
        Some(SealingDomain { name: name?.0, keys: keys?, name_servers, lifetime, subdomains, delegation })
    }

    fn correspondent(&mut self, index: usize, raw: raw::Correspondent) -> Option<Correspondent> {
        let at = |key: &str| format!("correspondent[{index}].{key}");
        let domain = self.required(&at("domain"), raw.domain, "domain = \"partner.example\"");
        let was_given = ["keys", "roots", "keys_dir"].iter().any(|key| !self.places.is_missing(&at(key)));
        let keys = self.texts(&at("keys"), raw.keys);
        let roots = self.texts(&at("roots"), raw.roots);
        let keys_dir = raw.keys_dir.and_then(|dir| self.path(&at("keys_dir"), dir));
        if keys.is_empty() && roots.is_empty() && keys_dir.is_none() && !was_given {
            let reason = "no key is pinned; write keys, roots or keys_dir";
            self.wrong(&format!("correspondent[{index}]"), reason);
        }
        let subdomains = raw.subdomains.unwrap_or(true);
        Some(Correspondent { domain: domain?.0, keys, roots, keys_dir, subdomains })
    }

    fn texts(&self, path: &str, texts: Option<Vec<String>>) -> Vec<Located<String>> {
        let locate = |(index, text)| self.places.locate(&format!("{path}[{index}]"), text);
        texts.unwrap_or_default().into_iter().enumerate().map(locate).collect()
    }

    /// A file or folder by its name.
    pub(super) fn path(&mut self, path: &str, file: PathBuf) -> Option<Located<PathBuf>> {
        if file.as_os_str().is_empty() {
            self.wrong(path, "empty; name a file");
            return None;
        }
        // systemd's service knows the folder of its credentials, a module its tokens; ours has nothing to do with it.
        let is_elsewhere = [CREDENTIAL, TOKEN].iter().any(|scheme| starts_with(&file, scheme));
        let file = if is_elsewhere { file } else { self.folder.join(file) };
        Some(self.places.locate(path, file))
    }

    /// A UNIX socket by its name.
    pub(super) fn socket(&mut self, path: &str, file: &Path) -> PathBuf {
        let file = self.folder.join(file);
        if file.as_os_str().len() > MAX_SOCKET_PATH {
            self.wrong(
                path,
                format!("a UNIX socket's path has at most {MAX_SOCKET_PATH} octets; choose a shorter one"),
            );
        }
        file
    }

    fn tls(&mut self, raw: raw::Tls) -> Option<Tls> {
        self.certificate("tls", raw.certificate, raw.key)
    }

    /// A certificate and its key, both of which a section must have.
    pub(super) fn certificate(
        &mut self,
        section: &str,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Option<Tls> {
        let at = |key: &str| format!("{section}.{key}");
        let certificate =
            self.required(&at("certificate"), certificate, "certificate = \"/etc/waxseal/tls.pem\"");
        let key = self.required(&at("key"), key, "key = \"/etc/waxseal/tls.key\"");
        let certificate = certificate.and_then(|file| self.path(&at("certificate"), file));
        let key = key.and_then(|file| self.path(&at("key"), file));
        if key.as_ref().is_some_and(|key| starts_with(&key.value, TOKEN)) {
            self.wrong(
                &at("key"),
                "a certificate's key cannot be in a token, only sealing keys can; name a file",
            );
        }
        Some(Tls { certificate: certificate?, key: key? })
    }

    fn log(&mut self, raw: raw::Log) -> Log {
        let level = raw.level.unwrap_or_else(|| "info".to_owned());
        if !is_filter(&level) {
            self.wrong("log.level", format!("`{level}`: choose error, warn, info, debug or trace"));
        }
        Log { format: raw.format.map(|format| format.0).unwrap_or_default(), level }
    }
}

fn starts_with(file: &Path, scheme: &str) -> bool {
    file.to_str().is_some_and(|file| file.starts_with(scheme))
}

/// `local@domain`, the local part a dot-atom (RFC 5321 §4.1.2).
pub(super) fn is_address(address: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        local.len() <= 64
            && local.split('.').all(is_atom)
            && DomainName::from_canonical(&domain.to_lowercase()).is_ok()
    })
}

/// A bare word is a level: the filter itself would take a misspelt one for the name of a module.
fn is_filter(level: &str) -> bool {
    let is_bare = level.bytes().all(|octet| octet.is_ascii_alphanumeric());
    if is_bare {
        return level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    }
    tracing_subscriber::EnvFilter::builder().parse(level).is_ok()
}

fn system_hostname() -> String {
    let read = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    files.into_iter().filter_map(read).find(|name| !name.is_empty()).unwrap_or_default()
}

/// The name of a gateway whose own is a mistake (RFC 6761 §6.4).
fn nameless() -> DomainName {
    "nameless.invalid".parse().expect("a domain's name")
}
