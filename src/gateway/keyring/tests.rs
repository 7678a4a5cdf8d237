//! The rules by example, and what must hold whatever happens: keys come and go, records appear and vanish, the clock is set back,
//! the gateway starts again, and what it knew is lost.

use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400;
const START: u64 = 20_000 * DAY;
/// For how long an absence is remembered, in seconds.
const TTL: u32 = 600;
const LIFETIME: u64 = 14 * DAY;

fn held(selector: &str) -> Held {
    let (selector, public) = (selector.to_owned(), format!("public half of {selector}"));
    Held { selector, public, made: None, not_before: None, is_delegated: true, is_revoked: false }
}

fn looks(found: &[(&str, Found)]) -> HashMap<Name, Look> {
    let look = |(selector, found): &(&str, Found)| {
        let look = Look { found: *found, negative_ttl: TTL, answers: Vec::new() };
        let Held { selector, public, .. } = held(selector);
        ((selector, public), look)
    };
    found.iter().map(look).collect()
}

fn sealing(ring: &Keyring) -> Option<&str> {
    ring.sealing().map(|key| key.selector.as_str())
}

fn states(ring: &Keyring, now: u64) -> Vec<(&str, &'static str)> {
    ring.statuses(LIFETIME, now).map(|status| (status.key.selector.as_str(), status.state.as_str())).collect()
}

#[test]
fn one_key_follows_the_other() {
    let (mut ring, mut now) = (Keyring::default(), START);
    let both = [held("gate1"), held("gate2")];
    // The first seals from the beginning, published or not.
    ring.advance(&both[..1], &HashMap::new(), now);
    assert_eq!((sealing(&ring), states(&ring, now)), (Some("gate1"), vec![("gate1", "sealing")]));
    ring.advance(&both[..1], &looks(&[("gate1", Found::Nowhere)]), now);
    assert_eq!((sealing(&ring), states(&ring, now)), (Some("gate1"), vec![("gate1", "publish")]));
    ring.advance(&both[..1], &looks(&[("gate1", Found::Everywhere)]), now);

    ring.advance(&both, &looks(&[("gate2", Found::Partly)]), now);
    assert_eq!(states(&ring, now), [("gate1", "sealing"), ("gate2", "publish")]);
    ring.advance(&both, &looks(&[("gate2", Found::Everywhere)]), now);
    let settled = now + u64::from(TTL);
    let last = ring.statuses(LIFETIME, now).last().unwrap();
    assert_eq!((last.state, last.words()), (State::Waiting(settled), "waiting until 00:10".to_owned()));
    assert!(ring.next_look(LIFETIME, now).any(|(key, at)| key.selector == "gate2" && at <= settled));
    // Neither the time alone nor an old answer will do.
    now = settled;
    ring.advance(&both, &HashMap::new(), now);
    assert_eq!(sealing(&ring), Some("gate1"));
    ring.advance(&both, &looks(&[("gate2", Found::Everywhere)]), now);
    assert_eq!((sealing(&ring), ring.voucher().unwrap().selector.as_str()), (Some("gate2"), "gate1"));
    assert_eq!(states(&ring, now), [("gate1", "old"), ("gate2", "sealing")]);
    let until = ring.statuses(LIFETIME, now).next().unwrap().state.until().unwrap();
    assert_eq!(until, now + LIFETIME + 7 * DAY);

    // Taken away too early, and in time.
    ring.advance(&both, &looks(&[("gate1", Found::Nowhere)]), now);
    assert_eq!(states(&ring, now)[0], ("gate1", "publish"));
    ring.advance(&both, &looks(&[("gate1", Found::Everywhere)]), until);
    assert_eq!(states(&ring, until)[0], ("gate1", "remove"));
    ring.advance(&both[1..], &looks(&[("gate1", Found::Nowhere)]), until);
    assert_eq!((states(&ring, until)[0], ring.voucher()), (("gate1", "done"), None));
    ring.forget(LIFETIME, until);
    assert_eq!(states(&ring, until), [("gate2", "sealing")]);
}

/// What was remembered by somebody once more is waited for anew; a server that is silent has told nothing.
#[test]
fn a_record_that_goes_again_is_waited_for_anew() {
    let both = [held("gate1"), held("gate2")];
    for (between, at_once) in [(Found::Nowhere, false), (Found::Partly, false), (Found::Silent, true)] {
        let mut ring = Keyring::default();
        ring.advance(&both[..1], &HashMap::new(), START);
        ring.advance(&both, &looks(&[("gate2", Found::Everywhere)]), START);
        ring.advance(&both, &looks(&[("gate2", between)]), START + 1);
        let later = START + u64::from(TTL);
        ring.advance(&both, &looks(&[("gate2", Found::Everywhere)]), later);
        assert_eq!(sealing(&ring) == Some("gate2"), at_once, "{between:?}");
        ring.advance(&both, &looks(&[("gate2", Found::Everywhere)]), later + u64::from(TTL));
        assert_eq!(sealing(&ring), Some("gate2"));
    }
}

/// A clock that ran ahead for a while makes nobody wait as long.
#[test]
fn a_clock_that_was_ahead_costs_no_more_than_the_wait() {
    let both = [held("gate1"), held("gate2")];
    let found = looks(&[("gate2", Found::Everywhere)]);
    let mut ring = Keyring::default();
    ring.advance(&both[..1], &HashMap::new(), START);
    ring.advance(&both, &found, START + 365 * DAY);
    for (now, seals) in [(START, "gate1"), (START + u64::from(TTL), "gate2")] {
        ring.advance(&both, &found, now);
        assert_eq!(sealing(&ring), Some(seals));
    }
}

#[test]
fn a_revoked_key_seals_no_more_and_vouches_for_nothing() {
    let mut ring = Keyring::default();
    let mut keys = [held("gate1"), held("gate2"), held("gate3")];
    let all = looks(&[("gate1", Found::Everywhere), ("gate2", Found::Everywhere), ("gate3", Found::Nowhere)]);
    ring.advance(&keys[..1], &HashMap::new(), START);
    ring.advance(&keys, &all, START);
    ring.advance(&keys, &all, START + DAY);
    assert_eq!((sealing(&ring), ring.voucher().unwrap().selector.as_str()), (Some("gate2"), "gate1"));
    keys[0].is_revoked = true;
    ring.advance(&keys, &HashMap::new(), START + DAY);
    assert_eq!((sealing(&ring), ring.voucher()), (Some("gate2"), None));
    keys[1].is_revoked = true;
    ring.advance(&keys, &all, START + DAY);
    // A file that is gone by then changes nothing, nor one that comes back.
    ring.advance(&[held("gate1"), held("gate2"), held("gate3")], &all, START + DAY);
    assert_eq!((sealing(&ring), ring.voucher()), (None, None));
    assert_eq!(states(&ring, START + DAY), [("gate1", "revoke"), ("gate2", "revoke"), ("gate3", "publish")]);
    // Every minute costs mail, so that nothing but its record is waited for.
    let published =
        looks(&[("gate3", Found::Everywhere), ("gate2", Found::Revoked), ("gate1", Found::Nowhere)]);
    ring.advance(&keys, &published, START + DAY);
    assert_eq!((sealing(&ring), ring.voucher()), (Some("gate3"), None));
    assert_eq!(states(&ring, START + DAY), [("gate1", "revoke"), ("gate2", "done"), ("gate3", "sealing")]);
}

/// Where a key was revoked while we were away, only its selector is known.
#[test]
fn a_key_that_was_never_seen_may_be_revoked() {
    let mut ring = Keyring::default();
    let gone = Held { public: String::new(), is_revoked: true, ..held("gate1") };
    ring.advance(&[gone.clone(), held("gate2")], &HashMap::new(), START);
    // It is no domain's first key.
    assert_eq!(
        (sealing(&ring), states(&ring, START)),
        (None, vec![("gate1", "revoke"), ("gate2", "publish")])
    );
    ring.advance(&[gone, held("gate2")], &looks(&[("gate2", Found::OnTrial)]), START);
    assert_eq!(sealing(&ring), Some("gate2"));
}

/// Without what was known, the oldest key that all find seals, until the newest has been found for long enough.
#[test]
fn what_was_known_may_be_lost() {
    let mut ring = Keyring::default();
    let keys = [held("gate8"), held("gate9"), held("gate10")];
    ring.advance(&keys, &HashMap::new(), START);
    assert_eq!(sealing(&ring), None);
    let found =
        looks(&[("gate8", Found::Nowhere), ("gate9", Found::Everywhere), ("gate10", Found::Everywhere)]);
    ring.advance(&keys, &found, START);
    assert_eq!(sealing(&ring), Some("gate9"));
    ring.advance(&keys, &found, START + u64::from(TTL));
    assert_eq!((sealing(&ring), ring.voucher().unwrap().selector.as_str()), (Some("gate10"), "gate9"));
    assert_eq!(states(&ring, START), [("gate8", "done"), ("gate9", "old"), ("gate10", "sealing")]);
}

/// Correspondents are told first, and the root vouches first.
#[test]
fn a_key_may_have_to_wait_for_people() {
    let mut keys =
        [held("gate1"), Held { not_before: Some(START + DAY), is_delegated: false, ..held("gate2") }];
    let mut ring = Keyring::default();
    let found = looks(&[("gate2", Found::Everywhere)]);
    ring.advance(&keys[..1], &HashMap::new(), START);
    ring.advance(&keys, &found, START);
    assert_eq!(states(&ring, START)[1], ("gate2", "delegate"));
    keys[1].is_delegated = true;
    for (now, seals) in [(START + DAY - 1, "gate1"), (START + DAY, "gate2")] {
        ring.advance(&keys, &found, now);
        assert_eq!(sealing(&ring), Some(seals));
    }
}

/// A key that waits for its day is not the older one because another was made and sealed before that day.
#[test]
fn a_key_for_later_outlasts_one_made_meanwhile() {
    let first = Held { made: Some(START), ..held("gate1") };
    let later = Held { made: Some(START + 10), not_before: Some(START + DAY), ..held("gate2") };
    let meanwhile = Held { made: Some(START + 20), ..held("gate3") };
    let (keys, mut ring) = ([first, later, meanwhile], Keyring::default());
    let found = looks(&[("gate2", Found::Everywhere), ("gate3", Found::Everywhere)]);
    ring.advance(&keys[..1], &HashMap::new(), START);
    for (now, expected) in [
        (START + 20, [("gate1", "sealing"), ("gate3", "waiting"), ("gate2", "waiting")]),
        (START + 20 + u64::from(TTL), [("gate1", "old"), ("gate3", "sealing"), ("gate2", "waiting")]),
        (START + DAY, [("gate1", "old"), ("gate3", "old"), ("gate2", "sealing")]),
    ] {
        ring.advance(&keys, &found, now);
        assert_eq!(states(&ring, now), expected);
    }
}

/// Of keys that say when they were made the last is the newest, whatever it is called.
#[test]
fn keys_are_ordered_by_age() {
    let key = |selector: &str, made| Known { selector: selector.to_owned(), made, ..Known::default() };
    let mut keys = [
        key("b", Some(2)),
        key("z", Some(1)),
        key("gate10", None),
        key("gate9", None),
        key("a-2-1", None),
        key("a-2", None),
    ];
    keys.sort_by(|a, b| a.age().cmp(&b.age()));
    let selectors: Vec<&str> = keys.iter().map(|key| key.selector.as_str()).collect();
    assert_eq!(selectors, ["a-2", "a-2-1", "gate9", "gate10", "z", "b"]);
}

/// What may happen to a domain's keys between two looks.
#[derive(Clone, Debug)]
enum Event {
    /// A key is made, the `u64` is the number of seconds for which it may not seal.
    Make(Option<u64>),
    /// Some name server's or resolver's answer changes.
    Answer(usize, Found),
    /// A key is revoked.
    Revoke(usize),
    /// A key's file is lost.
    Lose(usize),
    /// Time passes.
    Pass(u64),
    /// The clock is set back.
    SetBack(u64),
    /// The gateway starts again.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    use Found::{Everywhere, Nowhere, OnTrial, Partly, Revoked, Silent, Unknown};
    let found = prop_oneof![
        5 => Just(Everywhere),
        2 => Just(Silent),
        1 => Just(Partly),
        1 => Just(Nowhere),
        1 => Just(Unknown),
        1 => Just(OnTrial),
        1 => Just(Revoked),
    ];
    let event = prop_oneof![
        3 => prop::option::of(0..2_000_u64).prop_map(Event::Make),
        6 => (0..6_usize, found).prop_map(|(key, found)| Event::Answer(key, found)),
        1 => (0..6_usize).prop_map(Event::Revoke),
        1 => (0..6_usize).prop_map(Event::Lose),
        6 => (0..900_u64).prop_map(Event::Pass),
        1 => (1..5_000_u64).prop_map(Event::SetBack),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 0..60)
}

/// A domain, and what is true of it.
#[derive(Default)]
struct World {
    ring: Keyring,
    keys: Vec<Held>,
    lost: Vec<bool>,
    answers: Vec<Found>,
    /// The second of true time at which each key's record was last denied or not yet asked for.
    denied: Vec<u64>,
    true_time: u64,
    /// By which the clock is behind true time.
    behind: u64,
}

impl World {
    fn now(&self) -> u64 {
        START + self.true_time - self.behind
    }

    fn happen(&mut self, event: &Event) {
        let count = self.keys.len();
        match *event {
            Event::Make(wait) => {
                let not_before = wait.map(|wait| self.now() + wait);
                self.keys.push(Held {
                    made: Some(START + count as u64),
                    not_before,
                    ..held(&format!("key{count}"))
                });
                self.lost.push(false);
                self.answers.push(Found::Nowhere);
                self.denied.push(self.true_time);
            }
            Event::Answer(key, found) if key < count => self.answers[key] = found,
            Event::Revoke(key) if key < count => self.keys[key].is_revoked = true,
            Event::Lose(key) if key < count => self.lost[key] = true,
            Event::Pass(seconds) => self.true_time += seconds,
            Event::SetBack(seconds) => self.behind += seconds,
            Event::Restart => {
                let text = serde_json::to_string(&self.ring).unwrap();
                self.ring = serde_json::from_str(&text).unwrap();
            }
            Event::Answer(..) | Event::Revoke(_) | Event::Lose(_) => {}
        }
    }

    fn look(&mut self) {
        let held: Vec<Held> = self
            .keys
            .iter()
            .zip(&self.lost)
            .filter(|(_, lost)| !**lost)
            .map(|(key, _)| key.clone())
            .collect();
        let look = |found| Look { found, negative_ttl: TTL, answers: Vec::new() };
        let looks: HashMap<Name, Look> = self
            .keys
            .iter()
            .zip(&self.answers)
            .map(|(key, answer)| ((key.selector.clone(), key.public.clone()), look(*answer)))
            .collect();
        for (denied, answer) in self.denied.iter_mut().zip(&self.answers) {
            if answer.is_denied() {
                *denied = self.true_time;
            }
        }
        self.ring.advance(&held, &looks, self.now());
    }

    /// What orders keys by age.
    fn age(&self, key: usize) -> (Option<u64>, usize) {
        (self.keys[key].made.max(self.keys[key].not_before), key)
    }

    fn number(&self, key: &Known) -> usize {
        self.keys.iter().position(|held| held.selector == key.selector).unwrap()
    }
}

proptest! {
    #[test]
    fn whatever_happens(events in events()) {
        let mut world = World::default();
        for event in &events {
            let before = world.ring.sealing().map(|key| world.number(key));
            world.happen(event);
            world.look();
            let ring = &world.ring;
            prop_assert!(ring.keys().iter().filter(|key| key.seals()).count() <= 1);
            prop_assert!(ring.voucher().is_none_or(|key| !world.keys[world.number(key)].is_revoked));
            let Some(after) = ring.sealing().map(|key| world.number(key)) else {
                // A key that may seal goes on, whatever DNS says.
                prop_assert!(before.is_none_or(|before| world.keys[before].is_revoked || world.lost[before]));
                continue;
            };
            prop_assert!(!world.keys[after].is_revoked && !world.lost[after]);
            if before == Some(after) {
                continue;
            }
            prop_assert!(world.keys[after].not_before.is_none_or(|from| from <= world.now()));
            let found = world.answers[after];
            match before.filter(|before| !world.keys[*before].is_revoked && !world.lost[*before]) {
                // Nobody may fail to find it, and it is newer.
                Some(before) => {
                    prop_assert_eq!(found, Found::Everywhere);
                    prop_assert!(world.age(before) < world.age(after));
                    prop_assert!(world.true_time - world.denied[after] >= u64::from(TTL));
                }
                None => prop_assert!(found.is_given() || world.keys.len() == 1),
            }
        }
        // In the end the newest seals, if it is published for long enough.
        world.answers.iter_mut().for_each(|answer| *answer = Found::Everywhere);
        for _ in 0..2 {
            world.look();
            world.true_time += 1_000_000;
        }
        world.look();
        let usable = |key: &usize| !world.keys[*key].is_revoked && !world.lost[*key];
        let newest = (0..world.keys.len()).filter(usable).max_by_key(|key| world.age(*key));
        prop_assert_eq!(world.ring.sealing().map(|key| world.number(key)), newest);
    }
}
