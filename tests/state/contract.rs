//! What every adapter promises, tried on each: docs/STATE.md, *The traits*.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::{PublicKey, SealingKey};
use attachment_seal::seal::knowledge::Pins;
use attachment_seal::verdict::lesson::{Lesson, Observation};
use waxseal::store::{
    By, Details, Entry, Filter, Held, HeldId, HoldError, Judged, KeyState, Location, Quota, Quotas, Removal,
    SaidPin, State, StoreError,
};

#[cfg(feature = "postgres")]
use crate::server::Postgres;

pub(crate) const NOW: u64 = 1_795_392_000;
const DAY: u64 = 86_400;

/// Tries something on a new state of each adapter: as a gateway has it, and as commands have the same.
pub(crate) fn on_each(check: impl Fn(&State, &State)) {
    on_each_place(|place| check(&State::open_to_serve(place).unwrap(), &State::open(place)));
}

pub(crate) fn on_each_place(check: impl Fn(&Location)) {
    let folder = tempfile::tempdir().unwrap();
    check(&folder.path().into());
    #[cfg(feature = "postgres")]
    if let Some(server) = Postgres::shared() {
        let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
        fs::write(folder.path().join("url"), &url).unwrap();
        check(&Postgres::place_at(&url, folder.path(), "mx1"));
    }
}

/// The URL of a place's database.
#[cfg(feature = "postgres")]
pub(crate) fn url(place: &Location) -> String {
    fs::read_to_string(place.folder.join("url")).unwrap()
}

pub(crate) fn by() -> By {
    By::user("anna")
}

fn key(seed: u8) -> PublicKey {
    SealingKey::from_seed(&[seed; 32]).public()
}

fn domain(text: &str) -> DomainName {
    text.parse().unwrap()
}

pub(crate) fn sealed(name: &str, seed: u8, at: u64) -> Observation {
    let lesson = Lesson::Sealed {
        domain: domain(name),
        selector: "gate1".parse().unwrap(),
        key: key(seed),
        root: None,
        passed: true,
        author: None,
        pinned: false,
    };
    Observation { at, verdict: "pass", lesson }
}

fn offered(name: &str, seed: u8, at: u64) -> Observation {
    let lesson = Lesson::Offered { domain: domain(name), selector: "x".parse().unwrap(), key: key(seed) };
    Observation { at, verdict: "key-changed", lesson }
}

pub(crate) fn judged(at: u64, verdict: &str, asked: &str, done: &str) -> Judged {
    Judged {
        at,
        session: "s".into(),
        verdict: verdict.into(),
        reason: None,
        known: None,
        trust: None,
        asked: asked.into(),
        done: done.into(),
        from_domain: None,
        domain: None,
        reverse_path: "\u{0}\u{1f4ce}".into(),
        recipients: 1,
        message_id: None,
        attachments: vec!["altered Agenda \"2026\".pdf".into()],
        summary: String::new(),
        held: None,
        queue_id: None,
        arrived_as: None,
    }
}

fn taught(observation: Observation) -> Box<Entry> {
    let judged = judged(observation.at, observation.verdict, "deliver", "deliver");
    Box::new(Entry { observation: Some(observation), ..Entry::of(judged) })
}

pub(crate) fn record(state: &State, observations: Vec<Observation>) -> u64 {
    let entries: Vec<_> = observations.into_iter().map(taught).collect();
    state.memories.record(&entries).unwrap()
}

pub(crate) fn noted(judged: Judged) -> Box<Entry> {
    Box::new(Entry::of(judged))
}

/// The keys that are recalled of a domain, by their seeds, and whether each is revoked.
fn recalled(state: &State, name: &str) -> Vec<(u8, bool)> {
    let memory = state.memories.recall(&[domain(name), domain("nobody.example")], NOW).unwrap();
    let Some(known) = memory.domains.get(&domain(name)) else { return Vec::new() };
    let seed = |public| (0..200).find(|seed| key(*seed) == public).unwrap();
    let mut keys: Vec<_> = known.keys.iter().map(|known| (seed(known.key), known.revoked)).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn what_messages_taught_is_remembered() {
    on_each(|gateway, commands| {
        let counted = |name| Lesson::Counted { author: domain(name) };
        let mut observations: Vec<_> = (0..4).map(|n| sealed("a.example", 1, NOW + n)).collect();
        observations.extend([
            offered("a.example", 2, NOW + 4),
            Observation { at: NOW + 5, verdict: "missing", lesson: counted("a.example") },
            Observation { at: NOW + 5, verdict: "none", lesson: counted("stranger.example") },
            offered("stranger.example", 3, NOW + 5),
        ]);
        assert_eq!(record(gateway, observations), 0);
        let [known] = commands.memories.list(None, NOW).unwrap().try_into().unwrap();
        assert_eq!(
            (known.name.as_str(), known.first_seen, known.last_seen, known.seals),
            ("a.example", NOW, NOW + 3, true)
        );
        let counts: Vec<_> = known.counts.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect();
        assert_eq!(counts, [("key-changed", 1), ("missing", 1), ("pass", 4)]);
        let keys: Vec<_> = known.keys.iter().map(|key| (key.key, key.state, key.first_seen)).collect();
        assert_eq!(keys, [(key(2), KeyState::Offered, NOW + 4), (key(1), KeyState::Accepted, NOW)]);
        let memory = gateway.memories.recall(&[domain("a.example")], NOW).unwrap();
        assert_eq!(memory.domains[&domain("a.example")].passes, [NOW + 3, NOW + 2, NOW + 1]);

        assert_eq!(recalled(gateway, "a.example"), [(1, false)], "what is only offered does not count");
        assert!(commands.memories.approve(&domain("a.example"), &key(2), NOW).unwrap());
        assert_eq!(recalled(gateway, "a.example"), [(1, false), (2, false)]);
        assert!(!commands.memories.approve(&domain("a.example"), &key(3), NOW).unwrap());
        assert_eq!(commands.memories.list(Some(&domain("b.example")), NOW).unwrap().len(), 0);
        assert!(commands.memories.forget(&domain("a.example")).unwrap());
        assert!(!commands.memories.forget(&domain("a.example")).unwrap());
        assert!(recalled(gateway, "a.example").is_empty());
        assert!(commands.memories.keys(&domain("a.example")).unwrap().is_empty());
        assert_eq!(commands.memories.damage().unwrap(), None);
    });
}

#[test]
fn roots_and_what_they_vouched_for_are_remembered_as_such() {
    on_each(|gateway, _| {
        let vouched = |at| {
            let mut vouched = sealed("a.example", 1, at);
            if let Lesson::Sealed { root, .. } = &mut vouched.lesson {
                *root = Some(key(2));
            }
            vouched
        };
        let kinds = |state: &State| {
            let keys = state.memories.keys(&domain("a.example")).unwrap();
            let mut kinds: Vec<_> = keys.iter().map(|known| (known.is_root, known.state.as_str())).collect();
            kinds.sort_unstable();
            kinds
        };
        record(gateway, vec![vouched(NOW)]);
        assert_eq!(kinds(gateway), [(false, "delegated"), (true, "accepted")]);
        // What was accepted for itself stays so.
        record(gateway, vec![sealed("a.example", 1, NOW), vouched(NOW + 1)]);
        assert_eq!(kinds(gateway), [(false, "accepted"), (true, "accepted")]);
    });
}

#[test]
fn a_revoked_key_stays_one_until_it_is_proved_again() {
    on_each(|gateway, _| {
        let revoked = Lesson::Revoked { domain: domain("a.example"), selector: "gate1".parse().unwrap() };
        record(gateway, vec![sealed("a.example", 1, NOW)]);
        let offered = offered("a.example", 1, NOW);
        record(gateway, vec![Observation { at: NOW, verdict: "fail", lesson: revoked }, offered]);
        assert_eq!(recalled(gateway, "a.example"), [(1, true)]);
        record(gateway, vec![sealed("a.example", 1, NOW)]);
        assert_eq!(recalled(gateway, "a.example"), [(1, false)]);
    });
}

#[test]
fn one_organisation_takes_no_more_than_its_room() {
    on_each(|gateway, commands| {
        let below = (0..120).map(|n| sealed(&format!("d{n}.evil.example"), 1, NOW)).collect();
        assert_eq!(record(gateway, below), 20);
        let keys = (0..40).map(|seed| sealed("a.example", seed, NOW + u64::from(seed)));
        let offers = (0..40).map(|seed| offered("a.example", 100 + seed, NOW + u64::from(seed)));
        record(gateway, keys.chain(offers).collect());
        let count = |state: KeyState| {
            let keys = commands.memories.keys(&domain("a.example")).unwrap();
            keys.iter().filter(|known| known.state == state).count()
        };
        assert_eq!((count(KeyState::Accepted), count(KeyState::Offered)), (32, 4));
    });
}

#[test]
fn what_is_old_is_forgotten_unless_it_was_pinned_or_the_clock_may_be_wrong() {
    on_each(|gateway, commands| {
        let mut pinned = sealed("pinned.example", 1, NOW);
        if let Lesson::Sealed { pinned, .. } = &mut pinned.lesson {
            *pinned = true;
        }
        record(gateway, vec![sealed("old.example", 1, NOW), sealed("new.example", 1, NOW + DAY), pinned]);
        let later = NOW + 400 * DAY + 1;
        assert_eq!(gateway.memories.forget_old(later).unwrap(), 0, "there was no mail for a year");
        let work = (1..=7).map(|ago| noted(judged(later - ago * DAY, "none", "deliver", "deliver")));
        gateway.memories.record(&work.collect::<Vec<_>>()).unwrap();
        assert_eq!(gateway.memories.forget_old(later).unwrap(), 1);
        let known = commands.memories.list(None, NOW).unwrap();
        let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(names, ["new.example", "pinned.example"]);
    });
}

#[test]
fn judged_messages_are_counted_and_named() {
    on_each(|gateway, commands| {
        let observed = judged(NOW + 5, "fail", "quarantine", "deliver");
        let held = judged(NOW + 6, "missing", "quarantine", "quarantine");
        let entries = [
            judged(NOW - 2 * DAY, "fail", "reject", "reject"),
            judged(NOW, "pass", "deliver", "deliver"),
            judged(NOW, "pass", "deliver", "deliver"),
            observed.clone(),
            held.clone(),
            judged(NOW + 7, "fail", "quarantine", "deferred-by-next-hop"),
        ];
        gateway.memories.record(&entries.into_iter().map(noted).collect::<Vec<_>>()).unwrap();
        let period = commands.judgements.since(NOW).unwrap();
        assert_eq!(period.messages, [observed, held]);
        let counts: Vec<_> =
            period.counts.iter().map(|c| (c.verdict.as_str(), c.done.as_str(), c.count)).collect();
        let expected = [
            ("fail", "deferred-by-next-hop", 1),
            ("fail", "deliver", 1),
            ("missing", "quarantine", 1),
            ("pass", "deliver", 2),
        ];
        assert_eq!(counts, expected);
    });
}

pub(crate) fn held(received: &str) -> Held {
    Held {
        listener: "inbound".into(),
        received: received.parse().unwrap(),
        client: "2001:db8::1".parse().unwrap(),
        reverse_path: String::new(),
        mail_parameters: vec!["SMTPUTF8".into()],
        recipients: ["j\u{fc}rgen@example.org", "b@example.org", "c@example.org"].map(str::to_owned).to_vec(),
        recipient_parameters: Vec::new(),
        verified: false,
        verdict: "fail".into(),
        reason: Some("attachments".into()),
        summary: "altered Agenda \"2026\".pdf \u{0}".into(),
        message_id: None,
        result: None,
        size: 0,
        details: Details::default(),
    }
}

pub(crate) fn hold(state: &State, received: &str, message: &[u8]) -> HeldId {
    let held = Held { size: message.len() as u64, ..held(received) };
    state.quarantine.hold(&Quotas::default(), &held, &[], &mut &*message).unwrap().id
}

fn octets(state: &State, id: &HeldId) -> Vec<u8> {
    let mut octets = Vec::new();
    state.quarantine.open_message(id).unwrap().read_to_end(&mut octets).unwrap();
    octets
}

#[test]
fn held_mail_is_given_back_octet_for_octet() {
    on_each(|gateway, commands| {
        assert_eq!(gateway.quarantine.list(&Filter::default(), None, 1_000).unwrap().held.len(), 0);
        gateway.quarantine.check_writable().unwrap();
        let small = b"Subject: \xff\r\n\r\n\0 body\r\n".to_vec();
        let large: Vec<u8> =
            (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let whole = vec![b'x'; 512 << 10];
        let mut ids = Vec::new();
        for (second, message) in [(12, &small), (14, &large), (13, &whole), (15, &Vec::new())] {
            let id = hold(gateway, &format!("2026-11-23T06:11:{second}Z"), message);
            assert_eq!(id.as_str().parse::<HeldId>().unwrap(), id);
            assert!(octets(commands, &id) == *message, "{second}");
            ids.push(id);
        }
        let listing = commands.quarantine.list(&Filter::default(), None, 1_000).unwrap();
        assert!(listing.damaged.is_empty());
        let listed: Vec<_> = listing.held.iter().map(|listed| &listed.id).collect();
        assert_eq!(listed, [&ids[0], &ids[2], &ids[1], &ids[3]], "the oldest first");
        let expected = Held { size: small.len() as u64, ..held("2026-11-23T06:11:12Z") };
        assert_eq!(commands.quarantine.show(&ids[0]).unwrap().held, expected);
        let usage = gateway.quarantine.usage().unwrap();
        assert_eq!(usage.messages, 4);
        assert_eq!(usage.octets, (small.len() + large.len() + whole.len()) as u64);

        commands.quarantine.delete(&ids[0], &by()).unwrap();
        for state in [gateway, commands] {
            assert!(matches!(state.quarantine.delete(&ids[0], &by()), Err(StoreError::UnknownId(_))));
            assert!(matches!(state.quarantine.show(&ids[0]), Err(StoreError::UnknownId(_))));
            assert!(matches!(state.quarantine.open_message(&ids[0]), Err(StoreError::UnknownId(_))));
        }
        assert_eq!(gateway.quarantine.usage().unwrap().messages, 3);
    });
}

/// A message that cannot be read to its end is not held in part.
#[test]
fn half_a_message_is_not_held() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }
    on_each(|gateway, _| {
        let mut message = std::io::repeat(b'x').take(600_000).chain(Broken);
        let failed =
            gateway.quarantine.hold(&Quotas::default(), &held("2026-11-23T06:11:12Z"), &[], &mut message);
        assert!(failed.is_err());
        assert_eq!(gateway.quarantine.usage().unwrap().messages, 0);
        assert!(gateway.quarantine.list(&Filter::default(), None, 1_000).unwrap().held.is_empty());
    });
}

#[test]
fn strangers_fill_only_their_part() {
    on_each(|gateway, commands| {
        let quota = |messages| Quota { octets: 1 << 30, messages };
        let quotas = Quotas { all: quota(20), unverified: quota(10) };
        let hold = |verified| {
            let held = Held { verified, size: 1_000, ..held("2026-11-23T06:11:12Z") };
            gateway.quarantine.hold(&quotas, &held, &[], &mut &[b'x'; 1_000][..])
        };
        for n in 1..=10 {
            let filling = hold(false).unwrap().filling.map(|filling| (filling.is_full, filling.unverified));
            assert_eq!(filling, (n == 8).then_some((false, true)), "{n}");
        }
        let HoldError { error, filling } = hold(false).unwrap_err();
        assert!(matches!(error, StoreError::Full { unverified: true }), "{error:?}");
        assert!(filling.is_some_and(|filling| filling.is_full && filling.held.messages == 10));
        assert_eq!(hold(false).unwrap_err().filling, None, "it was told");
        for n in 11..=20 {
            let filling = hold(true).unwrap().filling.map(|filling| (filling.is_full, filling.unverified));
            assert_eq!(filling, (n == 16).then_some((false, false)), "{n}");
        }
        assert!(matches!(hold(true).unwrap_err().error, StoreError::Full { unverified: false }));
        let usage = gateway.quarantine.usage().unwrap();
        assert_eq!((usage.messages, usage.unverified_messages, usage.octets), (20, 10, 20_000));
        // Another process deletes some.
        let held = commands.quarantine.list(&Filter::default(), None, 1_000).unwrap().held;
        for one in held.into_iter().filter(|one| !one.held.verified) {
            commands.quarantine.delete(&one.id, &by()).unwrap();
        }
        // SQLite's adapter looks into the folder again after a second.
        thread::sleep(std::time::Duration::from_millis(1_100));
        hold(false).unwrap();
    });
}

#[test]
fn one_at_a_time_has_the_claim() {
    on_each(|gateway, commands| {
        let id = hold(gateway, "2026-11-23T06:11:12Z", b"x");
        let claim = commands.quarantine.claim(&id, &by()).unwrap();
        for state in [gateway, commands] {
            assert!(matches!(state.quarantine.claim(&id, &by()), Err(StoreError::Claimed(_))));
            assert!(matches!(state.quarantine.delete(&id, &by()), Err(StoreError::Claimed(_))));
        }
        drop(claim);
        gateway.quarantine.claim(&id, &by()).unwrap().delete(Removal::Deleted).unwrap();
        assert!(matches!(commands.quarantine.claim(&id, &by()), Err(StoreError::UnknownId(_))));
    });
}

#[test]
fn each_step_of_a_release_outlives_who_took_it() {
    on_each(|gateway, commands| {
        let id = hold(gateway, "2026-11-23T06:11:12Z", b"x");
        let known = |state: &State| {
            let releases = state.quarantine.releases(&id).unwrap();
            let in_doubt: Vec<usize> = releases.in_doubt.keys().copied().collect();
            (releases.delivered.into_iter().collect::<Vec<_>>(), in_doubt)
        };
        assert_eq!(known(commands), (vec![], vec![]));
        let mut claim = gateway.quarantine.claim(&id, &by()).unwrap();
        claim.sending(&[0, 1, 2]).unwrap();
        assert_eq!(known(commands), (vec![], vec![0, 1, 2]));
        drop(claim);
        let mut claim = commands.quarantine.claim(&id, &by()).unwrap();
        assert_eq!(claim.releases().in_doubt.len(), 3);
        claim.answered(&[0], &[1], None).unwrap();
        assert_eq!(claim.releases().in_doubt.len(), 1);
        drop(claim);
        assert_eq!(known(gateway), (vec![0], vec![2]));
    });
}

#[test]
fn changes_of_pins_at_once_are_all_kept() {
    on_each(|gateway, commands| {
        let before = gateway.pins.stamp().unwrap();
        assert!(gateway.pins.read().unwrap().pins.is_empty());
        thread::scope(|scope| {
            for n in 0..20 {
                scope.spawn(move || {
                    let domain = format!("d{n:02}.example");
                    let pin = SaidPin { domain, roots: vec![key(1).to_base64url()], ..SaidPin::default() };
                    commands.pins.change(&mut |said| said.pins.push(pin.clone())).unwrap();
                });
            }
        });
        let said = gateway.pins.read().unwrap();
        assert_eq!(said.pins.len(), 20);
        assert!(said.pins.is_sorted_by(|a, b| a.domain < b.domain));
        let is_seen = || (gateway.pins.stamp().unwrap() != before).then_some(());
        assert!(crate::program::wait_for(is_seen).is_some());
        let mut pins = Pins::default();
        gateway.pins.add_to(&mut pins).unwrap();
        assert!(pins.covers(&domain("d07.example")));
        commands.pins.change(&mut |said| said.also_unsealed.push("a b".to_owned())).unwrap();
        let error = gateway.pins.add_to(&mut Pins::default()).unwrap_err().to_string();
        assert!(error.contains("is not a domain name"), "{error}");
    });
}

#[test]
fn the_newest_probes_are_kept() {
    on_each(|gateway, commands| {
        // A state folder is there when a probe is sent.
        assert!(gateway.quarantine.check_writable().is_ok());
        for n in 0..52 {
            commands.probes.keep(&format!("id-{n:03}"), b"probe \xff").unwrap();
        }
        assert_eq!(gateway.probes.read("id-001").unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert_eq!(gateway.probes.read("id-002").unwrap(), b"probe \xff");
    });
}

#[test]
fn commands_make_nothing() {
    on_each_place(|place| {
        let state = State::open(place);
        assert!(
            state.memories.list(None, NOW).unwrap_err().to_string().contains("nothing is remembered yet")
        );
        assert!(state.judgements.since(NOW).is_err());
        assert!(state.quarantine.claim(&"20261123T061112-7f3a9c".parse().unwrap(), &by()).is_err());
        let is_empty = |folder: &Path| std::fs::read_dir(folder).unwrap().next().is_none();
        assert!(place.server.is_some() || is_empty(&place.folder));
    });
}
