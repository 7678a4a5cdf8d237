//! The page that tells why there is no other.

use maud::html;

use super::frame::document;
use super::view::{Frame, Problem, ProblemKind};
use super::words::Page;

/// Any page that cannot be shown.
pub fn problem(frame: &Frame, view: &Problem) -> String {
    let page = Page::of(frame);
    let name = match view.kind {
        ProblemKind::Forbidden(_) => "problem-forbidden",
        ProblemKind::NotFound => "problem-not-found",
        ProblemKind::Stale => "problem-stale",
        ProblemKind::BadRequest => "problem-bad-request",
        ProblemKind::TooMany => "problem-too-many",
        ProblemKind::Unavailable => "problem-unavailable",
    };
    let hint = match view.kind {
        ProblemKind::Forbidden(role) => {
            let role = page.text(&format!("role-{}", role.as_str()));
            page.filled("problem-forbidden-hint", &[("role", &role)])
        }
        _ => page.text(&format!("{name}-hint")),
    };
    let content = html! {
        div.narrow {
            h1 { (page.text(name)) }
            p { (hint) }
            @if let Some(detail) = &view.detail { p { (page.english(detail)) } }
            p { a.button href="/" { (page.text("to-start")) } }
            p.hint { "HTTP " (view.status) }
        }
    };
    document(&page, &page.text(name), &content)
}
