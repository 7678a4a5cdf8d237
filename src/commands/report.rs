//! `waxseal report`: what was judged in the last days, and what of it was held or would have been.

use std::process::ExitCode;

use serde::Serialize;

use super::table::{self, shown};
use super::{ConfigArg, FAILED, check_config, fail};
use crate::clock::{moment, unix_time};
use crate::config;
use crate::phrase::counted;
use crate::store::{Count, Judged, Period, REFUSED_BY_NEXT_HOP, State};

const DAY: u64 = 86_400;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A message is named if the policy asked for more than to deliver it. Messages are named for 60 days, \
                        20,000 of them at most, and counted for 400 days; no content is kept."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// For how many days, today (UTC) included
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u64).range(1..=400))]
    days: u64,
    /// Name marked messages, too
    #[arg(long)]
    all: bool,
    /// One JSON object: the counts, and every message that is kept
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let config = match config::load(&args.config.config) {
        Ok(config) => config,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(FAILED);
        }
    };
    let now = unix_time().unwrap_or_default();
    let from = (now / DAY).saturating_sub(args.days - 1) * DAY;
    let period = match State::open(&config.state).judgements.since(from) {
        Ok(period) => period,
        Err(error) => return fail(error),
    };
    if args.json {
        return match serde_json::to_string(&Report::new(args.days, from, &period)) {
            Ok(text) => {
                say!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        };
    }
    print(args, from, &period);
    ExitCode::SUCCESS
}

#[derive(Serialize)]
struct Report<'a> {
    days: u64,
    from: String,
    counts: &'a [Count],
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    time: String,
    #[serde(flatten)]
    judged: &'a Judged,
}

impl<'a> Report<'a> {
    fn new(days: u64, from: u64, period: &'a Period) -> Self {
        let message = |judged: &'a Judged| Message { time: time(judged.at), judged };
        Self {
            days,
            from: time(from),
            counts: &period.counts,
            messages: period.messages.iter().map(message).collect(),
        }
    }
}

fn print(args: &Args, from: u64, period: &Period) {
    let sum = |is_meant: fn(&Count) -> bool| -> u64 {
        period.counts.iter().filter(|count| is_meant(count)).map(|count| count.count).sum()
    };
    let (attempts, total) = (sum(Count::is_of_attempts), sum(|count| !count.is_of_attempts()));
    let were = if total == 1 { "message was" } else { "messages were" };
    say!("{total} {were} judged since {} ({}).", time(from), counted(args.days, "day"));
    if !period.counts.is_empty() {
        let mut table = table::new();
        table.set_header(["verdict", "the policy asked to", "what was done", "messages"]);
        for Count { verdict, asked, done, count } in &period.counts {
            table.add_row([verdict.as_str(), asked, done, &count.to_string()]);
        }
        say!("{table}");
    }
    if attempts > 0 {
        let more = if attempts == 1 { "attempt" } else { "attempts" };
        say!(
            "The next hop put off {attempts} more {more}, for the sender to come again; that message is counted then."
        );
    }
    let (kept, rest): (Vec<_>, Vec<_>) = period.messages.iter().partition(|message| keeps(&message.done));
    let (would, marked): (Vec<_>, Vec<_>) = rest.into_iter().partition(|message| keeps(&message.asked));
    chapter("Would have been kept from their readers, had the policy been enforced", &would);
    chapter("Kept from their readers", &kept);
    if args.all {
        chapter("Were marked, or would have been", &marked);
    }
    let counted = sum(Count::is_named);
    let unnamed = counted.saturating_sub(period.messages.len() as u64);
    if unnamed > 0 {
        say!("\n{unnamed} more are counted above and no longer named.");
    }
}

fn chapter(title: &str, messages: &[&Judged]) {
    if !messages.is_empty() {
        say!("\n{title}: {}", messages.len());
        messages.iter().for_each(|message| say!("{}", paragraph(message)));
    }
}

/// Whether an action keeps a message from its reader, if only for a while.
fn keeps(action: &str) -> bool {
    matches!(action, "quarantine" | "reject" | "defer" | REFUSED_BY_NEXT_HOP)
}

fn paragraph(message: &Judged) -> String {
    let reason = message.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let known = message.known.as_ref().map(|known| format!(", known by {known}")).unwrap_or_default();
    let from = message.from_domain.as_deref().unwrap_or("an unclear author");
    let recipients = if message.recipients == 1 { "recipient" } else { "recipients" };
    let mut text = format!(
        "\n  {} {}{reason}{known}: asked {}, done {}\n    from {}, <{}>, {} {recipients}, session {}\n    {}",
        time(message.at),
        message.verdict,
        message.asked,
        message.done,
        shown(from),
        shown(&message.reverse_path),
        message.recipients,
        message.session,
        shown(&message.summary),
    );
    if let Some(id) = &message.message_id {
        text.push_str(&format!("\n    Message-ID {}", shown(id)));
    }
    for attachment in &message.attachments {
        text.push_str(&format!("\n    attachment {}", shown(attachment)));
    }
    text
}

fn time(seconds: u64) -> String {
    moment(seconds).to_string()
}
