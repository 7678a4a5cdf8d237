//! Everything that a sealed-mail site depends on, looked at from outside the running gateway, while it runs:
//! nothing is changed, no lock is held, no mail goes out unless a probe is asked for. Each area has a file;
//! what cannot be checked is a finding as well, and never a good one.

mod admin;
mod alerts;
mod apparmor;
mod certificates;
mod clock;
mod configuration;
mod correspondents;
mod finding;
mod gateway;
mod listeners;
mod next_hops;
mod own_keys;
mod permissions;
pub(crate) mod postfix;
pub mod probe;
pub(crate) mod programs;
mod records;
mod resolvers;
mod samples;
mod state_folder;
mod time_server;
pub(crate) mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

pub use self::finding::{Finding, State};
pub use self::listeners::NOT_RUNNING;
use self::user::User;
use crate::clock::unix_time;
use crate::config::{Config, ListenAddress, Listener, Mode};
use crate::gateway::keyring::Keyrings;
use crate::gateway::setup::Setup;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Postfix's configuration folder, where it is not its own default.
    pub postfix: Option<PathBuf>,
    /// A time server to compare the clock with, where it is not the one that this machine is synchronised with.
    pub time_server: Option<String>,
}

/// The site, as far as it could be read.
#[derive(Debug)]
struct Site {
    config: Config,
    /// `None` where keys or certificates could not be read, of which there are findings already.
    setup: Option<Arc<Setup>>,
    /// What the gateway knows of our own keys.
    keyrings: Keyrings,
    /// The service's user: the owner of the state folder.
    user: Option<User>,
    /// Unix seconds.
    now: u64,
}

impl Site {
    fn listeners(&self, mode: Mode) -> impl Iterator<Item = &Listener> {
        self.config.listeners.iter().filter(move |listener| listener.mode == mode)
    }

    fn verifies(&self) -> bool {
        self.listeners(Mode::Verify).next().is_some()
    }
}

/// Makes every check. Needs a Tokio runtime.
pub async fn examine(options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(site) = configuration::check(&options.config, &mut findings) else { return findings };
    samples::check(&options.config, &mut findings);
    permissions::check(&site, &mut findings);
    apparmor::check(&site, &mut findings);
    clock::check(&site, options.time_server.as_deref(), &mut findings).await;
    let resolvers = resolvers::check(&site, &mut findings).await;
    records::check(&site, &resolvers, &mut findings).await;
    own_keys::check(&site, &mut findings).await;
    if site.verifies() {
        state_folder::check(&site, &mut findings);
        correspondents::check(&site, &resolvers, &mut findings).await;
    }
    certificates::check(&site, &mut findings);
    gateway::check(&site, &mut findings);
    listeners::check(&site, &mut findings).await;
    admin::check(&site, &mut findings).await;
    next_hops::check(&site, &mut findings).await;
    alerts::check(&site, &mut findings).await;
    postfix::check(&site, options.postfix.as_deref(), &mut findings);
    findings
}

/// What a running gateway can find out about itself, cheaply and without changing anything: its keys and what is published of them,
/// certificates, next hops, the server of its alerts, and what it keeps. Blocks; needs to be called on a thread of a Tokio runtime
/// where that does no harm.
pub fn examine_from_within(setup: &Arc<Setup>) -> Vec<Finding> {
    let config = setup.config.clone();
    let keyrings = Keyrings::read(&config.state.folder).unwrap_or_default();
    keyrings.settle(setup);
    let user = User::owner_of(&config.state.folder);
    let site = Site { config, setup: Some(Arc::clone(setup)), keyrings, user, now: now() };
    let mut findings = Vec::new();
    configuration::warnings(&site.config.warnings, &mut findings);
    Handle::current().block_on(async {
        if !site.config.domains.is_empty() {
            let resolvers = resolvers::check(&site, &mut findings).await;
            records::check(&site, &resolvers, &mut findings).await;
            own_keys::check(&site, &mut findings).await;
        }
        certificates::check(&site, &mut findings);
        next_hops::check(&site, &mut findings).await;
        alerts::check(&site, &mut findings).await;
    });
    if site.verifies() {
        state_folder::check_quickly(&site, &mut findings);
    }
    findings
}

/// Checks the state alone, of a configuration.
pub fn examine_state(config: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(site) = configuration::check(config, &mut findings) else { return findings };
    findings.clear();
    state_folder::check(&site, &mut findings);
    findings
}

/// Now, in Unix seconds.
fn now() -> u64 {
    unix_time().unwrap_or_default()
}

/// Whether a listener can be reached from other machines.
fn is_open(listener: &Listener) -> bool {
    listener.listen.iter().any(|address| match address {
        ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => false,
    })
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
