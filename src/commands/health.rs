//! `waxseal health`: asks the running gateway at `[admin]` whether it is alive or ready, for images without a shell.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;

use super::{ConfigArg, check_config, complain, fail};
use crate::config::{self, ListenAddress};
use crate::monitoring::ask::{Answer, page};

/// Longest wait for an answer. A gateway that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exit status for a gateway that does not answer, or is not ready.
const UNWELL: u8 = 1;

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 the gateway is alive, with --ready also ready; 1 it is not; 2 the command \
                  could not do its work.\nIt asks `[admin]` for /health, with --ready for /ready \
                  (docs/MONITORING.md). Let what restarts the gateway ask without --ready: a gateway that is \
                  alive and not ready has a full disk, for example, and a restart does not mend that. It \
                  only ends sessions. Mistakes elsewhere in the configuration do not matter here: the gateway \
                  may run with an earlier one."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Ask whether every listener can do its work, too
    #[arg(long)]
    ready: bool,
    /// With --ready: ask about this listener alone
    #[arg(long, value_name = "NAME", requires = "ready")]
    listener: Option<String>,
}

impl Args {
    fn page(&self) -> String {
        match (self.ready, &self.listener) {
            (false, _) => "/health".to_owned(),
            (true, None) => "/ready".to_owned(),
            (true, Some(name)) => format!("/ready/{name}"),
        }
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    let file = &args.config.config;
    let mut addresses = match config::admin_addresses(file) {
        Ok(addresses) => addresses,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(super::FAILED);
        }
    };
    addresses.retain(|address| !matches!(address, ListenAddress::Tcp(address) if address.port() == 0));
    if addresses.is_empty() {
        return fail(format!(
            "{} has no address for health; add: [admin] listen = [\"127.0.0.1:9825\"]",
            file.display()
        ));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    runtime.block_on(ask(&addresses, args))
}

/// Asks at each address in turn, until one answers.
async fn ask(addresses: &[ListenAddress], args: &Args) -> ExitCode {
    let mut silence = String::new();
    for address in addresses {
        silence = match timeout(PATIENCE, page(address, &args.page())).await {
            Ok(Ok(answer)) => return judge(&answer, address, args),
            Ok(Err(error)) => format!("no answer at [admin] {address}: {error}"),
            Err(_) => format!("no answer at [admin] {address} in {} s", PATIENCE.as_secs()),
        };
    }
    unwell(silence)
}

fn judge(answer: &str, address: &ListenAddress, args: &Args) -> ExitCode {
    match (Answer::read(answer), &args.listener) {
        (Answer::Good, _) => {
            say!("{}", if args.ready { "ready" } else { "alive" });
            ExitCode::SUCCESS
        }
        (Answer::Bad(why), _) => unwell(format!("not ready: {why}")),
        (Answer::NoPage, Some(name)) => fail(format!("the gateway has no listener `{name}`")),
        (Answer::NoPage | Answer::Foreign, _) => {
            unwell(format!("another program answers at [admin] {address}, not the gateway"))
        }
    }
}

fn unwell(why: String) -> ExitCode {
    complain(why);
    ExitCode::from(UNWELL)
}
