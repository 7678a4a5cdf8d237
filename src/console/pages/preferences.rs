//! The page on which somebody chooses a language and a zone.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::foreign::for_attribute;
use super::form::form;
use super::frame::document;
use super::view::{Frame, Preferences};
use super::words::{Page, languages};

/// `/preferences`.
pub fn preferences(frame: &Frame, view: &Preferences) -> String {
    let page = Page::of(frame);
    let title = page.text("preferences-title");
    let fields = html! {
        label for="language" { (page.text("language-label")) }
        select id="language" name="language" {
            option value="" selected[view.language.is_empty()] { (page.text("language-browser")) }
            @for (tag, name) in languages() {
                option value=(tag) lang=(tag) selected[view.language == *tag] { (name) }
            }
        }
        label for="zone" { (page.text("zone-label")) }
        (zones(&page, view))
        p.hint { (page.phrase("zone-now", &[("moment", &page.moment(frame.now))])) }
        button type="submit" { (page.text("save")) }
    };
    let content = html! {
        div.narrow {
            h1 { (title) }
            @if view.is_saved { p.notice.good role="status" { (page.text("saved")) } }
            @if let Some(wrong) = &view.wrong { p.notice.bad role="alert" { (page.english(wrong)) } }
            @match &view.offer {
                Some(offer) => (form(offer, &fields)),
                None => p { (page.text("preferences-fixed")) },
            }
        }
    };
    document(&page, &title, &content)
}

/// The zones, by the part of the world that their names begin with.
fn zones(page: &Page<'_>, view: &Preferences) -> Markup {
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for zone in &view.zones {
        parts.entry(zone.split_once('/').map_or("", |(part, _)| part)).or_default().push(zone);
    }
    let default = page.filled("zone-default", &[("zone", &for_attribute(&view.default_zone))]);
    let option =
        |zone: &str| html! { option value=(zone) selected[view.zone == zone] { (zone.replace('_', " ")) } };
    html! {
        select id="zone" name="zone" {
            option value="" selected[view.zone.is_empty()] { (default) }
            @if !view.zone.is_empty() && !view.zones.contains(&view.zone) { (option(&for_attribute(&view.zone))) }
            @for (part, zones) in &parts {
                @if part.is_empty() {
                    @for zone in zones { (option(zone)) }
                } @else {
                    optgroup label=(part) { @for zone in zones { (option(zone)) } }
                }
            }
        }
    }
}
