//! What was judged: for each day how many messages got which verdict, and each message that the policy would not simply have
//! delivered. No content, and within limits.

use serde::{Deserialize, Serialize};

/// Messages that are kept.
pub(super) const MAX_KEPT: u64 = 1_000_000;
/// Messages that one answer names; of more, the newest.
pub(super) const MAX_NAMED: u64 = 20_000;
/// For how long they are kept, in seconds: 60 days.
pub(super) const KEPT: u64 = 60 * 86_400;
/// For how many days counts are kept.
pub(super) const DAYS: u64 = 400;
/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;
/// Domains below one that is asked for, in each of the two places where a message names some.
pub(super) const MAX_DOMAINS: usize = 500;
/// Characters that are kept of a text that a stranger chose.
pub const MAX_TEXT: usize = 250;
/// What delivers a message as it is.
const DELIVER: &str = "deliver";
/// What was done with a message that was passed on, where the next hop put it off: the client comes again with it.
pub const DEFERRED_BY_NEXT_HOP: &str = "deferred-by-next-hop";
/// The same where the next hop refused it for good.
pub const REFUSED_BY_NEXT_HOP: &str = "refused-by-next-hop";

/// One message as it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// When, in Unix seconds.
    pub at: u64,
    /// The session's id in the log.
    pub session: String,
    /// SPEC.md's word.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// On what ground the author's domain is known to seal.
    pub known: Option<String>,
    /// How the key was proved.
    pub trust: Option<String>,
    /// What the policy asked for: SPEC.md's word, such as `quarantine`.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// The author's domain, where it is clear.
    pub from_domain: Option<String>,
    /// The sealing domain, where a seal counted.
    pub domain: Option<String>,
    /// The reverse-path without its brackets.
    pub reverse_path: String,
    /// How many recipients there were.
    pub recipients: usize,
    /// The Message-ID field's value.
    pub message_id: Option<String>,
    /// What happened to each attachment that is not intact: `altered Agenda.pdf`.
    pub attachments: Vec<String>,
    /// One line for people.
    pub summary: String,
    /// Its id in the quarantine, where it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The queue id that the next hop gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// The queue id that the server before us gave it, by the topmost Received field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_as: Option<String>,
}

/// Which judged messages are wanted: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Judged then or later, in Unix seconds.
    pub from: u64,
    /// Judged before then, if that is given.
    pub until: Option<u64>,
    /// The Message-ID, with its angle brackets or without.
    pub message_id: Option<String>,
    /// The session's id, a queue id before or behind us, or the id in the quarantine.
    pub queue_id: Option<String>,
    /// The author's domain or the sealing domain, or a parent of it.
    pub domain: Option<String>,
}

impl Question {
    /// The forms in which the wanted Message-ID may be written.
    pub(super) fn message_ids(&self) -> Option<[String; 2]> {
        let bare = self.message_id.as_deref()?.trim().trim_start_matches('<').trim_end_matches('>');
        // As much of it as is kept.
        let kept = |text: String| text.chars().take(MAX_TEXT).collect();
        Some([kept(format!("<{bare}>")), kept(bare.to_owned())])
    }
}

/// A text in which LIKE finds no pattern, with `\` for the escape.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// How many messages of a period were alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// SPEC.md's word.
    pub verdict: String,
    /// What the policy asked for.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// Whether these came again, or will: they are attempts at messages, and no messages of their own.
    pub fn is_of_attempts(&self) -> bool {
        self.done == DEFERRED_BY_NEXT_HOP
    }

    /// Whether each of these was kept as a message of its own.
    pub fn is_named(&self) -> bool {
        is_named(&self.asked, &self.done)
    }
}

/// What the policy simply delivers has nothing to be looked into, and what the next hop puts off comes again: a flood of neither
/// may push out what was held.
pub(super) fn is_named(asked: &str, done: &str) -> bool {
    asked != DELIVER && done != DEFERRED_BY_NEXT_HOP
}

/// What was judged in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Every message, counted.
    pub counts: Vec<Count>,
    /// Those that the policy would not simply have delivered, the oldest first; of more than 20,000, the newest.
    pub messages: Vec<Judged>,
}
