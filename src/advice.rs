//! What an administrator does about a message that was not simply delivered: a sentence for each step, the next one first.

use attachment_seal::doubt::Doubt;

/// What is known of a message, in SPEC.md's words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Case<'a> {
    /// The verdict, such as `fail`.
    pub verdict: &'a str,
    /// Its reason, such as `attachments`.
    pub reason: Option<&'a str>,
    /// The sealing domain, or else the author's.
    pub domain: Option<&'a str>,
}

/// What to do about a message. No step asks anybody to trust what only the message claims.
pub fn steps(case: Case<'_>) -> Vec<String> {
    let domain = case.domain.unwrap_or("the author's domain");
    let ask = "Telephone the author, at a number that you knew before. Do not take one from the message.";
    match (case.verdict, case.reason) {
        ("fail", Some("attachments")) => vec![
            ask.to_owned(),
            "Compare the size and the hash of each attachment below with what the author sent.".to_owned(),
            "If anything differs, delete the message, and ask the author to send it again.".to_owned(),
        ],
        ("fail", Some("revoked-key")) => vec![
            format!("Ask the administrator of {domain} since when the key is revoked, and why."),
            "If the key was stolen, anybody can have sealed this message: delete it.".to_owned(),
        ],
        ("fail", Some("future-seal")) => vec![
            "Check this machine's clock: waxseal doctor".to_owned(),
            format!("If it is right, tell the administrator of {domain} that their clock is wrong."),
            ask.to_owned(),
        ],
        ("fail", _) => vec![
            ask.to_owned(),
            format!(
                "Ask whether they sent this message. If not, somebody abuses the name of {domain}: delete it."
            ),
            format!("If they did, tell the administrator of {domain} the verdict and its reason."),
        ],
        ("ambiguous", _) => vec![
            ask.to_owned(),
            "Ask how many attachments they sent, and compare each size and hash below.".to_owned(),
            "Release the message only if all of them agree. Else ask the author to send it again.".to_owned(),
        ],
        ("missing", _) => vec![
            format!("Mail of {domain} is sealed, and this message has no seal."),
            ask.to_owned(),
            "Ask whether they sent it, and by which mail program or service.".to_owned(),
            format!("If {domain} sends some mail without a seal, allow that: waxseal keys unsealed"),
        ],
        ("key-changed", _) => vec![
            format!("Telephone the administrator of {domain}, at a number that you knew before."),
            "Have them read their key's fingerprint, and compare it with the one below.".to_owned(),
            format!("Only if both are the same, approve the key: waxseal keys approve {domain}"),
            "If they differ, somebody sealed the message with a key of their own: delete it.".to_owned(),
        ],
        ("unknown-key", _) => vec![
            format!("No key of {domain} was found. See whether the lookup works: waxseal doctor"),
            format!("Ask the administrator of {domain} for their key record, and pin it: waxseal keys pin"),
        ],
        ("unaligned", _) => vec![
            format!("{domain} sealed the message, and it is not the author's domain."),
            ask.to_owned(),
            format!("Ask whether {domain} sends mail for them."),
        ],
        ("expired", _) => vec![
            "The seal is older than its domain allows. Somebody may have sent an old message again."
                .to_owned(),
            "Ask the recipient whether they have this message already, by its date and subject.".to_owned(),
        ],
        ("temperror", _) => vec![
            "The message could not be checked. See what is wrong: waxseal doctor".to_owned(),
            "Check it again once that works: waxseal verify MESSAGE.eml, after export.".to_owned(),
        ],
        (_, Some("links-added")) => vec![
            "Links were added to the text on the way. Do not follow them.".to_owned(),
            ask.to_owned(),
            "Ask whether the links below are theirs.".to_owned(),
        ],
        _ => vec![
            "The policy holds such mail. Look at [policy] in the configuration.".to_owned(),
            ask.to_owned(),
        ],
    }
}

/// What to do about a doubt.
pub fn about(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::BareLineEnd
        | Doubt::Nul
        | Doubt::JunkHeaderLine
        | Doubt::LookalikeField
        | Doubt::SpaceBeforeColon
        | Doubt::HeaderTooLong => {
            "Export the message and look at its header section. If a mail server on the path writes such fields, have \
             it corrected. If none does, treat the message as an attack."
        }
        Doubt::BadFrom => {
            "Do not trust the name that a mail program shows. Ask the person by telephone whether they sent it."
        }
        Doubt::EmbeddedFile => "Do not open the file. Ask the author whether they put a file into the text.",
        Doubt::TextCharset => "Do not act on the text. Ask the author what they wrote.",
        Doubt::NotPlain
        | Doubt::NoBoundary
        | Doubt::BoundaryPrefix
        | Doubt::HiddenPart
        | Doubt::FieldInBody
        | Doubt::ContainerChanged
        | Doubt::TooDeep
        | Doubt::TooManyParts
        | Doubt::ViewsDiffer => {
            "Do not open its attachments. Ask the author which attachments they sent, and to send them again."
        }
    }
}

#[cfg(test)]
mod tests {
    use attachment_seal::verdict::Verdict;

    use super::*;

    #[test]
    fn there_is_a_next_step_for_every_verdict() {
        for verdict in Verdict::EACH {
            for reason in [None, Some("attachments"), Some("revoked-key"), Some("links-added")] {
                let case = Case { verdict: verdict.as_str(), reason, domain: Some("example.org") };
                let steps = steps(case);
                assert!((2..5).contains(&steps.len()), "{case:?}: {steps:?}");
                assert!(steps.iter().all(|step| step.len() < 120), "{steps:?}");
            }
        }
        assert!(
            steps(Case { verdict: "key-changed", domain: Some("example.org"), ..Case::default() })[2]
                .contains("waxseal keys approve example.org")
        );
    }
}
