//! The change of a `[[domain]]` table when another key is to seal: as text, with all else of the file as it was, comments and
//! blanks included.

use std::path::Path;

use attachment_seal::domain::{DomainName, Selector};
use thiserror::Error;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::plan::is_file;

/// Why the file's text cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("not TOML: {0}")]
    Form(String),
    /// No `[[domain]]` table is this domain's.
    #[error("no [[domain]] is for {0}")]
    NoDomain(DomainName),
}

/// What a domain is to seal with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    /// The domain.
    pub(super) domain: &'a DomainName,
    /// The new selector.
    pub(super) selector: &'a Selector,
    /// The old key's file, and the new one's.
    pub(super) key: (&'a Path, &'a Path),
    /// The old key's word for the new one, if there is one.
    pub(super) succession: Option<&'a Path>,
}

impl Change<'_> {
    /// The text with the change made.
    pub(super) fn apply(&self, text: &str) -> Result<String, EditError> {
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| EditError::Form(error.message().to_owned()))?;
        let domains = document.get_mut("domain");
        let table = domains.and_then(|domains| self.own_table(domains));
        let table = table.ok_or_else(|| EditError::NoDomain(self.domain.clone()))?;
        let raw = table.get("key").and_then(Item::as_str).unwrap_or_default().to_owned();
        let (old, new) = self.key;
        set(table, "selector", self.selector.as_str());
        set(table, "key", &written_like(&raw, old, new));
        match self.succession {
            Some(file) => set(table, "succession", &written_like(&raw, old, file)),
            // That of the key before speaks of another key.
            None => drop(table.remove("succession")),
        }
        Ok(document.to_string())
    }

    fn own_table<'t>(&self, domains: &'t mut Item) -> Option<&'t mut dyn TableLike> {
        let is_own = |table: &dyn TableLike| {
            let name = table.get("name").and_then(Item::as_str).and_then(|name| name.parse().ok());
            name.as_ref() == Some(self.domain)
        };
        match domains {
            Item::ArrayOfTables(tables) => {
                tables.iter_mut().find(|table| is_own(*table)).map(|table| table as &mut dyn TableLike)
            }
            Item::Value(Value::Array(tables)) => tables
                .iter_mut()
                .filter_map(Value::as_inline_table_mut)
                .find(|table| is_own(*table))
                .map(|table| table as &mut dyn TableLike),
            _ => None,
        }
    }

    /// The lines for people who make the change themselves.
    pub(super) fn lines(&self) -> String {
        let mut lines = format!(
            "selector = {}\nkey = {}\n",
            Value::from(self.selector.as_str()),
            Value::from(self.key.1.display().to_string())
        );
        if let Some(file) = self.succession {
            lines.push_str(&format!("succession = {}\n", Value::from(file.display().to_string())));
        }
        lines
    }
}

/// Another value where the old one stood, the comment behind it kept.
fn set(table: &mut dyn TableLike, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = Value::from(text);
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(Value::from(text)));
        }
    }
}

/// A file's path in the manner of `raw`, which stands for `old`: relative where that is, and both are in one folder.
fn written_like(raw: &str, old: &Path, new: &Path) -> String {
    let are_beside = is_file(old) && is_file(new) && old.parent() == new.parent();
    if let (true, Some(name)) = (are_beside, new.file_name()) {
        return Path::new(raw).with_file_name(name).display().to_string();
    }
    new.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Ours.
hostname = 'mx.example.org'   # not \"mail\"

[[domain]]
name = \"example.net\"
selector = \"gate1\"
key = \"gate1.pem\"

[[domain]]  # the office
# In From.
name = \"Example.ORG\"
selector = \"gate1\"  # the autumn key
# Kept safe.
key = 'keys/gate1.pem'
lifetime = \"7d\"

# Comes in.
[[listener]]
name = \"inbound\"
";

    fn changed(text: &str, new: &str, succession: Option<&str>) -> Result<String, EditError> {
        let (domain, selector) = ("example.org".parse().unwrap(), "gate2".parse().unwrap());
        let key = (Path::new("/etc/waxseal/keys/gate1.pem"), Path::new(new));
        Change { domain: &domain, selector: &selector, key, succession: succession.map(Path::new) }
            .apply(text)
    }

    #[test]
    fn all_but_the_change_stays_as_it_was() {
        let new = changed(TEXT, "/etc/waxseal/keys/gate2.pem", Some("/etc/waxseal/keys/gate2.succession"));
        let wanted = TEXT
            .replace("selector = \"gate1\"  # the", "selector = \"gate2\"  # the")
            .replace("'keys/gate1.pem'", "\"keys/gate2.pem\"")
            .replace("lifetime = \"7d\"\n", "lifetime = \"7d\"\nsuccession = \"keys/gate2.succession\"\n");
        assert_eq!(new.as_ref(), Ok(&wanted));
        // What is no file is named as it is.
        let token = "pkcs11:object=gate2;module-path=/etc/waxseal/keys/module.so";
        assert!(changed(TEXT, token, None).unwrap().contains(&format!("key = \"{token}\"")));
        // Another folder is named in full, and what spoke of the key before goes.
        let new = changed(&wanted, "/srv/gate2.pem", None).unwrap();
        let wanted = wanted
            .replace("\"keys/gate2.pem\"", "\"/srv/gate2.pem\"")
            .replace("succession = \"keys/gate2.succession\"\n", "");
        assert_eq!(new, wanted);
    }

    #[test]
    fn tables_may_stand_in_one_line() {
        let text =
            "domain = [{ name = 'example.org', selector = 'gate1', key = '/etc/waxseal/keys/gate1.pem' }]\n";
        let new = changed(text, "/etc/waxseal/keys/gate2.pem", None).unwrap();
        let wanted = text
            .replace("'gate1'", "\"gate2\"")
            .replace("'/etc/waxseal/keys/gate1.pem'", "\"/etc/waxseal/keys/gate2.pem\"");
        assert_eq!(new, wanted);
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        assert!(matches!(changed("domain = ", "/x.pem", None), Err(EditError::Form(_))));
        for text in ["", "domain = 3", "[[domain]]\nname = \"example.net\"\n"] {
            assert!(matches!(changed(text, "/x.pem", None), Err(EditError::NoDomain(_))), "{text}");
        }
    }
}
