//! The outbox and the audit trail, on each adapter: docs/STATE.md, *The traits*.

use std::collections::BTreeSet;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use waxseal::store::{
    By, Deed, Entry, Held, HeldId, Letter, LetterKind, Location, Quotas, Release, Removal, State, What,
};

use crate::contract::{NOW, by, held, hold, judged, on_each, on_each_place};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW as i64 + seconds).unwrap()
}

fn letter(to: &str, about: Option<&str>) -> Letter {
    Letter {
        kind: LetterKind::Alert,
        to: to.to_owned(),
        about: about.map(str::to_owned),
        content: json!({"subject": "a \u{0} \u{1f4ce}"}),
        since: at(0),
        expires: at(432_000),
    }
}

/// The addresses of what is due.
fn due(state: &State, now: Timestamp) -> Vec<String> {
    state.outbox.take(now, 100).unwrap().into_iter().map(|due| due.letter.to).collect()
}

/// Whoever took letters has stood still for a minute.
fn end_leases(place: &Location) {
    match &place.server {
        None => {
            let database = rusqlite::Connection::open(place.folder.join("memory.sqlite")).unwrap();
            database.execute("UPDATE letter SET leased_until = 0", []).unwrap();
        }
        #[cfg(feature = "postgres")]
        Some(_) => crate::server::Postgres::shared()
            .unwrap()
            .run_sql(
                &crate::contract::url(place),
                "UPDATE letter SET leased_until = now() - interval '1 second'",
            )
            .clear(),
        #[cfg(not(feature = "postgres"))]
        Some(_) => unreachable!(),
    }
}

#[test]
fn a_letter_is_there_until_it_was_sent() {
    on_each(|gateway, commands| {
        let put = [letter("a@example.org", Some("x")), letter("b@example.org", None)];
        assert_eq!(gateway.outbox.put(&put).unwrap(), 0);
        let waiting = commands.outbox.waiting().unwrap();
        assert_eq!((waiting.letters, waiting.oldest, waiting.more), (2, Some(at(0)), 0));
        assert!(waiting.octets > 100, "{waiting:?}");

        let taken = gateway.outbox.take(at(1), 100).unwrap();
        let letters: Vec<_> = taken.iter().map(|due| (due.letter.clone(), due.attempts)).collect();
        assert_eq!(letters, put.clone().map(|letter| (letter, 0)));
        assert!(due(gateway, at(1)).is_empty(), "they are somebody's");
        let ids: Vec<_> = taken.iter().map(|due| due.id).collect();
        gateway.outbox.postpone(&ids, at(60)).unwrap();
        assert!(due(gateway, at(59)).is_empty());
        let taken = gateway.outbox.take(at(60), 1).unwrap();
        assert_eq!((taken.len(), taken[0].attempts, taken[0].letter.to.as_str()), (1, 1, "a@example.org"));
        gateway.outbox.sent(&[taken[0].id]).unwrap();
        let taken = gateway.outbox.take(at(60), 100).unwrap();
        assert_eq!(taken.len(), 1);
        gateway.outbox.give_up(&[taken[0].id], "550 no such user").unwrap();
        assert_eq!(commands.outbox.waiting().unwrap(), waxseal::store::Waiting::default());

        // About one thing, an address gets one letter of a kind, also after it was sent.
        let notice = Letter { kind: LetterKind::Notice, ..put[0].clone() };
        gateway.outbox.put(&[put[0].clone(), put[1].clone(), notice.clone(), notice]).unwrap();
        assert_eq!(due(gateway, at(60)), ["b@example.org", "a@example.org"]);
        // After it has expired it is another letter.
        gateway.outbox.put(&[Letter { since: at(432_000), expires: at(432_001), ..put[0].clone() }]).unwrap();
        assert_eq!(due(gateway, at(432_000)), ["a@example.org"]);
    });
}

#[test]
fn a_letter_whose_taker_died_is_due_again() {
    on_each_place(|place| {
        let state = State::open_to_serve(place).unwrap();
        state.outbox.put(&[letter("a@example.org", Some("x"))]).unwrap();
        let first = state.outbox.take(at(1), 10).unwrap();
        end_leases(place);
        let second = state.outbox.take(at(1), 10).unwrap();
        assert_eq!(second.len(), 1);
        // The first was only slow. It can neither put the letter off nor give it up, for somebody else is about to send it.
        state.outbox.postpone(&[first[0].id], at(1)).unwrap();
        state.outbox.give_up(&[first[0].id], "").unwrap();
        assert!(due(&state, at(1)).is_empty());
        assert_eq!(state.outbox.waiting().unwrap().letters, 1);
        // But if it has sent the letter, that is sent.
        state.outbox.sent(&[first[0].id]).unwrap();
        state.outbox.postpone(&[second[0].id], at(1)).unwrap();
        assert!(due(&state, at(100)).is_empty());
    });
}

/// Of several who take letters at once, each letter is one's.
#[test]
fn each_letter_is_taken_once() {
    on_each(|gateway, commands| {
        let all: Vec<_> = (0..100).map(|n| letter(&format!("{n}@example.org"), Some("x"))).collect();
        gateway.outbox.put(&all).unwrap();
        let taken: Vec<String> = thread::scope(|scope| {
            let takers: Vec<_> = [gateway, commands, gateway, commands]
                .into_iter()
                .map(|state| {
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        loop {
                            let taken = state.outbox.take(at(1), 7).unwrap();
                            if taken.is_empty() {
                                return mine;
                            }
                            mine.extend(taken.into_iter().map(|due| due.letter.to));
                        }
                    })
                })
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!(taken.len(), 100);
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 100);
    });
}

#[test]
fn what_does_not_fit_is_counted() {
    on_each(|gateway, commands| {
        let large = json!({"text": "x".repeat(4 << 20)});
        let large = |n| Letter { content: large.clone(), ..letter(&format!("{n}@example.org"), None) };
        assert_eq!(gateway.outbox.put(&(0..5).map(large).collect::<Vec<_>>()).unwrap(), 2);
        let small: Vec<_> = (0..10_000).map(|n| letter(&format!("{n}@example.org"), None)).collect();
        assert_eq!(gateway.outbox.put(&small).unwrap(), 3);
        let waiting = commands.outbox.waiting().unwrap();
        assert_eq!((waiting.letters, waiting.more), (10_000, 5));
        assert!(waiting.octets <= 16 << 20, "{waiting:?}");
        // Of 4, a mail told; meanwhile another one did not fit.
        assert_eq!(gateway.outbox.put(&[letter("a@example.org", None)]).unwrap(), 1);
        gateway.outbox.told_more(4).unwrap();
        assert_eq!(commands.outbox.waiting().unwrap().more, 2);
    });
}

#[test]
fn what_is_held_is_told_in_the_same_breath() {
    on_each(|gateway, commands| {
        let message =
            Held { message_id: Some(" <a\u{0}@example.org>".into()), ..held("2026-11-23T06:11:12Z") };
        let letters = [letter("a@example.org", None), letter("b@example.org", Some("other"))];
        let id = gateway.quarantine.hold(&Quotas::default(), &message, &letters, &mut &b"x"[..]).unwrap().id;
        let taken = gateway.outbox.take(at(1), 10).unwrap();
        let about: Vec<_> = taken.iter().map(|due| due.letter.about.as_deref().unwrap()).collect();
        assert_eq!(about, [id.as_str(), "other"]);
        gateway.outbox.sent(&[taken[0].id, taken[1].id]).unwrap();
        let deeds = commands.audit.of(&id).unwrap();
        let words: Vec<_> = deeds.iter().map(|deed| deed.what.as_str()).collect();
        assert_eq!(words, ["held", "told"]);
        assert_eq!(deeds[0].at, message.received);
        assert_eq!(deeds[0].reason.as_deref(), Some("attachments"));
        assert_eq!(deeds[0].recipients, message.recipients);
        assert!(deeds.iter().all(|deed| deed.who.starts_with("gateway") && deed.id.as_ref() == Some(&id)));
        assert_eq!(deeds[1].recipients, ["a@example.org"]);
        let by_message_id = commands.audit.of_message_id("a\u{0}@example.org").unwrap();
        assert_eq!(by_message_id, deeds, "the letter tells of the same message");

        // Half a message is not told of.
        let broken = held("2026-11-23T06:11:13Z");
        struct Broken;
        impl std::io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let letters = [letter("c@example.org", None)];
        assert!(gateway.quarantine.hold(&Quotas::default(), &broken, &letters, &mut Broken).is_err());
        assert_eq!(commands.outbox.waiting().unwrap().letters, 0);
        assert_eq!(commands.audit.since(at(-1_000_000)).unwrap().len(), 2);
    });
}

/// Mail that is not held is told of in the batch that says how it was judged.
#[test]
fn a_batch_brings_its_letters() {
    on_each(|gateway, commands| {
        let judged = judged(NOW, "fail", "reject", "reject");
        let entry = Entry { letters: vec![letter("a@example.org", Some("session"))], ..Entry::of(judged) };
        gateway.memories.record(&[Box::new(entry.clone()), Box::new(entry)]).unwrap();
        assert_eq!(commands.judgements.since(NOW).unwrap().messages.len(), 2);
        assert_eq!(due(gateway, at(0)), ["a@example.org"]);
    });
}

#[test]
fn every_step_is_a_deed() {
    on_each(|gateway, commands| {
        let id = hold(gateway, "2026-11-23T06:11:12Z", b"x");
        let bert = By { who: "bert".into(), reason: Some("she called \u{0}".into()) };
        commands.quarantine.keep(&id, true, &by()).unwrap();
        let mut claim = commands.quarantine.claim(&id, &bert).unwrap();
        let request = Release::Requested { at: at(1), who: "anna".into(), reason: Some("urgent".into()) };
        claim.note(request).unwrap();
        assert_eq!(claim.releases().request.as_ref().unwrap().who, "anna");
        claim.sending(&[0, 2]).unwrap();
        assert_eq!(claim.releases().request, None);
        claim.answered(&[0], &[2], Some("250 2.0.0 taken; 550 no")).unwrap();
        claim.sending(&[1, 2]).unwrap();
        claim.answered(&[1, 2], &[], Some("250 ok")).unwrap();
        claim.delete(Removal::Released).unwrap();
        // It outlives the message.
        let deeds = gateway.audit.of(&id).unwrap();
        let shown: Vec<_> = deeds
            .iter()
            .map(|Deed { who, what, reason, detail, recipients, .. }| {
                let who = who.split(' ').next().unwrap();
                (who, *what, reason.as_deref(), detail.as_deref(), recipients.len())
            })
            .collect();
        let why = bert.reason.as_deref();
        let expected = [
            ("anna", What::Kept, None, None, 0),
            ("anna", What::ReleaseRequested, Some("urgent"), None, 0),
            ("bert", What::Sending, why, None, 2),
            ("bert", What::Released, why, Some("250 2.0.0 taken; 550 no"), 1),
            ("bert", What::Refused, why, Some("250 2.0.0 taken; 550 no"), 1),
            ("bert", What::Sending, why, None, 2),
            ("bert", What::Released, why, Some("250 ok"), 2),
        ];
        assert_eq!(shown[1..], expected);
        assert_eq!(deeds[3].recipients, ["j\u{fc}rgen@example.org", "c@example.org"]);

        for (why, what) in [(Removal::Deleted, What::Deleted), (Removal::Expired, What::Expired)] {
            let id = hold(gateway, "2026-11-23T06:11:12Z", b"x");
            commands.quarantine.claim(&id, &bert).unwrap().delete(why).unwrap();
            let last = gateway.audit.of(&id).unwrap().pop().unwrap();
            assert_eq!((last.what, last.reason), (what, bert.reason.clone()));
        }
        let own = Deed { id: None, message_id: None, ..deeds[1].clone() };
        commands.audit.note(&own).unwrap();
        let since = gateway.audit.since(own.at).unwrap();
        assert!(since.contains(&own) && !since.contains(&deeds[0]));
    });
}

/// What was done is on record for 400 days.
#[test]
fn old_deeds_are_forgotten() {
    on_each(|gateway, commands| {
        let id: HeldId = "20261123T061112-7f3a9c".parse().unwrap();
        let deed = |days: i64| Deed {
            at: at(0) + SignedDuration::from_hours(24 * days),
            who: "anna".into(),
            what: What::Deleted,
            id: Some(id.clone()),
            message_id: None,
            recipients: Vec::new(),
            reason: None,
            detail: None,
        };
        for days in [0, 1] {
            commands.audit.note(&deed(days)).unwrap();
        }
        let later = NOW + 400 * 86_400 + 1;
        let work = (1..=7)
            .map(|ago| crate::contract::noted(judged(later - ago * 86_400, "none", "deliver", "deliver")));
        gateway.memories.record(&work.collect::<Vec<_>>()).unwrap();
        gateway.memories.forget_old(later).unwrap();
        assert_eq!(commands.audit.of(&id).unwrap(), [deed(1)]);
    });
}
