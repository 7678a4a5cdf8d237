//! A configuration with mistakes, for commands that need only parts of it: held mail is wanted most when something is wrong.

use std::collections::BTreeSet;

use super::Config;
use super::layers::{PREFIX, path_of};
use super::mistake::Mistake;
use super::places::Places;

/// The configuration, whatever mistakes there are in it. What a mistake concerns is left out, or at its default.
#[derive(Debug)]
pub struct Partial {
    pub(super) config: Config,
    pub(super) mistakes: Vec<Mistake>,
    /// The sections with mistakes, such as `dns` and `listener[inbound]`, and keys at the top such as `state`.
    wrong: BTreeSet<String>,
    /// Whether nothing is sure but what is in [`Partial::read`].
    is_torn: bool,
    /// Keys at the top that were read from a file which is no TOML.
    read: BTreeSet<String>,
}

impl Partial {
    pub(super) fn new(config: Config, mistakes: Vec<Mistake>, places: &Places) -> Self {
        let mut wrong: BTreeSet<String> =
            mistakes.iter().map(|mistake| section_of(&mistake.place.key)).collect();
        // A slip in a section's name is a mistake of that section.
        wrong.extend(places.all_cut().map(section_of));
        let is_wrong_line = |line: usize| mistakes.iter().any(|mistake| mistake.place.line == Some(line));
        let is_read = |key: &&str| places.line_of_key(key).is_some_and(|line| !is_wrong_line(line));
        let read = ["state", "hostname"].iter().filter(|key| is_read(key)).map(ToString::to_string).collect();
        Self { config, mistakes, wrong, is_torn: places.is_incomplete(), read }
    }

    /// Everything that is wrong, in the file's order.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Whether a section, or a key at the top of the file, is as it was written: `quarantine`, `listener[inbound]`, `state`.
    pub fn is_right(&self, section: &str) -> bool {
        !self.wrong.contains(section) && (!self.is_torn || self.read.contains(section))
    }

    /// The configuration, of which only these sections may be used; `None` if one of them has a mistake.
    pub fn with(&self, sections: &[&str]) -> Option<&Config> {
        sections.iter().all(|section| self.is_right(section)).then_some(&self.config)
    }
}

/// The section that a key belongs to, with its label where there may be several; a key at the top is its own.
fn section_of(key: &str) -> String {
    let variable = key.split_whitespace().last().filter(|word| word.starts_with(PREFIX)).and_then(path_of);
    let key = variable.as_deref().unwrap_or(key);
    let end = match (key.find('['), key.find('.')) {
        (Some(bracket), dot) if dot.is_none_or(|dot| bracket < dot) => key.find(']').map(|end| end + 1),
        (_, dot) => dot,
    };
    key[..end.unwrap_or(key.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{check, layers};
    use super::*;

    fn partial(text: &str, env: &[(&str, &str)]) -> Partial {
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let layers = layers::read(text, Places::new(Path::new("/etc/waxseal.toml")), env);
        check::check_parts(layers, Path::new("/etc"))
    }

    const GOOD: &str = "hostname = \"mx.example.org\"\nstate = \"/var/lib/w\"\n[[listener]]\nname = \"in.1\"\n\
                        mode = \"verify\"\nlisten = [\"127.0.0.1:25\"]\nnext_hop = \"127.0.0.1:26\"\n";

    #[test]
    fn tells_which_sections_have_mistakes() {
        for (more, env, wrong) in [
            ("", &[][..], &[][..]),
            ("[dns]\nquestions = 0\n", &[], &["dns"]),
            ("[quarantine]\nsize = \"much\"\n", &[], &["quarantine"]),
            ("[quarantin]\nsize = \"5MiB\"\n", &[], &["quarantin", "quarantine"]),
            ("[policy]\nfail = \"shred\"\n[[policy.for]]\nnone = 1\n", &[], &["policy"]),
            ("nxt_hop = \"\"\n", &[], &["listener[in.1]"]),
            ("", &[("WAXSEAL_QUARANTINE__SIZE", "much")], &["quarantine"]),
            ("", &[("WAXSEAL_STAT", "/elsewhere")], &["stat", "state"]),
            ("[alerts]\nto = \"nobody\"\n[tls]\n", &[], &["alerts", "tls"]),
        ] {
            let partial = partial(&format!("{GOOD}{more}"), env);
            for section in ["state", "hostname", "quarantine", "listener[in.1]", "dns", "policy", "tls"] {
                assert_eq!(partial.is_right(section), !wrong.contains(&section), "{section}: {more}");
            }
            assert_eq!(partial.mistakes().is_empty(), wrong.is_empty(), "{more}");
            assert_eq!(partial.config.state.folder, Path::new("/var/lib/w"));
        }
    }

    #[test]
    fn of_a_torn_file_only_what_was_read_is_sure() {
        let torn = partial(&format!("{GOOD}[quarantine]\nsize = = 5\n"), &[]);
        assert!(torn.is_right("state") && torn.is_right("hostname"), "{:?}", torn.mistakes);
        assert!(!torn.is_right("quarantine") && !torn.is_right("listener[in.1]") && !torn.is_right("label"));
        let torn = partial(&GOOD.replace("\"/var/lib/w\"", "\"/var/lib/w"), &[]);
        assert!(!torn.is_right("state"), "{:?}", torn.mistakes);
        let torn = partial("[quarantine]\nsize = = 5\n", &[]);
        assert!(!torn.is_right("state"));
    }
}
