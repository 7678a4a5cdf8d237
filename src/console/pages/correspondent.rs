//! What is known of one correspondent, and what an admin says of their keys.

use maud::{Markup, html};

use super::correspondents::{expected, verdicts};
use super::foreign::for_attribute;
use super::form::{form, offered, sure};
use super::frame::document;
use super::messages::list;
use super::seal::fingerprint;
use super::view::{Action, Correspondent, Frame, Key, Offer, Pin};
use super::words::Page;

/// `/correspondents/DOMAIN`.
pub fn correspondent(frame: &Frame, view: &Correspondent) -> String {
    let page = Page::of(frame);
    let content = html! {
        h1 { (page.short(&view.domain)) }
        @if let Some(wrong) = &view.wrong { p.notice.bad role="alert" { (page.english(wrong)) } }
        (known(&page, view))
        (keys(&page, &view.keys))
        (pins(&page, view))
        (latest(&page, view))
        (others(&page, view))
    };
    document(&page, &page.text("correspondents-title"), &content)
}

fn known(page: &Page<'_>, view: &Correspondent) -> Markup {
    html! {
        section aria-labelledby="known" {
            h2 id="known" { (page.text("known-title")) }
            dl {
                div { dt { (page.text("column-expected")) } dd { (expected(page, view.expected)) } }
                @if view.also_unsealed && view.offers.is_empty() {
                    div.note { dt.aside { (page.text("unsealed-title")) } dd { (page.text("unsealed-yes")) } }
                }
                @for (name, moment) in [("first-seen", view.first_seen), ("last-seen", view.last_seen)] {
                    div { dt { (page.text(name)) } dd { @match moment { Some(moment) => (page.moment(moment)), None => (page.text("never-seen")) } } }
                }
                @if !view.verdicts.is_empty() { div { dt { (page.text("column-messages")) } dd { (verdicts(page, &view.verdicts)) } } }
            }
        }
    }
}

fn keys(page: &Page<'_>, keys: &[Key]) -> Markup {
    html! {
        section aria-labelledby="keys" {
            h2 id="keys" { (page.text("keys-title")) }
            @if keys.is_empty() { p.hint { (page.text("keys-none")) } }
            @for (at, known) in keys.iter().enumerate() { (key(page, at, known)) }
        }
    }
}

fn key(page: &Page<'_>, at: usize, key: &Key) -> Markup {
    let (class, sign) = match key.state.as_str() {
        "accepted" | "delegated" => ("good", "✓"),
        "revoked" => ("bad", "✕"),
        _ => ("doubtful", "!"),
    };
    let seen = [("first", page.moment(key.first_seen)), ("last", page.moment(key.last_seen))];
    let seen = page.phrase("key-seen", &[(seen[0].0, &seen[0].1), (seen[1].0, &seen[1].1)]);
    html! {
        article.key aria-labelledby={ "key-" (at) } {
            h3 id={ "key-" (at) } {
                code { (page.short(&key.selector)) } " "
                @if key.is_root { span.faint { (page.text("key-root")) } " " }
                span class={ "badge " (class) } { span.sign aria-hidden="true" { (sign) } (page.word("key", &key.state)) }
            }
            p.hint { (seen) }
            @match &key.approve {
                Some(offer) => (approve(page, at, key, offer)),
                None => details {
                    summary { (page.text("words-title")) }
                    (fingerprint_of(page, key))
                },
            }
        }
    }
}

fn fingerprint_of(page: &Page<'_>, key: &Key) -> Markup {
    html! {
        ol.fingerprint lang="en" dir="ltr" { @for word in key.words.split_whitespace() { li { (page.short(word)) } } }
        p.digits dir="ltr" { @for group in key.digits.split_whitespace() { span { (page.short(group)) } " " } }
    }
}

/// The form that approves a key: each word of its fingerprint is a box to tick.
fn approve(page: &Page<'_>, at: usize, key: &Key, offer: &Offer) -> Markup {
    let fields = html! {
        input type="hidden" name="key" value=(for_attribute(&key.key));
        fieldset {
            legend { (page.text("approve-ticks")) }
            ol.fingerprint lang="en" dir="ltr" {
                @for word in key.words.split_whitespace() {
                    li { label.tick { input type="checkbox" name="word" value=(for_attribute(word)); " " (page.short(word)) } }
                }
            }
        }
        label for={ "digits-" (at) } { (page.text("approve-typed")) }
        input type="text" id={ "digits-" (at) } name="digits" inputmode="numeric" autocomplete="off" maxlength="200" dir="ltr";
        button.main type="submit" { (page.text("act-approve")) }
    };
    html! {
        h4 { (page.text("approve-title")) }
        p { (page.text("approve-hint")) }
        (form(offer, &fields))
    }
}

fn pins(page: &Page<'_>, view: &Correspondent) -> Markup {
    html! {
        section aria-labelledby="pins" {
            h2 id="pins" { (page.text("pins-title")) }
            @if view.pins.is_empty() { p.hint { (page.text("pins-none")) } }
            @for known in &view.pins { (pin(page, known)) }
            @if let Some(offer) = offered(&view.offers, Action::Pin) {
                details.act {
                    summary { (page.text("pin-title")) }
                    p.hint { (page.text("pin-hint")) }
                    (form(offer, &html! {
                        label for="pin-key" { (page.text("pin-label")) }
                        textarea id="pin-key" name="key" rows="3" required maxlength="1000" spellcheck="false" autocomplete="off" dir="ltr" {}
                        label for="pin-selector" { (page.text("pin-selector")) }
                        input type="text" id="pin-selector" name="selector" maxlength="100" autocomplete="off" spellcheck="false" dir="ltr";
                        label.tick { input type="checkbox" name="root" value="yes"; " " (page.text("pin-is-root")) }
                        button type="submit" { (page.text("act-pin")) }
                    }))
                }
            }
        }
    }
}

fn pin(page: &Page<'_>, pin: &Pin) -> Markup {
    html! {
        article.key {
            p {
                strong { (page.word("pin", &pin.kind)) } " " (page.word("pin-by", &pin.by))
                @if let Some(selector) = &pin.selector {
                    " " (page.phrase("for-selector", &[("selector", &html! { code { (page.short(selector)) } })]))
                }
                @if pin.is_revoked { " " span.badge.bad { span.sign aria-hidden="true" { "✕" } (page.text("pin-revoked")) } }
            }
            @match (&pin.words, &pin.digits) {
                (Some(words), Some(digits)) => (fingerprint(page, words, digits)),
                (Some(one), None) | (None, Some(one)) => p.digits dir="ltr" { (page.long(one)) },
                (None, None) => {}
            }
        }
    }
}

fn latest(page: &Page<'_>, view: &Correspondent) -> Markup {
    html! {
        section aria-labelledby="latest" {
            h2 id="latest" { (page.text("latest-title")) }
            @if view.messages.is_empty() { p.hint { (page.text("latest-none")) } }
            @else { (list(page, &view.messages, "messages-caption")) }
        }
    }
}

fn others(page: &Page<'_>, view: &Correspondent) -> Markup {
    let (said, act, value) = if view.also_unsealed {
        ("unsealed-yes", "act-unsealed-no", "no")
    } else {
        ("unsealed-no", "act-unsealed-yes", "yes")
    };
    html! {
        @if let Some(offer) = offered(&view.offers, Action::AlsoUnsealed) {
            section aria-labelledby="unsealed" {
                h2 id="unsealed" { (page.text("unsealed-title")) }
                p.hint { (page.text(said)) }
                (form(offer, &html! {
                    input type="hidden" name="unsealed" value=(value);
                    button type="submit" { (page.text(act)) }
                }))
            }
        }
        @if let Some(offer) = offered(&view.offers, Action::Forget) {
            section aria-labelledby="forget" {
                h2 id="forget" { (page.text("forget-title")) }
                p.hint { (page.text("forget-hint")) }
                (form(offer, &html! {
                    (sure(page, "sure-forget"))
                    button.danger type="submit" { (page.text("act-forget")) }
                }))
            }
        }
    }
}
