//! The page that asks for a name and a password.

use maud::html;

use super::foreign::for_attribute;
use super::form::form;
use super::frame::document;
use super::view::{Frame, Login, LoginFailure};
use super::words::Page;

/// `/login`.
pub fn login(frame: &Frame, view: &Login) -> String {
    let page = Page::of(frame);
    let failure = view.failed.map(|failed| match failed {
        LoginFailure::Wrong => page.text("login-wrong"),
        LoginFailure::TooMany(seconds) => {
            page.filled("login-too-many", &[("seconds", &page.number(seconds))])
        }
        LoginFailure::Stale => page.text("login-stale"),
    });
    let fields = html! {
        input type="hidden" name="next" value=(for_attribute(&view.next));
        label for="name" { (page.text("name-label")) }
        input type="text" id="name" name="name" value=(for_attribute(&view.name)) required autocomplete="username"
            autocapitalize="none" spellcheck="false" maxlength="100" autofocus[view.name.is_empty()];
        label for="password" { (page.text("password-label")) }
        input type="password" id="password" name="password" required autocomplete="current-password" maxlength="1000"
            autofocus[!view.name.is_empty()];
        button type="submit" { (page.text("log-in")) }
    };
    let content = html! {
        div.narrow {
            h1 { (page.text("login-title")) }
            @if let Some(failure) = failure { p.notice.bad role="alert" { (failure) } }
            (form(&view.offer, &fields))
            p.hint { (page.text("login-help")) }
        }
    };
    document(&page, &page.text("login-title"), &content)
}
