//! The envelope of a message: what MAIL and RCPT gave (RFC 5321 §3.3), kept to the letter.
//! Whether an address is a good one is the next hop's business; here it is only taken apart where we must.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The path of MAIL FROM, as it stood between `<` and `>`. Empty is the null reverse-path `<>` of bounces
/// (RFC 5321 §4.5.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReversePath(String);

/// The path of RCPT TO, as it stood between `<` and `>`; never empty. `postmaster` may stand without a domain
/// (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForwardPath(String);

/// A parameter of MAIL or RCPT, known to us or not (RFC 5321 §4.1.2 `esmtp-param`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The keyword as it was written; it counts in any case.
    pub keyword: String,
    /// What stood behind `=`, if anything did.
    pub value: Option<String>,
}

/// Sender and recipients of one message. Only recipients that the next hop accepted are in it, because only
/// those get the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where non-delivery reports go.
    pub reverse_path: ReversePath,
    /// The parameters of MAIL: `BODY`, `SMTPUTF8`, `SIZE`, `RET` …
    pub mail_parameters: Vec<Parameter>,
    /// The accepted recipients, in the order in which they were given.
    pub recipients: Vec<ForwardPath>,
    /// The parameters of each one's RCPT: `NOTIFY`, `ORCPT`.
    #[serde(default)]
    pub recipient_parameters: Vec<Vec<Parameter>>,
}

impl ReversePath {
    /// Takes the text between the angle brackets.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The text between the angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last `@` of the mailbox: a domain or an address literal, unchecked.
    pub fn domain(&self) -> Option<&str> {
        domain(&self.0)
    }
}

impl ForwardPath {
    /// Takes the text between the angle brackets; an empty one is no forward-path.
    pub fn new(path: impl Into<String>) -> Option<Self> {
        let path = path.into();
        (!path.is_empty()).then_some(Self(path))
    }

    /// The text between the angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last `@` of the mailbox: a domain or an address literal, unchecked.
    pub fn domain(&self) -> Option<&str> {
        domain(&self.0)
    }
}

impl Envelope {
    /// The parameter of MAIL with this keyword, whatever its case.
    pub fn mail_parameter(&self, keyword: &str) -> Option<&Parameter> {
        self.mail_parameters.iter().find(|parameter| parameter.is(keyword))
    }
}

impl Parameter {
    /// Whether the keyword is this one, whatever its case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

/// The last `@` is never inside quotes: a quoted string stands before it, a source route (RFC 5321 appendix C) too.
fn domain(path: &str) -> Option<&str> {
    let (_, domain) = path.rsplit_once('@')?;
    (!domain.is_empty() && !domain.ends_with('"')).then_some(domain)
}

impl fmt::Display for ReversePath {
    /// For logs and replies: in angle brackets, every character outside printable ASCII as `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(&self.0, f)
    }
}

impl fmt::Display for ForwardPath {
    /// For logs and replies: in angle brackets, every character outside printable ASCII as `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(&self.0, f)
    }
}

fn write_path(path: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    f.write_char('<')?;
    for c in path.chars() {
        f.write_char(if matches!(c, ' '..='~') { c } else { '?' })?;
    }
    f.write_char('>')
}

impl fmt::Display for Parameter {
    /// To the letter, as it goes behind MAIL again when a held message is released.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_domain() {
        for (path, domain) in [
            ("a@example.org", Some("example.org")),
            ("\"a@b\"@example.org", Some("example.org")),
            ("@relay.example,@other.example:a@example.org", Some("example.org")),
            ("a@[127.0.0.1]", Some("[127.0.0.1]")),
            ("postmaster", None),
            ("\"a@b\"", None),
            ("", None),
        ] {
            assert_eq!(ReversePath::new(path).domain(), domain, "{path}");
        }
    }

    #[test]
    fn shows_printable_ascii_only() {
        assert_eq!(ReversePath::default().to_string(), "<>");
        assert_eq!(ReversePath::new("j\u{f6}rg\r\n@example.org").to_string(), "<j?rg??@example.org>");
    }

    #[test]
    fn keeps_every_octet_when_stored() {
        let envelope = Envelope {
            reverse_path: ReversePath::new("\"a b\"@b\u{fc}cher.example"),
            mail_parameters: vec![Parameter { keyword: "smtputf8".into(), value: None }],
            recipients: ForwardPath::new("postmaster").into_iter().collect(),
            recipient_parameters: vec![Vec::new()],
        };
        let stored = serde_json::to_string(&envelope).unwrap();
        assert_eq!(serde_json::from_str::<Envelope>(&stored).unwrap(), envelope);
        assert!(envelope.mail_parameter("SMTPUTF8").is_some());
    }
}
