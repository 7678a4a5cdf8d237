//! Whose key made the seal, how it was proved, and its fingerprint to read over the telephone.

use maud::{Markup, html};

use super::view::Message;
use super::words::Page;

pub(super) fn seal(page: &Page<'_>, view: &Message) -> Markup {
    let details = &view.details;
    let trust = details.trust.as_deref().unwrap_or("none");
    html! {
        section aria-labelledby="seal" {
            h2 id="seal" { (page.text("seal-title")) }
            @match &details.key {
                None if matches!(view.row.verdict.as_str(), "none" | "missing") => p.hint { (page.text("seal-none")) },
                None => p.hint { (page.text("seal-unknown")) },
                Some(key) => {
                    dl {
                        @if let Some(domain) = &details.sealing_domain {
                            div {
                                dt { (page.text("seal-domain")) }
                                dd { a href={ "/correspondents/" (domain_in_path(domain)) } { (page.short(domain)) } }
                            }
                        }
                        div { dt { (page.text("seal-selector")) } dd { code { (page.short(&key.selector)) } } }
                        @if key.digits.is_some() {
                            div { dt { (page.text("seal-trust")) } dd { (page.word("trust", trust)) } }
                        }
                        @if let Some(key) = &key.key { div { dt { (page.text("seal-key")) } dd { code { (page.short(key)) } } } }
                    }
                    @match (&key.words, &key.digits) {
                        (Some(words), Some(digits)) => (fingerprint(page, words, digits)),
                        _ => p.notice.doubtful { (page.text("seal-key-unknown")) },
                    }
                }
            }
        }
    }
}

/// A domain as part of a path. What is in no domain name's letters is left out, and leads nowhere.
pub(super) fn domain_in_path(domain: &str) -> String {
    domain.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).collect()
}

/// A fingerprint in numbered words, and in digits.
pub(super) fn fingerprint(page: &Page<'_>, words: &str, digits: &str) -> Markup {
    html! {
        h3 { (page.text("words-title")) }
        p.hint { (page.text("words-hint")) }
        ol.fingerprint lang="en" dir="ltr" { @for word in words.split_whitespace() { li { (page.short(word)) } } }
        h3 { (page.text("digits-title")) }
        p.digits dir="ltr" { @for group in digits.split_whitespace() { span { (page.short(group)) } " " } }
    }
}
