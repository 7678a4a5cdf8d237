//! `waxseal demo`: the whole story in a table.

use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Attribute, Cell, Color};
#[cfg(feature = "console")]
use tokio::signal::unix::{SignalKind, signal};

use super::{fail, table};
use crate::demo::{Ending, SCENES, Scene, Stage};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "You set up nothing, and nothing outside this machine is touched.\nExit status: 0 every \
                        verdict is the right one; 1 some verdict is wrong; 2 the demo could not run."
)]
pub(super) struct Args {
    /// Show the story in the console, the pages for people: at an address of this machine, until you press Ctrl-C
    #[cfg(feature = "console")]
    #[arg(long)]
    console: bool,
}

impl Args {
    fn console(&self) -> bool {
        #[cfg(feature = "console")]
        return self.console;
        #[cfg(not(feature = "console"))]
        return false;
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    match perform(args.console()) {
        Ok(status) => status,
        Err(error) => fail(format!("{error:#}")),
    }
}

fn perform(with_console: bool) -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("waxseal-demo-").tempdir().context("no temporary folder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stage = Stage::set(folder.path(), with_console).await?;
        let mut endings = Vec::new();
        for (at, scene) in SCENES.iter().enumerate() {
            endings.push(stage.play(at + 1, scene).await.with_context(|| format!("scene {}", at + 1))?);
        }
        let status = show(&endings);
        #[cfg(feature = "console")]
        if let Some(address) = stage.console() {
            open(&stage, address).await?;
        }
        stage.strike().await;
        Ok(status)
    })
}

/// Who looks at the demo's console.
#[cfg(feature = "console")]
const GUEST: &str = "demo";

/// Tells where the console is, and waits until somebody has seen enough.
#[cfg(feature = "console")]
async fn open(stage: &Stage, address: std::net::SocketAddr) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let password = stage.invite(GUEST)?;
    say!("\nThe console: http://{address}/");
    say!("Name:        {GUEST}");
    say!("Password:    {password}");
    say!("\nLog in there, and look at a held message. Press Ctrl-C to end the demo.");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn show(endings: &[Ending]) -> ExitCode {
    say!("office@example.org → sealing gateway → hostile relay → verifying gateway → desk@partner.example\n");
    let mut table = table::new();
    table.set_header(["", "sent", "what the relay did", "verdict", "what arrived"]);
    let mut right = 0;
    for (at, (scene, ending)) in SCENES.iter().zip(endings).enumerate() {
        right += usize::from(ending.verdict == scene.verdict);
        table.add_row([
            Cell::new(at + 1),
            Cell::new(scene.sent),
            Cell::new(scene.trick.describe()),
            verdict(scene, ending),
            Cell::new(arrival(ending)),
        ]);
    }
    say!("{table}\n");
    if right == endings.len() {
        say!("All {right} verdicts are right: honest changes passed, every attack was held.");
        ExitCode::SUCCESS
    } else {
        say!("{} of {} verdicts are WRONG.", endings.len() - right, endings.len());
        ExitCode::from(1)
    }
}

fn verdict(scene: &Scene, ending: &Ending) -> Cell {
    let (text, colour) = match (ending.verdict == scene.verdict, ending.delivered) {
        (true, true) => (ending.verdict.clone(), Color::Green),
        (true, false) => (ending.verdict.clone(), Color::Yellow),
        (false, _) => (format!("{} (WRONG, want {})", ending.verdict, scene.verdict), Color::Red),
    };
    Cell::new(text).fg(colour).add_attribute(Attribute::Bold)
}

fn arrival(ending: &Ending) -> String {
    match ending.delivered {
        true => "the message, delivered".to_owned(),
        false => format!("nothing; held: {}", ending.detail),
    }
}
