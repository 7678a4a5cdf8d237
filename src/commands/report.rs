//! `waxseal report`: what was judged in the last days, what of it was held or would have been, and what was done to it since.

use std::collections::BTreeSet;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::quarantine::{deeds, moment as times};
use super::table::{self, shown};
use super::{ConfigArg, FAILED, fail, partial_config};
use crate::clock::{moment, unix_time};
use crate::phrase::counted;
use crate::store::{
    AuditTrail, Count, DatabaseError, Deed, HeldId, Judged, Period, Question, REFUSED_BY_NEXT_HOP, State,
    What,
};

const DAY: u64 = 86_400;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A message is named if the policy asked for more than to deliver it. Messages are named for 60 days, \
                        a million of them at most, and counted for 400 days; no text and no attachment is kept. One report names \
                        20,000, the newest. What people did to held mail is kept for 400 days.\n\n\
                        --message-id, --queue-id, --domain and --day may be given together: a message must fit all of them."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// For how many days, today (UTC) included [default: 14; with a question, all]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=400))]
    days: Option<u64>,
    /// Only messages with this Message-ID, with or without its angle brackets
    #[arg(long, value_name = "MESSAGE-ID")]
    message_id: Option<String>,
    /// Only messages with this id: a queue id of the server before or behind the gateway, a session's id in the
    /// log, or the id of a held message
    #[arg(long, value_name = "ID")]
    queue_id: Option<String>,
    /// Only messages of this correspondent and of the domains below it: the author's domain, or the seal's
    #[arg(long, value_parser = times::domain)]
    domain: Option<String>,
    /// Only this day (UTC): 2026-11-23, or today
    #[arg(long, value_parser = times::day, conflicts_with = "days")]
    day: Option<Timestamp>,
    /// Name marked messages, too
    #[arg(long)]
    all: bool,
    /// One JSON object: the counts, every message that is named, and what was done to held mail
    #[arg(long)]
    json: bool,
}

/// Days of a report that asks no question.
const DAYS: u64 = 14;
/// Days for which anything is kept.
const MAX_DAYS: u64 = 400;

pub(super) fn run(args: &Args) -> ExitCode {
    let Some((_, location)) = partial_config(&args.config) else { return ExitCode::from(FAILED) };
    let state = State::open(&location);
    let told =
        read(args, &state).map(|report| if args.json { report.json() } else { report.print(args.all) });
    told.unwrap_or_else(fail)
}

/// Reads what is asked for.
fn read(args: &Args, state: &State) -> Result<Report, DatabaseError> {
    let today = unix_time().unwrap_or_default() / DAY;
    let is_question = args.message_id.is_some() || args.queue_id.is_some() || args.domain.is_some();
    let days = args.days.unwrap_or(if is_question { MAX_DAYS } else { DAYS });
    let day = args.day.map(|day| u64::try_from(day.as_second()).unwrap_or_default());
    let from = day.unwrap_or_else(|| today.saturating_sub(days - 1) * DAY);
    let until = day.map(|day| day + DAY);
    let days = if day.is_some() { 1 } else { days };
    if !is_question && day.is_none() {
        let period = state.judgements.since(from)?;
        let deeds = personal(state.audit.since(moment(from))?);
        return Ok(Report { days, from, is_question, period, deeds });
    }
    let question = Question {
        from,
        until,
        message_id: args.message_id.clone(),
        queue_id: args.queue_id.clone(),
        domain: args.domain.clone(),
        ..Question::default()
    };
    let messages = state.judgements.ask(&question)?;
    let deeds = deeds_of(args, &*state.audit, &messages, from, until)?;
    Ok(Report { days, from, is_question: true, period: Period { counts: Vec::new(), messages }, deeds })
}

/// What was done to the messages that were found, and to those of the Message-ID or the day that are no longer named.
fn deeds_of(
    args: &Args,
    audit: &dyn AuditTrail,
    messages: &[Judged],
    from: u64,
    until: Option<u64>,
) -> Result<Vec<Deed>, DatabaseError> {
    let held: BTreeSet<&str> = messages.iter().filter_map(|message| message.held.as_deref()).collect();
    let asked = args.queue_id.as_deref();
    let is_of = |deed: &Deed| {
        let id = deed.id.as_ref().map(HeldId::as_str);
        let is_asked = asked.is_some_and(|asked| {
            id == Some(asked) || deed.detail.as_deref().is_some_and(|said| names(said, asked))
        });
        is_asked || id.is_some_and(|id| held.contains(id))
    };
    let in_time = |deed: &Deed| {
        let at = u64::try_from(deed.at.as_second()).unwrap_or_default();
        at >= from && until.is_none_or(|until| at < until)
    };
    let deeds = match &args.message_id {
        Some(message_id) => audit.of_message_id(message_id)?,
        None => {
            let all = audit.since(moment(from))?;
            let is_day = args.queue_id.is_none() && args.domain.is_none();
            all.into_iter().filter(|deed| is_day || is_of(deed)).collect()
        }
    };
    Ok(personal(deeds.into_iter().filter(in_time).collect()))
}

/// Whether what a next hop said names a queue id.
fn names(said: &str, id: &str) -> bool {
    said.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .any(|word| word.trim_end_matches('.') == id)
}

/// What was done; that a message is held, and the steps in between, are known otherwise.
fn personal(deeds: Vec<Deed>) -> Vec<Deed> {
    let is_end = |deed: &Deed| !matches!(deed.what, What::Held | What::Sending | What::Told);
    deeds.into_iter().filter(is_end).collect()
}

/// What is reported.
struct Report {
    days: u64,
    from: u64,
    /// Whether only some messages are asked for, so that nothing is counted.
    is_question: bool,
    period: Period,
    deeds: Vec<Deed>,
}

#[derive(Serialize)]
struct Json<'a> {
    days: u64,
    from: String,
    counts: &'a [Count],
    messages: Vec<Message<'a>>,
    deeds: &'a [Deed],
}

#[derive(Serialize)]
struct Message<'a> {
    time: String,
    #[serde(flatten)]
    judged: &'a Judged,
}

impl<'a> Message<'a> {
    fn of(judged: &'a Judged) -> Self {
        Self { time: time(judged.at), judged }
    }
}

impl Report {
    fn json(&self) -> ExitCode {
        let json = Json {
            days: self.days,
            from: time(self.from),
            counts: &self.period.counts,
            messages: self.period.messages.iter().map(Message::of).collect(),
            deeds: &self.deeds,
        };
        match serde_json::to_string(&json) {
            Ok(text) => {
                say!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        }
    }

    fn print(&self, all: bool) -> ExitCode {
        let messages = &self.period.messages;
        if self.is_question {
            let (count, since) = (counted(messages.len(), "message"), time(self.from));
            say!("{count} found that the policy would not simply have delivered, judged since {since}.");
            messages.iter().for_each(|message| say!("{}", paragraph(message)));
        } else {
            self.print_counts();
            let (kept, rest): (Vec<_>, Vec<_>) = messages.iter().partition(|message| keeps(&message.done));
            let (would, marked): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|message| keeps(&message.asked));
            chapter("Would have been kept from their readers, had the policy been enforced", &would);
            chapter("Kept from their readers", &kept);
            if all {
                chapter("Were marked, or would have been", &marked);
            }
            let counted = self.sum(Count::is_named);
            let unnamed = counted.saturating_sub(messages.len() as u64);
            if unnamed > 0 {
                say!("\n{unnamed} more are counted above and not named here.");
            }
        }
        if !self.deeds.is_empty() {
            say!("\nDone to held mail: {}\n", self.deeds.len());
            for deed in &self.deeds {
                let id = deed.id.as_ref().map_or("-", HeldId::as_str);
                let message_id = deed.message_id.as_deref().unwrap_or("no Message-ID");
                say!("  {id} {}\n    {}", shown(message_id), shown(&deeds::sentence(deed)));
            }
        }
        ExitCode::SUCCESS
    }

    fn sum(&self, is_meant: fn(&Count) -> bool) -> u64 {
        self.period.counts.iter().filter(|count| is_meant(count)).map(|count| count.count).sum()
    }

    fn print_counts(&self) {
        let (attempts, total) = (self.sum(Count::is_of_attempts), self.sum(|count| !count.is_of_attempts()));
        let were = if total == 1 { "message was" } else { "messages were" };
        say!("{total} {were} judged since {} ({}).", time(self.from), counted(self.days, "day"));
        if !self.period.counts.is_empty() {
            let mut table = table::new();
            table.set_header(["verdict", "the policy asked to", "what was done", "messages"]);
            for Count { verdict, asked, done, count } in &self.period.counts {
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
    let ids = [
        ("held as", &message.held),
        ("queue id before", &message.arrived_as),
        ("queue id behind", &message.queue_id),
    ];
    for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?))) {
        text.push_str(&format!("\n    {name} {}", shown(id)));
    }
    for attachment in &message.attachments {
        text.push_str(&format!("\n    attachment {}", shown(attachment)));
    }
    text
}

fn time(seconds: u64) -> String {
    moment(seconds).to_string()
}
