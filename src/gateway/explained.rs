//! What a message's doubts mean and what to do next: `quarantine show` and the console have the same words.

use std::collections::BTreeSet;

use attachment_seal::doubt::Doubt;

use crate::advice::{self, Case};
use crate::store::Details;

/// A doubt, once, however often it was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// SPEC.md's code.
    pub code: String,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// Where it was met, and what is wrong there.
    pub places: Vec<String>,
}

/// Why mail programs could disagree about a message.
pub fn doubts(details: &Details) -> Vec<Explained> {
    let codes: BTreeSet<&str> = details.doubts.iter().map(|doubt| doubt.code.as_str()).collect();
    let known = codes.into_iter().filter_map(|code| code.parse::<Doubt>().ok());
    known
        .map(|doubt| {
            let met = details.doubts.iter().filter(|met| met.code == doubt.code() && !met.place.is_empty());
            Explained {
                code: doubt.code().to_owned(),
                meaning: doubt.sentence(),
                advice: advice::about(doubt),
                places: met.map(|met| format!("{} {}", met.place, met.what)).collect(),
            }
        })
        .collect()
}

/// What to do about a message, in order.
pub fn steps(verdict: &str, reason: Option<&str>, details: &Details) -> Vec<String> {
    let author = details.from.as_deref().and_then(|from| from.rsplit_once('@')).map(|(_, domain)| domain);
    let domain = details.sealing_domain.as_deref().or(author);
    advice::steps(Case { verdict, reason, domain })
}
