//! Which keys there are, taken from the very structs that are read, and what to report about a key that is
//! none.

use serde::de::{self, DeserializeOwned, Visitor};
use serde::forward_to_deserialize_any;

use super::raw;

/// A section's name (empty at the top of the file) and its keys.
pub type Section = (&'static str, &'static [&'static str]);

/// Tables that may occur several times, `[[listener]]`.
pub(super) const REPEATED: [&str; 5] = ["listener", "domain", "correspondent", "policy.for", "notices.for"];

/// Names that the documentation already speaks of, which this version does not understand.
const LATER: [(&str, &[&str]); 1] = [("alerts", &["language"])];

/// Every key that is understood, section by section, the top of the file first.
pub fn keys() -> [Section; 16] {
    [
        ("", fields_of::<raw::File>()),
        ("listener", fields_of::<raw::Listener>()),
        ("domain", fields_of::<raw::Domain>()),
        ("correspondent", fields_of::<raw::Correspondent>()),
        ("policy", fields_of::<raw::Policy>()),
        ("policy.for", fields_of::<raw::Exception>()),
        ("dns", fields_of::<raw::Dns>()),
        ("limits", fields_of::<raw::Limits>()),
        ("quarantine", fields_of::<raw::Quarantine>()),
        ("tls", fields_of::<raw::Tls>()),
        ("alerts", fields_of::<raw::Alerts>()),
        ("notices", fields_of::<raw::Notices>()),
        ("notices.for", fields_of::<raw::NoticeFor>()),
        ("admin", fields_of::<raw::Admin>()),
        ("console", fields_of::<raw::Console>()),
        ("log", fields_of::<raw::Log>()),
    ]
}

/// The keys of one section, or `None` if there is no such section.
pub(super) fn keys_of(section: &str) -> Option<&'static [&'static str]> {
    keys().into_iter().find(|(name, _)| *name == section).map(|(_, keys)| keys)
}

/// Why `key` is no key of `section`, with a hint where one can be given.
pub(super) fn why_unknown(section: &str, key: &str) -> String {
    let is_later = |(name, keys): &(&str, &[&str])| *name == section && keys.contains(&key);
    if LATER.iter().any(is_later) {
        return format!("`{key}` is not available in this version");
    }
    match nearest(keys_of(section).unwrap_or_default(), key) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None if section.is_empty() => "unknown key".to_owned(),
        None => format!("unknown key; `{section}` has no such setting"),
    }
}

/// The key that `key` may be a slip for.
pub(super) fn nearest(keys: &[&'static str], key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('-', "_");
    let close = |candidate: &&'static str| {
        let distance = strsim::damerau_levenshtein(candidate, &key);
        (distance <= 2 && distance < candidate.len()).then_some((distance, *candidate))
    };
    keys.iter().filter_map(close).min().map(|(_, candidate)| candidate)
}

/// The field names that serde's derive gives to `deserialize_struct`.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // Nothing is read, so this cannot succeed; only the names are wanted.
    let _ = T::deserialize(FieldNames(&mut fields));
    fields
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for FieldNames<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("field names only"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_of_the_file_has_its_keys() {
        let all = keys();
        for (name, keys) in &all {
            assert!(!keys.is_empty(), "{name}");
        }
        let scalars = ["hostname", "state", "folder", "label"];
        let sections: Vec<_> =
            all[1..].iter().map(|(name, _)| *name).filter(|name| !name.contains('.')).collect();
        let top: Vec<_> = all[0].1.iter().copied().filter(|key| !scalars.contains(key)).collect();
        assert_eq!(top, sections);
    }

    #[test]
    fn hints_at_the_nearest_key() {
        for (section, key, hint) in [
            ("listener", "next-hop", "`next_hop`"),
            ("listener", "nxt_hop", "`next_hop`"),
            ("", "listner", "`listener`"),
            ("limits", "mesage_sise", "`message_size`"),
        ] {
            assert!(why_unknown(section, key).contains(hint), "{}", why_unknown(section, key));
        }
        assert!(!why_unknown("log", "colour").contains("did you mean"));
        assert!(why_unknown("alerts", "language").contains("not available in this version"));
    }
}
