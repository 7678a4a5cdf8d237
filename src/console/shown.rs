//! What the pages about messages show, read from the state.

use std::collections::BTreeMap;
use std::io::Read;

use attachment_seal::message::header::HeaderSection;
use attachment_seal::seal::knowledge::Pins;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::Console;
use super::checks::Found as Checked;
use super::looks::{LookError, MessagesQuery, days_ago, offers};
use super::pages::view::{self, Action, Source};
use super::session::{Visitor, Who, encoded};
use crate::clock::{moment, unix_time};
use crate::gateway::details::{self, explained, steps};
use crate::store::{
    DatabaseError, Details, Filter, Findings, Found, HeaderField, HeldId, JudgedId, Listed, Position,
    Question, Shown,
};

/// Messages on a page.
const PAGE: usize = 50;
/// Held messages on the first page.
const WAITING: usize = 10;
/// Days in the chart.
const DAYS: i64 = 14;

/// What the first page shows.
pub(super) fn now(console: &Console, checked: Checked) -> Result<view::Now, LookError> {
    let (mut waiting, mut held) = (Vec::new(), 0);
    if let Some(quarantine) = &console.running.load().quarantine {
        let listing = quarantine.list(&Filter::default(), None, WAITING)?;
        waiting = listing.held.iter().map(row_of_held).collect();
        held = quarantine.usage()?.messages;
    }
    let days = days(console)?;
    Ok(view::Now { waiting, held, days, findings: checked.findings, checked: checked.at })
}

/// Messages by day and verdict, with the days on which there was none.
fn days(console: &Console) -> Result<Vec<view::Day>, LookError> {
    let (first, now) = (days_ago(DAYS - 1), Timestamp::now());
    let unix = |moment: Timestamp| u64::try_from(moment.as_second()).unwrap_or_default();
    let counted = match console.state.messages.daily(unix(first), unix(now)) {
        Ok(counted) => counted,
        Err(DatabaseError::None(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let day_of = |moment: Timestamp| moment.to_zoned(TimeZone::UTC).date();
    let mut days: BTreeMap<Date, BTreeMap<String, u64>> = BTreeMap::new();
    let mut day = day_of(first);
    while day <= day_of(now) {
        days.entry(day).or_default();
        let Ok(next) = day.checked_add(1.day()) else { break };
        day = next;
    }
    for counted in counted.into_iter().filter(|counted| !counted.count.is_of_attempts()) {
        if let Some(verdicts) = days.get_mut(&day_of(moment(counted.day))) {
            *verdicts.entry(counted.count.verdict).or_default() += counted.count.count;
        }
    }
    Ok(days
        .into_iter()
        .map(|(day, verdicts)| view::Day { day, verdicts: verdicts.into_iter().collect() })
        .collect())
}

fn row_of_held(listed: &Listed) -> view::Row {
    let held = &listed.held;
    view::Row {
        id: listed.id.to_string(),
        at: held.received,
        verdict: held.verdict.clone(),
        reason: held.reason.clone(),
        done: "quarantine".to_owned(),
        state: Some(listed.state),
        from: held.details.from.clone().or_else(|| Some(held.reverse_path.clone())),
        recipient_count: held.recipients.len() as u64,
        recipients: held.recipients.clone(),
        subject: held.details.subject.clone(),
        summary: held.summary.clone(),
    }
}

/// A judged message, with what is known of it while it is held.
fn row(found: &Found, held: Option<&Listed>) -> view::Row {
    let (judged, particulars) = (&found.judged, &found.particulars);
    view::Row {
        id: found.id.to_string(),
        at: moment(judged.at),
        verdict: judged.verdict.clone(),
        reason: judged.reason.clone(),
        done: judged.done.clone(),
        state: held.map(|listed| listed.state),
        from: particulars.author.clone().or_else(|| judged.from_domain.clone()),
        recipients: particulars.to.clone(),
        recipient_count: judged.recipients as u64,
        subject: particulars.subject.clone(),
        summary: judged.summary.clone(),
    }
}

/// The held message of this id, while it is held.
fn listed(console: &Console, id: Option<&str>) -> Result<Option<Listed>, LookError> {
    let running = console.running.load();
    let Some((id, quarantine)) = id.and_then(|id| id.parse::<HeldId>().ok()).zip(running.quarantine.as_ref())
    else {
        return Ok(None);
    };
    match quarantine.show(&id) {
        Ok(listed) => Ok(Some(listed)),
        Err(error) => match LookError::from(error) {
            LookError::NotFound => Ok(None),
            error => Err(error),
        },
    }
}

/// What a search shows.
pub(super) fn messages(
    console: &Console,
    visitor: &Visitor,
    query: &MessagesQuery,
) -> Result<view::Messages, LookError> {
    let asked = view::Question {
        message_id: query.message_id.trim().to_owned(),
        queue_id: query.queue_id.trim().to_owned(),
        from: query.from.trim().to_owned(),
        to: query.to.trim().to_owned(),
        domain: query.domain.trim().to_owned(),
        verdict: query.verdict.trim().to_owned(),
        day: query.day.trim().to_owned(),
        held: query.held.trim().to_owned(),
    };
    let question = match question(&asked, visitor.zone()) {
        Ok(question) => question,
        Err(wrong) => {
            return Ok(view::Messages { question: asked, wrong: Some(wrong), ..view::Messages::default() });
        }
    };
    let after: Option<Position> = match query.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| LookError::BadRequest("no such page".to_owned()))?),
    };
    let page = match console.state.messages.search(&question, after.as_ref(), PAGE) {
        Ok(page) => page,
        Err(DatabaseError::None(_)) => crate::store::Page::default(),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for found in &page.messages {
        let held = listed(console, found.judged.held.as_deref())?;
        if asked.held.is_empty() || held.is_some() {
            rows.push(row(found, held.as_ref()));
        }
    }
    let older = page.next.map(|position| address(&asked, Some(&position.to_string())));
    let newer = after.is_some().then(|| address(&asked, None));
    Ok(view::Messages { question: asked, rows, newer, older, wrong: None })
}

/// The address of a page of what is asked.
fn address(asked: &view::Question, after: Option<&str>) -> String {
    let fields = [
        ("message_id", asked.message_id.as_str()),
        ("queue_id", &asked.queue_id),
        ("from", &asked.from),
        ("to", &asked.to),
        ("domain", &asked.domain),
        ("verdict", &asked.verdict),
        ("day", &asked.day),
        ("held", &asked.held),
        ("after", after.unwrap_or_default()),
    ];
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { "/messages".to_owned() } else { format!("/messages?{}", pairs.join("&")) }
}

fn question(asked: &view::Question, zone: &TimeZone) -> Result<Question, String> {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut question = Question {
        message_id: given(&asked.message_id),
        queue_id: given(&asked.queue_id),
        domain: given(&asked.domain.to_lowercase()),
        sender: given(&asked.from),
        recipient: given(&asked.to),
        verdict: given(&asked.verdict),
        done: (!asked.held.is_empty()).then(|| "quarantine".to_owned()),
        delivered: true,
        ..Question::default()
    };
    if !asked.day.is_empty() {
        let day: Date =
            asked.day.parse().map_err(|_| "the day is no date; write it as 2026-11-23".to_owned())?;
        let begin = |day: Date| {
            let zoned = day.to_zoned(zone.clone()).ok()?;
            u64::try_from(zoned.timestamp().as_second()).ok()
        };
        let next = day.checked_add(1.day()).ok().and_then(begin);
        let (from, until) = begin(day).zip(next).ok_or("the day is beyond all calendars")?;
        (question.from, question.until) = (from, Some(until));
    }
    Ok(question)
}

/// All that is known of one message, by either of its ids.
pub(super) fn message(console: &Console, who: &Who, id: &str) -> Result<view::Message, LookError> {
    if let Ok(id) = id.parse::<JudgedId>() {
        let shown = console.state.messages.show(&id)?.ok_or(LookError::NotFound)?;
        let held = listed(console, shown.found.judged.held.as_deref())?;
        return view_of(console, who, Some(shown), held.as_ref());
    }
    let held = listed(console, Some(id))?;
    // What was judged stays when the held message is gone, so that its address does.
    let question = Question { queue_id: Some(id.to_owned()), delivered: true, ..Question::default() };
    let known = match id.parse::<HeldId>() {
        Ok(_) => match console.state.messages.search(&question, None, 1) {
            Ok(page) => page.messages.into_iter().find(|found| found.judged.held.as_deref() == Some(id)),
            Err(DatabaseError::None(_)) => None,
            Err(error) => return Err(error.into()),
        },
        Err(_) => return Err(LookError::NotFound),
    };
    let shown = match known {
        Some(found) => console.state.messages.show(&found.id)?,
        None => None,
    };
    view_of(console, who, shown, held.as_ref())
}

fn view_of(
    console: &Console,
    who: &Who,
    shown: Option<Shown>,
    held: Option<&Listed>,
) -> Result<view::Message, LookError> {
    let running = console.running.load_full();
    let (found, findings) = match shown {
        Some(Shown { found, findings }) => (Some(found), findings),
        None => (None, None),
    };
    if found.is_none() && held.is_none() {
        return Err(LookError::NotFound);
    }
    let has_findings = findings.is_some();
    let Findings { details: kept, mut fields, mut more_fields } = findings.unwrap_or_default();
    if let Some(listed) = held.filter(|_| !has_findings) {
        (fields, more_fields) = fields_of(console, listed)?;
    }
    let (details, source) = match held {
        Some(listed) => of_held(console, listed)?,
        None if has_findings => (kept, Source::Check),
        None => (Details::default(), Source::Nothing),
    };
    let mut message = view::Message {
        fields: fields
            .into_iter()
            .map(|field| view::Field { name: field.name, value: field.value })
            .collect(),
        more_fields,
        doubts: doubts(&details),
        source,
        release_needs: running.setup.config.held_mail.release_needs as u64,
        ..view::Message::default()
    };
    let mut id = held.map(|listed| listed.id.clone());
    if let Some(found) = &found {
        let (judged, particulars) = (&found.judged, &found.particulars);
        message.row = row(found, held);
        message.asked.clone_from(&judged.asked);
        message.known.clone_from(&judged.known);
        message.reverse_path.clone_from(&judged.reverse_path);
        message.listener = Some(particulars.listener.clone()).filter(|name| !name.is_empty());
        message.client = particulars.client.map(|client| match &particulars.client_name {
            Some(name) => format!("{name} [{client}]"),
            None => client.to_string(),
        });
        message.size = Some(particulars.size).filter(|size| *size > 0);
        message.message_id.clone_from(&judged.message_id);
        message.session = Some(judged.session.clone()).filter(|session| !session.is_empty());
        message.arrived_as.clone_from(&judged.arrived_as);
        message.queue_id.clone_from(&judged.queue_id);
        id = id.or_else(|| judged.held.as_deref().and_then(|held| held.parse().ok()));
    }
    if let Some(listed) = held {
        if found.is_none() {
            message.row = row_of_held(listed);
            message.asked = "quarantine".to_owned();
            message.client = Some(listed.held.client.to_string());
        }
        message.listener = Some(listed.held.listener.clone());
        message.size = Some(listed.held.size);
        message.reverse_path.clone_from(&listed.held.reverse_path);
        message.row.recipients.clone_from(&listed.held.recipients);
        message.row.recipient_count = listed.held.recipients.len() as u64;
        message.message_id.clone_from(&listed.held.message_id);
        message.held = Some(held_view(console, who, listed)?);
        let keep = if listed.keep { Action::KeepNoLonger } else { Action::Keep };
        let actions = [Action::Release, Action::Delete, keep, Action::Download];
        message.offers = offers(who, &actions, listed.id.as_str());
    }
    if let Some(id) = &id {
        message.deeds = match console.state.audit.of(id) {
            Ok(deeds) => deeds,
            Err(DatabaseError::None(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    }
    message.advice = if message.row.verdict == "pass" {
        Vec::new()
    } else {
        steps(&message.row.verdict, message.row.reason.as_deref(), &details)
    };
    message.details = details;
    Ok(message)
}

/// Octets of a held message that are read for its header section.
const MAX_HEADER: u64 = 256 << 10;

/// The header fields of a held message of which nothing else was kept.
fn fields_of(console: &Console, listed: &Listed) -> Result<(Vec<HeaderField>, u64), LookError> {
    let running = console.running.load();
    let Some(quarantine) = &running.quarantine else { return Ok((Vec::new(), 0)) };
    let mut octets = Vec::new();
    let read = quarantine.open_message(&listed.id)?.take(MAX_HEADER).read_to_end(&mut octets);
    read.map_err(|error| LookError::Unavailable(error.to_string()))?;
    Ok(details::fields(&HeaderSection::parse(&octets)))
}

/// Each doubt once, with the places where it was met.
fn doubts(details: &Details) -> Vec<view::Doubt> {
    let places = |code: &str| {
        let met = details.doubts.iter().filter(|met| met.code == code && !met.place.is_empty());
        met.map(|met| format!("{} {}", met.place, met.what)).collect()
    };
    let explained = explained(details).into_iter();
    explained
        .map(|doubt| view::Doubt {
            places: places(&doubt.code),
            code: doubt.code,
            meaning: doubt.meaning.to_owned(),
            advice: doubt.advice.to_owned(),
        })
        .collect()
}

/// The details of a held message: as they were kept, or as they are found now for one that an early version held.
fn of_held(console: &Console, listed: &Listed) -> Result<(Details, Source), LookError> {
    if listed.held.details != Details::default() {
        return Ok((listed.held.details.clone(), Source::Check));
    }
    let running = console.running.load_full();
    let Some(quarantine) = &running.quarantine else { return Ok((Details::default(), Source::Nothing)) };
    let mut octets = Vec::new();
    let read = quarantine.open_message(&listed.id)?.read_to_end(&mut octets);
    read.map_err(|error| LookError::Unavailable(error.to_string()))?;
    let mut pins: Pins = running.setup.pins.clone();
    // What cannot be read is not known, and the check comes to another verdict.
    let _ = console.state.pins.add_to(&mut pins);
    let wanted = attachment_seal::seal::message::Message::new(&octets).wanted_memories();
    let memory = console.state.memories.recall(&wanted, unix_time().unwrap_or_default()).unwrap_or_default();
    let (details, source) = details::details_anew(&octets, &listed.held, &pins, memory);
    let source = match source {
        details::Source::Check => Source::Check,
        details::Source::SecondCheck => Source::SecondCheck,
        details::Source::HeaderSection => Source::HeaderSection,
    };
    Ok((details, source))
}

fn held_view(console: &Console, who: &Who, listed: &Listed) -> Result<view::Held, LookError> {
    let running = console.running.load();
    let Some(quarantine) = &running.quarantine else { return Err(LookError::NotFound) };
    let releases = quarantine.releases(&listed.id)?;
    let path = |at: &usize| listed.held.recipients.get(*at).cloned();
    let me = who.account.name.as_str();
    Ok(view::Held {
        keep: listed.keep,
        expires: listed.expires,
        delivered: releases.delivered.iter().filter_map(path).collect(),
        in_doubt: releases.in_doubt.keys().filter_map(path).collect(),
        request: releases.request.map(|request| view::Request {
            at: request.at,
            is_own: request.who.eq_ignore_ascii_case(me),
            who: request.who,
            reason: request.reason,
        }),
    })
}

/// The latest messages of a domain.
pub(super) fn latest_of(console: &Console, domain: &str, count: usize) -> Result<Vec<view::Row>, LookError> {
    let question = Question { domain: Some(domain.to_owned()), delivered: true, ..Question::default() };
    let page = match console.state.messages.search(&question, None, count) {
        Ok(page) => page,
        Err(DatabaseError::None(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    page.messages
        .iter()
        .map(|found| Ok(row(found, listed(console, found.judged.held.as_deref())?.as_ref())))
        .collect()
}
