//! Setup and undo killed at many points: Postfix has its old or its new configuration, takes mail, and the next run finishes the
//! work or takes it back.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::run::kill;
use crate::program::smtp::Client;
use crate::program::{letter, wait_for};
use crate::site::{DESK, Site, stock};

/// In how many places each is killed.
const POINTS: u32 = 12;

const OPTIONS: &[&str] = &["--domain", "example.org", "--selector", "gate1"];

/// The state that an interruption left.
fn assert_whole(site: &Site, states: [&str; 2], point: u32) {
    let now = site.master_text();
    assert!(states.contains(&now.as_str()), "point {point}: neither old nor new:\n{now}");
    let config = fs::read_to_string(site.config()).unwrap_or_default();
    assert!(config.is_empty() || config.ends_with("\"\n"), "point {point}: half a configuration: {config}");
    let letter = letter::plain("someone@example.net", &format!("point {point}"));
    // Where Postfix reads its configuration anew just now, a client may be asked to come back.
    let is_taken = || {
        let answer = Client::hello(site.at(25)).deliver("someone@example.net", DESK, &letter);
        assert!(answer.starts_with("250") || answer.starts_with("451"), "point {point}: {answer}");
        answer.starts_with("250").then_some(())
    };
    assert!(wait_for(is_taken).is_some(), "point {point}: no mail is taken");
}

/// Nothing is left of unfinished files.
fn assert_tidy(site: &Site) {
    for folder in [site.postfix.config(), site.folder.path().to_owned()] {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with(".waxseal"), "{name} is left");
        }
    }
}

/// How long it takes until master.cf is another.
fn measure(site: &Site, more: &[&str]) -> Duration {
    let (before, start) = (site.master_text(), Instant::now());
    let mut child = site.start(more);
    while site.master_text() == before {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing changes");
        thread::sleep(Duration::from_millis(2));
    }
    let taken = start.elapsed();
    child.wait().unwrap();
    taken
}

#[test]
fn at_no_point_is_anything_half_done() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let old = site.master_text();
    // It goes on when the configuration goes away: what it read is what setup writes anew.
    let (_, _gateway) = site.set_up(OPTIONS);
    let new = site.master_text();
    let states = [old.as_str(), new.as_str()];
    assert_eq!(site.run(&["--undo"]).status, 0);
    let taken = measure(&site, OPTIONS);
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(site.master_text(), old);

    let mut seen = [0; 2];
    for point in 0..POINTS {
        let mut child = site.start(OPTIONS);
        if point < POINTS * 3 / 4 {
            thread::sleep(taken * 4 * point / (3 * POINTS));
        } else {
            // Just behind the change, however long that takes this time.
            assert!(wait_for(|| (site.master_text() == new).then_some(())).is_some(), "point {point}");
            thread::sleep(Duration::from_millis(20) * (point - POINTS * 3 / 4));
        }
        kill(&mut child);
        assert_whole(&site, states, point);
        seen[usize::from(site.master_text() == new)] += 1;
        if point % 2 == 0 {
            let finished = site.run_yes(OPTIONS);
            assert_eq!(finished.status, 0, "point {point}: {finished:?}");
            assert_eq!(site.master_text(), new, "point {point}");
            assert!(site.config_sets_something());
        }
        let undone = site.run(&["--undo"]);
        assert_eq!(undone.status, 0, "point {point}: {undone:?}");
        assert_eq!(site.master_text(), old, "point {point}");
        assert!(!site.config().exists(), "point {point}");
        assert_tidy(&site);
    }
    assert!(seen[0] > 0 && seen[1] > 0, "killed before and after the change: {seen:?}");

    assert_eq!(site.run_yes(OPTIONS).status, 0);
    let start = Instant::now();
    assert_eq!(site.run(&["--undo"]).status, 0);
    let taken = start.elapsed();
    for point in 0..POINTS {
        assert_eq!(site.run_yes(OPTIONS).status, 0);
        let mut child = site.start_undo();
        thread::sleep(taken * point / POINTS);
        kill(&mut child);
        assert_whole(&site, states, 100 + point);
        if point % 2 == 0 {
            let again = site.run_yes(OPTIONS);
            assert_eq!(again.status, 0, "point {point}: {again:?}");
            assert_eq!(site.master_text(), new, "point {point}");
        }
        assert_eq!(site.run(&["--undo"]).status, 0);
        assert_eq!(site.master_text(), old, "point {point}");
        assert!(!site.config().exists(), "point {point}");
        assert_tidy(&site);
    }
}
