//! `waxseal setup`: a Postfix looked at, and led through the gateway. What is to be done is worked out from what was found
//! (`wiring`, `configuration`) before anything is touched. Then one journal of all files makes the change one that is finished or
//! taken back, whatever interrupts it. Postfix is changed last, once the gateway listens, and first when all is undone.

mod apply;
mod configuration;
mod diff;
mod journal;
mod master_cf;
mod postfix;
pub mod probe;
mod service;
mod undo;
mod wiring;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use attachment_seal::domain::{DomainName, Selector};
use thiserror::Error;

pub use self::apply::{Applied, apply, recover};
pub use self::configuration::STATE;
pub use self::journal::{Change, FileError, Journal};
use self::journal::{Part, Record};
pub use self::postfix::Postfix;
pub use self::service::CONFIG;
use self::service::Service;
pub use self::undo::{Undone, undo};
pub use self::wiring::NotUnderstood;
use self::wiring::{Edit, Wanted, Way, Wiring};
use crate::config::{self, Config, Mistake, Mode};
use crate::doctor::postfix::settings::{Settings, words};
use crate::keys::{self, free_selector, read_key_folder};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The gateway's configuration.
    pub config: PathBuf,
    /// The state folder that a new configuration names.
    pub state: PathBuf,
    /// Postfix's configuration folder; `None` for the usual one.
    pub postfix: Option<PathBuf>,
}

impl Places {
    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.config.parent().unwrap_or(Path::new("/")).join("setup")
    }
}

/// What only the administrator knows.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Whether users' mail is sealed.
    pub seals: bool,
    /// Whether mail that arrives is checked.
    pub verifies: bool,
    /// The domain that is sealed for.
    pub domain: Option<DomainName>,
    /// The name of a new key.
    pub selector: Option<Selector>,
    /// Whom to tell about held mail.
    pub alert: Option<String>,
    /// Whether mail from `sendmail` is sealed.
    pub sendmail: bool,
    /// The first port on 127.0.0.1 of the ways through the gateway.
    pub port: Option<u16>,
}

/// Why setup did not do its work.
#[derive(Debug, Error)]
pub enum SetupError {
    /// It changes nothing here.
    #[error("{reason}")]
    NotUnderstood {
        /// Why.
        reason: NotUnderstood,
        /// The lines to put in by hand, for people.
        by_hand: String,
    },
    /// Postfix, or one of its programs.
    #[error("{0}")]
    Postfix(String),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A sealing key.
    #[error(transparent)]
    Key(#[from] keys::KeyFileError),
    /// The configuration.
    #[error("the configuration has mistakes")]
    Configuration(Vec<Mistake>),
    /// Something else of this machine.
    #[error("{0}")]
    Machine(String),
    /// Postfix does not like what was to be its configuration.
    #[error("Postfix refuses its new configuration, so everything is as it was: {0}")]
    Refused(String),
    /// The gateway does not listen, so Postfix was not changed.
    #[error(
        "the gateway does not listen yet, so Postfix is as it was; start it, and run `waxseal setup` again: {0}"
    )]
    Waiting(String),
}

/// What was found on this machine.
#[derive(Debug)]
pub struct Site {
    places: Places,
    /// The Postfix.
    pub postfix: Postfix,
    settings: Settings,
    found: Found,
    service: Service,
}

/// The configuration that is there.
#[derive(Debug)]
struct Found {
    text: Option<Vec<u8>>,
    /// `None` where it sets nothing.
    config: Option<Box<Config>>,
    /// Whether it is as setup wrote it.
    is_ours: bool,
}

impl Found {
    fn look(path: &Path, records: &[Record]) -> Result<Self, SetupError> {
        let text = journal::read(path)?;
        let is_blank =
            text.as_ref().is_none_or(|text| configuration::is_blank(&String::from_utf8_lossy(text)));
        let config =
            (!is_blank).then(|| config::load(path)).transpose().map_err(SetupError::Configuration)?;
        let made =
            records.iter().flat_map(|record| record.of(Part::Gateway)).filter(|change| change.path == path);
        let is_ours = made.last().is_some_and(|change| Some(&change.after) == text.as_ref());
        Ok(Self { text, config: config.map(Box::new), is_ours })
    }

    fn way(&self, mode: Mode) -> Result<Option<Way>, NotUnderstood> {
        self.config.as_deref().map_or(Ok(None), |config| configuration::way(config, mode))
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    wanted: Wanted,
    edits: Vec<Edit>,
    /// Sentences for the administrator.
    pub notes: Vec<String>,
    changes: Vec<Change>,
    /// The sealing key that is to be made.
    key: Option<NewKey>,
}

#[derive(Debug)]
struct NewKey {
    folder: PathBuf,
    selector: Selector,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.key.is_none()
    }

    /// Each file as it changes, for people.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        if let Some(NewKey { folder, selector }) = &self.key {
            text += &format!("a new sealing key: {}\n", folder.join(format!("{selector}.pem")).display());
        }
        for change in &self.changes {
            let before = change.before.as_deref().unwrap_or_default();
            let old = if change.before.is_some() {
                change.path.display().to_string()
            } else {
                "/dev/null".to_owned()
            };
            text += &diff::unified(&old, &change.path.display().to_string(), before, &change.after);
        }
        text
    }
}

impl Site {
    /// Looks at Postfix, at the configuration, and at what setup did before.
    pub fn look(places: &Places, journal: &Journal) -> Result<Self, SetupError> {
        let postfix = Postfix::find(places.postfix.as_deref()).map_err(SetupError::Postfix)?;
        let settings = postfix.settings().map_err(SetupError::Postfix)?;
        let config = std::path::absolute(&places.config).unwrap_or_else(|_| places.config.clone());
        let config = config.canonicalize().unwrap_or(config);
        let found = Found::look(&config, &journal.records()?)?;
        let service = Service::of(&config);
        let places = Places { config, ..places.clone() };
        Ok(Self { places, postfix, settings, found, service })
    }

    /// The configuration file, beyond all links.
    pub fn config(&self) -> &Path {
        &self.places.config
    }

    /// The answers that this machine suggests.
    pub fn suggestions(&self) -> Answers {
        let config = self.found.config.as_deref();
        let has =
            |mode| config.is_none_or(|config| config.listeners.iter().any(|listener| listener.mode == mode));
        let own = config.and_then(|config| config.domains.first()).map(|domain| domain.name.clone());
        let domain = own.or_else(|| {
            let name = self.settings.main("mydomain");
            let is_public = name.contains('.') && name != "localdomain" && !name.ends_with(".localdomain");
            name.parse().ok().filter(|_| is_public)
        });
        let alert = match config {
            Some(config) => config.alerts.as_ref().map(|alerts| alerts.to.clone()),
            None => domain.as_ref().map(|domain| format!("postmaster@{domain}")),
        };
        Answers {
            seals: has(Mode::Seal),
            verifies: has(Mode::Verify),
            domain,
            selector: None,
            alert,
            sendmail: self.sendmail_is_sealed().unwrap_or(true),
            port: None,
        }
    }

    /// Whether mail from `sendmail` leads to the sealing listener, if any mail does.
    fn sendmail_is_sealed(&self) -> Option<bool> {
        let way = self.found.way(Mode::Seal).ok()??;
        let leading = self.settings.leading_to(way.gateway);
        (!leading.is_empty()).then(|| leading.iter().any(|service| service.program == "pickup"))
    }

    /// Works out what is to be done, and changes nothing.
    pub fn plan(&self, answers: &Answers) -> Result<Plan, SetupError> {
        let ways = self.ways(answers);
        let wanted = ways.clone().unwrap_or_else(|_| usual(answers));
        let keys = answers.domain.as_ref().map(|domain| self.keys_of(domain));
        let text = self.written(answers, wanted, keys.as_deref());
        let refuse = |reason| {
            let edits = wiring::shown(&wiring::by_hand(wanted));
            let (config, master) = (self.config().display(), self.postfix.folder().join("master.cf"));
            let by_hand = format!(
                "{config}:\n\n{text}\n{}, and then `postfix reload`, once the gateway runs:\n\n{edits}",
                master.display()
            );
            SetupError::NotUnderstood { reason, by_hand }
        };
        let wanted = ways.map_err(refuse)?;
        let Wiring { edits, notes } = wiring::wire(&self.settings, wanted).map_err(refuse)?;
        let is_written = self.is_written(answers, wanted).map_err(refuse)?;
        let mut changes = Vec::new();
        let mut key = None;
        if !is_written {
            changes.push(self.change_of_config(&text)?);
            if let Some((domain, folder)) = answers.domain.as_ref().filter(|_| answers.seals).zip(keys) {
                let has_key = folder.exists() && !read_key_folder(&folder, &[])?.keys.is_empty();
                let selector = match &answers.selector {
                    Some(selector) => selector.clone(),
                    None => free_selector(&folder)
                        .map_err(|error| SetupError::Machine(format!("{domain}: {error}")))?,
                };
                key = (!has_key).then_some(NewKey { folder, selector });
            }
        }
        if !edits.is_empty() {
            let path = self.postfix.master().map_err(SetupError::Postfix)?;
            let after = self.postfix.rewritten(&edits).map_err(SetupError::Postfix)?;
            let before = journal::read(&path)?;
            changes.push(Change { path, part: Part::Postfix, before, after, new: (0, 0, 0o644) });
        }
        Ok(Plan { wanted, edits, notes, changes, key })
    }

    /// The ways of mail: those of the configuration, or new ones.
    fn ways(&self, answers: &Answers) -> Result<Wanted, NotUnderstood> {
        let (seal, verify) = (self.found.way(Mode::Seal)?, self.found.way(Mode::Verify)?);
        let base = match answers.port {
            Some(port) => port,
            None if (seal.is_some() || !answers.seals) && (verify.is_some() || !answers.verifies) => USUAL,
            None => self.free_ports(&[seal, verify]).ok_or_else(|| {
                NotUnderstood(
                    "no four ports from 10025 on are free at 127.0.0.1; name the first with --port"
                        .to_owned(),
                )
            })?,
        };
        let new = ways_from(base);
        Ok(Wanted {
            seal: answers.seals.then(|| seal.unwrap_or(new.0)),
            verify: answers.verifies.then(|| verify.unwrap_or(new.1)),
            sendmail: answers.sendmail,
        })
    }

    fn free_ports(&self, taken: &[Option<Way>]) -> Option<u16> {
        let is_taken = |port: u16| {
            let is_known = taken.iter().flatten().any(|way| [way.gateway, way.back].contains(&port));
            is_known || self.settings.services.iter().any(|service| service.port() == Some(port))
        };
        let is_free = |port: u16| !is_taken(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (0..20).map(|step| USUAL + 100 * step).find(|base| (*base..base + 4).all(is_free))
    }

    /// The folder of a domain's keys.
    fn keys_of(&self, domain: &DomainName) -> PathBuf {
        self.config().parent().unwrap_or(Path::new("/")).join("keys").join(domain.as_str())
    }

    fn state(&self) -> &Path {
        self.found.config.as_deref().map_or(&self.places.state, |config| &config.state.folder)
    }

    /// The configuration as setup writes it.
    fn written(&self, answers: &Answers, wanted: Wanted, keys: Option<&Path>) -> String {
        configuration::text(&configuration::Site {
            hostname: self.settings.main("myhostname").parse().ok(),
            state: self.state(),
            wanted,
            domain: answers.domain.as_ref().zip(keys).filter(|_| answers.seals),
            alert: answers.alert.as_deref(),
            message_size: self.settings.main("message_size_limit").parse().unwrap_or_default(),
        })
    }

    /// Whether the configuration that is there has what is wanted. One that setup did not write is not replaced.
    fn is_written(&self, answers: &Answers, wanted: Wanted) -> Result<bool, NotUnderstood> {
        let Some(config) = &self.found.config else { return Ok(false) };
        let lacks = |mode| !config.listeners.iter().any(|listener| listener.mode == mode);
        let missing = match &answers.domain {
            _ if wanted.seal.is_some() && lacks(Mode::Seal) => "a sealing listener".to_owned(),
            _ if wanted.verify.is_some() && lacks(Mode::Verify) => "a verifying listener".to_owned(),
            Some(domain) if answers.seals && !config.domains.iter().any(|own| own.name == *domain) => {
                format!("a [[domain]] {domain}")
            }
            _ => return Ok(true),
        };
        if self.found.is_ours {
            return Ok(false);
        }
        Err(NotUnderstood(format!(
            "{} is not as setup wrote it, so setup leaves it as it is, and it has no {}",
            self.config().display(),
            missing.trim_start_matches("a ")
        )))
    }

    fn change_of_config(&self, text: &str) -> Result<Change, SetupError> {
        let group = fs::metadata(self.state()).map_or(0, |state| state.gid());
        let (path, before) = (self.config().to_owned(), self.found.text.clone());
        Ok(Change { path, part: Part::Gateway, before, after: text.into(), new: (0, group, 0o640) })
    }

    /// Where this machine's port 25 is, for a message to it.
    pub fn front_door(&self) -> SocketAddr {
        let named = self.settings.services.iter().filter(|service| service.port() == Some(25));
        let host = named.clone().find_map(|service| service.name.rsplit_once(':')).map(|(host, _)| host);
        let interfaces = words(self.settings.main("inet_interfaces"));
        let ips = host.into_iter().chain(interfaces.iter().map(String::as_str));
        let ip = ips.filter_map(|ip| ip.trim_matches(['[', ']']).parse::<IpAddr>().ok()).next();
        SocketAddr::new(ip.filter(|ip| !ip.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into()), 25)
    }
}

/// The first of the usual ports.
const USUAL: u16 = 10_025;

/// The ways from a first port on: 10025 to 10026 to seal, and 10028 to 10027 to check.
fn ways_from(base: u16) -> (Way, Way) {
    let port = |more| base.saturating_add(more);
    (Way { gateway: base, back: port(1) }, Way { gateway: port(3), back: port(2) })
}

fn usual(answers: &Answers) -> Wanted {
    let (seal, verify) = ways_from(answers.port.unwrap_or(USUAL));
    Wanted {
        seal: answers.seals.then_some(seal),
        verify: answers.verifies.then_some(verify),
        sendmail: answers.sendmail,
    }
}

/// Opens the journal for changes; makes it where there is none.
pub fn open_journal(places: &Places) -> Result<Journal, SetupError> {
    Ok(Journal::open(&places.journal())?)
}

/// Opens the journal to look at it alone.
pub fn read_journal(places: &Places) -> Journal {
    Journal::to_read(&places.journal())
}
