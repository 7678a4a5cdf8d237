//! Two gateways that share a PostgreSQL database show the same, and know the same people.

use crate::program::site::Site;
use crate::program::{Gateway, wait_for};
use crate::server::Postgres;
use crate::visit::{CONSOLE, Visitor, add, console, held};

fn start(site: &Site, url: &str, name: &str) -> Gateway {
    site.sharing(url, name).and(CONSOLE).start()
}

#[test]
fn two_gateways_show_the_same() {
    let Some(server) = Postgres::shared() else { return };
    let (site, url) = (Site::new(), server.database());
    let [one, two] = ["mx1", "mx2"].map(|name| start(&site, &url, name));
    add(&one, "anna", "operator");
    let id = held(&site, &one, "seen by both");
    let mut at_one = Visitor::logged_in(console(&one), "anna");
    // The session is good at both, and so is a form.
    let mut at_two = Visitor { cookies: at_one.cookies.clone(), ..Visitor::new(console(&two)) };
    for path in ["/".to_owned(), format!("/messages/{id}")] {
        assert!(at_two.get(&path).has("seen by both"), "{path}");
    }
    let found = || at_two.clone().get("/messages?verdict=fail").has("seen by both").then_some(());
    assert!(wait_for(found).is_some());
    // The time at which a page was made, and its tokens, differ.
    let rows = |visitor: &mut Visitor| {
        let page = visitor.get("/messages?verdict=fail");
        let (_, rows) = page.text().split_once("<tbody").unwrap();
        rows.split_once("</tbody>").unwrap().0.to_owned()
    };
    assert_eq!(rows(&mut at_one), rows(&mut at_two));

    let release = format!("/held/{id}/release");
    let token = at_one.get(&format!("/messages/{id}")).token(&release).unwrap();
    let fields = [("token", token.as_str()), ("reason", "both agree")];
    let done = at_two.post(&release, &fields);
    assert!(done.has("Released"), "{}", done.text());
    site.next_hop.await_message("seen by both");
    // The other one does not know this form, and nothing is left to be done.
    assert!(!at_one.post(&release, &fields).has("delivered to"));
    assert_eq!(site.next_hop.received().len(), 1);
    assert!(at_one.get(&format!("/messages/{id}")).has("both agree"));
    assert_eq!(at_one.send_form("/", "/logout", &[]).status, 303);
    assert_eq!(at_two.get("/").status, 303, "logged out of both");
}
