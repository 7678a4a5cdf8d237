//! Messages in a list, and the search for one.

use attachment_seal::verdict::Verdict;
use jiff::civil::Date;
use maud::{Markup, html};

use super::foreign::for_attribute;
use super::frame::document;
use super::view::{Frame, Messages, Question, Row};
use super::words::Page;

/// `/messages`.
pub fn messages(frame: &Frame, view: &Messages) -> String {
    let page = Page::of(frame);
    let title = page.text("messages-title");
    let content = html! {
        h1 { (title) }
        (search(&page, &view.question))
        @if let Some(wrong) = &view.wrong { p.notice.bad role="alert" { (page.english(wrong)) } }
        @if view.rows.is_empty() {
            @let is_asked = view.question != Question::default() || view.newer.is_some();
            div.empty {
                p { strong { (page.text(if is_asked { "messages-none" } else { "messages-empty" })) } }
                p { (page.text("messages-none-hint")) }
            }
        } @else {
            (list(&page, &view.rows, "messages-caption"))
        }
        (pager(&page, view.newer.as_deref(), view.older.as_deref(), ("newer", "older")))
    };
    document(&page, &title, &content)
}

/// Where the pages before and after are.
pub(super) fn pager(
    page: &Page<'_>,
    before: Option<&str>,
    after: Option<&str>,
    names: (&str, &str),
) -> Markup {
    html! {
        @if before.is_some() || after.is_some() {
            nav.pager aria-label=(page.text("pages-label")) {
                @if let Some(path) = before { a.button rel="prev" href=(path) { (page.text(names.0)) } }
                @if let Some(path) = after { a.button rel="next" href=(path) { (page.text(names.1)) } }
            }
        }
    }
}

fn search(page: &Page<'_>, question: &Question) -> Markup {
    let field = |name: &str, text: &str, kind: &str, value: &str| {
        html! {
            div {
                label for=(name) { (page.text(text)) }
                input type=(kind) id=(name) name=(name) value=(for_attribute(value)) maxlength="250" autocomplete="off"
                    spellcheck="false" dir="auto";
            }
        }
    };
    // A browser takes nothing else in such a field.
    let day = question.day.parse::<Date>().map(|day| day.to_string()).unwrap_or_default();
    html! {
        search {
            form.search method="get" action="/messages" {
                (field("message_id", "field-message-id", "search", &question.message_id))
                (field("queue_id", "field-queue-id", "search", &question.queue_id))
                (field("from", "field-from", "search", &question.from))
                (field("to", "field-to", "search", &question.to))
                (field("domain", "field-domain", "search", &question.domain))
                div {
                    label for="verdict" { (page.text("field-verdict")) }
                    select id="verdict" name="verdict" {
                        option value="" selected[question.verdict.is_empty()] { (page.text("any-verdict")) }
                        @for word in Verdict::EACH.map(Verdict::as_str) {
                            option value=(word) selected[question.verdict == word] { (page.text(&format!("verdict-{word}"))) }
                        }
                    }
                }
                div {
                    label for="day" { (page.text("field-day")) }
                    input type="date" id="day" name="day" value=(day);
                }
                div.last {
                    label.tick { input type="checkbox" name="held" value="yes" checked[question.held == "yes"]; " " (page.text("field-held")) }
                    div.buttons {
                        button type="submit" { (page.text("search")) }
                        @if *question != Question::default() { a.button.quiet href="/messages" { (page.text("search-clear")) } }
                    }
                }
            }
        }
    }
}

/// A table of messages; on a narrow screen, a card for each.
pub(super) fn list(page: &Page<'_>, rows: &[Row], caption: &str) -> Markup {
    let columns =
        ["column-verdict", "column-from", "column-to", "column-subject", "column-received", "column-state"];
    let [verdict, from, to, subject, received, state] = columns.map(|column| page.text(column));
    html! {
        table.cards.messages {
            caption.aside { (page.text(caption)) }
            thead { tr { @for name in [&verdict, &from, &subject, &to, &received, &state] { th scope="col" { (name) } } } }
            tbody {
                @for row in rows {
                    tr {
                        td data-label=(verdict) { (page.badge(&row.verdict)) }
                        td data-label=(from) { (author(page, row)) }
                        th scope="row" data-label=(subject) {
                            a href={ "/messages/" (row.id) } { (self::subject(page, row)) }
                            div.why { (why(page, row)) }
                        }
                        td data-label=(to) { (recipients(page, row)) }
                        td.when data-label=(received) { (page.moment(row.at)) }
                        td data-label=(state) { (self::state(page, row)) }
                    }
                }
            }
        }
    }
}

pub(super) fn author(page: &Page<'_>, row: &Row) -> Markup {
    html! {
        @match &row.from {
            Some(from) => (page.short(from)),
            None => span.faint { (page.text("unclear-author")) },
        }
    }
}

fn subject(page: &Page<'_>, row: &Row) -> Markup {
    html! {
        @match row.subject.as_deref().filter(|subject| !subject.trim().is_empty()) {
            Some(subject) => (page.short(subject)),
            None => span { (page.text("no-subject")) },
        }
    }
}

/// Why, in the reader's language, or in the gateway's own words.
pub(super) fn why(page: &Page<'_>, row: &Row) -> Markup {
    let why = page.why(&row.verdict, row.reason.as_deref());
    if why.0.is_empty() { page.english(&row.summary) } else { why }
}

fn recipients(page: &Page<'_>, row: &Row) -> Markup {
    let more = row.recipient_count.saturating_sub(1);
    html! {
        @match row.recipients.first() {
            Some(first) => {
                (page.short(first))
                @if more > 0 { " " span.faint { (page.filled("recipients-more", &[("number", &page.number(more))])) } }
            }
            None => (page.number(row.recipient_count)),
        }
    }
}

/// What was done with it, or how it is with it while it is held.
pub(super) fn state(page: &Page<'_>, row: &Row) -> Markup {
    html! {
        @match row.state {
            Some(state) => span class={ "state " (state.as_str()) } { (page.text(&format!("state-{}", state.as_str()))) },
            None => (page.word("done", &row.done)),
        }
    }
}
