//! Our own keys that follow each other: which is to be published, vouched for, removed or revoked. An old key that others have
//! signs in our name for as long as its record is not revoked.

use std::collections::HashMap;

use attachment_seal::seal::key::PublicKey;
use futures_util::future::join_all;

use super::Site;
use super::finding::{Finding, Subject, chain, moment};
use super::user::User;
use crate::gateway::keyring::{Found, Keyring, Keyrings, OwnDomain, State, Status, day, look, watch};
use crate::store::KeysFile;

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    let Some(setup) = &site.setup else { return };
    let domains: Vec<_> = setup.domains.iter().filter(|own| own.has_folder()).collect();
    if domains.is_empty() {
        return;
    }
    if let Err(error) = Keyrings::read(&site.config.state.folder) {
        let path = KeysFile::new(&site.config.state.folder).path();
        let mut subject = Subject::new(findings, "keys", path.display().to_string());
        if site.user.as_ref().is_some_and(|user| !user.is_us() && !User::is_root()) {
            subject
                .unknown("what the gateway knows of its keys: we are somebody else", "sudo waxseal doctor");
        } else {
            let detail = format!("{}: the gateway cannot know since when a key is published", chain(&error));
            subject.problem(detail, format!("remove {}: new keys are waited for anew", path.display()));
        }
        return;
    }
    for own in domains {
        let mut ring = site.keyrings.of(own);
        let settings = &setup.dns;
        let looks = join_all(ring.keys().iter().map(async |key| {
            let selector = key.selector.parse().ok()?;
            let public = PublicKey::from_base64url(&key.public).ok();
            let names = (own.name(), &selector);
            Some((key.name(), look::look(settings, &own.config.name_servers, names, public).await))
        }));
        let looks: HashMap<_, _> = looks.await.into_iter().flatten().collect();
        ring.inform(&looks, site.now);
        judge_all(own, &ring, site.now, findings);
    }
}

fn judge_all(own: &OwnDomain, ring: &Keyring, now: u64, findings: &mut Vec<Finding>) {
    let statuses: Vec<_> = ring.statuses(own.config.lifetime.as_secs(), now).collect();
    if !statuses.iter().any(|status| status.seals) {
        let name = own.name();
        Subject::new(findings, "sealing-key", name.to_string()).problem(
            format!("no key may seal for {name}, so its mail is put off (451)"),
            statuses.iter().find(|status| !status.key.revoked && status.state.needs_somebody()).map_or_else(
                || format!("waxseal keygen --domain {name}"),
                |status| watch::sentence(own, status),
            ),
        );
    }
    for status in statuses.iter().filter(|status| !status.seals) {
        let is_old = status.key.sealed.is_some() || status.key.revoked || status.state == State::Remove;
        let check = if is_old { "old-key" } else { "next-key" };
        let subject = format!("{}.", watch::record_name(own, status.key));
        judge(&mut Subject::new(findings, check, subject), own, status);
    }
}

fn judge(subject: &mut Subject<'_>, own: &OwnDomain, status: &Status<'_>) {
    let (key, todo) = (status.key, watch::sentence(own, status));
    let answers =
        if key.answers.is_empty() { "nobody was asked yet".to_owned() } else { key.answers.join("; ") };
    match status.state {
        State::Publish => subject.warning(format!("not published everywhere, so it does not seal: {answers}"), todo),
        State::Delegate => subject.warning("published, and the domain's root does not vouch for it", todo),
        State::Waiting(until) => subject.ok(format!("published; seals from {} on", moment(until))),
        State::Sealing => subject.ok("seals"),
        State::Old(until) => {
            subject.ok(format!("the old key stays in DNS until {} for mail under way", day(until)));
        }
        State::Remove => subject.warning("the old key is in DNS still, and no mail needs it", todo),
        State::Revoke => subject.problem(
            format!("others have this old key, and it is not revoked: what they seal with it passes as yours ({answers})"),
            todo,
        ),
        State::Done if key.record == Found::Revoked => subject.ok("the old key is revoked"),
        State::Done => subject.ok("the old key's record is gone"),
    }
}
