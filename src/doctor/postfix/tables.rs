//! Postfix's lookup tables: whether one would change what a seal is about.

use attachment_seal::domain::DomainName;

use super::settings::words;

/// Answers of tables.
pub(super) trait Tables {
    /// What a table such as `regexp:/etc/postfix/header_checks` answers to each of the keys that it knows;
    /// `None` where it cannot be asked.
    fn query(&self, table: &str, keys: &[String]) -> Option<Vec<(String, String)>>;

    /// The text that a table is made from.
    fn text(&self, table: &str) -> Option<String>;
}

/// What tables may do to sealed mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// Nothing that a seal would not survive.
    None,
    /// This, to usual mail.
    Certain(String),
    /// Perhaps something, for this reason.
    Possible(String),
}

/// Actions of header_checks and body_checks after which something is not as it was.
const ALTERING: [&str; 3] = ["REPLACE", "IGNORE", "STRIP"];

/// What header_checks and their like do to the fields that a seal is about.
pub(super) fn header_harm(list: &str, domain: &DomainName, tables: &dyn Tables) -> Harm {
    let fields = [
        &format!("From: Office <office@{domain}>"),
        &format!("From: postmaster@{domain}"),
        "Date: Mon, 23 Nov 2026 09:00:00 +0000",
        &format!("Message-ID: <20261123090000.4711@{domain}>"),
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=\"=_1\"",
        "Content-Type: application/pdf; name=\"Agenda.pdf\"",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment; filename=\"Agenda.pdf\"",
        &format!("Attachment-Seal: v=1; a=ed25519-blake3; d={domain}; s=gate1; t=1795400000; x=1796004800;"),
    ];
    let is_harmless = |line: &str| !alters(line, &ALTERING) || is_about_others(line);
    harm(list, &fields.map(ToOwned::to_owned), tables, &ALTERING, is_harmless)
}

/// What body_checks and their like do.
pub(super) fn body_harm(list: &str, tables: &dyn Tables) -> Harm {
    let lines =
        ["Hello,", "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9GbGF0ZURl", "--=_1"];
    let altering = ["REPLACE", "IGNORE", "STRIP", "PREPEND"];
    harm(list, &lines.map(str::to_owned), tables, &altering, |line| !alters(line, &altering))
}

fn harm(
    list: &str,
    samples: &[String],
    tables: &dyn Tables,
    altering: &[&str],
    is_harmless: impl Fn(&str) -> bool,
) -> Harm {
    let mut worst = Harm::None;
    for table in words(list) {
        let Some(answers) = tables.query(&table, samples) else {
            worst = Harm::Possible(format!("{table} cannot be asked"));
            continue;
        };
        if let Some((sample, action)) = answers.iter().find(|(_, action)| alters(action, altering)) {
            let action = action.split_whitespace().next().unwrap_or_default();
            let sample = sample.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
            return Harm::Certain(format!("{table} answers {action} to `{sample}`"));
        }
        match tables.text(&table) {
            Some(text) => {
                if let Some(line) = rules(&text).find(|line| !is_harmless(line)) {
                    worst = Harm::Possible(format!("{table} has the rule `{line}`"));
                }
            }
            None => worst = Harm::Possible(format!("{table} is no file that can be read")),
        }
    }
    worst
}

/// The lines of a table's text that are no comments.
fn rules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether an action, or a rule with an action, is one of these.
fn alters(text: &str, actions: &[&str]) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .any(|word| actions.iter().any(|action| word.eq_ignore_ascii_case(action)))
}

/// Whether a rule is plainly for fields that no seal is about: `/^Received:…/`, `/^(X-Mailer|User-Agent):/`.
fn is_about_others(rule: &str) -> bool {
    let Some((names, _)) =
        rule.get(1..).and_then(|rest| rest.strip_prefix('^')).and_then(|rest| rest.split_once(':'))
    else {
        return false;
    };
    let names = names.strip_prefix('(').and_then(|names| names.strip_suffix(')')).unwrap_or(names);
    names.split('|').all(|name| {
        let name = name.to_ascii_lowercase();
        let is_name = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        let is_sealed = ["from", "date", "message-id", "mime-version", "attachment-seal"]
            .contains(&name.as_str())
            || (name.starts_with("content-") && name != "content-length");
        !name.is_empty() && is_name && !is_sealed
    })
}

/// Whether canonical or generic maps rewrite addresses of a domain.
pub(super) fn address_harm(list: &str, domain: &DomainName, tables: &dyn Tables) -> Harm {
    let keys = [format!("@{domain}"), format!("postmaster@{domain}")];
    let mut worst = Harm::None;
    for table in words(list) {
        let answers = tables.query(&table, &keys);
        if let Some((key, value)) =
            answers.as_ref().and_then(|answers| answers.iter().find(|(key, value)| key != value))
        {
            return Harm::Certain(format!("{table} makes {value} of {key}"));
        }
        let at = format!("@{domain}");
        let names_us = |line: &str| {
            let key = line.trim_start_matches(['{', ' ']).split(['=', ' ', '\t']).next().unwrap_or_default();
            key.to_ascii_lowercase().ends_with(&at)
        };
        match tables.text(&table) {
            Some(text) => {
                if let Some(line) = text.split(['\n', ',']).map(entry).find(|line| names_us(line)) {
                    return Harm::Certain(format!("{table} has `{line}`"));
                }
                worst = Harm::Possible(format!("{table} may name authors of {domain}"));
            }
            None => worst = Harm::Possible(format!("{table} is no file that can be read")),
        }
    }
    worst
}

/// One entry of a table, without the syntax around it in an inline one.
fn entry(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("inline:").unwrap_or(text);
    text.trim_matches(|c: char| "{} ".contains(c))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keys and values.
    type Pairs = Vec<(&'static str, &'static str)>;

    /// Tables by name: their text, and what they answer to keys that hold the first of each pair.
    pub(in super::super) struct Canned(pub(in super::super) Vec<(&'static str, &'static str, Pairs)>);

    impl Tables for Canned {
        fn query(&self, table: &str, keys: &[String]) -> Option<Vec<(String, String)>> {
            let (_, _, answers) = self.0.iter().find(|(name, ..)| *name == table)?;
            let answer = |key: &String| {
                let (_, value) = answers.iter().find(|(part, _)| key.contains(part))?;
                Some((key.clone(), (*value).to_owned()))
            };
            Some(keys.iter().filter_map(answer).collect())
        }

        fn text(&self, table: &str) -> Option<String> {
            let (_, text, _) = self.0.iter().find(|(name, ..)| *name == table)?;
            (!text.is_empty()).then(|| (*text).to_owned())
        }
    }

    #[test]
    fn judges_header_checks() {
        let domain = "example.org".parse().unwrap();
        let tables = Canned(vec![
            ("pcre:/received", "# ours\n/^Received:.*/ IGNORE\n/^(X-Mailer|User-Agent):/ STRIP\n", vec![]),
            ("pcre:/warn", "/^From:/ WARN\n/^Content-Type:/ REJECT\n", vec![("From:", "WARN")]),
            ("pcre:/from", "/^From:/ REPLACE From: x\n", vec![("From:", "REPLACE From: x")]),
            ("pcre:/rare", "/^Message-ID: <strange/ IGNORE\n", vec![]),
            ("pcre:/any", "/secret/ IGNORE\n", vec![]),
            ("mysql:/x", "", vec![]),
        ]);
        let harm = |list: &str| header_harm(list, &domain, &tables);
        assert_eq!(harm(""), Harm::None);
        assert_eq!(harm("pcre:/received, pcre:/warn"), Harm::None);
        assert!(
            matches!(harm("pcre:/received pcre:/from"), Harm::Certain(why) if why.contains("REPLACE to `From: Office"))
        );
        for list in ["pcre:/rare", "pcre:/any", "mysql:/x", "pcre:/missing"] {
            assert!(matches!(harm(list), Harm::Possible(_)), "{list}");
        }
    }

    #[test]
    fn judges_body_checks() {
        let tables = Canned(vec![
            ("pcre:/reject", "/^TVqQ/ REJECT\n", vec![]),
            ("pcre:/footer", "/^-- $/ PREPEND disclaimer\n", vec![]),
            ("pcre:/all", "/^(.*)$/ REPLACE $1\n", vec![("Hello", "REPLACE Hello,")]),
        ]);
        assert_eq!(body_harm("pcre:/reject", &tables), Harm::None);
        assert!(matches!(body_harm("pcre:/footer", &tables), Harm::Possible(_)));
        assert!(matches!(body_harm("pcre:/all", &tables), Harm::Certain(_)));
    }

    #[test]
    fn judges_address_maps() {
        let domain = "example.org".parse().unwrap();
        let tables = Canned(vec![
            ("hash:/whole", "", vec![("@example.org", "x@example.net")]),
            ("hash:/office", "office@example.org director@example.org\n", vec![]),
            ("inline:{ {office@example.org = a@b} }", "inline:{ {office@example.org = a@b} }", vec![]),
            ("hash:/root", "root admin@example.org\n", vec![]),
            ("ldap:/x", "", vec![]),
        ]);
        for (list, is_certain) in [
            ("hash:/whole", true),
            ("hash:/office", true),
            ("inline:{ {office@example.org = a@b} }", true),
            ("hash:/root", false),
            ("ldap:/x", false),
        ] {
            let harm = address_harm(list, &domain, &tables);
            assert_eq!(matches!(harm, Harm::Certain(_)), is_certain, "{list}: {harm:?}");
            assert_eq!(matches!(harm, Harm::Possible(_)), !is_certain, "{list}: {harm:?}");
        }
    }
}
