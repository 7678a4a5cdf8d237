//! What is done about a verdict: the verifying site's decision (SPEC.md §8 has the defaults, §10 says what `published` is).

use std::str::FromStr;

use attachment_seal::domain::DomainName;
use attachment_seal::manifest::LinkChanges;
use attachment_seal::seal::policy_record::Request;
use attachment_seal::verdict::{Ground, Verdict, Verification};
use thiserror::Error;

/// What is done with a message, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Passed on as it is.
    Deliver,
    /// Passed on with a warning field, and the subject prefix if one is set.
    Mark,
    /// Accepted and held for the administrator.
    Quarantine,
    /// Answered with 451: the client tries again later.
    Defer,
    /// Answered with 550.
    Reject,
}

/// What the configuration says is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This.
    Do(Action),
    /// What the sealing domain's policy record asks.
    Published,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Verdicts are acted on.
    #[default]
    Enforce,
    /// Verdicts are reported, and every message is delivered.
    Observe,
}

/// A choice for each verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Whether the choices are acted on. Default: they are.
    pub mode: Mode,
    /// Sealed, every attachment as sent. Default deliver.
    pub pass: Choice,
    /// No seal, none expected. Default deliver.
    pub none: Choice,
    /// No seal, though one was expected. Default quarantine.
    pub missing: Choice,
    /// No seal, and only memory says that one was to be expected (SPEC.md §10): `missing` where the file
    /// sets it, else mark.
    pub missing_by_memory: Choice,
    /// Proof of change, or a wrong seal. Default quarantine.
    pub fail: Choice,
    /// Changed, and readers could disagree on what it holds. Default quarantine.
    pub ambiguous: Choice,
    /// The valid seal of a domain that is not the author's. Default mark.
    pub unaligned: Choice,
    /// As sent, but not fresh. Default quarantine.
    pub expired: Choice,
    /// No key to check with. Default mark.
    pub unknown_key: Choice,
    /// A key that contradicts what is known. Default quarantine.
    pub key_changed: Choice,
    /// The key could not be looked up for now. Default defer.
    pub temperror: Choice,
    /// What is done at least with a message that passes, and to whose text links were added, or may have been: deliver, mark or
    /// quarantine. Default deliver.
    pub links: Action,
}

/// One `[[policy.for]]`: other choices for some mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// It is for mail from these domains and those below; empty for mail from all.
    pub correspondents: Vec<DomainName>,
    /// It is for mail to these domains and those below; empty for mail to all.
    pub recipients: Vec<DomainName>,
    /// What is chosen.
    pub choices: Choices,
}

/// `[policy]` in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is chosen for mail that no exception is for.
    pub choices: Choices,
    /// Exceptions; the first that fits counts.
    pub exceptions: Vec<Exception>,
    /// Put before the subject of marked mail: printable ASCII, at most 64 octets. Default: nothing.
    pub subject_prefix: Option<String>,
    /// Added links to these hosts and those below do not count. Default: none.
    pub links_except: Vec<DomainName>,
}

/// What is done with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What is done.
    pub action: Action,
    /// What would have been done, were the key not on trial and the policy not to observe only.
    pub withheld: Option<Action>,
    /// Whether that is so because of links.
    pub by_links: bool,
}

impl Ruling {
    /// What the policy asked for, whether or not it is done.
    pub fn asked(self) -> Action {
        self.withheld.unwrap_or(self.action)
    }
}

impl Policy {
    /// What is done with a message, by the domains that may be its author's and those of its recipients, `None` for a
    /// recipient without one. It is one message for all of them, so where exceptions differ the strictest action counts:
    /// nobody gets mail because somebody else takes more.
    pub fn ruling(
        &self,
        verification: &Verification,
        authors: &[DomainName],
        recipients: &[Option<DomainName>],
    ) -> Ruling {
        self.rule(Facts::of(verification), authors, recipients)
    }

    fn rule(&self, facts: Facts<'_>, authors: &[DomainName], recipients: &[Option<DomainName>]) -> Ruling {
        let authors = some_or_none(authors.iter().map(Some));
        let recipients = some_or_none(recipients.iter().map(Option::as_ref));
        let cases =
            authors.iter().flat_map(|author| recipients.iter().map(|recipient| (*author, *recipient)));
        let adds_links = self.adds_links(facts);
        let rulings =
            cases.map(|(author, recipient)| self.choices_for(author, recipient).ruling(facts, adds_links));
        let strictest = |one: Ruling, other: Ruling| Ruling {
            action: one.action.max(other.action),
            withheld: one.withheld.max(other.withheld),
            by_links: one.by_links || other.by_links,
        };
        let nothing = Ruling { action: Action::Deliver, withheld: None, by_links: false };
        let ruling = rulings.reduce(strictest).unwrap_or(nothing);
        // What is done openly needs no mention of the same withheld elsewhere.
        Ruling { withheld: ruling.withheld.filter(|withheld| *withheld > ruling.action), ..ruling }
    }

    /// Whether links that count were added to a message that passes, or may have been.
    fn adds_links(&self, facts: Facts<'_>) -> bool {
        let is_excepted = |host: &str| host.parse().is_ok_and(|host| is_listed(&host, &self.links_except));
        facts.verdict == Verdict::Pass && facts.links.is_some_and(|links| links.has_added(is_excepted))
    }

    fn choices_for(&self, author: Option<&DomainName>, recipient: Option<&DomainName>) -> &Choices {
        let fits = |exception: &&Exception| {
            is_among(author, &exception.correspondents) && is_among(recipient, &exception.recipients)
        };
        self.exceptions.iter().find(fits).map_or(&self.choices, |exception| &exception.choices)
    }
}

/// What of a result decides about the message.
#[derive(Clone, Copy, Debug)]
struct Facts<'a> {
    verdict: Verdict,
    known: Option<Ground>,
    published: Option<Request>,
    trial: bool,
    links: Option<&'a LinkChanges>,
}

impl<'a> Facts<'a> {
    fn of(verification: &'a Verification) -> Self {
        Self {
            verdict: verification.verdict(),
            known: verification.known(),
            published: verification.published(),
            trial: verification.trial(),
            links: verification.links(),
        }
    }
}

/// The domains, or the absence of any as the one case there is.
fn some_or_none<'a>(domains: impl Iterator<Item = Option<&'a DomainName>>) -> Vec<Option<&'a DomainName>> {
    let mut domains: Vec<_> = domains.collect();
    domains.sort();
    domains.dedup();
    if domains.is_empty() { vec![None] } else { domains }
}

fn is_among(domain: Option<&DomainName>, listed: &[DomainName]) -> bool {
    listed.is_empty() || domain.is_some_and(|domain| is_listed(domain, listed))
}

/// Whether a domain is one of these, or below one.
fn is_listed(domain: &DomainName, listed: &[DomainName]) -> bool {
    listed.iter().any(|other| domain.is_at_or_below(other))
}

impl Choices {
    fn ruling(&self, facts: Facts<'_>, adds_links: bool) -> Ruling {
        let by_verdict = self.action(facts);
        let by_links = adds_links && self.links > by_verdict;
        let wanted = if by_links { self.links } else { by_verdict };
        // On trial (`t=y` in the key's record) verdicts are reported, and no action is taken (SPEC.md §9).
        if facts.trial || self.mode == Mode::Observe {
            let withheld = (wanted != Action::Deliver).then_some(wanted);
            return Ruling { action: Action::Deliver, withheld, by_links };
        }
        Ruling { action: wanted, withheld: None, by_links }
    }

    fn action(&self, facts: Facts<'_>) -> Action {
        match self.choice(facts) {
            Choice::Do(action) => action,
            Choice::Published => published(facts),
        }
    }

    fn choice(&self, facts: Facts<'_>) -> Choice {
        match facts.verdict {
            Verdict::Pass => self.pass,
            Verdict::None => self.none,
            Verdict::Missing if facts.known == Some(Ground::Memory) => self.missing_by_memory,
            Verdict::Missing => self.missing,
            Verdict::Fail(_) => self.fail,
            Verdict::Ambiguous => self.ambiguous,
            Verdict::Unaligned => self.unaligned,
            Verdict::Expired => self.expired,
            Verdict::UnknownKey => self.unknown_key,
            Verdict::KeyChanged => self.key_changed,
            Verdict::Temperror => self.temperror,
        }
    }
}

/// What the policy record asks, or the default action where it may not decide or there is none. A domain speaks of mail
/// that is not as its own sealed mail should be: not of good mail, nor of a stranger's, nor of what we could not find out.
fn published(facts: Facts<'_>) -> Action {
    let default = || match Choices::default().choice(facts) {
        Choice::Do(action) => action,
        Choice::Published => Action::Quarantine,
    };
    match facts.verdict {
        Verdict::Pass | Verdict::None | Verdict::Unaligned | Verdict::Temperror => default(),
        Verdict::Missing
        | Verdict::Fail(_)
        | Verdict::Ambiguous
        | Verdict::Expired
        | Verdict::UnknownKey
        | Verdict::KeyChanged => match facts.published {
            Some(Request::None) => Action::Deliver,
            Some(Request::Quarantine) => Action::Quarantine,
            Some(Request::Reject) => Action::Reject,
            None => default(),
        },
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            pass: Choice::Do(Action::Deliver),
            none: Choice::Do(Action::Deliver),
            missing: Choice::Do(Action::Quarantine),
            missing_by_memory: Choice::Do(Action::Mark),
            fail: Choice::Do(Action::Quarantine),
            ambiguous: Choice::Do(Action::Quarantine),
            unaligned: Choice::Do(Action::Mark),
            expired: Choice::Do(Action::Quarantine),
            unknown_key: Choice::Do(Action::Mark),
            key_changed: Choice::Do(Action::Quarantine),
            temperror: Choice::Do(Action::Defer),
            links: Action::Deliver,
        }
    }
}

/// A word that is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an action; use deliver, mark, quarantine, reject, defer or published")]
pub struct ParseChoiceError;

/// What is done about added links, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChoice(pub Action);

/// A word that is no action about links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an action about links; use deliver, mark or quarantine")]
pub struct ParseLinkChoiceError;

/// A word that is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a mode; use enforce or observe")]
pub struct ParseModeError;

impl Action {
    /// The word that configuration and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Mark => "mark",
            Self::Quarantine => "quarantine",
            Self::Defer => "defer",
            Self::Reject => "reject",
        }
    }
}

impl FromStr for Choice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "deliver" => Ok(Self::Do(Action::Deliver)),
            "mark" => Ok(Self::Do(Action::Mark)),
            "quarantine" => Ok(Self::Do(Action::Quarantine)),
            "reject" => Ok(Self::Do(Action::Reject)),
            "defer" => Ok(Self::Do(Action::Defer)),
            "published" => Ok(Self::Published),
            _ => Err(ParseChoiceError),
        }
    }
}

impl FromStr for LinkChoice {
    type Err = ParseLinkChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Choice::Do(action)) if action <= Action::Quarantine => Ok(Self(action)),
            _ => Err(ParseLinkChoiceError),
        }
    }
}

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "observe" => Ok(Self::Observe),
            _ => Err(ParseModeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use attachment_seal::manifest::RemovedLink;
    use attachment_seal::verdict::Reason;

    use super::*;

    const FAIL: Verdict = Verdict::Fail(Reason::Attachments);

    fn facts(verdict: Verdict) -> Facts<'static> {
        Facts { verdict, known: None, published: None, trial: false, links: None }
    }

    fn domain(name: &str) -> DomainName {
        name.parse().unwrap()
    }

    fn all_published() -> Policy {
        let published = Choice::Published;
        Policy {
            choices: Choices {
                mode: Mode::Enforce,
                pass: published,
                none: published,
                missing: published,
                missing_by_memory: published,
                fail: published,
                ambiguous: published,
                unaligned: published,
                expired: published,
                unknown_key: published,
                key_changed: published,
                temperror: published,
                links: Action::Deliver,
            },
            ..Policy::default()
        }
    }

    /// SPEC.md §10: `published` as an action means what the sealing domain's `p` asks.
    #[test]
    fn published_is_what_the_domain_asks() {
        for (request, action) in [
            (Some(Request::None), Action::Deliver),
            (Some(Request::Quarantine), Action::Quarantine),
            (Some(Request::Reject), Action::Reject),
        ] {
            for verdict in [Verdict::Missing, FAIL, Verdict::Ambiguous, Verdict::Expired, Verdict::KeyChanged]
            {
                let asked = Facts { published: request, ..facts(verdict) };
                assert_eq!(all_published().rule(asked, &[], &[]).action, action, "{verdict:?}");
            }
        }
    }

    #[test]
    fn published_is_the_default_where_the_domain_cannot_decide() {
        let asked = |verdict| Facts { published: Some(Request::Reject), ..facts(verdict) };
        for (facts, action) in [
            (asked(Verdict::Pass), Action::Deliver),
            (asked(Verdict::None), Action::Deliver),
            (asked(Verdict::Unaligned), Action::Mark),
            // A doubt about our own state is never answered with 5yz.
            (asked(Verdict::Temperror), Action::Defer),
            (facts(FAIL), Action::Quarantine),
            (Facts { known: Some(Ground::Memory), ..facts(Verdict::Missing) }, Action::Mark),
        ] {
            assert_eq!(all_published().rule(facts, &[], &[]).action, action, "{facts:?}");
        }
    }

    /// SPEC.md §9: `t=y` marks a trial: verdicts are reported, no action is taken.
    #[test]
    fn a_trial_and_an_observer_withhold_the_action() {
        let withheld =
            Ruling { action: Action::Deliver, withheld: Some(Action::Quarantine), by_links: false };
        let trial = Facts { trial: true, ..facts(FAIL) };
        assert_eq!(Policy::default().rule(trial, &[], &[]), withheld);

        let mut observing = Policy::default();
        observing.choices.mode = Mode::Observe;
        assert_eq!(observing.rule(facts(FAIL), &[], &[]), withheld);
        let pass = Ruling { action: Action::Deliver, withheld: None, by_links: false };
        assert_eq!(observing.rule(facts(Verdict::Pass), &[], &[]), pass);
    }

    /// An observer acts on nothing at all, and reports just what would have been done.
    #[test]
    fn an_observer_reports_what_enforcing_would_do() {
        let mut strict = all_published();
        strict.choices.missing = Choice::Do(Action::Reject);
        strict.choices.temperror = Choice::Do(Action::Defer);
        strict.choices.unaligned = Choice::Do(Action::Mark);
        for policy in [Policy::default(), strict] {
            let mut observing = policy.clone();
            observing.choices.mode = Mode::Observe;
            for verdict in Verdict::EACH {
                for known in [None, Some(Ground::Memory), Some(Ground::Policy)] {
                    for published in [None, Some(Request::None), Some(Request::Reject)] {
                        let found = Facts { published, known, ..facts(verdict) };
                        let on_trial = Facts { trial: true, ..found };
                        let done = policy.rule(found, &[], &[]).action;
                        let would = (done != Action::Deliver).then_some(done);
                        let expected = Ruling { action: Action::Deliver, withheld: would, by_links: false };
                        assert_eq!(observing.rule(found, &[], &[]), expected, "{found:?}");
                        assert_eq!(policy.rule(on_trial, &[], &[]), expected, "{found:?}");
                        assert_eq!(observing.rule(on_trial, &[], &[]), expected, "{found:?}");
                    }
                }
            }
        }
    }

    /// It is one message for all of its recipients: what one of them has done to it all get, and what is only observed for
    /// another is told where it is stricter.
    #[test]
    fn observed_and_enforced_for_one_message() {
        let mut observing = exception(&[], &["lab.example.org"], Action::Reject);
        observing.choices.mode = Mode::Observe;
        let lenient = exception(&[], &["sales.example.org"], Action::Mark);
        let policy = Policy { exceptions: vec![observing, lenient], ..Policy::default() };
        let to = |names: &[&str]| {
            let recipients: Vec<_> = names.iter().map(|name| Some(domain(name))).collect();
            let ruling = policy.rule(facts(FAIL), &[], &recipients);
            (ruling.action, ruling.withheld)
        };
        let (lab, sales, board) = ("lab.example.org", "sales.example.org", "board.example.org");
        assert_eq!(to(&[lab]), (Action::Deliver, Some(Action::Reject)));
        assert_eq!(to(&[lab, sales]), (Action::Mark, Some(Action::Reject)));
        assert_eq!(to(&[lab, board]), (Action::Quarantine, Some(Action::Reject)));
        assert_eq!(to(&[sales, board]), (Action::Quarantine, None));
        // On trial nothing is done for anybody.
        let on_trial = Facts { trial: true, ..facts(FAIL) };
        let everybody = [lab, sales, board].map(|name| Some(domain(name)));
        let expected = Ruling { action: Action::Deliver, withheld: Some(Action::Reject), by_links: false };
        assert_eq!(policy.rule(on_trial, &[], &everybody), expected);
    }

    /// Links change what is done with a message that passes, and with no other.
    #[test]
    fn added_links_may_have_a_passing_message_marked_or_held() {
        fn with_links(verdict: Verdict, links: &LinkChanges) -> Facts<'_> {
            Facts { links: Some(links), ..facts(verdict) }
        }
        let complete = LinkChanges { sealed_all: true, found_all: true, ..LinkChanges::default() };
        let added = LinkChanges {
            added: vec!["https://www.lists.example.org/u".to_owned(), "https://evil.example/".to_owned()],
            ..complete.clone()
        };
        let footer = LinkChanges {
            added: vec!["https://www.lists.example.org:8080/u".to_owned()],
            ..complete.clone()
        };
        let hiding = LinkChanges { found_all: false, ..footer.clone() };
        let removed = LinkChanges { removed: vec![RemovedLink { hash: [0; 16], target: None }], ..complete };
        let mut policy = Policy { links_except: vec![domain("lists.example.org")], ..Policy::default() };
        for (links, action) in
            [("deliver", Action::Deliver), ("mark", Action::Mark), ("quarantine", Action::Quarantine)]
        {
            policy.choices.links = links.parse::<LinkChoice>().unwrap().0;
            let ruling = |verdict, links: &LinkChanges| policy.rule(with_links(verdict, links), &[], &[]);
            let by_links = action != Action::Deliver;
            assert_eq!(ruling(Verdict::Pass, &added), Ruling { action, withheld: None, by_links });
            assert_eq!(ruling(Verdict::Pass, &hiding).action, action);
            assert_eq!(ruling(Verdict::Pass, &footer).action, Action::Deliver);
            assert_eq!(ruling(Verdict::Pass, &removed).action, Action::Deliver);
            assert_eq!(ruling(Verdict::Unaligned, &added).action, Action::Mark);
            assert_eq!(ruling(FAIL, &added).action, Action::Quarantine);
            assert!(!ruling(FAIL, &added).by_links);
        }
        policy.choices.mode = Mode::Observe;
        let observed = policy.rule(with_links(Verdict::Pass, &added), &[], &[]);
        let expected = Ruling { action: Action::Deliver, withheld: Some(Action::Quarantine), by_links: true };
        assert_eq!(observed, expected);
        for word in ["reject", "defer", "published", "Mark", ""] {
            assert_eq!(word.parse::<LinkChoice>(), Err(ParseLinkChoiceError), "{word}");
        }
    }

    fn exception(correspondents: &[&str], recipients: &[&str], fail: Action) -> Exception {
        Exception {
            correspondents: correspondents.iter().map(|name| domain(name)).collect(),
            recipients: recipients.iter().map(|name| domain(name)).collect(),
            choices: Choices { fail: Choice::Do(fail), ..Choices::default() },
        }
    }

    #[test]
    fn the_first_exception_that_fits_counts() {
        let policy = Policy {
            exceptions: vec![
                exception(&["partner.example"], &["board.example.org"], Action::Reject),
                exception(&["partner.example"], &[], Action::Mark),
                exception(&[], &["lab.example.org"], Action::Deliver),
            ],
            ..Policy::default()
        };
        let fail = facts(FAIL);
        for (author, recipient, action) in [
            ("partner.example", Some("board.example.org"), Action::Reject),
            ("mail.partner.example", Some("sub.board.example.org"), Action::Reject),
            ("partner.example", Some("lab.example.org"), Action::Mark),
            ("badpartner.example", Some("lab.example.org"), Action::Deliver),
            ("other.example", Some("example.org"), Action::Quarantine),
            ("other.example", None, Action::Quarantine),
        ] {
            let found = policy.rule(fail, &[domain(author)], &[recipient.map(domain)]);
            assert_eq!(found.action, action, "{author} {recipient:?}");
        }
    }

    /// One message goes to all of its recipients, and an unclear author may be any of several.
    #[test]
    fn the_strictest_of_several_counts() {
        let policy = Policy {
            exceptions: vec![
                exception(&[], &["lab.example.org"], Action::Deliver),
                exception(&["sloppy.example"], &[], Action::Deliver),
            ],
            ..Policy::default()
        };
        let fail = facts(FAIL);
        let (lab, board) = (Some(domain("lab.example.org")), Some(domain("board.example.org")));
        let (sloppy, bank) = (domain("sloppy.example"), domain("bank.example"));
        let action = |authors: &[DomainName], recipients: &[Option<DomainName>]| {
            policy.rule(fail, authors, recipients).action
        };
        assert_eq!(action(&[], std::slice::from_ref(&lab)), Action::Deliver);
        assert_eq!(action(&[], &[lab, board.clone()]), Action::Quarantine);
        assert_eq!(action(std::slice::from_ref(&sloppy), std::slice::from_ref(&board)), Action::Deliver);
        assert_eq!(action(&[sloppy, bank], &[board]), Action::Quarantine);
        assert_eq!(action(&[], &[]), Action::Quarantine);
    }
}
