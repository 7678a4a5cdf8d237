//! The page of a message: the verdict first, then what became of each attachment, what to do, and all that is known besides.

use maud::{Markup, Render, html};

use super::decide::decide;
use super::frame::document;
use super::messages::{author, state, why};
use super::seal::seal;
use super::view::{Doubt, Frame, Message, Source};
use super::words::Page;
use crate::store::{Deed, HeldFile, What};

/// `/messages/ID`.
pub fn message(frame: &Frame, view: &Message) -> String {
    let page = Page::of(frame);
    let title = match &view.row.from {
        Some(from) => page.phrase("message-title", &[("from", &page.short(from))]),
        None => html! { (page.text("message-of-nobody")) },
    };
    // In a title there is no markup, so it is the id that tells one window from the next.
    let name = html! { (page.text("messages-title")) " " (page.short(&view.row.id)) };
    let plain = title_text(&name);
    let content = html! {
        (verdict(&page, view, &title))
        div.message {
            div.evidence {
                (attachments(&page, view))
                (doubts(&page, &view.doubts))
                (links(&page, view))
            }
            aside.next aria-label=(page.text("next-title")) {
                (next(&page, view))
                (decide(&page, view))
            }
            div.background {
                (facts(&page, view))
                (seal(&page, view))
                (path(&page, view))
                (trail(&page, &view.deeds))
                (fields(&page, view))
            }
        }
    };
    document(&page, &plain, &content)
}

/// Markup without its elements: a document's title is text alone.
fn title_text(markup: &Markup) -> Markup {
    let mut text = String::new();
    let mut is_inside = false;
    for c in markup.0.chars() {
        match c {
            '<' => is_inside = true,
            '>' => is_inside = false,
            c if !is_inside => text.push(c),
            _ => {}
        }
    }
    maud::PreEscaped(text)
}

/// What is seen at a glance: the verdict, why, and what was done.
fn verdict(page: &Page<'_>, view: &Message, title: &dyn Render) -> Markup {
    let row = &view.row;
    let mood = super::words::Mood::of(&row.verdict).class();
    html! {
        div class={ "verdict " (mood) } {
            h1 { (title.render()) }
            p.subject {
                @match row.subject.as_deref().filter(|subject| !subject.trim().is_empty()) {
                    Some(subject) => (page.short(subject)),
                    None => span.faint { (page.text("no-subject")) },
                }
            }
            p.glance {
                (page.badge(&row.verdict)) " "
                strong { (why(page, row)) }
            }
            p.glance {
                span.state { (state(page, row)) }
                " " code.word { (page.short(&row.verdict)) @if let Some(reason) = &row.reason { " (" (page.short(reason)) ")" } }
            }
        }
    }
}

fn attachments(page: &Page<'_>, view: &Message) -> Markup {
    let details = &view.details;
    let fate = page.text("column-fate");
    let (sealed, found) = (page.text("column-sealed"), page.text("column-found"));
    html! {
        section aria-labelledby="attachments" {
            h2 id="attachments" { (page.text("attachments-title")) }
            @match view.source {
                Source::SecondCheck => p.hint { (page.text("source-second")) },
                Source::HeaderSection => p.hint { (page.text("source-header")) },
                Source::Check | Source::Nothing => {}
            }
            @if details.attachments.is_empty() {
                (not_compared(page, view))
            } @else {
                table.cards.attachments {
                    caption.aside { (page.text("attachments-caption")) }
                    thead { tr { th scope="col" { (fate) } th scope="col" { (sealed) } th scope="col" { (found) } } }
                    tbody {
                        @for attachment in &details.attachments {
                            tr class={ "fate-" (word_of(&attachment.status)) } {
                                th scope="row" data-label=(fate) { (fate_of(page, &attachment.status)) }
                                td data-label=(sealed) {
                                    @match &attachment.sealed {
                                        Some(file) => (self::file(page, file, None)),
                                        None => span.faint { (page.text("not-sealed")) },
                                    }
                                }
                                td data-label=(found) {
                                    @match &attachment.found {
                                        Some(file) => (self::file(page, file, attachment.sealed.as_ref())),
                                        None => span.faint { (page.text("not-found")) },
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if details.more_attachments > 0 {
                p { (page.filled("and-more", &[("number", &page.number(details.more_attachments))])) }
            }
        }
    }
}

/// What arrived where nothing was compared, and why.
fn not_compared(page: &Page<'_>, view: &Message) -> Markup {
    let (row, details) = (&view.row, &view.details);
    let is_known = match view.source {
        Source::Check | Source::SecondCheck => {
            row.verdict == "pass" || matches!(row.done.as_str(), "quarantine" | "reject" | "defer")
        }
        Source::HeaderSection | Source::Nothing => false,
    };
    html! {
        @if row.verdict != "pass" {
            p { (page.phrase("not-compared", &[("why", &why(page, row))])) }
        }
        @if !details.arrived.is_empty() {
            p { (page.text("arrived")) }
            ul.files { @for arrived in &details.arrived { li { (file(page, arrived, None)) } } }
            @if details.more_arrived > 0 {
                p { (page.filled("and-more", &[("number", &page.number(details.more_arrived))])) }
            }
        } @else {
            div.empty { p { (page.text(if is_known { "attachments-none" } else { "attachments-unknown" })) } }
        }
    }
}

/// A word of ours for a class; what a stranger could choose is none.
fn word_of(status: &str) -> &'static str {
    ["intact", "altered", "added", "removed", "renamed"]
        .into_iter()
        .find(|word| *word == status)
        .unwrap_or("other")
}

fn fate_of(page: &Page<'_>, status: &str) -> Markup {
    let (class, sign) = match status {
        "intact" => ("good", "✓"),
        "altered" => ("bad", "✕"),
        "added" => ("bad", "+"),
        "removed" => ("bad", "−"),
        _ => ("doubtful", "~"),
    };
    html! { span class={ "badge " (class) } { span.sign aria-hidden="true" { (sign) } (page.word("fate", status)) } }
}

/// A file; what is not as in `before` is marked.
fn file(page: &Page<'_>, file: &HeldFile, before: Option<&HeldFile>) -> Markup {
    let differs = |is_same: fn(&HeldFile, &HeldFile) -> bool| {
        before.filter(|before| !is_same(before, file)).map(|_| "differs")
    };
    html! {
        div.file {
            div.name class=[differs(|one, other| one.name == other.name)] {
                @if file.name.is_empty() { span.faint { (page.text("no-name")) } } @else { (page.short(&file.name)) }
            }
            div {
                span class=[differs(|one, other| one.size == other.size)] { (page.size(file.size)) }
                " · " span class=[differs(|one, other| one.media_type == other.media_type)] { (page.short(&file.media_type)) }
            }
            (hash(page, &file.hash, differs(|one, other| one.hash == other.hash)))
        }
    }
}

/// A hash: its beginning, and the whole when it is opened or printed.
fn hash(page: &Page<'_>, hash: &str, class: Option<&str>) -> Markup {
    let start: String = hash.chars().take(12).collect();
    html! {
        details.hash {
            summary title=(page.text("hash-whole")) {
                span.faint { (page.text("hash-label")) } " "
                code class=[class] { (page.short(&start)) "…" }
            }
            code.whole { (page.short(hash)) }
        }
    }
}

fn doubts(page: &Page<'_>, doubts: &[Doubt]) -> Markup {
    html! {
        @if !doubts.is_empty() {
            section aria-labelledby="doubts" {
                h2 id="doubts" { (page.text("doubts-title")) }
                ul.doubts {
                    @for doubt in doubts {
                        li {
                            p.head { (page.english(&doubt.meaning)) " " code.word { (page.short(&doubt.code)) } }
                            @for place in &doubt.places {
                                p { span.faint { (page.text("doubt-where")) ": " } (page.english(place)) }
                            }
                            p { span.faint { (page.text("doubt-do")) ": " } (page.english(&doubt.advice)) }
                        }
                    }
                }
            }
        }
    }
}

fn links(page: &Page<'_>, view: &Message) -> Markup {
    let details = &view.details;
    let (status, target) = (page.text("link-status"), page.text("link-target"));
    html! {
        @if !details.links.is_empty() {
            section aria-labelledby="links" {
                h2 id="links" { (page.text("links-title")) }
                table.cards {
                    caption.hint { (page.text("links-caption")) }
                    thead { tr { th scope="col" { (status) } th scope="col" { (target) } } }
                    tbody {
                        @for link in &details.links {
                            tr {
                                td data-label=(status) { (page.english(&link.status)) }
                                td data-label=(target) { code { (page.long(&link.target)) } }
                            }
                        }
                    }
                }
                @if details.more_links > 0 {
                    p { (page.filled("and-more", &[("number", &page.number(details.more_links))])) }
                }
            }
        }
    }
}

fn next(page: &Page<'_>, view: &Message) -> Markup {
    html! {
        @if !view.advice.is_empty() {
            section aria-labelledby="next" {
                h2 id="next" { (page.text("next-title")) }
                ol.steps { @for step in &view.advice { li { (page.english(step)) } } }
            }
        }
    }
}

/// What is known of the message: what strangers wrote, then what the gateway saw.
fn facts(page: &Page<'_>, view: &Message) -> Markup {
    let details = &view.details;
    let fact = |name: &str, value: Option<Markup>| {
        html! { @if let Some(value) = value { div { dt { (page.text(name)) } dd { (value) } } } }
    };
    let foreign = |text: &Option<String>| {
        text.as_ref().filter(|text| !text.is_empty()).map(|text| page.long(text).render())
    };
    let code = |text: &Option<String>| text.as_ref().map(|text| html! { code { (page.short(text)) } });
    let reverse_path = match view.reverse_path.as_str() {
        "" => html! { span.faint { (page.text("null-path")) } },
        path => page.long(path).render(),
    };
    let more = view.row.recipient_count.saturating_sub(view.row.recipients.len() as u64);
    let recipients = html! {
        @for path in &view.row.recipients { div { (page.long(path)) } }
        @if more > 0 {
            @if view.row.recipients.is_empty() { (page.number(more)) } @else { (page.filled("and-more", &[("number", &page.number(more))])) }
        }
    };
    html! {
        section aria-labelledby="facts" {
            h2 id="facts" { (page.text("facts-title")) }
            dl {
                (fact("fact-received", Some(page.moment(view.row.at))))
                (fact("fact-client", foreign(&view.client)))
                (fact("fact-reverse-path", Some(reverse_path)))
                (fact("fact-recipients", Some(recipients)))
                (fact("fact-size", view.size.map(|size| html! { (page.size(size)) })))
                (fact("fact-held-as", Some(html! { code { (page.short(&view.row.id)) } })))
                (fact("fact-arrived-as", code(&view.arrived_as)))
                (fact("fact-queue-id", code(&view.queue_id)))
                (fact("fact-session", code(&view.session)))
                (fact("fact-listener", code(&view.listener)))
                @if let Some(word) = &view.known {
                    div.note { dt.aside { (page.text("column-expected")) } dd { (page.word("known", word)) } }
                }
                @if !view.asked.is_empty() && view.asked != view.row.done {
                    div.note { dt.aside { (page.text("column-state")) } dd { (page.phrase("asked", &[("action", &page.word("action", &view.asked))])) } }
                }
                div.note { dt.aside { (page.text("details-title")) } dd { (page.english(&view.row.summary)) } }
            }
            p.hint { (page.text("anybody")) }
            dl {
                (fact("fact-from", Some(author(page, &view.row))))
                (fact("fact-to", foreign(&details.to)))
                (fact("fact-subject", foreign(&view.row.subject)))
                (fact("fact-date", foreign(&details.date)))
                (fact("fact-message-id", foreign(&view.message_id)))
            }
        }
    }
}

/// Hop by hop, in the order of travel.
fn path(page: &Page<'_>, view: &Message) -> Markup {
    html! {
        section aria-labelledby="path" {
            h2 id="path" { (page.text("path-title")) }
            @if view.details.path.is_empty() {
                p.hint { (page.text("path-none")) }
            } @else {
                p.hint { (page.text("path-hint")) }
                ol.path {
                    @for hop in view.details.path.iter().rev() {
                        @let (way, date) = hop.rsplit_once(';').unwrap_or((hop, ""));
                        li {
                            span { (page.long(way.trim())) }
                            @if !date.trim().is_empty() { div.faint { (page.short(date.trim())) } }
                        }
                    }
                }
            }
        }
    }
}

fn trail(page: &Page<'_>, deeds: &[Deed]) -> Markup {
    let columns = ["column-when", "column-who", "column-what", "column-reason", "column-detail"];
    let [when, who, what, reason, detail] = columns.map(|column| page.text(column));
    html! {
        section aria-labelledby="trail" {
            h2 id="trail" { (page.text("trail-title")) }
            @if deeds.is_empty() {
                p.hint { (page.text("trail-none")) }
            } @else {
                table.cards.trail {
                    caption.aside { (page.text("trail-caption")) }
                    thead { tr { @for name in [&when, &who, &what, &reason, &detail] { th scope="col" { (name) } } } }
                    tbody {
                        @for deed in deeds {
                            tr {
                                td.when data-label=(when) { (page.moment(deed.at)) }
                                th scope="row" data-label=(who) { (page.short(&deed.who)) }
                                td data-label=(what) {
                                    (page.word("deed", deed.what.as_str()))
                                    @for path in deed.recipients.iter().take(20) { div.faint { (page.short(path)) } }
                                }
                                td data-label=(reason) { (self::reason(page, deed)) }
                                td data-label=(detail) { @if let Some(said) = &deed.detail { (page.english(said)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn reason(page: &Page<'_>, deed: &Deed) -> Markup {
    html! {
        @match &deed.reason {
            Some(reason) if deed.what == What::Held => code { (page.short(reason)) },
            Some(reason) => (page.long(reason)),
            None => @if deed.what.is_personal() { span.faint { (page.text("no-reason")) } },
        }
    }
}

fn fields(page: &Page<'_>, view: &Message) -> Markup {
    let count = view.fields.len() as u64 + view.more_fields;
    html! {
        @if !view.fields.is_empty() {
            section aria-labelledby="fields" {
                h2 id="fields" { (page.text("fields-title")) }
                p.hint { (page.text("fields-hint")) }
                details {
                    summary { (page.filled("fields-show", &[("number", &page.number(count))])) }
                    ul.fields dir="ltr" {
                        @for field in &view.fields {
                            li { b { (page.short(&field.name)) ":" } (page.long(&field.value).with_folds()) }
                        }
                    }
                    @if view.more_fields > 0 {
                        p { (page.filled("and-more", &[("number", &page.number(view.more_fields))])) }
                    }
                }
            }
        }
    }
}
