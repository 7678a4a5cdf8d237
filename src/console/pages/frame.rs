//! What is around every page: the document, the menu, and whose page it is.

use maud::{DOCTYPE, Markup, Render, html};

use super::form::form;
use super::style;
use super::words::Page;

/// The menu: the text's name, and the path.
const MENU: [(&str, &str); 4] = [
    ("nav-now", "/"),
    ("nav-messages", "/messages"),
    ("nav-correspondents", "/correspondents"),
    ("nav-preferences", "/preferences"),
];

/// A whole document. The title is the page's only `h1`, too, which `content` has.
pub(super) fn document(page: &Page<'_>, title: &dyn Render, content: &dyn Render) -> String {
    let frame = page.frame;
    html! {
        (DOCTYPE)
        html lang=(page.language()) dir=(page.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                meta name="referrer" content="same-origin";
                title { (title.render()) " · waxseal" }
                link rel="stylesheet" href=(style::path());
                link rel="icon" type="image/svg+xml" href=(style::icon_path());
            }
            body {
                a.skip href="#content" { (page.text("skip")) }
                header.top {
                    a.brand href="/" {
                        img src=(style::icon_path()) alt="" width="26" height="26";
                        span { b { "waxseal" } " " bdi.site { (page.short(&frame.site)) } }
                    }
                    (menu(page))
                    (account(page))
                }
                main id="content" tabindex="-1" { (content.render()) }
                footer { (signature(page)) }
            }
        }
    }
    .into_string()
}

/// The menu; nothing before the login.
fn menu(page: &Page<'_>) -> Markup {
    let path = page.frame.path.split('?').next().unwrap_or_default();
    let is_here = |place: &str| path == place || (place != "/" && path.starts_with(place));
    html! {
        @if page.frame.viewer.is_some() {
            nav aria-label=(page.text("menu")) {
                ul {
                    @for (name, place) in MENU {
                        li { a href=(place) aria-current=[is_here(place).then_some("page")] { (page.text(name)) } }
                    }
                }
            }
        }
    }
}

/// Who is logged in, and the way out.
fn account(page: &Page<'_>) -> Markup {
    html! {
        @if let Some(viewer) = &page.frame.viewer {
            div.account {
                span { (page.short(&viewer.name)) " " span.role { (page.text(&format!("role-{}", viewer.role.as_str()))) } }
                @if let Some(offer) = &page.frame.log_out {
                    (form(offer, &html! { button.quiet type="submit" { (page.text("log-out")) } }))
                }
            }
        }
    }
}

/// When, for whom and by which gateway the page was made: a printed one is nobody's without it.
fn signature(page: &Page<'_>) -> Markup {
    let (moment, site) = (page.moment(page.frame.now), page.short(&page.frame.site));
    match &page.frame.viewer {
        Some(viewer) => {
            let name = page.short(&viewer.name);
            page.phrase("shown-for", &[("moment", &moment), ("name", &name), ("site", &site)])
        }
        None => page.phrase("shown", &[("moment", &moment), ("site", &site)]),
    }
}
