//! The list of those whose keys or mail are known.

use maud::{Markup, html};

use super::foreign::for_attribute;
use super::frame::document;
use super::messages::pager;
use super::seal::domain_in_path;
use super::view::{CorrespondentRow, Correspondents, Expected, Frame};
use super::words::Page;

/// `/correspondents`.
pub fn correspondents(frame: &Frame, view: &Correspondents) -> String {
    let page = Page::of(frame);
    let title = page.text("correspondents-title");
    let content = html! {
        h1 { (title) }
        search {
            form.search method="get" action="/correspondents" {
                div {
                    label for="domain" { (page.text("domain-contains")) }
                    input type="search" id="domain" name="domain" value=(for_attribute(&view.wanted)) maxlength="250" autocomplete="off" spellcheck="false";
                }
                div.last {
                    div.buttons {
                        button type="submit" { (page.text("search")) }
                        @if !view.wanted.is_empty() { a.button.quiet href="/correspondents" { (page.text("search-clear")) } }
                    }
                }
            }
        }
        @if !view.rows.is_empty() {
            (table(&page, &view.rows))
        } @else if view.wanted.is_empty() {
            div.empty { p { strong { (page.text("correspondents-none")) } } p { (page.text("correspondents-none-hint")) } }
        } @else {
            div.empty { p { strong { (page.text("correspondents-none-found")) } } }
        }
        (pager(&page, view.before.as_deref(), view.after.as_deref(), ("back", "and-on")))
    };
    document(&page, &title, &content)
}

/// Whether a seal is expected.
pub(super) fn expected(page: &Page<'_>, expected: Expected) -> String {
    page.text(match expected {
        Expected::Pinned => "expected-pinned",
        Expected::Memory => "expected-memory",
        Expected::Noted => "expected-noted",
        Expected::Policy => "expected-policy",
    })
}

/// Messages by verdict, in one line.
pub(super) fn verdicts(page: &Page<'_>, verdicts: &[(String, u64)]) -> Markup {
    html! {
        ul.counts {
            @for (verdict, count) in verdicts { li { (page.badge(verdict)) " " (page.number(*count)) } }
        }
    }
}

fn table(page: &Page<'_>, rows: &[CorrespondentRow]) -> Markup {
    let columns = ["column-domain", "column-expected", "column-messages", "column-last-seen"];
    let [domain, expects, messages, seen] = columns.map(|column| page.text(column));
    html! {
        table.cards.correspondents {
            caption.aside { (page.text("correspondents-caption")) }
            thead { tr { @for name in [&domain, &expects, &messages, &seen] { th scope="col" { (name) } } } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" data-label=(domain) {
                            a href={ "/correspondents/" (domain_in_path(&row.domain)) } { (page.short(&row.domain)) }
                            @if row.offered > 0 {
                                div { span.badge.doubtful { span.sign aria-hidden="true" { "!" } (page.filled("keys-waiting", &[("number", &page.number(row.offered))])) } }
                            }
                        }
                        td data-label=(expects) { (expected(page, row.expected)) }
                        td data-label=(messages) { (verdicts(page, &row.verdicts)) }
                        td.when data-label=(seen) {
                            @match row.last_seen { Some(seen) => (page.moment(seen)), None => (page.text("never-seen")) }
                        }
                    }
                }
            }
        }
    }
}
