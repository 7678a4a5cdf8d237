//! What somebody can do with a held message: the forms, and what stands in the way.

use maud::{Markup, html};

use super::foreign::for_attribute;
use super::form::{form, offered, reason, sure};
use super::view::{Action, Held, Message, Offer, Request};
use super::words::Page;

/// Recipients that are offered one by one.
const MAX_BOXES: usize = 50;

pub(super) fn decide(page: &Page<'_>, view: &Message) -> Markup {
    let offer = |action| offered(&view.offers, action);
    let title = html! { h2 id="decide" { (page.text("decide-title")) } };
    let Some(held) = &view.held else {
        let text = if view.row.done == "quarantine" { "decide-gone" } else { "decide-other" };
        return html! { section aria-labelledby="decide" { (title) p.hint { (page.text(text)) } } };
    };
    html! {
        section aria-labelledby="decide" {
            (title)
            (so_far(page, held))
            @if view.offers.is_empty() { p.hint { (page.text("decide-nothing")) } }
            @if let Some(offer) = offer(Action::Release) { (release(page, view, held, offer)) }
            @for (action, name) in [(Action::Keep, "act-keep"), (Action::KeepNoLonger, "act-keep-no-longer")] {
                @if let Some(offer) = offer(action) {
                    details.act {
                        summary { (page.text(name)) }
                        p.hint { (page.text(&format!("{name}-hint"))) }
                        (form(offer, &html! { (reason(page, "keep-reason")) button type="submit" { (page.text(name)) } }))
                    }
                }
            }
            @if let Some(offer) = offer(Action::Delete) {
                details.act {
                    summary { (page.text("act-delete")) }
                    p.hint { (page.text("act-delete-hint")) }
                    (form(offer, &html! {
                        (reason(page, "delete-reason"))
                        (sure(page, "sure-delete"))
                        button.danger type="submit" { (page.text("act-delete")) }
                    }))
                }
            }
            @if let Some(offer) = offer(Action::Download) {
                p.download {
                    a.button.quiet href=(offer.path) download { (page.text("act-download")) }
                    span.hint { " " (page.text("act-download-hint")) }
                }
            }
        }
    }
}

/// Who has it already, who asked for what, and until when it is held.
fn so_far(page: &Page<'_>, held: &Held) -> Markup {
    let paths = |name: &str, paths: &[String]| {
        html! {
            @if !paths.is_empty() {
                p { strong { (page.text(name)) } @for path in paths.iter().take(50) { div { (page.short(path)) } } }
            }
        }
    };
    html! {
        (paths("delivered-to", &held.delivered))
        (paths("in-doubt-to", &held.in_doubt))
        @if let Some(request) = &held.request { (requested(page, request)) }
        @if let Some(expires) = held.expires.filter(|_| !held.keep) {
            p.hint { (page.phrase("expires", &[("date", &page.moment(expires))])) }
        }
    }
}

fn requested(page: &Page<'_>, request: &Request) -> Markup {
    let moment = page.moment(request.at);
    html! {
        div.notice.doubtful {
            @if request.is_own {
                p { (page.phrase("act-release-waits", &[("moment", &moment)])) }
            } @else {
                p { (page.phrase("requested-by", &[("name", &page.short(&request.who)), ("moment", &moment)])) }
            }
            @if let Some(reason) = &request.reason {
                p { (page.phrase("requested-reason", &[("reason", &page.long(reason))])) }
            }
        }
    }
}

fn release(page: &Page<'_>, view: &Message, held: &Held, offer: &Offer) -> Markup {
    let is_second = held.request.as_ref().is_some_and(|request| !request.is_own);
    let is_own = held.request.as_ref().is_some_and(|request| request.is_own);
    let (name, hint) = if view.release_needs > 1 && is_second {
        ("act-release-second", page.text("act-release-hint"))
    } else if view.release_needs > 1 {
        let hint = page.filled("act-release-request-hint", &[("number", &page.number(view.release_needs))]);
        ("act-release-request", hint)
    } else {
        ("act-release", page.text("act-release-hint"))
    };
    // Who asked already can only wait for the other.
    if view.release_needs > 1 && is_own {
        return html! {};
    }
    html! {
        div.act.first {
            (form(offer, &html! {
                (reason(page, "release-reason"))
                (recipients(page, view, held))
                @if !held.in_doubt.is_empty() {
                    label.tick { input type="checkbox" name="again" value="yes"; " " (page.text("again-label")) }
                }
                button.main type="submit" aria-describedby="release-hint" { (page.text(name)) }
                p.hint id="release-hint" { (hint) }
            }))
        }
    }
}

/// Boxes by which somebody releases to some recipients only; to all who have not got it, where no box is ticked.
fn recipients(page: &Page<'_>, view: &Message, held: &Held) -> Markup {
    let missing: Vec<&String> =
        view.row.recipients.iter().filter(|path| !held.delivered.contains(path)).collect();
    html! {
        @if view.row.recipient_count > 1 && (2..=MAX_BOXES).contains(&missing.len()) {
            details.some {
                summary { (page.text("only-to")) }
                @for path in missing {
                    label.tick { input type="checkbox" name="to" value=(for_attribute(path)); " " (page.short(path)) }
                }
            }
        }
    }
}
