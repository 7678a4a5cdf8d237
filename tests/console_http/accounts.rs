//! Accounts by command, and what becomes of sessions.

use serde_json::json;

use crate::program::site::Site;
use crate::visit::{PASSWORD, Visitor, add, console, user, with_console};

#[test]
fn accounts_are_made_listed_changed_and_removed() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let nobody = user(&gateway, &["list"], "");
    assert!(nobody.text().contains("waxseal console user add"), "{nobody:?}");
    let made = user(&gateway, &["add", "Anna", "--role", "operator"], &format!("{PASSWORD}\n"));
    assert_eq!((made.status, made.text()), (0, "anna: account made, operator\n"), "{made:?}");
    user(&gateway, &["add", "anna", "--role", "admin"], "another password\n").assert_failed("already");
    user(&gateway, &["add", "bert", "--role", "viewer"], "short\n").assert_failed("too short");
    user(&gateway, &["add", "bert", "--role", "viewer"], "").assert_failed("no password was given");
    assert_eq!(user(&gateway, &["add", "bert", "--role", "root"], "x\n").status, 2);
    assert_eq!(user(&gateway, &["add", "b t", "--role", "viewer"], "x\n").status, 2);
    let made = user(&gateway, &["add", "carl", "--role", "viewer", "--no-password"], "");
    assert_eq!(made.status, 0, "{made:?}");

    let listed = user(&gateway, &["list", "--json"], "").json();
    let known: Vec<_> =
        listed.iter().map(|line| [&line["name"], &line["role"], &line["has_password"]]).collect();
    assert_eq!(
        known,
        [
            [&json!("anna"), &json!("operator"), &json!(true)],
            [&json!("carl"), &json!("viewer"), &json!(false)]
        ]
    );
    let table = user(&gateway, &["list"], "");
    assert!(table.text().contains("anna") && !table.text().contains("argon2"), "{table:?}");
    let changed = user(&gateway, &["change", "carl", "--role", "admin"], "");
    assert_eq!((changed.status, changed.text()), (0, "carl: now admin\n"));
    assert_eq!(user(&gateway, &["remove", "carl"], "").status, 0);
    user(&gateway, &["remove", "carl"], "").assert_failed("there is no account carl");
    user(&gateway, &["change", "carl", "--role", "admin"], "").assert_failed("there is no account carl");
    assert_eq!(user(&gateway, &["list", "--json"], "").json().len(), 1);
}

/// Nobody logs in with an account that has no password.
#[test]
fn without_a_password_there_is_no_login() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    assert_eq!(user(&gateway, &["add", "carl", "--role", "viewer", "--no-password"], "").status, 0);
    let mut visitor = Visitor::new(console(&gateway));
    for password in ["", "nobody has this one", PASSWORD] {
        assert_eq!(visitor.log_in("carl", password).status, 401, "{password}");
    }
}

#[test]
fn a_session_ends_with_its_account_its_password_and_by_logging_out() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    add(&gateway, "anna", "viewer");
    let is_in = |visitor: &mut Visitor| visitor.get("/messages").status == 200;
    let mut anna = Visitor::logged_in(server, "ANNA");
    assert!(is_in(&mut anna));

    let changed =
        user(&gateway, &["change", "anna", "--role", "operator", "--password"], "another password it is\n");
    assert_eq!(changed.status, 0, "{changed:?}");
    assert!(!is_in(&mut anna));
    assert_eq!(anna.log_in("anna", PASSWORD).status, 401);
    assert_eq!(anna.log_in("anna", "another password it is").status, 303);
    assert!(is_in(&mut anna));

    let before = anna.clone();
    let left = anna.send_form("/", "/logout", &[]);
    assert_eq!((left.status, left.field("location")), (303, Some("/login")));
    assert!(anna.cookies.is_empty() && !is_in(&mut before.clone()), "the token is worth nothing either");

    assert_eq!(anna.log_in("anna", "another password it is").status, 303);
    assert!(is_in(&mut anna));
    assert_eq!(user(&gateway, &["remove", "anna"], "").status, 0);
    assert!(!is_in(&mut anna));
    assert_eq!(anna.log_in("anna", "another password it is").status, 401);
}

#[test]
fn people_have_their_own_language_and_zone() {
    let site = Site::new();
    let gateway = site
        .verifying("")
        .and("[console]\nlisten = [\"127.0.0.1:0\"]\ntime_zone = \"Europe/Vienna\"")
        .start();
    let server = console(&gateway);
    add(&gateway, "anna", "viewer");
    let mut anna = Visitor::logged_in(server, "anna");
    let page = anna.get("/preferences");
    assert!(page.has("lang=\"en\"") && page.has("Europe/Vienna"), "{}", page.text());
    anna.more = "Accept-Language: de-AT,de;q=0.9,en;q=0.5\r\n".to_owned();
    assert!(anna.get("/").has("lang=\"de\""));
    let saved = anna.send_form("/preferences", "/preferences", &[("language", "fr"), ("zone", "Asia/Tokyo")]);
    assert_eq!(saved.status, 200);
    assert!(saved.has("lang=\"fr\""), "{}", saved.text());
    for (name, value) in [("zone", "Europe/Atlantis"), ("language", "tlh")] {
        let refused = anna.send_form("/preferences", "/preferences", &[(name, value)]);
        assert_eq!(refused.status, 400, "{value}");
    }
    assert!(Visitor::logged_in(server, "anna").get("/").has("lang=\"fr\""));
    let listed = user(&gateway, &["list", "--json"], "").json();
    assert_eq!((&listed[0]["language"], &listed[0]["time_zone"]), (&"fr".into(), &"Asia/Tokyo".into()));
}
