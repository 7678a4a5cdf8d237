//! The first page: what waits for somebody, what needs a hand, and what happened.

use maud::{Markup, html};

use super::chart::chart;
use super::frame::document;
use super::messages::list;
use super::view::{Frame, Now};
use super::words::Page;
use crate::doctor::{Finding, State};

/// `/`.
pub fn now(frame: &Frame, view: &Now) -> String {
    let page = Page::of(frame);
    let title = page.text("now-title");
    let content = html! {
        h1.aside { (title) }
        section aria-labelledby="waiting" {
            h2 id="waiting" {
                (page.text("waiting-title"))
                @if view.held > 0 { " " span.count { (page.number(view.held)) } }
            }
            @if view.waiting.is_empty() {
                div.empty { p { strong { (page.text("waiting-none")) } } p { (page.text("waiting-none-hint")) } }
            } @else {
                (list(&page, &view.waiting, "waiting-caption"))
                @if view.held > view.waiting.len() as u64 {
                    p { a href="/messages?held=yes" { (page.filled("waiting-all", &[("number", &page.number(view.held))])) } }
                }
            }
        }
        div.columns {
            section aria-labelledby="days" {
                h2 id="days" { (page.text("days-title")) }
                (chart(&page, &view.days))
            }
            (hand(&page, view))
        }
    };
    document(&page, &title, &content)
}

fn hand(page: &Page<'_>, view: &Now) -> Markup {
    let shown: Vec<&Finding> = view.findings.iter().filter(|finding| finding.state != State::Ok).collect();
    html! {
        section aria-labelledby="hand" {
            h2 id="hand" { (page.text("hand-title")) }
            @if shown.is_empty() {
                @match view.checked {
                    Some(_) => div.empty { p { span.sign.good aria-hidden="true" { "✓" } " " strong { (page.text("hand-none")) } } },
                    None => div.empty { p { (page.text("hand-not-checked")) } },
                }
            } @else {
                ul.findings { @for found in shown { (finding(page, found)) } }
            }
            @if let Some(checked) = view.checked {
                p.hint { (page.phrase("hand-checked", &[("moment", &page.moment(checked))])) }
            }
        }
    }
}

fn finding(page: &Page<'_>, found: &Finding) -> Markup {
    let (class, sign, word) = match found.state {
        State::Problem => ("bad", "✕", "finding-problem"),
        State::Warning => ("doubtful", "!", "finding-warning"),
        State::NotChecked => ("plain", "?", "finding-not-checked"),
        State::Ok => ("good", "✓", "finding-ok"),
    };
    html! {
        li {
            p.head {
                span class={ "badge " (class) } { span.sign aria-hidden="true" { (sign) } (page.text(word)) }
                " " strong { (page.english(&found.subject)) }
            }
            p { (page.english(&found.detail)) }
            @if let Some(remedy) = &found.remedy {
                p.remedy { span.faint { (page.text("remedy")) } " " (page.english(remedy)) }
            }
        }
    }
}
