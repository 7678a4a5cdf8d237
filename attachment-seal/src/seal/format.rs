//! The `Attachment-Seal` field (SPEC.md §3): a tag list in the manner of RFC 6376 §3.2, read strictly and written folded.
//! What was received is kept, for that is what was signed.

use encodify::base64::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::domain::{DomainName, Selector};
use crate::manifest::{
    Manifest, ParseLinksError, ParseManifestError, ParsePartsError, Parts, SealedLinks, decode_hash,
    encode_hash,
};

/// The field's name.
pub const FIELD: &str = "Attachment-Seal";

/// What a signature begins with, so that it can be taken for no other.
const CONTEXT: &[u8] = b"attachment-seal/1\n";

/// All that a seal states, but for its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The sealing domain, `d`.
    pub domain: DomainName,
    /// The selector, `s`.
    pub selector: Selector,
    /// Sealed at, `t`, in Unix seconds.
    pub sealed_at: u64,
    /// Not valid after, `x`, in Unix seconds.
    pub expires_at: u64,
    /// Identity hash, `hi`.
    pub identity: blake3::Hash,
    /// Addressing hash, `ha`.
    pub addressing: blake3::Hash,
    /// Structure hash, `hs`.
    pub structure: blake3::Hash,
    /// Body hash, `bh`.
    pub body: blake3::Hash,
    /// The leaves, `m`.
    pub manifest: Manifest,
    /// The parts, `e`; `None` in a seal without the tag, by which nothing but the whole body can be found untouched.
    pub parts: Option<Parts>,
    /// The links of its texts, `l`; `None` in a seal without the tag, by which nothing is known of links.
    pub links: Option<SealedLinks>,
    /// A delegation, `c`, as written.
    pub delegation: Option<String>,
}

/// A seal as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// What it states.
    pub statement: Statement,
    /// The signature, `b`.
    pub signature: [u8; 64],
    /// The octets that the signature covers.
    pub signed: Vec<u8>,
}

/// A seal that is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseSealError {
    /// Octets outside printable ASCII.
    #[error("not printable ASCII")]
    Ascii,
    /// Something that is not `name=value`.
    #[error("a tag that is not name=value")]
    Tag,
    /// A tag given twice.
    #[error("tag `{0}` given twice")]
    Repeated(String),
    /// A required tag is missing.
    #[error("tag `{0}` is missing")]
    Missing(&'static str),
    /// `b` is not the last tag, or something follows its value.
    #[error("`b` is not the last tag")]
    SignatureNotLast,
    /// A value that is not of its tag's form.
    #[error("tag `{0}` has a bad value")]
    Value(&'static str),
    /// The manifest is not of its form.
    #[error("bad manifest")]
    Manifest(#[from] ParseManifestError),
    /// The list of parts is not of its form.
    #[error("bad list of parts")]
    Parts(#[from] ParsePartsError),
    /// The list of links is not of its form.
    #[error("bad list of links")]
    Links(#[from] ParseLinksError),
}

/// Longest field value that is read, in octets: 1,000 entries with long names, and then some.
const MAX_VALUE: usize = 1 << 20;

impl Seal {
    /// Reads a field's value.
    pub fn parse(value: &[u8]) -> Result<Self, ParseSealError> {
        let text = compact(value)?;
        let tags = Tags::split(&text)?;
        let signature_at = text.len() - tags.last_value.len();
        let signature = URL_SAFE_NO_PAD.decode(tags.last_value).ok();
        let manifest = Manifest::parse(tags.required("m")?)?;
        let parts = tags.get("e").map(|text| Parts::parse(text, manifest.entries.len())).transpose()?;
        let statement = Statement {
            domain: DomainName::from_canonical(tags.required("d")?)
                .map_err(|_| ParseSealError::Value("d"))?,
            selector: tags.required("s")?.parse().map_err(|_| ParseSealError::Value("s"))?,
            sealed_at: seconds(tags.required("t")?).ok_or(ParseSealError::Value("t"))?,
            expires_at: seconds(tags.required("x")?).ok_or(ParseSealError::Value("x"))?,
            identity: tags.hash("hi")?,
            addressing: tags.hash("ha")?,
            structure: tags.hash("hs")?,
            body: tags.hash("bh")?,
            manifest,
            parts,
            links: tags.get("l").map(SealedLinks::parse).transpose()?,
            delegation: tags.get("c").map(str::to_owned),
        };
        tags.check("v", "1")?;
        tags.check("a", "ed25519-blake3")?;
        if statement.expires_at <= statement.sealed_at {
            return Err(ParseSealError::Value("x"));
        }
        Ok(Self {
            statement,
            signature: signature.and_then(|s| s.try_into().ok()).ok_or(ParseSealError::Value("b"))?,
            signed: [CONTEXT, &text.as_bytes()[..signature_at]].concat(),
        })
    }

    /// The sealing domain, where the value names exactly one, be the rest malformed or not.
    pub fn domain_of(value: &[u8]) -> Option<DomainName> {
        let text = compact(value).ok()?;
        let mut domains = text.split(';').filter_map(|tag| tag.strip_prefix("d="));
        let domain = DomainName::from_canonical(domains.next()?).ok()?;
        domains.next().is_none().then_some(domain)
    }
}

impl Statement {
    /// The octets that a signature of this statement covers.
    pub fn signed(&self) -> Vec<u8> {
        let mut signed = CONTEXT.to_vec();
        for token in self.tokens() {
            signed.extend_from_slice(token.as_bytes());
        }
        signed.extend_from_slice(b"b=");
        signed
    }

    /// The whole header field with its signature, folded at 78 columns where possible, and its CR LF.
    pub fn to_field(&self, signature: &[u8; 64]) -> Vec<u8> {
        let mut fold = Fold { text: format!("{FIELD}:"), column: FIELD.len() + 1 };
        self.tokens().iter().for_each(|token| fold.put(token));
        fold.put(&format!("b={}", URL_SAFE_NO_PAD.encode(signature)));
        fold.text.push_str("\r\n");
        fold.text.into_bytes()
    }

    /// The tags but `b`, each up to its semicolon, the lists cut behind their commas.
    fn tokens(&self) -> Vec<String> {
        let mut tokens = vec![
            "v=1;".to_owned(),
            "a=ed25519-blake3;".to_owned(),
            format!("d={};", self.domain),
            format!("s={};", self.selector),
            format!("t={};", self.sealed_at),
            format!("x={};", self.expires_at),
            format!("hi={};", encode_hash(&self.identity)),
            format!("ha={};", encode_hash(&self.addressing)),
            format!("hs={};", encode_hash(&self.structure)),
            format!("bh={};", encode_hash(&self.body)),
        ];
        let mut list = |name: &str, items: Vec<String>| {
            let list = format!("{name}={};", items.join(","));
            tokens.extend(list.split_inclusive(',').map(str::to_owned));
        };
        list("m", self.manifest.entries.iter().map(ToString::to_string).collect());
        self.parts.iter().for_each(|parts| list("e", parts.to_texts()));
        self.links.iter().for_each(|links| list("l", links.to_texts()));
        tokens.extend(self.delegation.iter().map(|delegation| format!("c={delegation};")));
        tokens
    }
}

/// Lines are folded to this many columns (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// Puts tokens on lines; white space has no meaning in the value, so a long token is cut anywhere.
struct Fold {
    text: String,
    column: usize,
}

impl Fold {
    fn put(&mut self, token: &str) {
        if self.column + 1 + token.len() > COLUMNS {
            self.text.push_str("\r\n");
            self.column = 0;
        }
        let mut rest = token;
        loop {
            let (line, after) = rest.split_at(rest.len().min(COLUMNS - 1 - self.column));
            self.text.push(' ');
            self.text.push_str(line);
            self.column += 1 + line.len();
            if after.is_empty() {
                return;
            }
            self.text.push_str("\r\n");
            self.column = 0;
            rest = after;
        }
    }
}

/// The value without white space.
fn compact(value: &[u8]) -> Result<String, ParseSealError> {
    if value.len() > MAX_VALUE {
        return Err(ParseSealError::Ascii);
    }
    let octets: Vec<u8> =
        value.iter().copied().filter(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n')).collect();
    String::from_utf8(octets)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or(ParseSealError::Ascii)
}

struct Tags<'a> {
    all: Vec<(&'a str, &'a str)>,
    last_value: &'a str,
}

impl<'a> Tags<'a> {
    fn split(text: &'a str) -> Result<Self, ParseSealError> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        for tag in text.split(';') {
            let (name, value) =
                tag.split_once('=').filter(|(name, _)| is_tag_name(name)).ok_or_else(|| {
                    // `b=…;` leaves an empty tag behind it.
                    if all.last().is_some_and(|(name, _)| *name == "b") {
                        ParseSealError::SignatureNotLast
                    } else {
                        ParseSealError::Tag
                    }
                })?;
            if all.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ParseSealError::Repeated(name.to_owned()));
            }
            if all.len() == MAX_TAGS {
                return Err(ParseSealError::Tag);
            }
            all.push((name, value));
        }
        match all.last() {
            Some(&("b", last_value)) => Ok(Self { all, last_value }),
            _ if all.iter().any(|(name, _)| *name == "b") => Err(ParseSealError::SignatureNotLast),
            _ => Err(ParseSealError::Missing("b")),
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn required(&self, name: &'static str) -> Result<&'a str, ParseSealError> {
        self.get(name).ok_or(ParseSealError::Missing(name))
    }

    fn hash(&self, name: &'static str) -> Result<blake3::Hash, ParseSealError> {
        decode_hash(self.required(name)?).ok_or(ParseSealError::Value(name))
    }

    fn check(&self, name: &'static str, value: &str) -> Result<(), ParseSealError> {
        if self.required(name)? == value { Ok(()) } else { Err(ParseSealError::Value(name)) }
    }
}

/// Tags of one seal that are read; unknown ones are allowed, a flood of them is not.
const MAX_TAGS: usize = 100;

/// RFC 6376 §3.2 tag-name.
fn is_tag_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// 1 to 12 digits.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let is_number = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let hash = blake3::hash(b"");
        let entry = |name: &str| format!("a:mixed:18234:{}:application/pdf:{name}", encode_hash(&hash));
        Statement {
            domain: "example.org".parse().unwrap(),
            selector: "gate1".parse().unwrap(),
            sealed_at: 1_795_400_000,
            expires_at: 1_796_004_800,
            identity: hash,
            addressing: hash,
            structure: hash,
            body: hash,
            manifest: Manifest::parse(&format!("{},{}", entry("Agenda%202026.pdf"), entry(&"x".repeat(300))))
                .unwrap(),
            parts: None,
            links: Some(SealedLinks::parse(&format!("{},+0", "A".repeat(22))).unwrap()),
            delegation: None,
        }
    }

    fn value(field: &[u8]) -> Vec<u8> {
        field.strip_prefix(b"Attachment-Seal:").unwrap().to_vec()
    }

    #[test]
    fn reads_what_it_writes() {
        let field = statement().to_field(&[7; 64]);
        let text = String::from_utf8(field.clone()).unwrap();
        assert!(text.lines().all(|line| line.len() <= COLUMNS && !line.trim().is_empty()), "{text}");
        assert!(
            text.ends_with("\r\n")
                && text[..text.len() - 2].split("\r\n").skip(1).all(|line| line.starts_with(' '))
        );
        let seal = Seal::parse(&value(&field)).unwrap();
        assert_eq!(seal.statement, statement());
        assert_eq!(seal.signature, [7; 64]);
        assert_eq!(seal.signed, statement().signed());
        assert_eq!(Seal::domain_of(&value(&field)), Some("example.org".parse().unwrap()));
    }

    #[test]
    fn refuses_every_malformation() {
        let good =
            String::from_utf8(value(&statement().to_field(&[7; 64]))).unwrap().replace([' ', '\r', '\n'], "");
        for (from, to) in [
            ("v=1;", ""),
            ("v=1;", "v=2;"),
            ("v=1;", "v=1;v=1;"),
            ("v=1;", "v=1;;"),
            ("v=1;", "v=1;junk;"),
            ("v=1;", "v=1;9x=1;"),
            ("v=1;", "v=1;ü=1;"),
            ("a=ed25519-blake3;", "a=rsa-sha256;"),
            ("a=ed25519-blake3;", ""),
            ("d=example.org;", "d=Example.org;"),
            ("d=example.org;", "d=;"),
            ("s=gate1;", "s=Gate1;"),
            ("t=1795400000;", "t=;"),
            ("t=1795400000;", "t=-1;"),
            ("t=1795400000;", "t=1234567890123;"),
            ("x=1796004800;", "x=1795400000;"),
            ("hi=", "hi=A"),
            ("m=a:", "m=b:"),
            ("m=a:", "m=,a:"),
            (":18234:", ":018234:"),
            ("%202026", "%2"),
            ("Agenda%202026", "%41genda%202026"),
            (",+0;", ",+00;"),
            (";l=", ";l=,"),
            (";b=", ";c=x;"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(Seal::parse(bad.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert_eq!(Seal::parse(format!("{good};").as_bytes()), Err(ParseSealError::SignatureNotLast));
        assert_eq!(Seal::parse(format!("{good};z=1").as_bytes()), Err(ParseSealError::SignatureNotLast));
        assert_eq!(Seal::parse(format!("{good}A").as_bytes()), Err(ParseSealError::Value("b")));
        assert!(Seal::parse(b"").is_err());
    }

    #[test]
    fn takes_unknown_tags_and_an_empty_manifest() {
        let mut empty = statement();
        empty.manifest = Manifest::default();
        let text = String::from_utf8(value(&empty.to_field(&[7; 64]))).unwrap().replacen(
            "v=1;",
            "v=1; future=yes;",
            1,
        );
        let seal = Seal::parse(text.as_bytes()).unwrap();
        assert!(seal.statement.manifest.entries.is_empty());
        assert!(seal.signed.windows(11).any(|window| window == b"future=yes;"));
    }

    #[test]
    fn names_the_domain_of_a_malformed_seal_only_where_it_is_one() {
        assert_eq!(Seal::domain_of(b"d=example.org; junk"), Some("example.org".parse().unwrap()));
        assert_eq!(Seal::domain_of(b"d=example.org; d=example.net"), None);
        assert_eq!(Seal::domain_of(b"v=1"), None);
    }
}
