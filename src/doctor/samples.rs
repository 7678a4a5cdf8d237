//! Values of the sample configurations that were left in: names and addresses that are set apart for documentation
//! (RFC 2606, RFC 5737, RFC 3849), which no site has, and the samples' keys.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::finding::{Finding, Subject};

/// The keys in `config/waxseal.toml`, `deploy/` and its README. Nobody has their private halves, or everybody.
const KEYS: [&str; 4] = [
    "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=",
    "6LxqYeQR/RZs4rmvi7gQbOG6qc9ovpeUUtxCFsSM29w=",
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
];

/// Addresses for documentation.
const NETWORKS: [&str; 5] =
    ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"];

/// One warning for each line of the file that has such a value.
pub(super) fn check(path: &Path, findings: &mut Vec<Finding>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    for (line, sample) in samples(&text) {
        Subject::new(findings, "sample", format!("{}:{line}", path.display())).warning(
            format!("`{sample}` is a value of the sample configuration, which no site has"),
            "write your own value there, or remove the entry; then systemctl reload waxseal",
        );
    }
}

/// The first sample value of each line, in order.
fn samples(text: &str) -> Vec<(usize, String)> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let mut found = Vec::new();
    in_table(table.get_ref(), &mut |value, start| {
        if let Some(sample) = sample_in(value) {
            found.push((text[..start].matches('\n').count() + 1, sample));
        }
    });
    found.sort();
    found.dedup_by_key(|(line, _)| *line);
    found
}

/// Calls on every text of a table, and where it starts.
fn in_table(table: &DeTable<'_>, look: &mut dyn FnMut(&str, usize)) {
    for value in table.values() {
        in_value(value.get_ref(), value.span().start, look);
    }
}

fn in_value(value: &DeValue<'_>, start: usize, look: &mut dyn FnMut(&str, usize)) {
    match value {
        DeValue::String(text) => look(text, start),
        DeValue::Array(array) => {
            for value in array.iter() {
                in_value(value.get_ref(), value.span().start, look);
            }
        }
        DeValue::Table(table) => in_table(table, look),
        _ => {}
    }
}

fn sample_in(value: &str) -> Option<String> {
    if let Some(key) = KEYS.iter().find(|key| value.contains(*key)) {
        return Some((*key).to_owned());
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    value.split(|c| !is_part(c)).find(|word| is_sample(word)).map(str::to_owned)
}

/// Whether a name or an address, with a port or without, is for documentation.
fn is_sample(word: &str) -> bool {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return NETWORKS.iter().filter_map(|net| net.parse::<IpNet>().ok()).any(|net| net.contains(&ip));
    }
    if let Some((host, port)) = word.rsplit_once(':') {
        return port.bytes().all(|octet| octet.is_ascii_digit()) && is_sample(host);
    }
    let name = word.trim_end_matches('.').to_ascii_lowercase();
    let mut labels = name.rsplit('.');
    match (labels.next(), labels.next()) {
        (Some("example"), Some(_)) => true,
        (Some("com" | "net" | "org"), below) => below == Some("example"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_samples_from_what_sites_have() {
        for (value, sample) in [
            ("partner.example", Some("partner.example")),
            ("smtp.provider.example:587", Some("smtp.provider.example:587")),
            ("MX.Example.ORG.", Some("MX.Example.ORG.")),
            ("Office <office@example.net>", Some("example.net")),
            ("/etc/waxseal/keys/example.org", Some("example.org")),
            ("192.0.2.40", Some("192.0.2.40")),
            ("198.51.100.0/24", Some("198.51.100.0")),
            ("[2001:db8::1]:25", Some("2001:db8::1")),
            ("v=SEAL1; k=ed25519; p=iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=", Some(KEYS[0])),
            ("myexample.org", None),
            ("example.org.uk", None),
            ("/var/lib/waxseal.example", Some("waxseal.example")),
            ("mail.tibet.net", None),
            ("127.0.0.1:10025", None),
            ("10.0.0.0/8", None),
            ("::1/128", None),
            ("60s", None),
            ("an example", None),
        ] {
            assert_eq!(sample_in(value).as_deref(), sample, "{value}");
        }
    }

    #[test]
    fn every_key_of_the_samples_is_known() {
        for text in [
            include_str!("../../config/waxseal.toml"),
            include_str!("../../deploy/postfix/front/waxseal.toml"),
            include_str!("../../deploy/postfix/proxy-filter/waxseal.toml"),
            include_str!("../../deploy/README.md"),
        ] {
            let keys = text.split("; p=").skip(1).map(|rest| rest.chars().take(44).collect::<String>());
            for key in keys.filter(|key| key.ends_with('=')) {
                assert!(KEYS.contains(&key.as_str()), "{key}");
            }
        }
    }

    #[test]
    fn each_line_is_named_once() {
        let text = "# partner.example\nhostname = \"mx.example.org\"\n[[correspondent]]\ndomain = \"a.org\" # b.example\n\
                    keys = [\n  \"x\",\n  \"192.0.2.1 a.example\"\n]\n";
        let samples = samples(text);
        assert_eq!(samples, [(2, "mx.example.org".to_owned()), (7, "192.0.2.1".to_owned())]);
    }
}
