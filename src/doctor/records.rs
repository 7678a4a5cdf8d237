//! What our sealing domains publish: key record, policy record, and how far others can trust them; and the
//! delegations to their keys.

use std::path::Path;

use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::seal::policy_record::PolicyRecord;
use attachment_seal::seal::sign::Sealer;

use super::Site;
use super::finding::{Finding, Subject, moment, spoken};
use super::resolvers::Resolvers;
use crate::config::{SealingDomain, SealingKeys};
use crate::dns::{self, Said, ZoneAnswer, ZoneError};
use crate::gateway::keyring::OwnDomain;
use crate::keys;

/// Longest text of a stranger's record that is shown.
const MAX_SHOWN: usize = 120;

pub(super) async fn check(site: &Site, resolvers: &Resolvers, findings: &mut Vec<Finding>) {
    for domain in &site.config.domains {
        let own = site.setup.as_ref().and_then(|setup| setup.own_domain(&domain.name));
        let sealer = own.and_then(OwnDomain::sealer);
        let (selector, key) = match (&sealer, &domain.keys) {
            (Some(sealer), _) => (&sealer.selector, Some(sealer.key.public())),
            // Another domain's key may be what kept the rest from being read.
            (None, SealingKeys::Fixed { selector, key, .. }) => (selector, on_disk(&key.value)),
            // That none seals is a finding of its own.
            (None, SealingKeys::Folder(_)) => continue,
        };
        let zone = &domain.name;
        let key_name = format!("{}.", dns::key_record_name(zone, selector));
        let heard = ask(resolvers, &key_name, "key-record", findings).await;
        if let Some(texts) = &heard {
            judge_key(&mut Subject::new(findings, "key-record", &key_name), &key_name, texts, key.as_ref());
        }
        if let (Some(key), Some(dns), true) = (&key, &resolvers.plain, heard.is_some()) {
            let said = match domain.name_servers.as_slice() {
                [] => dns.ask_zone(&key_name).await,
                servers => dns.ask_servers(servers, &key_name).await,
            };
            judge_zone(&mut Subject::new(findings, "key-at-name-servers", &key_name), said, key);
        }
        let policy_name = format!("{}.", dns::policy_record_name(zone));
        let root = sealer.as_ref().and_then(|sealer| sealer.delegations.by_root_at(site.now));
        let root = root.map(|delegation| delegation.root);
        if let Some(texts) = ask(resolvers, &policy_name, "policy-record", findings).await {
            let mut subject = Subject::new(findings, "policy-record", &policy_name);
            judge_policy(&mut subject, &policy_name, &texts, root.as_ref());
        }
        match &sealer {
            Some(sealer) => delegation(sealer, domain, site.now, findings),
            None if domain.delegation.is_some() => {
                let subject = format!("delegation of {selector} for {zone}");
                Subject::new(findings, "delegation", subject)
                    .not_checked("a key or delegation could not be read, see above");
            }
            None => {}
        }
    }
}

/// The public half of a key in a file; a token was asked once, which is enough.
fn on_disk(path: &Path) -> Option<PublicKey> {
    let is_file = keys::token(path).is_none();
    is_file.then(|| keys::read_sealing_key(path).ok()).flatten().map(|key| key.public())
}

/// The texts at a name, whatever they are worth, and a finding about what they are worth. `None` where nobody knows.
async fn ask(
    resolvers: &Resolvers,
    name: &str,
    check: &'static str,
    findings: &mut Vec<Finding>,
) -> Option<Vec<String>> {
    let (Some(proving), Some(plain)) = (&resolvers.proving, &resolvers.plain) else {
        let why = "no name server can be asked; from another machine: dig +dnssec TXT";
        Subject::new(findings, check, name).not_checked(format!("{why} {name}"));
        return None;
    };
    let proved = if resolvers.can_prove { Some(proving.texts(name).await) } else { None };
    let mut dnssec = Subject::new(findings, "dnssec", name);
    let answer = match proved {
        Some(answer @ (Answer::Found { secure, .. } | Answer::NotFound { secure })) => {
            if secure {
                dnssec.ok("proved by DNSSEC");
            } else {
                dnssec.warning(
                    "the zone is not signed, so an attacker who forges DNS answers can forge this record",
                    "sign the zone by DNSSEC and have its DS published above it, or give your root key to \
                     correspondents (waxseal root new, docs/KEYS.md)",
                );
            }
            answer
        }
        Some(Answer::Failed(Failure::Bogus)) => {
            dnssec.problem(
                "its DNSSEC proof is wrong: verifying sites that check it defer your mail (451)",
                format!(
                    "delv TXT {name} shows why; most often the DS above the zone is for an old key, or \
                         signatures have expired"
                ),
            );
            plain.texts(name).await
        }
        Some(Answer::Failed(Failure::Unanswered)) => {
            let answer = plain.texts(name).await;
            if !matches!(answer, Answer::Failed(_)) {
                dnssec.problem(
                    "its DNSSEC proof cannot be had: verifying sites that check it defer your mail (451)",
                    format!(
                        "find out which name server of the zone, or of one above it, gives no DNSKEY or \
                             DS: delv TXT {name}"
                    ),
                );
            }
            answer
        }
        None => {
            dnssec.not_checked("nothing can be proved through these name servers, see above");
            plain.texts(name).await
        }
    };
    match answer {
        Answer::Found { records, .. } => Some(records),
        Answer::NotFound { .. } => Some(Vec::new()),
        Answer::Failed(_) => {
            let what = match plain.error_about(name).await {
                Some(error) => {
                    format!("the name servers answer {error} about it: sites that get no answer either")
                }
                None => "no answer about it: sites that also get no answer".to_owned(),
            };
            Subject::new(findings, check, name).problem(
                format!("{what} defer your mail (451)"),
                format!(
                    "check the zone's own name servers: dig +trace TXT {name}; a validating name server \
                     answers SERVFAIL if DNSSEC is wrong: delv TXT {name}"
                ),
            );
            None
        }
    }
}

/// Whether the key record is that of the key on disk.
fn judge_key(subject: &mut Subject<'_>, name: &str, texts: &[String], own: Option<&PublicKey>) {
    let ours = own.map(|key| KeyRecord { key: Some(*key), trial: false });
    let publish = match &ours {
        Some(record) => format!("publish: {name} IN TXT \"{record}\""),
        None => "waxseal dns-record prints what to publish".to_owned(),
    };
    for text in texts {
        if let Err(error) = KeyRecord::parse(text) {
            let shown: String = text.chars().take(MAX_SHOWN).collect();
            subject.problem(format!("a record there is none of ours, `{shown}`: {error}"), &publish);
        }
    }
    let mut records: Vec<KeyRecord> = texts.iter().filter_map(|text| KeyRecord::parse(text).ok()).collect();
    records.dedup();
    if records.is_empty() {
        return subject
            .problem("not published: sites that have not pinned the key cannot check your seals", publish);
    }
    if records.iter().any(|record| record.key.is_none()) {
        let detail = "published as revoked (empty p): everything that this key seals is `fail`";
        let remedy = "waxseal keygen with a new selector; a revoked selector stays revoked for good";
        return subject.problem(detail, remedy);
    }
    let Some(own) = own else {
        let prints: Vec<String> = records.iter().filter_map(|record| record.key).map(print).collect();
        return subject.not_checked(format!(
            "whether it is the key on disk, which cannot be read here; the published one is {}",
            prints.join(" and ")
        ));
    };
    let Some(record) = records.iter().find(|record| record.key.as_ref() == Some(own)) else {
        let prints: Vec<String> = records.iter().filter_map(|record| record.key).map(print).collect();
        return subject.problem(
            format!("another key is published, {}; the one on disk is {}", prints.join(" and "), print(*own)),
            publish,
        );
    };
    if records.len() > 1 {
        let detail =
            format!("{} records that contradict each other, the key on disk among them", records.len());
        return subject.warning(detail, format!("leave one, {publish}"));
    }
    if record.trial {
        let detail = "the key on disk, on trial (t=y): others report what they find and take no action";
        return subject.warning(detail, format!("once nothing in your house changes sealed mail, {publish}"));
    }
    subject.ok("published, the key on disk");
}

/// Whether each of the zone's own name servers gives the key on disk: a resolver asks any of them.
fn judge_zone(subject: &mut Subject<'_>, said: Result<Vec<Said>, ZoneError>, own: &PublicKey) {
    let said = match said {
        Ok(said) => said,
        Err(error) => return subject.not_checked(error.to_string()),
    };
    let is_ours = |texts: &[String]| {
        let keys = texts.iter().filter_map(|text| KeyRecord::parse(text).ok());
        keys.map(|record| record.key).collect::<Vec<_>>().contains(&Some(*own))
    };
    if dns::all_say(&said, is_ours) {
        return subject.ok("each of the zone's own name servers gives the key on disk");
    }
    let complaint = |said: &Said| match &said.answer {
        ZoneAnswer::Found(texts) if is_ours(texts) => None,
        ZoneAnswer::Found(_) => Some(format!("{said} gives another key")),
        ZoneAnswer::Absent => Some(format!("{said} has none")),
        ZoneAnswer::Failed(failure) => Some(format!("{said} {failure}")),
        ZoneAnswer::Alias(_) => None,
    };
    let complaints = said.iter().filter_map(complaint).collect::<Vec<_>>().join("; ");
    let is_heard = |said: &Said| !matches!(said.answer, ZoneAnswer::Failed(_));
    if !said.iter().any(is_heard) {
        return subject.not_checked(format!(
            "none of the zone's own name servers can be asked from here: {complaints}"
        ));
    }
    let contradicts = |said: &Said| match &said.answer {
        ZoneAnswer::Found(texts) => !is_ours(texts),
        ZoneAnswer::Absent => true,
        ZoneAnswer::Alias(_) | ZoneAnswer::Failed(_) => false,
    };
    if said.iter().any(contradicts) {
        let remedy = "have the zone's serial number raised and the zone transferred to every name server";
        return subject.problem(
            format!("not all of the zone's name servers give the key on disk: {complaints}"),
            remedy,
        );
    }
    let remedy = "mend that name server, or take it out of the zone's NS records";
    subject.warning(format!("not all of the zone's name servers answer: {complaints}"), remedy);
}

/// The beginning of a key's fingerprint: enough to tell two keys apart that nobody made to look alike.
fn print(key: PublicKey) -> String {
    format!("{}…", key.fingerprint().digits().chars().take(17).collect::<String>())
}

fn judge_policy(subject: &mut Subject<'_>, name: &str, texts: &[String], root: Option<&PublicKey>) {
    let roots = root.map(|root| format!("; root={}", root.to_base64url())).unwrap_or_default();
    let policies: Vec<PolicyRecord> = texts.iter().filter_map(|text| PolicyRecord::parse(text)).collect();
    for text in texts.iter().filter(|text| PolicyRecord::parse(text).is_none()) {
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        subject.problem(
            format!("a record there is no policy, `{shown}`, and counts as if it were not there"),
            format!("publish: {name} IN TXT \"v=SEAL1; p=none{roots}\""),
        );
    }
    let [policy] = policies.as_slice() else {
        return match policies.len() {
            0 => subject.warning(
                "none published: if a seal is removed, others do not notice, unless they remember or pinned \
                 you",
                format!(
                    "once all mail of the domain is sealed: {name} IN TXT \"v=SEAL1; p=quarantine{roots}\""
                ),
            ),
            count => subject.problem(format!("{count} policy records, of which one counts"), "leave one"),
        };
    };
    let request = policy.request.as_str();
    if let Some(root) = root.filter(|root| !policy.roots.contains(root)) {
        let detail = format!(
            "p={request}, but it does not name the root {} of the delegation in use: sites that trust the \
             record do not trust the delegation",
            print(*root)
        );
        return subject.warning(detail, format!("publish: {name} IN TXT \"v=SEAL1; p={request}{roots}\""));
    }
    if policy.states_sealing() {
        subject.ok(format!("p={request}: others notice if a seal is removed"));
    } else {
        subject.ok("p=none: it does not state that all mail is sealed");
    }
}

fn delegation(sealer: &Sealer, domain: &SealingDomain, now: u64, findings: &mut Vec<Finding>) {
    let (zone, selector) = (&domain.name, &sealer.selector);
    let Some(life) = sealer.delegations.life(now) else { return };
    let mut subject = Subject::new(findings, "delegation", format!("delegation of {selector} for {zone}"));
    let remedy = format!(
        "on the machine with the root key: waxseal root delegate --key {zone}.root.pem --days 30 {selector}.txt; copy it \
         here, systemctl reload waxseal"
    );
    let ends = moment(life.ends);
    if life.left == 0 {
        let detail = format!("none is valid now, the last ends {ends}: mail of {zone} is deferred (451)");
        subject.problem(detail, remedy);
    } else if life.is_short {
        subject
            .warning(format!("ends {ends}, in {}; then mail is deferred (451)", spoken(life.left)), remedy);
    } else if life.left < domain.lifetime.as_secs() {
        subject.ok(format!("for the key on disk, until {ends}; seals are valid no longer than that"));
    } else {
        subject.ok(format!("for the key on disk, until {ends}"));
    }
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;

    use super::super::State;
    use super::*;

    fn key(seed: u8) -> PublicKey {
        SealingKey::from_seed(&[seed; 32]).public()
    }

    fn record(seed: u8, more: &str) -> String {
        format!("{}{more}", KeyRecord { key: Some(key(seed)), trial: false })
    }

    #[test]
    fn judges_key_records() {
        const REVOKED: &str = "v=SEAL1; k=ed25519; p=";
        for (texts, own, state, says) in [
            (vec![record(1, "")], Some(1), State::Ok, "the key on disk"),
            (vec![record(1, ""), record(1, "")], Some(1), State::Ok, "the key on disk"),
            (vec![record(1, "; t=y")], Some(1), State::Warning, "on trial"),
            (vec![record(2, "")], Some(1), State::Problem, "another key"),
            (vec![record(1, ""), record(2, "")], Some(1), State::Warning, "contradict"),
            (vec![REVOKED.to_owned()], Some(1), State::Problem, "revoked"),
            (vec![REVOKED.to_owned(), record(1, "")], Some(1), State::Problem, "revoked"),
            (vec!["v=SEAL1; p=junk".to_owned()], Some(1), State::Problem, "not an Ed25519"),
            (vec![], Some(1), State::Problem, "not published"),
            (vec![record(1, "")], None, State::NotChecked, "cannot be read"),
        ] {
            let mut findings = Vec::new();
            judge_key(&mut Subject::new(&mut findings, "", ""), "x.", &texts, own.map(key).as_ref());
            let found = findings.iter().any(|found| found.state == state && found.detail.contains(says));
            assert!(found, "{texts:?}: {findings:?}");
            let is_ok = findings.iter().any(|found| found.state == State::Ok);
            assert_eq!(is_ok, state == State::Ok, "{findings:?}");
        }
    }

    #[test]
    fn judges_policy_records() {
        let with_root = |seed| format!("v=SEAL1; p=reject; root={}", key(seed).to_base64url());
        for (texts, root, state, says) in [
            (vec![], None, State::Warning, "none published"),
            (vec!["v=SEAL1; p=reject".to_owned()], None, State::Ok, "p=reject"),
            (vec!["v=SEAL1; p=none".to_owned()], None, State::Ok, "does not state"),
            (vec!["v=SEAL1; p=burn".to_owned()], None, State::Problem, "no policy"),
            (vec![with_root(1)], Some(1), State::Ok, "p=reject"),
            (vec![with_root(2)], Some(1), State::Warning, "does not name the root"),
            (vec![with_root(1), with_root(2)], Some(1), State::Problem, "2 policy records"),
        ] {
            let mut findings = Vec::new();
            judge_policy(&mut Subject::new(&mut findings, "", ""), "x.", &texts, root.map(key).as_ref());
            let found = findings.iter().any(|found| found.state == state && found.detail.contains(says));
            assert!(found, "{texts:?}: {findings:?}");
        }
    }
}
