//! The configuration as administrators meet it: the sample file, the environment, and every kind of mistake.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use waxseal::config::{
    self, Auth, Clients, Config, ListenAddress, LogFormat, Mistake, Mode, NextHopTls, SealingKeys,
};
use waxseal::dns::Dnssec;
use waxseal::policy::{self, Action, Choice, Choices, Policy};
use waxseal::smtp::{BareLineEnds, Introduction};

const SAMPLE: &str = include_str!("../config/waxseal.toml");

const SMALL: &str = r#"
hostname = "mx.example.org"
[[listener]]
name = "outbound"
mode = "seal"
listen = ["127.0.0.1:10025"]
next_hop = "127.0.0.1:10026"
[[domain]]
name = "example.org"
selector = "gate1"
key = "gate1.pem"
"#;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<Mistake>> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::parse(text, Path::new("/etc/waxseal/waxseal.toml"), env)
}

fn parse(text: &str) -> Config {
    parse_with(text, &[]).unwrap()
}

/// The sample with every setting and table that is only shown as a comment.
fn whole_sample() -> String {
    let is_setting = |line: &str| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let uncomment =
        |line: &'static str| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line);
    SAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_is_valid() {
    let config = parse(SAMPLE);
    assert_eq!(config.listeners.len(), 2);
    assert!(config.alerts.is_none() && config.correspondents.is_empty());
}

#[test]
fn the_sample_shows_every_setting() {
    let sample: toml::Table = whole_sample().parse().unwrap();
    let mut shown = BTreeSet::new();
    collect_keys("", &sample, &mut shown);
    for (section, keys) in config::keys() {
        for key in keys {
            assert!(shown.contains(&(section.to_owned(), (*key).to_owned())), "not shown: [{section}] {key}");
        }
    }
}

/// Every key of a table and of the tables in it, with the section that it stands in.
fn collect_keys(section: &str, table: &toml::Table, shown: &mut BTreeSet<(String, String)>) {
    for (name, value) in table {
        shown.insert((section.to_owned(), name.clone()));
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let tables = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for table in tables.iter().filter_map(toml::Value::as_table) {
            collect_keys(&path, table, shown);
        }
    }
}

#[test]
fn the_sample_tells_the_true_defaults() {
    // Anchors mean nothing while DNSSEC is off, as it is by default; and one key stands in the place of a folder.
    let sample = whole_sample();
    let is_other = |line: &&str| {
        ["trust_anchors", "selector = ", "key = \"/etc/waxseal/gate1"].iter().any(|key| line.starts_with(key))
    };
    let whole: Vec<&str> = sample.lines().filter(|line| !is_other(line)).collect();
    let (plain, whole) = (parse(SAMPLE), parse(&whole.join("\n")));
    assert_eq!(plain.state, whole.state);
    assert_eq!(plain.limits, whole.limits);
    assert_eq!(plain.quarantine, whole.quarantine);
    assert_eq!((plain.dns.questions, plain.dns.cache), (whole.dns.questions, whole.dns.cache));
    let dns = waxseal::dns::Settings::default();
    assert_eq!((plain.dns.questions, plain.dns.cache), (dns.questions, dns.cache));
    assert_eq!(plain.log, whole.log);
    assert_eq!(plain.domains[0].lifetime, whole.domains[0].lifetime);
    assert_eq!(plain.domains[0].subdomains, whole.domains[0].subdomains);
    assert_eq!(plain.listeners[0].clients, whole.listeners[0].clients);
    assert_eq!(plain.listeners[0].auth, whole.listeners[0].auth);
    assert_eq!(plain.listeners[0].bare_line_ends, whole.listeners[0].bare_line_ends);
    assert_eq!(plain.listeners[0].next_hop_tls.value, whole.listeners[0].next_hop_tls.value);
    assert_eq!(plain.listeners[0].implicit_tls, whole.listeners[0].implicit_tls);
    assert_eq!(plain.listeners[0].introduction, whole.listeners[0].introduction);
    assert_eq!(plain.listeners[0].xclient_from, whole.listeners[0].xclient_from);
    assert_eq!(plain.listeners[0].xforward_from, whole.listeners[0].xforward_from);
    assert_eq!(plain.listeners[0].proxy_protocol_from, whole.listeners[0].proxy_protocol_from);
    // Writing `missing` down is meant to count even where only memory speaks (SPEC.md §10).
    let choices = Choices { missing_by_memory: Choice::Do(Action::Mark), ..whole.policy.choices };
    assert_eq!(plain.policy, Policy { choices: choices.clone(), ..Policy::default() });
    let exception = whole.policy.exceptions.into_iter().next().unwrap();
    assert_eq!(Choices { missing_by_memory: Choice::Do(Action::Mark), ..exception.choices }, choices);
    assert_eq!((plain.dns.dnssec, plain.dns.timeout), (whole.dns.dnssec, whole.dns.timeout));
    let alerts = whole.alerts.unwrap();
    assert_eq!(alerts.from, "waxseal@mx.example.org");
    assert_eq!(alerts.digest, Some(jiff::civil::time(7, 0, 0, 0)));
    assert_eq!((plain.notices, whole.notices), (None, None));
    assert!(whole.correspondents[0].subdomains);
}

#[test]
fn a_small_configuration_gets_its_defaults() {
    let config = parse(SMALL);
    let listener = &config.listeners[0];
    assert_eq!((listener.mode, listener.bare_line_ends), (Mode::Seal, BareLineEnds::Refuse));
    assert!(listener.clients.allows("127.0.0.1".parse().unwrap()));
    assert!(!listener.clients.allows("192.0.2.1".parse().unwrap()));
    assert_eq!(config.domains[0].lifetime, Duration::from_secs(14 * 86_400));
    let SealingKeys::Fixed { key, .. } = &config.domains[0].keys else { panic!("{:?}", config.domains) };
    assert_eq!(key.value, Path::new("/etc/waxseal/gate1.pem"));
    let place = key.mistake("no such file").to_string();
    assert_eq!(place, "/etc/waxseal/waxseal.toml:11: domain[example.org].key: no such file");
    assert_eq!(config.policy.choices.missing_by_memory, Choice::Do(Action::Mark));
    assert_eq!((config.dns.servers, config.dns.dnssec), (None, Dnssec::Off));
}

/// An exception leaves open what it does not say, and `missing` counts once it is written down.
#[test]
fn exceptions_build_upon_the_policy() {
    let config = parse(&format!(
        "{SMALL}[policy]\nfail = \"reject\"\nmissing = \"published\"\n[[policy.for]]\n\
         correspondents = [\"Partner.example\"]\nmode = \"observe\"\nunknown-key = \"defer\"\n"
    ));
    let [exception] = config.policy.exceptions.as_slice() else { panic!("{:?}", config.policy) };
    assert_eq!(exception.correspondents, ["partner.example".parse().unwrap()]);
    assert!(exception.recipients.is_empty());
    let expected = Choices {
        mode: policy::Mode::Observe,
        unknown_key: Choice::Do(Action::Defer),
        ..config.policy.choices.clone()
    };
    assert_eq!(exception.choices, expected);
    assert_eq!(expected.fail, Choice::Do(Action::Reject));
    assert_eq!((expected.missing, expected.missing_by_memory), (Choice::Published, Choice::Published));
}

/// `false` is another word for "off", and no server is not the same as none named.
#[test]
fn recipients_are_told_in_the_language_of_their_domain() {
    let told = "[alerts]\nto = \"root@example.org\"\nfrom = \"gate@example.org\"\nnext_hop = \"127.0.0.1:2525\"\n\
                digest = \"off\"\n[notices]\nto = \"recipients\"\nlanguage = \"de\"\ncontact = \"2222\"\n\
                [[notices.for]]\ndomain = \"example.org\"\nlanguage = \"bo\"\n\
                [[notices.for]]\ndomain = \"geneve.example.org\"\nlanguage = \"fr\"\ncontact = \"3333\"\n";
    let config = parse(&format!("{SMALL}{told}"));
    assert_eq!(config.alerts.unwrap().digest, None);
    let notices = config.notices.unwrap();
    assert_eq!((notices.from.as_str(), notices.next_hop.port), ("gate@example.org", 2525));
    for (domain, expected) in [
        ("example.net", ("de", Some("2222"))),
        ("example.org", ("bo", Some("2222"))),
        ("mail.example.org", ("bo", Some("2222"))),
        ("geneve.example.org", ("fr", Some("3333"))),
    ] {
        assert_eq!(notices.of(Some(&domain.parse().unwrap())), expected, "{domain}");
    }
    assert_eq!(notices.of(None), ("de", Some("2222")));
}

#[test]
fn dns_can_be_told_whom_to_ask() {
    let dns = |lines: &str| parse(&format!("{SMALL}[dns]\n{lines}\n")).dns;
    assert_eq!(dns("dnssec = false").dnssec, Dnssec::Off);
    assert_eq!(dns("dnssec = \"require\"").dnssec, Dnssec::Require);
    assert_eq!(dns("servers = []").servers, Some(vec![]));
    assert_eq!(dns("servers = [\"127.0.0.1:5353\"]").servers.unwrap(), ["127.0.0.1:5353".parse().unwrap()]);
    let with_anchors = dns("dnssec = \"prefer\"\ntrust_anchors = \"anchors\"").trust_anchors.unwrap();
    assert_eq!(with_anchors.value, Path::new("/etc/waxseal/anchors"));
}

#[test]
fn tls_and_sockets_are_as_written() {
    let lines = "next_hop_tls = \"verify\"\nnext_hop_ca = \"ca.pem\"\nimplicit_tls = true";
    let text = SMALL
        .replace("[[domain]]", &format!("{lines}\n[[domain]]"))
        .replace("127.0.0.1:10025", "unix:in.sock")
        .replace("127.0.0.1:10026", "mail.example.org:25");
    let config = parse(&format!("{text}\n[tls]\ncertificate = \"tls.pem\"\nkey = \"/etc/ssl/tls.key\""));
    let listener = &config.listeners[0];
    assert_eq!(listener.listen, [ListenAddress::Unix("/etc/waxseal/in.sock".into())]);
    assert!(listener.implicit_tls);
    assert_eq!(listener.next_hop_tls.value, NextHopTls::Verify);
    assert_eq!(listener.next_hop_ca.as_ref().unwrap().value, Path::new("/etc/waxseal/ca.pem"));
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificate.value, Path::new("/etc/waxseal/tls.pem"));
    assert_eq!(tls.key.value, Path::new("/etc/ssl/tls.key"));
}

#[test]
fn clients_are_told_of_and_announced_as_written() {
    let with = |lines: &str| {
        parse(&SMALL.replace("[[domain]]", &format!("{lines}\n[[domain]]"))).listeners.remove(0)
    };
    let plain = with("");
    assert_eq!(plain.introduction, Introduction::Nothing);
    assert_eq!(plain.xforward_from, Clients::default());
    assert_eq!(with("xclient = true\nproxy_protocol = false").introduction, Introduction::Xclient);
    assert_eq!(with("proxy_protocol = true").introduction, Introduction::ProxyHeader);

    let listed = with("clients = [\"10.2.0.1\"]\nxforward = true\nxclient_from = [\"10.2.0.0/24\"]");
    assert_eq!(listed.xforward_from, listed.clients);
    assert!(listed.xclient_from.allows("10.2.0.2".parse().unwrap()));
    let proxied = with("clients = [\"10.2.0.1\"]\nproxy_protocol_from = [\"10.0.0.0/8\"]");
    assert!(proxied.proxy_protocol_from.allows("10.0.0.1".parse().unwrap()));
}

/// With AUTH demanded nobody is a stranger. A certificate that nobody checks is worth a warning.
#[test]
fn everybody_may_connect_where_auth_is_required() {
    let text = |tls: &str| {
        let lines =
            format!("auth = \"required\"\nclients = [\"0.0.0.0/0\", \"::/0\"]\nnext_hop_tls = \"{tls}\"");
        let text = SMALL.replace("[[domain]]", &format!("{lines}\n[[domain]]"));
        text.replace("127.0.0.1:10026", "smtp.example.net:587")
            + "\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\""
    };
    let checked = parse(&text("verify"));
    assert_eq!((checked.listeners[0].auth, checked.warnings.len()), (Auth::Required, 0));
    for tls in ["may", "encrypt"] {
        let warnings = parse(&text(tls)).warnings;
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(
            warning.to_string().contains("your users' passwords go to `smtp.example.net:587`"),
            "{warning}"
        );
    }
}

#[test]
fn xforward_is_not_for_everyone() {
    let text = SMALL.replace("\"seal\"", "\"verify\"\nxforward = true");
    let listener = parse(&text).listeners.remove(0);
    assert_eq!((listener.clients, listener.xforward_from), (Clients::everyone(), Clients::loopback()));
}

#[test]
fn sealing_domains_cover_what_lies_below_only_where_asked() {
    let text = format!(
        "{SMALL}[[domain]]\nname = \"sub.example.org\"\nselector = \"s\"\nkey = \"k\"\nsubdomains = true\n"
    );
    let config = parse(&text);
    let sealing = |from: &str| config.sealing_domain(&from.parse().unwrap()).map(|d| d.name.to_string());
    assert_eq!(sealing("example.org").as_deref(), Some("example.org"));
    assert_eq!(sealing("www.example.org"), None);
    assert_eq!(sealing("a.sub.example.org").as_deref(), Some("sub.example.org"));
}

#[test]
fn the_environment_overrides_the_file() {
    let text = format!("{SMALL}[limits]\nmessage_size = 1000000\n[policy]\nunknown-key = \"defer\"\n");
    let env = [
        ("WAXSEAL_HOSTNAME", "other.example.org"),
        ("WAXSEAL_LIMITS__MESSAGE_SIZE", "2MiB"),
        ("WAXSEAL_LIMITS__CONNECTIONS", "7"),
        ("WAXSEAL_POLICY__UNKNOWN_KEY", "reject"),
        ("WAXSEAL_ALERTS__TO", "postmaster@example.org"),
        ("WAXSEAL_LOG__FORMAT", "json"),
        ("WAXSEAL_DNS__SERVERS", "192.0.2.1, [2001:db8::1]:5353"),
        ("WAXSEAL_DNS__DNSSEC", "false"),
        ("WAXSEAL_ADMIN__LISTEN", "127.0.0.1:9825, unix:/run/admin.sock"),
        ("PATH", "/bin"),
    ];
    let config = parse_with(&text, &env).unwrap();
    assert_eq!(config.hostname.as_str(), "other.example.org");
    assert_eq!((config.limits.message_size, config.limits.connections), (2 << 20, 7));
    assert_eq!(config.policy.choices.unknown_key, Choice::Do(Action::Reject));
    assert_eq!(
        config.dns.servers.unwrap(),
        ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]
    );
    assert_eq!(config.dns.dnssec, Dnssec::Off);
    assert_eq!(config.alerts.unwrap().from, "waxseal@other.example.org");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.admin.listen.len(), 2);
}

#[test]
fn mistakes_of_the_environment_name_the_variable() {
    for (name, value, reason) in [
        ("WAXSEAL_LIMITS__MEMORY", "lots", "expected a size"),
        ("WAXSEAL_LIMITS__CONNECTIONS", "0", "out of range"),
        ("WAXSEAL_LIMITS__CONNECTIONS", "many", "expected an integer"),
        ("WAXSEAL_LIMITS__CONECTIONS", "1", "did you mean `connections`?"),
        ("WAXSEAL_LIMTS__MEMORY", "1", "did you mean `limits`?"),
        ("WAXSEAL_HOST_NAME", "x", "did you mean `hostname`?"),
        ("WAXSEAL_HOSTNAME", "not a name", "is not a domain name"),
        ("WAXSEAL_LISTENER__NAME", "x", "cannot be set from the environment"),
        ("WAXSEAL_LISTENER__0__NAME", "x", "cannot be set from the environment"),
        ("WAXSEAL_LIMITS", "x", "a section"),
        ("WAXSEAL_ALERTS__LANGUAGE", "de", "not available in this version"),
        ("WAXSEAL_ADMIN__LISTEN", "x", "not an IP address and a port"),
        ("WAXSEAL_ADMIN__LISTEN", "[::1]:9825, 127.0.0.1:10025", "is taken by `127.0.0.1:10025`"),
        ("WAXSEAL_POLICY__FAIL", "shred", "not an action"),
        ("WAXSEAL_LOG__FORMAT", "xml", "use text or json"),
        ("WAXSEAL_STATE", "mysql://db/waxseal", "is PostgreSQL: postgres://"),
        ("WAXSEAL_LOG__LEVEL", "loud", "choose error, warn"),
        ("WAXSEAL_DNS__SERVERS", "resolver.example", "not an address with a port"),
        ("WAXSEAL_DNS__DNSSEC", "on", "use \"off\", \"prefer\" or \"require\""),
        ("WAXSEAL_POLICY__FOR", "x", "cannot be set from the environment"),
    ] {
        let mistakes = parse_with(SMALL, &[(name, value)]).unwrap_err();
        let [mistake] = mistakes.as_slice() else { panic!("{name}: {mistakes:?}") };
        let text = mistake.to_string();
        assert!(text.starts_with(&format!("environment variable {name}: ")), "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_report_is_one_line_a_mistake() {
    let mistakes = parse_with(&SMALL.replace("gate1\"", "a\\n\\u001b[31m\""), &[]).unwrap_err();
    assert!(mistakes[0].to_string().contains(r"`a \u{1b}[31m` is not a selector"), "{}", mistakes[0]);
}

#[test]
fn an_unreadable_file_is_a_mistake() {
    let mistakes = config::load(Path::new("/nonexistent/waxseal.toml")).unwrap_err();
    let text = mistakes[0].to_string();
    assert!(text.starts_with("/nonexistent/waxseal.toml: cannot be read: "), "{text}");
}

proptest! {
    /// However a file is mangled, there is a configuration or a reason why there is none.
    #[test]
    fn every_text_is_answered(cuts in vec((0..SAMPLE.len(), 0..60usize, "[\\[\\]\\\\\"=.,{}#\n a-z0-9]{0,4}"), 1..4)) {
        let mut text = whole_sample();
        for (at, length, insert) in cuts {
            let (start, end) = (text.floor_char_boundary(at), text.floor_char_boundary(at + length));
            text.replace_range(start..end, &insert);
        }
        if let Err(mistakes) = parse_with(&text, &[]) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|mistake| !mistake.to_string().contains('\n')), "{mistakes:?}");
        }
    }
}

/// `tests/bad_configs/<case>/`: `waxseal.toml`, and in `expect` the whole report, a mistake or warning a line.
/// With `BLESS` in the environment the reports are written anew, for `git diff` to judge.
#[test]
fn bad_configurations_are_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_configs");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    if std::env::var_os("BLESS").is_some() {
        cases.iter().for_each(|case| fs::write(case.join("expect"), report(case)).unwrap());
    }
    let differing: Vec<_> = cases.iter().filter_map(|case| difference(case)).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn report(case: &Path) -> String {
    let text = fs::read_to_string(case.join("waxseal.toml")).unwrap();
    match config::parse(&text, Path::new("waxseal.toml"), std::iter::empty()) {
        Ok(config) => config.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect(),
        Err(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
    }
}

fn difference(case: &Path) -> Option<String> {
    let expected = fs::read_to_string(case.join("expect")).unwrap();
    let found = report(case);
    (found != expected).then(|| format!("{}\nexpected:\n{expected}found:\n{found}", case.display()))
}
