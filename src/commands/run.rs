//! `waxseal run`: the gateway itself, with its log and its signals.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use super::{ConfigArg, check_config, fail};
use crate::config::{self, Log, LogFormat};
use crate::lookup::PinsOnly;
use crate::service::{Reloader, Service};
use crate::setup::Setup;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "SIGTERM: no new connections, deliveries finished within 30 s, exit 0.\nSIGHUP: the \
                        configuration and every key is read again; a wrong one leaves the old in force.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let path = &args.config.config;
    let setup = match config::load(path).and_then(Setup::read) {
        Ok(setup) => setup,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(1);
        }
    };
    if let Err(error) = start_log(&setup.config.log) {
        return fail(format!("log.level: {error}"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    runtime.block_on(serve(setup, path))
}

async fn serve(setup: Setup, path: &Path) -> ExitCode {
    let service = match Service::bind(setup, PinsOnly).await {
        Ok(service) => service,
        Err(error) => return fail(error),
    };
    for (listener, address) in service.addresses() {
        info!(listener, %address, "listening");
    }
    let (stop, shutdown) = watch::channel(false);
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(format!("cannot receive signals: {error}")),
    };
    let obey = tokio::spawn(signals.obey(service.reloader(), path.to_owned(), stop));
    service.run(shutdown).await;
    obey.abort();
    info!("stopped");
    ExitCode::SUCCESS
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

    async fn obey(mut self, reloader: Reloader, path: std::path::PathBuf, stop: watch::Sender<bool>) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload(&reloader, &path),
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        info!("stopping: messages under way are finished first");
        // Dropping the sender would mean the same; a closed channel here means that all have gone already.
        _ = stop.send(true);
        stop.closed().await;
    }
}

fn reload(reloader: &Reloader, path: &Path) {
    match config::load(path).and_then(Setup::read) {
        Ok(setup) => reloader.reload(setup),
        Err(mistakes) => {
            for mistake in &mistakes {
                error!("{mistake}");
            }
            error!("the configuration is wrong; the old one stays in force");
        }
    }
}

fn start_log(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
