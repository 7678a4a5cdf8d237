//! Every page in every language, with what is ordinary and with what is hostile.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::samples::{self, frame};
use super::view::*;
use super::*;

/// Every page that there is, under a name.
fn pages(language: &str) -> Vec<(String, String)> {
    let at = |path| frame(language, path);
    let out = Frame { viewer: None, log_out: None, ..at("/login") };
    let strange = || {
        let mut frame = at("/x");
        frame.site = samples::HOSTILE.to_owned();
        frame.viewer = Some(Viewer { name: samples::HOSTILE.to_owned(), role: Role::Admin });
        frame
    };
    let strange_detail =
        Problem { status: 400, kind: ProblemKind::BadRequest, detail: Some(samples::HOSTILE.to_owned()) };
    let strange_end =
        Done { outcome: Outcome::Released, lines: vec![samples::HOSTILE.to_owned()], back: "/".to_owned() };
    let problem = |kind, status| super::problem(&at("/x"), &Problem { status, kind, detail: None });
    let mut viewer = samples::message();
    viewer.offers.clear();
    let mut pages = vec![
        ("now", now(&at("/"), &samples::now())),
        ("now-quiet", now(&at("/"), &samples::quiet_now())),
        ("messages", messages(&at("/messages?domain=news.example"), &samples::messages())),
        ("messages-none", messages(&at("/messages"), &Messages::default())),
        ("message", message(&at("/messages/x"), &samples::message())),
        ("message-viewer", message(&at("/messages/x"), &viewer)),
        ("message-unsealed", message(&at("/messages/x"), &samples::unsealed_message())),
        ("message-passed", message(&at("/messages/x"), &samples::passed_message())),
        ("message-hostile", message(&strange(), &samples::hostile_message())),
        ("now-hostile", now(&strange(), &samples::hostile_now())),
        ("messages-hostile", messages(&strange(), &samples::hostile_messages())),
        ("correspondents-hostile", correspondents(&strange(), &samples::hostile_correspondents())),
        ("correspondent-hostile", correspondent(&strange(), &samples::hostile_correspondent())),
        ("preferences-hostile", preferences(&strange(), &samples::hostile_preferences())),
        ("login-hostile", login(&strange(), &samples::hostile_login())),
        ("problem-hostile", super::problem(&strange(), &strange_detail)),
        ("done-hostile", done(&strange(), &strange_end)),
        ("correspondents", correspondents(&at("/correspondents"), &samples::correspondents())),
        ("correspondents-none", correspondents(&at("/correspondents"), &Correspondents::default())),
        ("correspondent", correspondent(&at("/correspondents/office.example"), &samples::correspondent())),
        ("preferences", preferences(&at("/preferences"), &samples::preferences())),
        ("login", login(&out, &samples::login())),
        ("forbidden", problem(ProblemKind::Forbidden(Role::Operator), 403)),
        ("not-found", problem(ProblemKind::NotFound, 404)),
        ("stale", problem(ProblemKind::Stale, 403)),
        ("bad-request", problem(ProblemKind::BadRequest, 400)),
        ("too-many", problem(ProblemKind::TooMany, 429)),
        ("unavailable", problem(ProblemKind::Unavailable, 503)),
    ]
    .into_iter()
    .map(|(name, page)| (name.to_owned(), page))
    .collect::<Vec<_>>();
    for outcome in Outcome::ALL {
        let view =
            Done { outcome, lines: vec!["250 2.0.0 Ok: queued as 4XyZ".to_owned()], back: "/".to_owned() };
        pages.push((format!("done-{outcome:?}"), done(&at("/messages/x/release"), &view)));
    }
    pages
}

/// The values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_page_is_well_made() {
    for (language, _) in languages() {
        for (name, page) in pages(language) {
            let is = format!("{language}: {name}");
            assert_eq!(page.matches("<h1").count(), 1, "{is}: one h1");
            assert!(page.contains(&format!("<html lang=\"{language}\" dir=")), "{is}");
            let ids = values(&page, "id");
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{is}: {ids:?}");
            for attribute in ["for", "aria-labelledby", "aria-describedby"] {
                for value in values(&page, attribute) {
                    assert!(ids.contains(&value), "{is}: {attribute}={value}");
                }
            }
            // Headings go down by one at a time.
            let levels: Vec<u32> = page
                .match_indices("<h")
                .filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10))
                .collect();
            assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{is}: {levels:?}");
            assert_eq!(page.matches("<table").count(), page.matches("<caption").count(), "{is}");
            assert!(page.len() < 300_000, "{is}: {} octets", page.len());
        }
    }
}

#[test]
fn no_page_runs_or_loads_anything() {
    for (name, page) in pages("en") {
        let lower = page.to_ascii_lowercase();
        for what in [
            "<script",
            "<iframe",
            "<object",
            "<embed",
            "<base",
            "<style",
            "<link rel=\"preload",
            "<meta http-equiv",
            " style=\"",
        ] {
            assert!(!lower.contains(what), "{name}: {what}");
        }
        // Elements have no handlers: what looks like one is text.
        for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            let mut is_quoted = false;
            let bare: String = tag
                .chars()
                .filter(|c| {
                    is_quoted ^= *c == '"';
                    !is_quoted
                })
                .collect();
            assert!(
                !bare.split_whitespace().any(|word| word.to_ascii_lowercase().starts_with("on")),
                "{name}: {tag}"
            );
        }
        for address in
            values(&page, "href").into_iter().chain(values(&page, "src")).chain(values(&page, "action"))
        {
            assert!(address.starts_with(['/', '#']) && !address.starts_with("//"), "{name}: {address}");
        }
        assert_eq!(page.matches("method=\"post\"").count(), page.matches("name=\"token\"").count(), "{name}");
    }
}

#[test]
fn nothing_odd_is_in_any_page() {
    for (language, _) in languages() {
        for (name, page) in pages(language) {
            let odd = page.chars().find(|&c| !attachment_seal::verdict::report::is_plain(c) && c != '\n');
            assert_eq!(odd, None, "{language}: {name}");
            assert!(!page.contains("<img src=x"), "{language}: {name}");
        }
    }
}

#[test]
fn what_arrived_is_told_where_nothing_was_compared() {
    let page = message(&frame("en", "/messages/x"), &samples::unsealed_message());
    for text in
        ["Nothing was compared with a seal. It has no seal, but", "agenda.pdf", "48.2 KB", "… and 3 more"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("It has no attachment"));
}

#[test]
fn a_viewer_gets_no_form() {
    let mut view = samples::message();
    view.offers.clear();
    let frame = Frame { log_out: None, ..frame("en", "/messages/x") };
    assert!(!message(&frame, &view).contains("<form"));
}

#[test]
fn whoever_asked_for_a_release_cannot_send_it_again() {
    let mut view = samples::message();
    let text = |view: &Message| message(&frame("en", "/messages/x"), view);
    assert!(text(&view).contains("/release\""));
    assert!(text(&view).contains("Release, as the second person"));
    view.held.as_mut().unwrap().request.as_mut().unwrap().is_own = true;
    assert!(!text(&view).contains("/release\""));
    view.held.as_mut().unwrap().request = None;
    assert!(text(&view).contains("Ask for the release"));
    view.release_needs = 1;
    assert!(text(&view).contains(">Release</button>"));
}

/// Writes every page to a folder, so that somebody can look at them: `WAXSEAL_PAGES=/tmp/pages cargo test --lib console::pages`.
#[test]
fn the_pages_can_be_looked_at() {
    let Some(folder) = std::env::var_os("WAXSEAL_PAGES").map(PathBuf::from) else { return };
    for (language, _) in languages() {
        let folder = folder.join(language);
        fs::create_dir_all(&folder).unwrap();
        for (name, page) in pages(language) {
            let page = page.replace(style::path(), "../style.css").replace(style::icon_path(), "../icon.svg");
            fs::write(folder.join(format!("{name}.html")), page).unwrap();
        }
    }
    fs::write(folder.join("style.css"), style::SHEET).unwrap();
    fs::write(folder.join("icon.svg"), style::ICON).unwrap();
}
