//! Memory over several messages, kept by the real store: SPEC.md §9.3, §9.4 and §10. Who can forge
//! unsigned DNS answers, and re-send what he saw, gets nothing out of it beyond a first contact.

use attachment_seal::seal::delegation::Delegation;
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::Answer;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::policy_record::Request;
use attachment_seal::seal::remembered::RECENT;
use attachment_seal::verdict::lesson::Observation;
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{Ground, Lookup, Reason, Trust, Verdict, Verification};
use tempfile::TempDir;
use waxseal::store::{Entry, Judged, KeyState, Recorder, State};

use crate::world::*;

/// A verifying site: its memory on disk, DNS as each message meets it.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A message comes in at `now`: judged by what is remembered, which then learns.
    fn receive_at(&self, now: u64, mut world: World, text: &str) -> Verification {
        let message = Message::new(text.as_bytes());
        let (recorder, thread) =
            Recorder::start(State::open_to_serve(&self.0.path().into()).unwrap().memories).unwrap();
        world.memory = recorder.recall(&message.wanted_memories(), now).unwrap();
        let found = verify(&message, &world.knowledge(), now);
        let author = domain(text.split_once("From: a@").unwrap().1.split("\r\n").next().unwrap());
        let observation = Observation::of(&found, Some(&author), now);
        recorder.record(Entry { observation, ..Entry::of(judged(&found, now)) });
        drop(recorder);
        thread.join().unwrap();
        found
    }

    fn receive(&self, world: World, text: &str) -> Verification {
        self.receive_at(NOW + 600, world, text)
    }

    /// Three messages of example.org, sealed with this key, which an unsigned answer names.
    fn befriended(seed: u8) -> Self {
        let site = Self::new();
        for _ in 0..3 {
            let message = sealed_at(NOW, DOMAIN, seed, None, &letter("a@example.org"));
            let found = site.receive(World::default().keys(DOMAIN, &[record(seed)], false), &message);
            assert_eq!(found.verdict(), Verdict::Pass);
        }
        site
    }

    fn keys(&self, name: &str) -> Vec<(u8, KeyState)> {
        let keys = State::open(&self.0.path().into()).memories.keys(&domain(name)).unwrap();
        let seed = |public| (0..20).find(|seed| key(*seed).public() == public).unwrap();
        let mut keys: Vec<_> = keys.iter().map(|known| (seed(known.key), known.state)).collect();
        keys.sort_by_key(|(seed, _)| *seed);
        keys
    }
}

fn judged(found: &Verification, at: u64) -> Judged {
    Judged {
        at,
        session: String::new(),
        verdict: found.verdict().as_str().to_owned(),
        reason: None,
        known: None,
        trust: None,
        asked: "deliver".to_owned(),
        done: "deliver".to_owned(),
        from_domain: None,
        domain: None,
        reverse_path: String::new(),
        recipients: 1,
        message_id: None,
        attachments: Vec::new(),
        summary: String::new(),
        held: None,
        queue_id: None,
        arrived_as: None,
    }
}

fn nothing() -> World {
    World::default().key_answer(DOMAIN, Answer::NotFound { secure: false })
}

fn unsigned(seed: u8) -> World {
    World::default().keys(DOMAIN, &[record(seed)], false)
}

fn vouched(by: u8, seed: u8) -> String {
    sealed_by(DOMAIN, seed, Some(delegation(by, seed, "s")), &letter("a@example.org"))
}

/// docs/SPEC.md §9.3: a stolen sealing key dies with its delegation. Remembering it must not make it immortal: it vouches
/// for no other key, and no unsigned answer brings it back.
#[test]
fn a_key_that_a_root_delegated_to_is_remembered_as_no_more_than_that() {
    let site = Site::new();
    for (n, trust) in [(0, Trust::Dns), (1, Trust::Remembered), (2, Trust::Remembered)] {
        let letter = letter("a@example.org");
        let message = sealed_at(NOW + n, DOMAIN, 1, Some(delegation(5, 1, "s")), &letter);
        let found = site.receive(World::default().root(DOMAIN, 5, false), &message);
        assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(trust)));
    }
    assert_eq!(site.keys(DOMAIN), [(1, KeyState::Delegated), (5, KeyState::Accepted)]);

    // With the stolen key 1 and unsigned answers of all kinds:
    let plain = sealed(1);
    for (what, world, message) in [
        ("another key delegated to", nothing(), vouched(1, 9)),
        ("and named", unsigned(9), vouched(1, 9)),
        ("itself named without its delegation", unsigned(1), plain.clone()),
        ("as a root", World::default().root(DOMAIN, 1, false), vouched(1, 9)),
    ] {
        assert_eq!(site.receive(world, &message).verdict(), Verdict::KeyChanged, "{what}");
    }
    let late = sealed_at(NOW + 31 * DAY, DOMAIN, 1, None, &letter("a@example.org"));
    let found = site.receive_at(NOW + 31 * DAY, unsigned(1), &late);
    assert_eq!(found.verdict(), Verdict::KeyChanged, "after its time");

    // The root's word goes on counting, for this key and for the next, without DNS.
    for seed in [1, 2] {
        let found = site.receive(nothing(), &vouched(5, seed));
        assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(Trust::Remembered)), "{seed}");
    }
    // What DNSSEC proves stands by itself from then on.
    let proved = World::default().keys(DOMAIN, &[record(1)], true);
    assert_eq!(site.receive(proved, &plain).verdict(), Verdict::Pass);
    assert_eq!(site.receive(unsigned(1), &plain).verdict(), Verdict::Pass);
}

/// docs/SPEC.md §9.4: where key and root are both published, it is the root that is learnt, so that the next key needs no
/// DNSSEC.
#[test]
fn a_root_published_beside_the_key_is_learnt() {
    let both = |seed| World::default().root(DOMAIN, 5, false).keys(DOMAIN, &[record(seed)], false);
    let site = Site::new();
    assert_eq!(site.receive(both(1), &vouched(5, 1)).verdict(), Verdict::Pass);
    let next = site.receive(both(2), &vouched(5, 2));
    assert_eq!((next.verdict(), next.trust()), (Verdict::Pass, Some(Trust::Remembered)));
    // A key on trial is on trial by whichever way it is found.
    let trial = KeyRecord { trial: true, ..record(1) };
    let world = World::default().root(DOMAIN, 5, false).keys(DOMAIN, &[trial], false);
    assert!(Site::new().receive(world, &vouched(5, 1)).trial());
}

/// SPEC.md §9.4: any further key is accepted if it is delegated by a remembered key seen within 90 days; §9.3:
/// the next key of a rotation is a key like the one before.
#[test]
fn an_earlier_sealing_key_vouches_and_the_next_one_too() {
    let site = Site::befriended(1);
    assert_eq!(site.receive(nothing(), &vouched(1, 2)).verdict(), Verdict::Pass);
    assert_eq!(site.keys(DOMAIN), [(1, KeyState::Accepted), (2, KeyState::Accepted)]);
    assert_eq!(site.receive(unsigned(2), &sealed(2)).trust(), Some(Trust::Remembered));
    assert_eq!(site.receive(nothing(), &vouched(2, 3)).verdict(), Verdict::Pass);

    let late = NOW + RECENT + DAY;
    let (domain, selector) = (domain(DOMAIN), "s".parse().unwrap());
    let delegation =
        Delegation::new(&key(1), &domain, &selector, key(4).public(), (late - 1, late + DAY)).unwrap();
    let message = sealed_at(late, DOMAIN, 4, Some(delegation), &letter("a@example.org"));
    assert_eq!(site.receive_at(late, nothing(), &message).verdict(), Verdict::UnknownKey);
    assert_eq!(site.receive_at(late, unsigned(4), &message).verdict(), Verdict::KeyChanged);
}

/// docs/SPEC.md §9.4: a forged answer that revokes a key stops its mail for as long as it is heard, and no longer: anybody
/// can make up the message that goes with it. What DNSSEC proves is revoked for good.
#[test]
fn only_a_proved_revocation_lasts() {
    let site = Site::befriended(1);
    let revoked = |secure| World::default().keys(DOMAIN, &[REVOKED], secure);
    for message in [sealed(1), sealed(9)] {
        let found = site.receive(revoked(false), &message);
        assert_eq!((found.verdict(), found.trial()), (Verdict::Fail(Reason::RevokedKey), false));
        assert_eq!(found.key_lookup(), Some(Lookup::Insecure));
    }
    assert_eq!(site.receive(unsigned(1), &sealed(1)).trust(), Some(Trust::Remembered));

    assert_eq!(site.receive(revoked(true), &sealed(1)).verdict(), Verdict::Fail(Reason::RevokedKey));
    assert_eq!(site.keys(DOMAIN), [(1, KeyState::Revoked)]);
    assert_eq!(site.receive(unsigned(1), &sealed(1)).verdict(), Verdict::KeyChanged);
    assert_eq!(site.receive(nothing(), &vouched(1, 2)).verdict(), Verdict::KeyChanged, "nor does it vouch");
    let proved = World::default().keys(DOMAIN, &[record(1)], true);
    assert_eq!(site.receive(proved, &sealed(1)).verdict(), Verdict::Pass);
}

/// SPEC.md §10: a domain is known to seal when it passed 3 times within 90 days.
#[test]
fn three_passes_within_90_days_make_a_sealer() {
    let site = Site::new();
    let bare = letter("a@example.org");
    for _ in 0..2 {
        assert_eq!(site.receive(unsigned(1), &sealed(1)).verdict(), Verdict::Pass);
    }
    assert_eq!(site.receive(nothing(), &bare).verdict(), Verdict::None);
    // Of the same second, as a script may send them.
    assert_eq!(site.receive(unsigned(1), &sealed(1)).verdict(), Verdict::Pass);
    let found = site.receive(nothing(), &bare);
    assert_eq!((found.verdict(), found.known()), (Verdict::Missing, Some(Ground::Memory)));
    assert_eq!(site.receive_at(NOW + 600 + RECENT, nothing(), &bare).verdict(), Verdict::Missing);
    assert_eq!(site.receive_at(NOW + 601 + RECENT, nothing(), &bare).verdict(), Verdict::None);
}

/// SPEC.md §10: memory counts only verdicts of aligned, valid seals, and neither what failed nor what expired is a pass.
#[test]
fn nothing_but_a_pass_counts_as_one() {
    let bare = letter("a@example.org");
    let site = Site::new();
    for n in 0..3 {
        let message = sealed_at(NOW + n, DOMAIN, 1, None, &bare);
        let swapped = message.replace("Message-ID: <1@", "Message-ID: <2@");
        assert_eq!(site.receive(unsigned(1), &swapped).verdict(), Verdict::Fail(Reason::OtherMessage));
        let late = NOW + 2 * DAY;
        assert_eq!(site.receive_at(late, unsigned(1), &message).verdict(), Verdict::Expired);
        let strangers = sealed_at(NOW + n, DOMAIN, 1, None, &letter("a@other.example"));
        assert_eq!(site.receive(unsigned(1), &strangers).verdict(), Verdict::Unaligned);
        let trial = KeyRecord { trial: true, ..record(2) };
        let on_trial = sealed_at(NOW + n, "trial.example", 2, None, &letter("a@trial.example"));
        let world = World::default().keys("trial.example", &[trial], false);
        assert_eq!(site.receive(world, &on_trial).verdict(), Verdict::Pass);
    }
    assert_eq!(site.receive(nothing(), &bare).verdict(), Verdict::None);
    assert_eq!(site.receive(nothing(), &letter("a@trial.example")).verdict(), Verdict::None);
    assert_eq!(site.receive(nothing(), &letter("a@other.example")).verdict(), Verdict::None);
}

/// docs/SPEC.md §9.4: of a domain whose mail its parent seals, no unsigned answer makes a first key: changing `d` is as
/// little a way out as changing `s`. A domain that nothing was seen of is a first contact.
#[test]
fn a_subdomain_is_no_way_out() {
    let site = Site::befriended(1);
    let child = "hq.example.org";
    let by_parent = sealed_by(DOMAIN, 1, None, &letter("a@hq.example.org"));
    assert_eq!(site.receive(unsigned(1), &by_parent).verdict(), Verdict::Pass);

    let by_child = sealed_by(child, 9, None, &letter("a@hq.example.org"));
    let forged = World::default().keys(child, &[record(9)], false);
    assert_eq!(site.receive(forged, &by_child).verdict(), Verdict::KeyChanged);
    // An administrator who asked can approve it, and what DNSSEC proves is accepted.
    assert_eq!(site.keys(child), [(9, KeyState::Offered)]);
    let proved = World::default().keys(child, &[record(9)], true);
    assert_eq!(site.receive(proved, &by_child).verdict(), Verdict::Pass);

    let new = sealed_by("new.example.org", 9, None, &letter("a@new.example.org"));
    let found = site.receive(World::default().keys("new.example.org", &[record(9)], false), &new);
    assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(Trust::Dns)));
}

/// SPEC.md §10: a further key under the same selector is `key-changed`, too, where the known one stands beside it; it is the
/// key that sealed which waits for approval.
#[test]
fn a_further_key_beside_the_known_one_is_key_changed() {
    let site = Site::befriended(1);
    let named = |seeds: &[u8]| {
        World::default().keys(DOMAIN, &seeds.iter().map(|seed| record(*seed)).collect::<Vec<_>>(), false)
    };
    assert_eq!(site.receive(named(&[3, 2, 1]), &sealed(1)).trust(), Some(Trust::Remembered));
    let found = site.receive(named(&[3, 1, 2]), &sealed(2));
    assert_eq!((found.verdict(), found.trust()), (Verdict::KeyChanged, None));
    assert_eq!(site.keys(DOMAIN), [(1, KeyState::Accepted), (2, KeyState::Offered)]);
    // Nobody's key is offered by a message that it did not seal.
    let found = site.receive(named(&[1, 3]), &sealed(9));
    assert_eq!(found.verdict(), Verdict::Fail(Reason::BadSignature));
    assert_eq!(site.receive(named(&[3]), &sealed(9)).verdict(), Verdict::KeyChanged);
    assert_eq!(site.keys(DOMAIN).len(), 2);
}

/// docs/SPEC.md §10: an insecure `p=none` is not heard where a key is remembered, be it after one message.
#[test]
fn a_forged_policy_lets_no_remembered_domain_off() {
    let site = Site::new();
    site.receive(unsigned(1), &sealed(1));
    for (request, secure, heard) in [
        (Request::None, false, None),
        (Request::None, true, Some(Request::None)),
        (Request::Reject, false, Some(Request::Reject)),
    ] {
        let found = site.receive(unsigned(1).policy(DOMAIN, request, secure), &sealed(9));
        assert_eq!((found.verdict(), found.published()), (Verdict::Fail(Reason::BadSignature), heard));
    }
}

/// A clock that was ahead for a while, or is set back, takes nothing that is remembered away.
#[test]
fn a_wrong_clock_forgets_nobody() {
    let site = Site::befriended(1);
    let other = sealed_by("other.example", 2, None, &letter("a@other.example"));
    let world = || World::default().keys("other.example", &[record(2)], false);
    site.receive_at(NOW + 1_000 * DAY, world(), &other);
    site.receive_at(NOW + 1_001 * DAY, world(), &other);
    site.receive_at(NOW - 1_000 * DAY, world(), &other);
    let found = site.receive(unsigned(9), &sealed(9));
    assert_eq!(found.verdict(), Verdict::KeyChanged);
    assert_eq!(site.receive(nothing(), &letter("a@example.org")).verdict(), Verdict::Missing);
}
