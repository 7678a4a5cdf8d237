//! What is said to the administrator of a rotation: what to publish, and whom to telephone.

use std::path::PathBuf;

use attachment_seal::domain::Selector;
use attachment_seal::seal::key::{KeyRecord, PublicKey};

use super::Rotation;
use super::plan::is_file;
use crate::clock::unix_time;
use crate::dns::key_record_name;
use crate::keys::read_delegations;
use crate::store::UnderWay;

impl Rotation<'_> {
    /// What is to be published, and what else is to be done meanwhile.
    pub(super) fn introduce(&self, under_way: &UnderWay, to: &Selector, key: PublicKey) {
        let (domain, from, say) = (&self.domain, &under_way.from, self.say);
        let record = KeyRecord { key: Some(key), trial: false };
        say(&format!("{domain}: {to} is to follow {from}"));
        say(&format!("fingerprint: {}", key.fingerprint().digits()));
        say(&format!("in words: {}", key.fingerprint().words()));
        say("to be published, while the old record stays:");
        say(&format!("{}. IN TXT \"{record}\"", key_record_name(domain, to)));
        if let Some(folder) = &self.own().delegation {
            say(&format!(
                "the domain's root must vouch for it: give the record, in a file, to `waxseal root delegate`, and put what comes \
                 back into {}",
                folder.value.display()
            ));
        }
        if under_way.compromised {
            self.warn(&format!("nothing that {from} says counts now, so {}", self.holders(from, to)));
            say(&self.to_be_told(to));
        } else {
            say(
                "correspondents who pinned the old key itself must be told the new fingerprint, by telephone",
            );
        }
    }

    /// Says who holds the mail that the new key seals, where neither the old key nor a root vouches for it.
    pub(super) fn warn_of_holders(&self, from: &str, to: &Selector, compromised: bool) {
        let why = if compromised {
            format!("nothing that {from} says counts now")
        } else if self.own().delegation.is_some() || self.is_vouched(to) {
            return;
        } else if let Some(file) = self.succession_file(to) {
            let file = toml_edit::Value::from(file.display().to_string());
            (self.say)(&format!(
                "under [[domain]] with name = \"{}\" write `succession = {file}`, and reload the gateway",
                self.domain
            ));
            format!("the configuration has no `succession` for {to}")
        } else {
            format!("{from} does not vouch for {to}")
        };
        self.warn(&format!("{why}, so {}", self.holders(from, to)));
        (self.say)(&self.to_be_told(to));
    }

    fn warn(&self, text: &str) {
        (self.say)(&format!("WARNING: {text}"));
    }

    /// Whom a new key reaches that nobody vouches for.
    fn holders(&self, from: &str, to: &Selector) -> String {
        let or_root = if self.own().delegation.is_some() { " or your root" } else { "" };
        format!(
            "ALL your mail is held as `key-changed` by everybody who remembers {from} and has no proof of {to} by DNSSEC{or_root}, \
             until they approve {to}; and by everybody who pinned {from} itself, until they pin {to}"
        )
    }

    fn to_be_told(&self, to: &Selector) -> String {
        format!(
            "telephone them: read them the fingerprint of {to} (`waxseal keys fingerprint` of its key or record); once its first message is held they \
             run `waxseal keys approve {} --fingerprint 'WHAT YOU READ'`, then `waxseal quarantine release` for what is held",
            self.domain
        )
    }

    /// Whether the configuration names a succession for this selector that holds now.
    fn is_vouched(&self, to: &Selector) -> bool {
        let Some(path) = &self.own().succession else { return false };
        let now = unix_time().unwrap_or_default();
        let all = read_delegations(&path.value, &self.domain, to);
        all.is_ok_and(|all| all.iter().any(|own| own.is_signed() && own.covers(now)))
    }

    /// The old key's word for this selector, where one was made.
    fn succession_file(&self, to: &Selector) -> Option<PathBuf> {
        let key = Some(self.own().key.value.as_path()).filter(|key| is_file(key));
        let beside = [key, Some(self.path)].into_iter().flatten();
        beside.map(|path| path.with_file_name(format!("{to}.succession"))).find(|file| file.exists())
    }
}
