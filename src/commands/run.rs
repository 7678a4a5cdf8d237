//! `waxseal run`: the gateway itself, with its log, its signals and its service manager.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task;
use tracing::{error, info, warn};

use super::{ConfigArg, check_config, fail};
use crate::config::{self, Config};
use crate::dns::Dns;
use crate::gateway::setup::Setup;
use crate::log;
use crate::service::open_files;
use crate::service::systemd::{HandedOver, Supervisor};
use crate::service::{Reloader, Service};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGTERM, SIGINT: accept no new connections, finish deliveries within 30 s, exit 0. A \
                        second one ends the gateway at once, exit 1.\nSIGHUP: read the configuration and \
                        every key again; a wrong configuration leaves the old one in force.\nsystemd: the \
                        gateway reports READY, RELOADING, STOPPING, STATUS and WATCHDOG \
                        (Type=notify-reload). A socket that systemd hands over serves the listener whose \
                        name is its FileDescriptorName, instead of that listener's `listen`. A socket named \
                        admin serves metrics and health, instead of `[admin] listen`; one named console serves \
                        the console."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// The exit status of a gateway that was told twice to stop, and cut sessions off.
const CUT_OFF: u8 = 1;

pub(super) fn run(args: &Args) -> ExitCode {
    let sockets = match HandedOver::receive() {
        Ok(sockets) => sockets,
        Err(error) => return fail(error),
    };
    let path = &args.config.config;
    let setup = match config::load(path).and_then(Setup::read) {
        Ok(setup) => setup,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(1);
        }
    };
    let _log = match log::start(&setup.config.log) {
        Ok(log) => log,
        Err(error) => return fail(error),
    };
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    prepare(&setup.config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    let status = runtime.block_on(serve(setup, sockets, path));
    // Whoever was worth waiting for has been waited for.
    runtime.shutdown_background();
    status
}

/// What each new configuration asks of the process and of its administrator.
fn prepare(config: &Config) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    open_files::make_room(config.limits.connections);
}

async fn serve(setup: Setup, sockets: HandedOver, path: &Path) -> ExitCode {
    // First, so that no signal finds the system's own answer to it, which is to end this process.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(format!("cannot receive signals: {error}")),
    };
    let dns = Dns::new(setup.dns.clone());
    let service = match Service::bind(setup, sockets, dns.clone()).await {
        Ok(service) => service,
        Err(error) => return fail(error),
    };
    let mut headline = "listening:".to_owned();
    for (listener, address) in service.addresses() {
        info!(listener, %address, "listening");
        headline.push_str(&format!(" {listener} {address}"));
    }
    for address in service.admin_addresses() {
        info!(%address, "metrics and health");
    }
    for address in service.console_addresses() {
        info!(%address, "console");
    }
    let resources = service.resources();
    let supervisor = Arc::new(Supervisor::new(move || resources.sessions()));
    supervisor.ready(headline.clone()).await;
    // On the runtime, as sessions are: what keeps them from going on stops the watchdog's signals as well.
    let alive = Arc::clone(&supervisor);
    tokio::spawn(async move { alive.keep_alive().await });
    let (stop, shutdown) = watch::channel(false);
    let reloader = service.reloader();
    tokio::select! {
        () = service.run(shutdown) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        () = signals.obey(&reloader, &dns, path, &supervisor, &headline, &stop) => {
            warn!("stopped at once, sessions under way are cut off");
            ExitCode::from(CUT_OFF)
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns after the second signal to stop. The first time is for `stop`.
    async fn obey<F: Fn() -> usize>(
        mut self,
        reloader: &Reloader,
        dns: &Dns,
        path: &Path,
        supervisor: &Supervisor<F>,
        headline: &str,
        stop: &watch::Sender<bool>,
    ) {
        while self.next().await == Order::Reload {
            supervisor.reloading().await;
            let outcome = reload(reloader, dns, path);
            supervisor.ready(format!("{outcome}{headline}")).await;
        }
        info!("stopping: messages under way are finished first");
        supervisor.stopping("stopping, messages under way have 30 s".to_owned()).await;
        stop.send_replace(true);
        while self.next().await == Order::Reload {}
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.hangup.recv() => Order::Reload,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
        }
    }
}

/// The words for the status line, if it went wrong.
fn reload(reloader: &Reloader, dns: &Dns, path: &Path) -> &'static str {
    // Files are slow at times, and tokens always.
    match task::block_in_place(|| config::load(path).and_then(Setup::read)) {
        Ok(setup) => {
            prepare(&setup.config);
            dns.reconfigure(setup.dns.clone());
            task::block_in_place(|| reloader.reload(setup));
            ""
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                error!("{mistake}");
            }
            reloader.refuse();
            error!("the configuration is wrong; the old one stays in force");
            "NEW CONFIGURATION REFUSED, the old one is in force; "
        }
    }
}
