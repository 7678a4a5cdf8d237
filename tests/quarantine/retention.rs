//! How held mail ends by age: never untold, and never what somebody wants.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use waxseal::gateway::retention::{going, remove_expired};
use waxseal::store::{By, Filter, HeldId, Release, State};

use crate::desk::{Desk, desks, hold_without_details};
use crate::program::smtp::Server;
use crate::program::wait_for;

const DAY: i64 = 24;
const KEEP: Duration = Duration::from_secs(90 * 86_400);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn state_of(desk: &Desk) -> State {
    State::open_to_serve(&desk.place()).unwrap()
}

fn held(state: &State) -> Vec<HeldId> {
    let listing = state.quarantine.list(&Filter::default(), None, 100).unwrap();
    listing.held.into_iter().map(|listed| listed.id).collect()
}

#[test]
fn what_is_told_of_goes_a_week_later_and_nothing_else() {
    for desk in desks() {
        let state = state_of(&desk);
        let quarantine = &*state.quarantine;
        let hold = |received: &str| hold_without_details(&state, received, "fail", b"x");
        let [plain, kept, requested, doubted] =
            [1, 2, 3, 4].map(|hour| hold(&format!("2026-01-01T0{hour}:00:00Z")));
        let young = hold("2026-02-01T00:00:00Z");
        let by = By::user("anna");
        quarantine.keep(&kept, true, &by).unwrap();
        let request = Release::Requested { at: Timestamp::now(), who: "anna".into(), reason: None };
        quarantine.claim(&requested, &by).unwrap().note(request).unwrap();
        quarantine.claim(&doubted, &by).unwrap().sending(&[0]).unwrap();

        // Before its last week, a message is not told of.
        let early = at("2026-03-24T00:00:00Z");
        assert!(going(quarantine, KEEP, early).unwrap().messages.is_empty());
        // Untold, nothing goes, however old it is.
        let now = at("2026-03-26T00:00:00Z");
        let gateway = By::user("gateway mx1");
        assert_eq!(
            remove_expired(quarantine, KEEP, &gateway, now + SignedDuration::from_hours(999 * DAY)).unwrap(),
            0
        );

        let told = going(quarantine, KEEP, now).unwrap();
        let ids: Vec<_> = told.messages.iter().map(|listed| listed.id.clone()).collect();
        assert_eq!(ids.as_slice(), std::slice::from_ref(&plain));
        quarantine.announce(&ids, told.expires).unwrap();
        assert_eq!(quarantine.show(&plain).unwrap().expires, Some(told.expires));
        assert!(going(quarantine, KEEP, now).unwrap().messages.is_empty(), "told once");

        let week = now + SignedDuration::from_hours(7 * DAY);
        assert_eq!(
            remove_expired(quarantine, KEEP, &gateway, week - SignedDuration::from_secs(1)).unwrap(),
            0
        );
        // Had the administrator changed his mind, it would stay.
        assert_eq!(remove_expired(quarantine, 2 * KEEP, &gateway, week).unwrap(), 0);
        assert_eq!(remove_expired(quarantine, KEEP, &gateway, week).unwrap(), 1);
        assert_eq!(held(&state), [kept, requested, doubted, young]);
        let deeds = state.audit.of(&plain).unwrap();
        let last = deeds.last().unwrap();
        assert_eq!((last.what.as_str(), last.who.as_str()), ("expired", "gateway mx1"));
    }
}

/// Whoever keeps a message for some time has it told of again before it goes.
#[test]
fn what_was_kept_for_a_while_is_told_of_again() {
    for desk in desks() {
        let state = state_of(&desk);
        let quarantine = &*state.quarantine;
        let id = hold_without_details(&state, "2026-01-01T01:00:00Z", "fail", b"x");
        let now = at("2026-03-26T00:00:00Z");
        let told = going(quarantine, KEEP, now).unwrap();
        quarantine.announce(std::slice::from_ref(&id), told.expires).unwrap();
        let by = By::user("anna");
        quarantine.keep(&id, true, &by).unwrap();
        let later = now + SignedDuration::from_hours(30 * DAY);
        assert_eq!(remove_expired(quarantine, KEEP, &by, later).unwrap(), 0);
        quarantine.keep(&id, false, &by).unwrap();
        assert_eq!(remove_expired(quarantine, KEEP, &by, later).unwrap(), 0);
        assert_eq!(going(quarantine, KEEP, later).unwrap().messages.len(), 1);
    }
}

#[test]
fn the_gateway_tells_of_what_goes() {
    for desk in desks() {
        let alerts = Server::taking_all();
        let old = (Timestamp::now() - SignedDuration::from_hours(100 * DAY)).to_string();
        let state = state_of(&desk);
        let id = hold_without_details(&state, &old, "fail", b"x");
        drop(state);
        let more = format!(
            "[quarantine]\nkeep = \"90d\"\n[alerts]\nto = \"admin@partner.example\"\nnext_hop = \"{}\"\n",
            alerts.address
        );
        let _gateway = desk.start(&more);
        let mail = alerts.await_message("1 held message will be removed on");
        let text = String::from_utf8(mail.message).unwrap();
        assert!(text.contains(id.as_str()) && text.contains("waxseal quarantine keep ID"), "{text}");
        let expires = wait_for(|| desk.shown(id.as_str())["expires"].as_str().map(str::to_owned)).unwrap();
        let left = at(&expires).duration_since(Timestamp::now());
        assert!(
            left > SignedDuration::from_hours(6 * DAY) && left < SignedDuration::from_hours(8 * DAY),
            "{left}"
        );
        let shown = desk.run(&["quarantine", "show", id.as_str()]);
        assert!(shown.text().contains("held; removed by age on "), "{}", shown.text());
    }
}

#[test]
fn nothing_goes_where_nobody_is_told() {
    for desk in desks() {
        let old = (Timestamp::now() - SignedDuration::from_hours(100 * DAY)).to_string();
        let state = state_of(&desk);
        let id = hold_without_details(&state, &old, "fail", b"x");
        drop(state);
        let config = desk.config("[quarantine]\nkeep = \"90d\"\n");
        let checked = {
            config.write();
            desk.run(&["check-config"])
        };
        assert!(
            checked.stderr.contains("quarantine.keep: without [alerts] nothing is removed"),
            "{checked:?}"
        );
        let gateway = config.start();
        gateway.await_log("listening");
        assert!(desk.shown(id.as_str())["expires"].is_null());
    }
}
