//! PKCS#11 URIs (RFC 7512), as far as they name a private key, its token, its module and where the PIN comes from.
//! Whatever else a URI can say is refused rather than ignored: the key must be the one that was meant.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use zeroize::Zeroizing;

use super::super::{CREDENTIAL, TOKEN};

/// Which key, where its PIN is, and which module reaches its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uri {
    /// Which key.
    pub(super) key: KeyName,
    /// Where the PIN is, if the token wants one.
    pub(super) pin: Option<PinSource>,
}

/// Which key: every part that is given must be the token's or the key's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyName {
    /// The PKCS#11 module, an absolute path.
    pub(super) module: PathBuf,
    /// The token's label.
    pub(super) token: Option<String>,
    /// Its serial number.
    pub(super) serial: Option<String>,
    /// Its manufacturer.
    pub(super) manufacturer: Option<String>,
    /// Its model.
    pub(super) model: Option<String>,
    /// The slot that it is in.
    pub(super) slot: Option<u64>,
    /// The key's label.
    pub(super) object: Option<String>,
    /// The key's identifier, any octets.
    pub(super) id: Option<Vec<u8>>,
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().or(self.serial.as_ref()).map(String::as_str).unwrap_or_default();
        let key = self.object.as_deref().unwrap_or("key");
        write!(f, "{} in token {}", key.escape_default(), token.escape_default())
    }
}

/// Where a PIN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PinSource {
    /// In the URI itself.
    Value(Pin),
    /// In a file, or a systemd credential (`credential:NAME`).
    File(PathBuf),
}

/// A PIN, wiped when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pin(pub(super) Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin")
    }
}

/// A text that names no private key. Says nothing of the values, among which a PIN can be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseUriError {
    /// Another scheme, or a part that is not `name=value`.
    #[error("a PKCS#11 URI is pkcs11:token=…;object=…?module-path=…&pin-source=…")]
    Form,
    /// An attribute that does not say which private key is meant.
    #[error(
        "`{0}` is not understood; name the key by token, serial, object and id, the rest by module-path and pin-source"
    )]
    Unknown(String),
    /// An attribute is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// A character that must be written by its code, or a code that is none.
    #[error(
        "`{0}` is not written as RFC 7512 asks: other characters than letters, digits and -._~:[]@!$'()*+,= are written %20"
    )]
    Encoding(String),
    /// A value that the attribute cannot have.
    #[error("`{name}`: write {example}")]
    Value {
        /// The attribute.
        name: String,
        /// What it can be.
        example: &'static str,
    },
    /// An attribute that is needed.
    #[error("add {0}")]
    Missing(&'static str),
}

impl Uri {
    pub(super) fn parse(text: &str) -> Result<Self, ParseUriError> {
        let text = text.strip_prefix(TOKEN).ok_or(ParseUriError::Form)?;
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = Attributes::parse(path, ';', b"&", &PATH)?;
        let query = Attributes::parse(query, '&', b"/?|", &QUERY)?;
        let key = KeyName {
            module: match query.text("module-path")? {
                Some(module) if module.starts_with('/') => module.into(),
                Some(_) => return Err(value("module-path", "an absolute path")),
                None => return Err(ParseUriError::Missing("?module-path=/…, the token's PKCS#11 module")),
            },
            token: path.text("token")?,
            serial: path.text("serial")?,
            manufacturer: path.text("manufacturer")?,
            model: path.text("model")?,
            slot: match path.text("slot-id")? {
                Some(slot) => Some(slot.parse().map_err(|_| value("slot-id", "a number"))?),
                None => None,
            },
            object: path.text("object")?,
            id: path.octets("id").map(|id| id.to_vec()),
        };
        if path.text("type")?.is_some_and(|kind| kind != "private") {
            return Err(value("type", "type=private, or leave it out"));
        }
        if key.token.is_none() && key.serial.is_none() && key.slot.is_none() {
            return Err(ParseUriError::Missing("token=…, the token's label, or serial=…"));
        }
        if key.object.is_none() && key.id.is_none() {
            return Err(ParseUriError::Missing("object=…, the key's label, or id=…"));
        }
        let pin = match (query.octets("pin-value"), query.text("pin-source")?) {
            (Some(_), Some(_)) => return Err(ParseUriError::Twice("pin-value or pin-source".to_owned())),
            (Some(pin), None) => Some(PinSource::Value(Pin(Zeroizing::new(pin.to_vec())))),
            (None, Some(source)) => Some(pin_source(&source)?),
            (None, None) => None,
        };
        Ok(Self { key, pin })
    }
}

/// A file's absolute path, bare or as a `file:` URI, or a systemd credential.
fn pin_source(source: &str) -> Result<PinSource, ParseUriError> {
    let path = source.strip_prefix("file:").unwrap_or(source);
    let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if path.starts_with('/') || source.starts_with(CREDENTIAL) {
        Ok(PinSource::File(path.into()))
    } else {
        Err(value("pin-source", "pin-source=file:/etc/waxseal/pin or pin-source=credential:pin"))
    }
}

const PATH: [&str; 8] = ["token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type"];
const QUERY: [&str; 3] = ["module-path", "pin-source", "pin-value"];

/// What stands between separators, decoded.
struct Attributes<'t>(Vec<(&'t str, Zeroizing<Vec<u8>>)>);

impl<'t> Attributes<'t> {
    fn parse(text: &'t str, separator: char, also: &[u8], known: &[&str]) -> Result<Self, ParseUriError> {
        let mut attributes: Vec<(&str, _)> = Vec::new();
        for part in text.split(separator).filter(|_| !text.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(ParseUriError::Form)?;
            if !known.contains(&name) {
                return Err(ParseUriError::Unknown(name.to_owned()));
            }
            if attributes.iter().any(|(other, _)| *other == name) {
                return Err(ParseUriError::Twice(name.to_owned()));
            }
            if !is_encoded(value, also) {
                return Err(ParseUriError::Encoding(name.to_owned()));
            }
            attributes.push((name, Zeroizing::new(percent_decode_str(value).collect())));
        }
        Ok(Self(attributes))
    }

    fn octets(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_slice())
    }

    fn text(&self, name: &str) -> Result<Option<String>, ParseUriError> {
        let text = self.octets(name).map(|octets| String::from_utf8(octets.to_vec())).transpose();
        let text = text.map_err(|_| value(name, "UTF-8"))?;
        if text.as_deref() == Some("") { Err(value(name, "something, or leave it out")) } else { Ok(text) }
    }
}

/// RFC 7512 §2.3: unreserved characters, `pk11-res-avail`, `also`, and octets as `%` and two digits.
fn is_encoded(value: &str, also: &[u8]) -> bool {
    let octets = value.as_bytes();
    octets.iter().enumerate().all(|(at, octet)| match octet {
        b'%' => octets.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)),
        octet => {
            octet.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(octet) || also.contains(octet)
        }
    })
}

fn value(name: &str, example: &'static str) -> ParseUriError {
    ParseUriError::Value { name: name.to_owned(), example }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_names_a_key() {
        let uri = Uri::parse(
            "pkcs11:token=My%20token;serial=0a1b;object=gate1;id=%01%ff;type=private\
             ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/waxseal/pin",
        );
        let uri = uri.unwrap();
        assert_eq!(uri.key.token.as_deref(), Some("My token"));
        assert_eq!(uri.key.serial.as_deref(), Some("0a1b"));
        assert_eq!(uri.key.object.as_deref(), Some("gate1"));
        assert_eq!(uri.key.id.as_deref(), Some(&[1, 255][..]));
        assert_eq!(uri.key.module, PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(uri.pin, Some(PinSource::File("/etc/waxseal/pin".into())));
    }

    #[test]
    fn a_pin_is_in_a_file_a_credential_or_the_uri() {
        let pin = |pin: &str| {
            Uri::parse(&format!("pkcs11:token=t;object=o?module-path=/m.so&{pin}")).map(|uri| uri.pin)
        };
        let file = |path: &str| Ok(Some(PinSource::File(path.into())));
        assert_eq!(pin("pin-source=/etc/pin"), file("/etc/pin"));
        assert_eq!(pin("pin-source=file:///etc/pin"), file("/etc/pin"));
        assert_eq!(pin("pin-source=credential:pin"), file("credential:pin"));
        let given = pin("pin-value=12%2634").unwrap().unwrap();
        assert_eq!(given, PinSource::Value(Pin(Zeroizing::new(b"12&34".to_vec()))));
        assert!(!format!("{given:?}").contains("12"));
        for wrong in
            ["pin-source=|prog", "pin-source=pin", "pin-source=file:pin", "pin-value=1&pin-source=/p"]
        {
            assert!(pin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refuses_what_may_mean_another_key() {
        for (wrong, says) in [
            ("token=t;object=o", "module-path"),
            ("token=t;object=o?module-path=m.so", "absolute"),
            ("token=t?module-path=/m", "object="),
            ("object=o?module-path=/m", "token="),
            ("token=t;object=o;?module-path=/m", "pkcs11:"),
            ("token;object=o?module-path=/m", "pkcs11:"),
            ("token=t;token=t;object=o?module-path=/m", "twice"),
            ("token=t;object=o;slot-description=x?module-path=/m", "slot-description"),
            ("token=t;object=o;type=public?module-path=/m", "type=private"),
            ("token=t;object=o;slot-id=x?module-path=/m", "number"),
            ("token=t;object=o?module-path=/m&module-name=x", "module-name"),
            ("token=a b;object=o?module-path=/m", "%20"),
            ("token=a%2;object=o?module-path=/m", "%20"),
            ("token=a%+1;object=o?module-path=/m", "%20"),
            ("token=%ff;object=o?module-path=/m", "UTF-8"),
            ("token=;object=o?module-path=/m", "leave it out"),
        ] {
            let error = Uri::parse(&format!("pkcs11:{wrong}")).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        assert_eq!(Uri::parse("file:/x"), Err(ParseUriError::Form));
    }
}
