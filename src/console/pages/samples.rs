//! A view of each kind for tests: what a site sees on an ordinary day, and what strangers may have written.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::view::*;
use crate::doctor::{Finding, State};
use crate::store::{Deed, Details, HeldAttachment, HeldFile, HeldLink, HeldState, OfferedKey, What};

const WORDS: &str = "ribbon orbit lemon wisdom carpet unique forest gather sponsor minute velvet harbor candy alone noble stairs";
const DIGITS: &str = "04821 55310 29937 10442 60013 48109 33320 00917 25564 41008 19273 58801";
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// Text as an attacker would have it in every place.
pub(super) const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&amp;\u{202e}fdp.exe\u{0}\u{1b}[2J\r\n\u{2066}\u{200b}=?utf-8?q?x?= javascript:alert(3) {{7*7}} ${x}";

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn offer(action: Action, path: &str) -> Offer {
    Offer { action, path: path.to_owned(), token: "Zm9yLXRoaXMtZm9ybS1hbG9uZQ".to_owned() }
}

pub(super) fn frame(language: &str, path: &str) -> Frame {
    Frame {
        viewer: Some(Viewer { name: "tenzin".to_owned(), role: Role::Admin }),
        language: language.to_owned(),
        zone: TimeZone::get("Asia/Kolkata").expect("a zone"),
        path: path.to_owned(),
        site: "mx1.partner.example".to_owned(),
        now: at("2026-11-28T09:14:00Z"),
        log_out: Some(offer(Action::LogOut, "/logout")),
    }
}

fn row(id: &str, moment: &str, verdict: &str, reason: Option<&str>, texts: [&str; 4]) -> Row {
    let [from, to, subject, done] = texts;
    Row {
        id: id.to_owned(),
        at: at(moment),
        verdict: verdict.to_owned(),
        reason: reason.map(str::to_owned),
        done: done.to_owned(),
        state: (done == "quarantine").then_some(HeldState::Held),
        from: (!from.is_empty()).then(|| from.to_owned()),
        recipients: vec![to.to_owned()],
        recipient_count: 1,
        subject: (!subject.is_empty()).then(|| subject.to_owned()),
        summary: "changed on the way: altered agenda.pdf, added invoice.pdf.exe".to_owned(),
    }
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        row(
            "20261128T081455-7f3a9c",
            "2026-11-28T08:14:55Z",
            "fail",
            Some("attachments"),
            ["dolma@news.example", "desk@partner.example", "Agenda for Thursday", "quarantine"],
        ),
        row(
            "20261128T073010-0b11fe",
            "2026-11-28T07:30:10Z",
            "key-changed",
            None,
            ["press@office.example", "desk@partner.example", "New address of our office", "quarantine"],
        ),
        row(
            "20261127T221833-9d20aa",
            "2026-11-27T22:18:33Z",
            "missing",
            None,
            ["karma@news.example", "director@partner.example", "Re: the interview, urgent", "quarantine"],
        ),
        row(
            "20261127T160102-55aa10",
            "2026-11-27T16:01:02Z",
            "ambiguous",
            None,
            [
                "lobsang@archive.example",
                "archive@partner.example",
                "རྒྱལ་རབས། 1959 scans, part 3",
                "quarantine",
            ],
        ),
        row(
            "20261127T101500-31c0de",
            "2026-11-27T10:15:00Z",
            "unaligned",
            None,
            ["news@list.example", "desk@partner.example", "Weekly letter", "mark"],
        ),
        row(
            "20261126T090000-77aa00",
            "2026-11-26T09:00:00Z",
            "temperror",
            Some("key-lookup-failed"),
            ["", "desk@partner.example", "", "defer"],
        ),
        row(
            "20261126T083000-77aa01",
            "2026-11-26T08:30:00Z",
            "pass",
            Some("links-added"),
            ["dolma@news.example", "desk@partner.example", "Programme", "mark"],
        ),
    ];
    rows[1].state = Some(HeldState::Requested);
    rows[2].state = Some(HeldState::Kept);
    rows[3].state = Some(HeldState::InDoubt);
    rows[3].recipient_count = 12;
    rows
}

fn days() -> Vec<Day> {
    let first = jiff::civil::date(2026, 10, 30);
    let day = |at: i64| {
        let wave = u64::try_from((at * 37) % 23).expect("small");
        let is_weekend = at % 7 == 1 || at % 7 == 2;
        let base = if is_weekend { 40 } else { 310 };
        let mut verdicts = vec![("pass", base + wave * 9), ("none", base * 2 / 3 + wave * 3)];
        if at % 3 == 0 {
            verdicts.push(("missing", 1 + wave % 4));
        }
        if at % 5 == 1 {
            verdicts.push(("ambiguous", 1 + wave % 2));
        }
        if at > 24 && at != 26 {
            verdicts.push(("fail", 2 + wave % 5));
        }
        if at % 11 == 4 {
            verdicts.push(("temperror", 2));
        }
        Day {
            day: first.checked_add(at.days()).expect("a day"),
            verdicts: verdicts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect(),
        }
    };
    (0..30).map(day).collect()
}

pub(super) fn now() -> Now {
    let finding = |check, subject: &str, state, detail: &str, remedy: Option<&str>| Finding {
        check,
        subject: subject.to_owned(),
        state,
        detail: detail.to_owned(),
        remedy: remedy.map(str::to_owned),
    };
    Now {
        waiting: rows().into_iter().take(4).collect(),
        held: 4,
        days: days(),
        findings: vec![
            finding(
                "delegation",
                "key s2027 of partner.example",
                State::Warning,
                "its delegation ends in 9 days",
                Some(
                    "run waxseal root delegate s2027 on the machine that has the root key, and publish what it prints",
                ),
            ),
            finding(
                "key-record",
                "s2026._seal.partner.example",
                State::NotChecked,
                "the resolver 192.0.2.53 gave no answer within 5 s",
                None,
            ),
        ],
        checked: Some(at("2026-11-28T09:10:00Z")),
    }
}

pub(super) fn quiet_now() -> Now {
    Now { checked: Some(at("2026-11-28T09:10:00Z")), ..Now::default() }
}

pub(super) fn messages() -> Messages {
    Messages {
        question: Question { domain: "news.example".to_owned(), ..Question::default() },
        rows: rows(),
        newer: None,
        older: Some("/messages?domain=news.example&before=20261126".to_owned()),
        wrong: None,
    }
}

fn file(name: &str, kind: &str, size: u64, seed: &str) -> HeldFile {
    HeldFile {
        name: name.to_owned(),
        media_type: kind.to_owned(),
        size,
        hash: blake3::hash(seed.as_bytes()).to_hex().to_string(),
    }
}

pub(super) fn message() -> Message {
    let id = "20261128T081455-7f3a9c";
    let held_id = id.parse().ok();
    let deed =
        |moment: &str, who: &str, what, reason: Option<&str>, detail: Option<&str>, to: &[&str]| Deed {
            at: at(moment),
            who: who.to_owned(),
            what,
            id: held_id.clone(),
            message_id: None,
            recipients: to.iter().map(|path| (*path).to_owned()).collect(),
            reason: reason.map(str::to_owned),
            detail: detail.map(str::to_owned),
        };
    let attachment =
        |status: &str, sealed, found| HeldAttachment { status: status.to_owned(), sealed, found };
    let pdf = |seed| file("agenda.pdf", "application/pdf", 48_213, seed);
    Message {
        row: Row { state: Some(HeldState::Requested), recipients: vec!["desk@partner.example".to_owned(), "director@partner.example".to_owned()], recipient_count: 2, ..rows().remove(0) },
        asked: "quarantine".to_owned(),
        known: Some("pinned".to_owned()),
        reverse_path: "bounces+desk@news.example".to_owned(),
        listener: Some("inbound".to_owned()),
        client: Some("198.51.100.24".to_owned()),
        size: Some(1_873_442),
        message_id: Some("<20261128.4711@mail.news.example>".to_owned()),
        session: Some("5d2f-19".to_owned()),
        arrived_as: Some("4XyZ12abcdz3".to_owned()),
        queue_id: None,
        details: Details {
            from: Some("dolma@news.example".to_owned()),
            to: Some("Desk <desk@partner.example>, director@partner.example".to_owned()),
            subject: Some("Agenda for Thursday".to_owned()),
            date: Some("Sat, 28 Nov 2026 13:42:10 +0530".to_owned()),
            path: vec![
                "from relay.hotel.example (relay.hotel.example [198.51.100.24]) by mx1.partner.example (Postfix) with ESMTPS id 4XyZ12abcdz3 for <desk@partner.example>; Sat, 28 Nov 2026 08:14:54 +0000 (UTC)".to_owned(),
                "from mail.news.example (mail.news.example [192.0.2.25]) by relay.hotel.example with ESMTP id 88F1; Sat, 28 Nov 2026 08:14:31 +0000".to_owned(),
                "from [10.0.0.7] (unknown [203.0.113.9]) by mail.news.example with ESMTPSA; Sat, 28 Nov 2026 13:42:11 +0530 (IST)".to_owned(),
            ],
            sealing_domain: Some("news.example".to_owned()),
            key: Some(OfferedKey { selector: "s2026".to_owned(), key: Some(KEY.to_owned()), words: Some(WORDS.to_owned()), digits: Some(DIGITS.to_owned()) }),
            trust: Some("pinned".to_owned()),
            attachments: vec![
                attachment("altered", Some(pdf("before")), Some(HeldFile { size: 61_002, ..pdf("after") })),
                attachment("added", None, Some(file("invoice.pdf.exe", "application/octet-stream", 912_384, "exe"))),
                attachment("removed", Some(file("map.png", "image/png", 221_008, "map")), None),
                attachment("renamed", Some(file("speech.docx", "application/msword", 33_100, "speech")), Some(file("speech-final.docx", "application/msword", 33_100, "speech"))),
                attachment("intact", Some(file("ཞུ་ཡིག.odt", "application/vnd.oasis.opendocument.text", 12_480, "odt")), Some(file("ཞུ་ཡིག.odt", "application/vnd.oasis.opendocument.text", 12_480, "odt"))),
            ],
            more_attachments: 0,
            doubts: Vec::new(),
            arrived: Vec::new(),
            more_arrived: 0,
            links: vec![HeldLink { status: "added".to_owned(), target: "hxxps[:]//news-example[.]login[.]example/agenda".to_owned() }],
            more_links: 0,
        },
        source: Source::Check,
        doubts: vec![Doubt {
            code: "views-differ".to_owned(),
            meaning: "Two ways of reading the message find different parts.".to_owned(),
            advice: "Do not open its attachments. Ask the author which attachments they sent, and to send them again.".to_owned(),
            places: vec!["part 1.2, Content-Type: the boundary is written twice".to_owned()],
        }],
        advice: vec![
            "Telephone the author, at a number that you knew before. Do not take one from the message.".to_owned(),
            "Compare the size and the hash of each attachment below with what the author sent.".to_owned(),
            "If anything differs, delete the message, and ask the author to send it again.".to_owned(),
        ],
        fields: [
            ("Received", " from relay.hotel.example (relay.hotel.example [198.51.100.24])\r\n\tby mx1.partner.example (Postfix) with ESMTPS id 4XyZ12abcdz3"),
            ("Attachment-Seal", " v=1; d=news.example; s=s2026; t=1795852930;\r\n b=Zm9v"),
            ("From", " Dolma <dolma@news.example>"),
            ("Subject", " Agenda for Thursday"),
        ]
        .map(|(name, value)| Field { name: name.to_owned(), value: value.to_owned() })
        .to_vec(),
        more_fields: 12,
        deeds: vec![
            deed("2026-11-28T08:14:55Z", "gateway mx1", What::Held, Some("attachments"), Some("fail: changed on the way: altered agenda.pdf"), &["desk@partner.example", "director@partner.example"]),
            deed("2026-11-28T08:14:56Z", "gateway mx1", What::Told, None, None, &["postmaster@partner.example"]),
            deed("2026-11-28T08:41:02Z", "pema", What::ReleaseRequested, Some("telephoned Dolma, the two files are hers"), None, &[]),
        ],
        held: Some(Held {
            keep: false,
            expires: Some(at("2026-12-28T08:14:55Z")),
            delivered: Vec::new(),
            in_doubt: Vec::new(),
            request: Some(Request { at: at("2026-11-28T08:41:02Z"), who: "pema".to_owned(), reason: Some("telephoned Dolma, the two files are hers".to_owned()), is_own: false }),
        }),
        offers: vec![
            offer(Action::Release, "/messages/20261128T081455-7f3a9c/release"),
            offer(Action::Keep, "/messages/20261128T081455-7f3a9c/keep"),
            offer(Action::Delete, "/messages/20261128T081455-7f3a9c/delete"),
            offer(Action::Download, "/held/20261128T081455-7f3a9c/download"),
        ],
        release_needs: 2,
    }
}

pub(super) fn passed_message() -> Message {
    let mut message = message();
    message.row = Row {
        verdict: "pass".to_owned(),
        reason: None,
        done: "deliver".to_owned(),
        state: None,
        summary: "every attachment is as it was sent".to_owned(),
        ..message.row
    };
    message.details.attachments.retain(|attachment| attachment.status == "intact");
    message.details.links.clear();
    message.doubts.clear();
    message.advice.clear();
    message.held = None;
    message.offers.clear();
    message.deeds.clear();
    message
}

pub(super) fn hostile_message() -> Message {
    let name = || HOSTILE.to_owned();
    let long = "<b>\u{202e}".repeat(1 << 18);
    let mut message = message();
    let bad = HeldFile { name: name(), media_type: name(), size: u64::MAX, hash: name() };
    message.row = Row {
        id: "20261128T081455-7f3a9c".to_owned(),
        reason: Some(name()),
        verdict: name(),
        done: name(),
        state: None,
        from: Some(name()),
        recipients: vec![name(), long.clone()],
        recipient_count: 10_000,
        subject: Some(long.clone()),
        summary: name(),
        ..message.row
    };
    message.details.attachments = vec![
        HeldAttachment {
            status: name(),
            sealed: Some(bad.clone()),
            found: Some(HeldFile { name: long.clone(), ..bad.clone() }),
        },
        HeldAttachment { status: "added".to_owned(), sealed: None, found: Some(bad) },
    ];
    message.details.more_attachments = 9_950;
    message.details.arrived = vec![message.details.attachments[0].sealed.clone().expect("it was sealed")];
    message.details.path = vec![name(), long.clone()];
    message.details.to = Some(long.clone());
    message.details.date = Some(name());
    message.details.sealing_domain = Some(name());
    message.details.trust = Some(name());
    message.details.key =
        Some(OfferedKey { selector: name(), key: Some(name()), words: Some(name()), digits: Some(name()) });
    message.details.links = vec![HeldLink { status: name(), target: long.clone() }];
    message.doubts =
        vec![Doubt { code: name(), meaning: name(), advice: name(), places: vec![name(), long.clone()] }];
    message.advice = vec![name()];
    message.fields = vec![Field { name: name(), value: name() }, Field { name: long.clone(), value: long }];
    message.asked = name();
    message.known = Some(name());
    for text in [
        &mut message.listener,
        &mut message.client,
        &mut message.message_id,
        &mut message.session,
        &mut message.arrived_as,
        &mut message.queue_id,
    ] {
        *text = Some(name());
    }
    message.reverse_path = name();
    for deed in &mut message.deeds {
        (deed.who, deed.reason, deed.detail, deed.recipients) =
            (name(), Some(name()), Some(name()), vec![name()]);
    }
    if let Some(held) = &mut message.held {
        held.delivered = vec![name()];
        held.in_doubt = vec![name()];
        held.request = Some(Request { at: message.row.at, who: name(), reason: Some(name()), is_own: false });
    }
    message
}

pub(super) fn correspondents() -> Correspondents {
    let row = |domain: &str, is_pinned, expected, offered, seen: Option<&str>, verdicts: &[(&str, u64)]| {
        CorrespondentRow {
            domain: domain.to_owned(),
            is_pinned,
            expected,
            offered,
            last_seen: seen.map(at),
            verdicts: verdicts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect(),
        }
    };
    Correspondents {
        rows: vec![
            row(
                "archive.example",
                false,
                Expected::Memory,
                0,
                Some("2026-11-27T16:01:02Z"),
                &[("pass", 412), ("ambiguous", 1)],
            ),
            row(
                "list.example",
                false,
                Expected::Noted,
                0,
                Some("2026-11-27T10:15:00Z"),
                &[("unaligned", 51)],
            ),
            row(
                "news.example",
                true,
                Expected::Pinned,
                0,
                Some("2026-11-28T08:14:55Z"),
                &[("pass", 12_904), ("fail", 3), ("missing", 2)],
            ),
            row(
                "office.example",
                false,
                Expected::Memory,
                1,
                Some("2026-11-28T07:30:10Z"),
                &[("pass", 88), ("key-changed", 1)],
            ),
            row("xn--partner-xyz.example", true, Expected::Pinned, 0, None, &[]),
        ],
        after: Some("/correspondents?after=xn--partner-xyz.example".to_owned()),
        ..Correspondents::default()
    }
}

pub(super) fn correspondent() -> Correspondent {
    let key = |selector: &str, state: &str, approve| Key {
        key: KEY.to_owned(),
        is_root: false,
        selector: selector.to_owned(),
        state: state.to_owned(),
        first_seen: at("2026-02-01T07:00:00Z"),
        last_seen: at("2026-11-28T07:30:10Z"),
        digits: DIGITS.to_owned(),
        words: WORDS.to_owned(),
        approve,
    };
    Correspondent {
        domain: "office.example".to_owned(),
        expected: Expected::Memory,
        also_unsealed: false,
        pins: vec![Pin {
            kind: "root".to_owned(),
            by: "configuration".to_owned(),
            selector: Some("s2026".to_owned()),
            digits: Some(DIGITS.to_owned()),
            words: Some(WORDS.to_owned()),
            is_revoked: false,
        }],
        first_seen: Some(at("2026-02-01T07:00:00Z")),
        last_seen: Some(at("2026-11-28T07:30:10Z")),
        verdicts: vec![("pass".to_owned(), 88), ("key-changed".to_owned(), 1)],
        keys: vec![
            key("s2027", "offered", Some(offer(Action::Approve, "/correspondents/office.example/approve"))),
            key("s2026", "accepted", None),
        ],
        messages: rows().into_iter().skip(1).take(1).collect(),
        offers: [(Action::Pin, "pin"), (Action::AlsoUnsealed, "unsealed"), (Action::Forget, "forget")]
            .map(|(action, word)| offer(action, &format!("/correspondents/office.example/{word}")))
            .to_vec(),
        wrong: None,
    }
}

pub(super) fn preferences() -> Preferences {
    Preferences {
        language: "fr".to_owned(),
        zone: "Asia/Kolkata".to_owned(),
        default_zone: "UTC".to_owned(),
        zones: ["Africa/Cairo", "America/New_York", "Asia/Kolkata", "Asia/Shanghai", "Europe/Paris", "UTC"]
            .map(str::to_owned)
            .to_vec(),
        is_saved: true,
        wrong: None,
        offer: Some(offer(Action::SetPreferences, "/preferences")),
    }
}

pub(super) fn login() -> Login {
    Login {
        name: String::new(),
        next: "/messages/20261128T081455-7f3a9c".to_owned(),
        failed: Some(LoginFailure::Wrong),
        offer: offer(Action::LogIn, "/login"),
    }
}

/// No attachment was compared, and one arrived.
pub(super) fn unsealed_message() -> Message {
    let mut message = message();
    message.row.verdict = "missing".to_owned();
    message.row.reason = None;
    message.details.attachments.clear();
    message.details.key = None;
    message.details.arrived = vec![file("agenda.pdf", "application/pdf", 48_213, "before")];
    message.details.more_arrived = 3;
    message
}

pub(super) fn hostile_row() -> Row {
    Row { id: "20261128T081455-7f3a9c".to_owned(), ..hostile_message().row }
}

pub(super) fn hostile_now() -> Now {
    let name = || HOSTILE.to_owned();
    let finding =
        Finding { check: "x", subject: name(), state: State::Problem, detail: name(), remedy: Some(name()) };
    let day = Day {
        day: jiff::civil::date(2026, 11, 28),
        verdicts: vec![(name(), u64::MAX / 4), ("fail".to_owned(), 1)],
    };
    Now {
        waiting: vec![hostile_row()],
        held: 10_000,
        days: vec![day],
        findings: vec![finding],
        checked: None,
    }
}

pub(super) fn hostile_messages() -> Messages {
    let name = || HOSTILE.to_owned();
    Messages {
        question: Question {
            message_id: name(),
            queue_id: name(),
            from: name(),
            to: name(),
            domain: name(),
            verdict: name(),
            day: name(),
            held: name(),
        },
        rows: vec![hostile_row()],
        newer: Some("/messages?before=x".to_owned()),
        older: Some("/messages?after=x".to_owned()),
        wrong: Some(name()),
    }
}

pub(super) fn hostile_correspondents() -> Correspondents {
    let name = || HOSTILE.to_owned();
    let row = CorrespondentRow {
        domain: name(),
        offered: 2,
        verdicts: vec![(name(), 1)],
        ..CorrespondentRow::default()
    };
    Correspondents { wanted: name(), rows: vec![row], ..Correspondents::default() }
}

pub(super) fn hostile_correspondent() -> Correspondent {
    let name = || HOSTILE.to_owned();
    let mut view = correspondent();
    (view.domain, view.wrong, view.also_unsealed) = (name(), Some(name()), true);
    view.verdicts = vec![(name(), 1)];
    view.messages = vec![hostile_row()];
    for pin in &mut view.pins {
        *pin = Pin {
            kind: name(),
            by: name(),
            selector: Some(name()),
            digits: Some(name()),
            words: Some(name()),
            is_revoked: true,
        };
    }
    for key in &mut view.keys {
        (key.selector, key.state, key.digits, key.words) = (name(), name(), name(), name());
        key.is_root = true;
    }
    view
}

pub(super) fn hostile_preferences() -> Preferences {
    let name = || HOSTILE.to_owned();
    Preferences {
        language: name(),
        zone: name(),
        default_zone: name(),
        zones: Vec::new(),
        is_saved: false,
        wrong: Some(name()),
        offer: preferences().offer,
    }
}

pub(super) fn hostile_login() -> Login {
    Login {
        name: HOSTILE.to_owned(),
        next: HOSTILE.to_owned(),
        failed: Some(LoginFailure::TooMany(90)),
        ..login()
    }
}
