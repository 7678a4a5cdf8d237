//! What was done to held mail, in sentences.

use crate::clock::second;
use crate::store::{Deed, What};

/// A deed in one line: when, by whom, what, why, and what came of it.
pub(in crate::commands) fn sentence(deed: &Deed) -> String {
    let to = if deed.recipients.is_empty() {
        String::new()
    } else {
        let paths: Vec<String> = deed.recipients.iter().map(|path| format!("<{path}>")).collect();
        format!(" {}", paths.join(", "))
    };
    let what = match deed.what {
        What::Held => "held it for".to_owned() + &to,
        What::ReleaseRequested => "asked for its release, which another person must do".to_owned(),
        What::Sending => "sends it to".to_owned() + &to,
        What::Released => "released it to".to_owned() + &to,
        What::Refused => "could not release it to".to_owned() + &to,
        What::Deleted => "deleted it".to_owned(),
        What::Kept => "set it to be kept".to_owned(),
        What::KeptNoLonger => "set it to be kept no longer".to_owned(),
        What::Expired => "removed it by age".to_owned(),
        What::Adopted => "found its folder, which the database did not know".to_owned(),
        What::Lost => "found no folder of it".to_owned(),
        What::Told => "told of it:".to_owned() + &to,
        What::NotTold => "could not tell of it:".to_owned() + &to,
        What::KeyApproved => "approved a correspondent's key".to_owned(),
        What::Pinned => "pinned a correspondent's key".to_owned(),
        What::Unpinned => "undid the pins of a correspondent".to_owned(),
        What::Forgotten => "forgot a correspondent".to_owned(),
        What::UnsealedNoted => "noted that a correspondent sends unsealed mail, too".to_owned(),
        What::UnsealedNotedNoLonger => {
            "took the note back that a correspondent sends unsealed mail".to_owned()
        }
    };
    let mut text = format!("{} {} {what}", second(deed.at), deed.who);
    match &deed.reason {
        Some(reason) => text.push_str(&format!("; reason: {reason}")),
        None if deed.what.is_personal() => text.push_str("; no reason given"),
        None => {}
    }
    if let Some(detail) = &deed.detail {
        text.push_str(&format!("; {detail}"));
    }
    text
}
