//! `waxseal quarantine show`: all that is known of a held message, for the telephone call that decides what becomes of it.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::process::ExitCode;

use attachment_seal::seal::knowledge::Pins;
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::report::is_plain;
use serde::Serialize;

use super::super::complain;
use super::list::{Line, recipients};
use crate::clock::{second, unix_time};
use crate::config::Partial;
use crate::gateway::details::{ExplainedDoubt, Source, details_anew, explained, steps};
use crate::gateway::setup::Setup;
use crate::phrase::{counted, with_causes};
use crate::store::{DatabaseError, Deed, Details, Held, HeldFile, HeldId, Listed, State, StoreError};

/// `show --json`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    /// What each doubt means, and what to do about it.
    doubts_explained: Vec<ExplainedDoubt>,
    /// What to do next, in order.
    advice: Vec<String>,
    /// What was done to it, in order.
    deeds: &'a [Deed],
}

pub(super) fn show(partial: &Partial, state: &State, id: &str, json: bool) -> Result<ExitCode, StoreError> {
    let id: HeldId = id.parse()?;
    let mut listed = state.quarantine.show(&id)?;
    let mut source = Source::Check;
    if listed.held.details == Details::default() {
        (listed.held.details, source) = anew(partial, state, &listed)?;
    }
    let deeds = match state.audit.of(&id) {
        Ok(deeds) => deeds,
        Err(DatabaseError::None(_)) => Vec::new(),
        Err(error) => {
            // The rest is wanted all the same.
            complain(format!("cannot read what was done to it: {}", with_causes(&error)));
            Vec::new()
        }
    };
    let line = Line::new(&*state.quarantine, &listed)?;
    if json {
        let shown = Shown {
            line,
            doubts_explained: explained(&listed.held.details),
            advice: next_steps(&listed.held),
            deeds: &deeds,
        };
        say!("{}", serde_json::to_string(&shown).expect("facts are strings and numbers"));
    } else {
        say!("{}", for_people(&listed, &line, source, &deeds).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// The details of a message that an early version held.
fn anew(partial: &Partial, state: &State, listed: &Listed) -> Result<(Details, Source), StoreError> {
    let mut octets = Vec::new();
    let read = state.quarantine.open_message(&listed.id)?.read_to_end(&mut octets);
    read.map_err(|source| StoreError::Io { path: listed.id.to_string().into(), source })?;
    // What cannot be read is not known, and the check comes to another verdict.
    let config = partial.with(&["correspondent", "dns"]);
    let mut pins = config.and_then(|config| Setup::read_for_verifying(config).ok()).map(|(pins, _)| pins);
    let pins = pins.get_or_insert_with(Pins::default);
    let _ = state.pins.add_to(pins);
    let wanted = Message::new(&octets).wanted_memories();
    let memory = state.memories.recall(&wanted, unix_time().unwrap_or_default()).unwrap_or_default();
    Ok(details_anew(&octets, &listed.held, pins, memory))
}

fn next_steps(held: &Held) -> Vec<String> {
    steps(&held.verdict, held.reason.as_deref(), &held.details)
}

/// A page, chapter by chapter.
struct Page(String);

impl Page {
    fn fact(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name:<13} {}", escaped(value));
    }

    fn fact_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.fact(name, value);
        }
    }

    fn chapter(&mut self, title: &str) {
        let _ = writeln!(self.0, "\n{title}");
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "  {}", escaped(text));
    }
}

fn for_people(listed: &Listed, line: &Line<'_>, source: Source, deeds: &[Deed]) -> String {
    let Listed { id, held, .. } = listed;
    let mut page = Page(String::new());
    let reason = held.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    page.fact("id", id.as_str());
    page.fact("verdict", &format!("{}{reason}", held.verdict));
    page.fact("why", &held.summary);
    page.fact("state", &state(listed));
    page.fact("received", &second(held.received));
    page.fact("listener", &held.listener);
    page.fact("client", &held.client.to_string());
    page.fact("reverse-path", &format!("<{}>", held.reverse_path));
    page.fact("recipients", &recipients(held));
    page.fact_if("released to", Some(&line.delivered.join(", ")));
    page.fact_if("in doubt", Some(&line.in_doubt.join(", ")));
    page.fact("size", &counted(held.size, "octet"));
    let details = &held.details;
    page.chapter("What the message has in its header section. Anybody may have written it:");
    for (name, value) in [
        ("From", &details.from),
        ("To", &details.to),
        ("Subject", &details.subject),
        ("Date", &details.date),
        ("Message-ID", &held.message_id),
    ] {
        page.fact_if(name, value.as_deref());
    }
    for hop in &details.path {
        page.fact("Received", hop);
    }
    seal(&mut page, details);
    match source {
        Source::Check => {}
        Source::SecondCheck => {
            page.chapter(
                "An earlier version held this message. It was checked again just now, with the same verdict.",
            );
        }
        Source::HeaderSection => {
            page.chapter(
                "An earlier version held this message. A check by what is known now comes to another verdict, so its \
                 attachments are not listed.",
            );
        }
    }
    attachments(&mut page, details);
    arrived(&mut page, details);
    doubts(&mut page, held);
    links(&mut page, details);
    if !deeds.is_empty() {
        page.chapter("What was done:");
        deeds.iter().for_each(|deed| page.line(&super::deeds::sentence(deed)));
    }
    page.chapter("What to do next:");
    for (at, step) in next_steps(held).iter().enumerate() {
        page.line(&format!("{}. {step}", at + 1));
    }
    page.chapter("Then one of:");
    for command in [
        format!("waxseal quarantine export {id} > held.eml"),
        format!("waxseal quarantine release {id} --reason \"…\""),
        format!("waxseal quarantine delete {id} --reason \"…\""),
        format!("waxseal quarantine keep {id}"),
    ] {
        page.line(&command);
    }
    page.0
}

/// The state in words.
fn state(listed: &Listed) -> String {
    let mut text = listed.state.as_str().to_owned();
    match (listed.keep, listed.expires) {
        (true, _) if text != "kept" => text.push_str("; kept: it is not removed by age"),
        (true, _) => text.push_str(": it is not removed by age"),
        (false, Some(expires)) => {
            let _ = write!(text, "; removed by age on {}", expires.strftime("%Y-%m-%d"));
        }
        (false, None) => {}
    }
    text
}

fn seal(page: &mut Page, details: &Details) {
    let Some(key) = &details.key else { return };
    page.chapter("The seal:");
    let domain = details.sealing_domain.as_deref().unwrap_or("an unknown domain");
    page.fact("domain", domain);
    page.fact("selector", &key.selector);
    match (&key.digits, &key.words) {
        (Some(digits), Some(words)) => {
            page.fact("trust", details.trust.as_deref().unwrap_or("none: the key contradicts what is known"));
            page.fact("fingerprint", digits);
            page.fact("in words", words);
        }
        _ => page.fact("key", "not known, so anybody may have written the seal"),
    }
}

fn attachments(page: &mut Page, details: &Details) {
    if details.attachments.is_empty() {
        return;
    }
    page.chapter("Attachments:");
    for attachment in &details.attachments {
        let named = attachment.sealed.as_ref().or(attachment.found.as_ref());
        page.line(&format!("{}: {}", attachment.status, named.map(name).unwrap_or_default()));
        let renamed = attachment.found.as_ref().filter(|_| attachment.status == "renamed");
        if let Some(found) = renamed {
            page.line(&format!("  now called {}", name(found)));
        }
        for (word, file) in [("sealed", &attachment.sealed), ("found", &attachment.found)] {
            match file {
                Some(file) => {
                    page.line(&format!("  {word:<6} {}, BLAKE3 {}", counted(file.size, "octet"), file.hash));
                }
                None => page.line(&format!("  {word:<6} none")),
            }
        }
    }
    if details.more_attachments > 0 {
        page.line(&format!("and {} more", details.more_attachments));
    }
}

fn arrived(page: &mut Page, details: &Details) {
    if details.arrived.is_empty() {
        return;
    }
    page.chapter("Attachments as they arrived. Nothing was compared with a seal:");
    for file in &details.arrived {
        page.line(&name(file));
        page.line(&format!("  {}, BLAKE3 {}", counted(file.size, "octet"), file.hash));
    }
    if details.more_arrived > 0 {
        page.line(&format!("and {} more", details.more_arrived));
    }
}

fn name(file: &HeldFile) -> String {
    let name = if file.name.is_empty() { "(no name)" } else { &file.name };
    format!("{name} [{}]", file.media_type)
}

fn doubts(page: &mut Page, held: &Held) {
    if held.details.doubts.is_empty() {
        return;
    }
    page.chapter("Why mail programs could disagree about it:");
    for doubt in explained(&held.details) {
        page.line(&format!("{}: {}", doubt.code, doubt.meaning));
        let places = held.details.doubts.iter().filter(|met| met.code == doubt.code && !met.place.is_empty());
        for met in places {
            page.line(&format!("  where: {} {}", met.place, met.what));
        }
        page.line(&format!("  what to do: {}", doubt.advice));
    }
}

fn links(page: &mut Page, details: &Details) {
    if details.links.is_empty() {
        return;
    }
    page.chapter("Links in its text, written so that nothing opens them:");
    for link in &details.links {
        page.line(&format!("{}: {}", link.status, link.target));
    }
    if details.more_links > 0 {
        page.line(&format!("and {} more", details.more_links));
    }
}

/// A stranger's text, on one line. What is invisible, turns the direction of text or moves the cursor is written as its number.
pub(super) fn escaped(text: &str) -> String {
    let piece = |c: char| if is_plain(c) { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(piece).collect()
}

/// Writes the exact message to stdout.
pub(super) fn export(state: &State, id: &str) -> Result<ExitCode, StoreError> {
    let mut message = state.quarantine.open_message(&id.parse()?)?;
    let mut out = io::stdout().lock();
    Ok(match io::copy(&mut message, &mut out).and_then(|_| io::Write::flush(&mut out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::super::fail(format!("cannot export: {error}")),
    })
}
