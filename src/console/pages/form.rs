//! Forms: each with the token that makes it good for this session, this action and this place.

use maud::{Markup, Render, html};

use super::view::{Action, Offer};
use super::words::Page;

/// The form for what is offered.
pub(super) fn form(offer: &Offer, inside: &dyn Render) -> Markup {
    html! {
        form method="post" action=(offer.path) {
            input type="hidden" name="token" value=(offer.token);
            (inside.render())
        }
    }
}

/// The offer of an action, if it is there.
pub(super) fn offered(offers: &[Offer], action: Action) -> Option<&Offer> {
    offers.iter().find(|offer| offer.action == action)
}

/// The field for a reason.
pub(super) fn reason(page: &Page<'_>, id: &str) -> Markup {
    html! {
        label for=(id) { (page.text("reason-label")) }
        input type="text" id=(id) name="reason" maxlength="250" autocomplete="off" aria-describedby={ (id) "-hint" };
        p.hint id={ (id) "-hint" } { (page.text("reason-hint")) }
    }
}

/// A box that somebody must tick, so that a slip of the hand does nothing.
pub(super) fn sure(page: &Page<'_>, message: &str) -> Markup {
    html! {
        label.tick { input type="checkbox" name="sure" value="yes" required; " " (page.text(message)) }
    }
}
