//! Held mail as it is listed: filters, pages, states, on each adapter.

use jiff::Timestamp;
use waxseal::store::{Details, Filter, Held, HeldId, HeldState, Quotas, Release, State};

use crate::contract::{by, held, hold, on_each};

fn ids(state: &State, filter: &Filter) -> Vec<HeldId> {
    let listing = state.quarantine.list(filter, None, 1_000).unwrap();
    assert!(listing.damaged.is_empty() && listing.next.is_none());
    listing.held.into_iter().map(|listed| listed.id).collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn held_mail_is_found() {
    on_each(|gateway, commands| {
        let put = |second: i64, reverse_path: &str, from: &str, to: &str, verdict: &str, message_id: &str| {
            let held = Held {
                received: Timestamp::from_second(1_795_392_000 + second).unwrap(),
                reverse_path: reverse_path.into(),
                recipients: vec![to.into(), "all@partner.example".into()],
                verdict: verdict.into(),
                message_id: text(message_id),
                details: Details {
                    from: text(from),
                    subject: text("Offer \u{0}"),
                    sealing_domain: text("Sealer.Example"),
                    ..Details::default()
                },
                ..held("2026-11-23T06:11:12Z")
            };
            gateway.quarantine.hold(&Quotas::default(), &held, &[], &mut &b"x"[..]).unwrap().id
        };
        let a = put(
            1,
            "bounce@lists.example.net",
            "Anna@Mail.Example.ORG",
            "x@partner.example",
            "fail",
            " <1@a>",
        );
        let b = put(2, "", "b%_\u{0}@example.com", "J\u{dc}RGEN@partner.example", "missing", "<2@a>");
        let c = put(3, "c@notexample.org", "", "y@partner.example", "fail", "3@a");
        let all = Filter::default();
        assert_eq!(ids(commands, &all), [a.clone(), b.clone(), c.clone()]);
        let time = |second: i64| Some(Timestamp::from_second(1_795_392_000 + second).unwrap());
        for (filter, expected) in [
            (Filter { from: text("anna@"), ..all.clone() }, vec![&a]),
            (Filter { from: text("lists.example"), ..all.clone() }, vec![&a]),
            (Filter { from: text("%"), ..all.clone() }, vec![&b]),
            (Filter { from: text("example.org"), ..all.clone() }, vec![&a, &c]),
            (Filter { to: text("j\u{fc}rgen"), ..all.clone() }, vec![&b]),
            (Filter { to: text("ALL@"), ..all.clone() }, vec![&a, &b, &c]),
            (Filter { domain: text("example.org"), ..all.clone() }, vec![&a]),
            (Filter { domain: text("Example.NET"), ..all.clone() }, vec![&a]),
            (Filter { domain: text("sealer.example"), ..all.clone() }, vec![&a, &b, &c]),
            (Filter { domain: text("ample.org"), ..all.clone() }, vec![]),
            (Filter { verdict: text("fail"), ..all.clone() }, vec![&a, &c]),
            (Filter { verdict: text("fail"), from: text("c@"), ..all.clone() }, vec![&c]),
            (Filter { since: time(2), ..all.clone() }, vec![&b, &c]),
            (Filter { until: time(2), ..all.clone() }, vec![&a]),
            (Filter { message_id: text("<1@a>"), ..all.clone() }, vec![&a]),
            (Filter { message_id: text("2@a"), ..all.clone() }, vec![&b]),
            (Filter { message_id: text("<3@a>"), ..all.clone() }, vec![&c]),
            (Filter { message_id: text("@a"), ..all.clone() }, vec![]),
        ] {
            assert_eq!(ids(commands, &filter).iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
        let shown = commands.quarantine.show(&a).unwrap();
        assert_eq!(shown.held.details.subject.as_deref(), Some("Offer \u{0}"));
    });
}

#[test]
fn a_long_list_comes_in_pages() {
    on_each(|gateway, commands| {
        let mut all: Vec<_> =
            (0..7).map(|n| hold(gateway, &format!("2026-11-23T06:11:{:02}Z", 10 + n / 2), b"x")).collect();
        all.sort();
        for size in [1, 3, 7, 8] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = commands.quarantine.list(&Filter::default(), after.as_ref(), size).unwrap();
                assert!(page.held.len() <= size);
                seen.extend(page.held.into_iter().map(|listed| listed.id));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, all, "{size}");
        }
    });
}

#[test]
fn each_state_is_listed() {
    on_each(|gateway, commands| {
        let [calm, kept, requested, partly, in_doubt] =
            [0, 1, 2, 3, 4].map(|n| hold(gateway, &format!("2026-11-23T06:11:1{n}Z"), b"x"));
        for id in [&kept, &partly] {
            commands.quarantine.keep(id, true, &by()).unwrap();
        }
        let claim = |id: &HeldId| commands.quarantine.claim(id, &by()).unwrap();
        let request = Release::Requested { at: Timestamp::UNIX_EPOCH, who: "anna".into(), reason: None };
        claim(&requested).note(request).unwrap();
        claim(&partly).sending(&[0, 1, 2]).unwrap();
        claim(&partly).answered(&[0], &[1, 2], None).unwrap();
        claim(&in_doubt).sending(&[1]).unwrap();
        for (id, state) in [
            (&calm, HeldState::Held),
            (&kept, HeldState::Kept),
            (&requested, HeldState::Requested),
            (&partly, HeldState::Partly),
            (&in_doubt, HeldState::InDoubt),
        ] {
            assert_eq!(gateway.quarantine.show(id).unwrap().state, state);
            assert_eq!(state.as_str().parse(), Ok(state));
            let filter = Filter { state: Some(state), ..Filter::default() };
            let expected =
                if state == HeldState::Kept { vec![kept.clone(), partly.clone()] } else { vec![id.clone()] };
            assert_eq!(ids(gateway, &filter), expected, "{state:?}");
        }
        assert!(commands.quarantine.releases(&kept).unwrap().keep);
        commands.quarantine.keep(&kept, false, &by()).unwrap();
        assert_eq!(gateway.quarantine.show(&kept).unwrap().state, HeldState::Held);
    });
}

/// What is removed by age is told before.
#[test]
fn the_end_of_a_message_is_announced() {
    on_each(|gateway, commands| {
        let [one, other] = [0, 1].map(|n| hold(gateway, &format!("2026-11-23T06:11:1{n}Z"), b"x"));
        let end = Timestamp::from_second(1_795_392_000).unwrap();
        gateway.quarantine.announce(std::slice::from_ref(&one), end).unwrap();
        assert_eq!(commands.quarantine.show(&one).unwrap().expires, Some(end));
        assert_eq!(commands.quarantine.show(&other).unwrap().expires, None);
        let due = |seconds: i64| {
            let expires = Some(Timestamp::from_second(1_795_392_000 + seconds).unwrap());
            ids(gateway, &Filter { expires, ..Filter::default() })
        };
        assert_eq!((due(-1), due(0)), (vec![], vec![one]));
    });
}
