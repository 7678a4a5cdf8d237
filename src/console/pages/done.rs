//! The page that tells what an action came to.

use maud::html;

use super::frame::document;
use super::view::{Done, Frame, Outcome};
use super::words::{Mood, Page};

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 16] = [
        Self::Released,
        Self::PartlyReleased,
        Self::NotReleased,
        Self::Requested,
        Self::StillRequested,
        Self::Deleted,
        Self::Kept,
        Self::KeptNoLonger,
        Self::Approved,
        Self::NotApproved,
        Self::Pinned,
        Self::NotPinned,
        Self::Forgotten,
        Self::Noted,
        Self::NotedNoLonger,
        Self::NotDone,
    ];

    /// The name of its text.
    fn name(self) -> &'static str {
        match self {
            Self::Released => "outcome-released",
            Self::PartlyReleased => "outcome-partly-released",
            Self::NotReleased => "outcome-not-released",
            Self::Requested => "outcome-requested",
            Self::StillRequested => "outcome-still-requested",
            Self::Deleted => "outcome-deleted",
            Self::Kept => "outcome-kept",
            Self::KeptNoLonger => "outcome-kept-no-longer",
            Self::Approved => "outcome-approved",
            Self::NotApproved => "outcome-not-approved",
            Self::Pinned => "outcome-pinned",
            Self::NotPinned => "outcome-not-pinned",
            Self::Forgotten => "outcome-forgotten",
            Self::Noted => "outcome-noted",
            Self::NotedNoLonger => "outcome-noted-no-longer",
            Self::NotDone => "outcome-not-done",
        }
    }

    fn mood(self) -> Mood {
        match self {
            Self::NotReleased | Self::NotApproved | Self::NotPinned | Self::NotDone => Mood::Bad,
            Self::PartlyReleased | Self::Requested | Self::StillRequested => Mood::Doubtful,
            _ => Mood::Good,
        }
    }
}

/// After an action.
pub fn done(frame: &Frame, view: &Done) -> String {
    let page = Page::of(frame);
    let (name, mood) = (view.outcome.name(), view.outcome.mood());
    let content = html! {
        div.narrow {
            h1 { span class={ "sign " (mood.class()) } aria-hidden="true" { (mood.sign()) } " " (page.text(name)) }
            p { (page.text(&format!("{name}-hint"))) }
            @if !view.lines.is_empty() {
                ul.plain { @for line in &view.lines { li { (page.english(line)) } } }
            }
            p { a.button href=(view.back) { (page.text("back")) } }
        }
    };
    document(&page, &page.text(name), &content)
}
