//! Who the client is: what we know of it, and how XCLIENT says so in both directions (Postfix's XCLIENT_README).
//! Whose word counts is decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The EHLO line for those whose XCLIENT we believe.
pub const OFFER: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN";

/// Most octets of an XCLIENT line, CR LF included.
const MAX_LINE: usize = 512;
/// Most octets of a value, decoded.
const MAX_VALUE: usize = 255;

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY_UNAVAILABLE: &str = "[TEMPUNAVAIL]";

/// A client, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its address; `None` if whoever announced it did not know.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Its host name. We look none up, so it is known only if the client was announced with it.
    pub name: HostName,
    /// The address that it connected to.
    pub destination: Option<SocketAddr>,
    /// Whether it said EHLO or HELO.
    pub protocol: Option<Protocol>,
    /// What it said there.
    pub helo: Option<String>,
    /// The user as whom it is authenticated.
    pub login: Option<String>,
}

/// What is known of a host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// The name.
    Known(String),
    /// There is none, or nobody has looked.
    Unavailable,
    /// It could not be looked up just then.
    TemporarilyUnavailable,
}

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// It said HELO.
    Smtp,
    /// It said EHLO.
    Esmtp,
}

/// Arguments of XCLIENT that are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseXclientError {
    /// There are none.
    #[error("attribute=value expected")]
    Missing,
    /// Not `attribute=value`.
    #[error("attribute without a value")]
    NoValue,
    /// An attribute that we don't offer.
    #[error("attribute not offered")]
    UnknownAttribute,
    /// The same attribute twice.
    #[error("attribute given twice")]
    Repeated,
    /// A value that is no xtext (RFC 3461 §4), or not of its attribute's form.
    #[error("malformed attribute value")]
    MalformedValue,
}

impl Identity {
    /// A client that nobody announced: `address` is the other end of its connection, `destination` ours. Through a
    /// UNIX socket there are no ports, which are 0 then.
    pub fn connected(address: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            address: Some(address.ip()),
            port: Some(address.port()).filter(|&port| port != 0),
            name: HostName::Unavailable,
            destination: Some(destination),
            protocol: None,
            helo: None,
            login: None,
        }
    }

    /// The client as XCLIENT's arguments have it. What they leave out stays, but for what a new session begins
    /// without, and for what belonged to another address.
    pub fn announced(&self, arguments: &str) -> Result<Self, ParseXclientError> {
        let mut attributes = Vec::new();
        for word in arguments.split([' ', '\t']).filter(|word| !word.is_empty()) {
            let (keyword, value) = word.split_once('=').ok_or(ParseXclientError::NoValue)?;
            let keyword = keyword.to_ascii_uppercase();
            if attributes.iter().any(|(earlier, _)| *earlier == keyword) {
                return Err(ParseXclientError::Repeated);
            }
            attributes.push((keyword, decode(value)?));
        }
        if attributes.is_empty() {
            return Err(ParseXclientError::Missing);
        }
        let mut client = Self { protocol: None, helo: None, ..self.clone() };
        if attributes.iter().any(|(keyword, _)| keyword == "ADDR") {
            (client.port, client.destination, client.login) = (None, None, None);
            client.name = HostName::Unavailable;
        }
        for (keyword, value) in &attributes {
            client.set(keyword, value)?;
        }
        Ok(client)
    }

    fn set(&mut self, keyword: &str, value: &str) -> Result<(), ParseXclientError> {
        let known = (!value.eq_ignore_ascii_case(UNAVAILABLE)).then_some(value);
        match keyword {
            "NAME" => {
                self.name = match known {
                    None => HostName::Unavailable,
                    Some(name) if name.eq_ignore_ascii_case(TEMPORARILY_UNAVAILABLE) => {
                        HostName::TemporarilyUnavailable
                    }
                    Some(name) if is_host_name(name) => HostName::Known(name.to_owned()),
                    Some(_) => return Err(ParseXclientError::MalformedValue),
                }
            }
            "ADDR" => self.address = parsed(known, parse_address)?,
            "PORT" => self.port = parsed(known, parse_port)?,
            "PROTO" => self.protocol = parsed(known, parse_protocol)?,
            "HELO" => self.helo = known.map(str::to_owned),
            "LOGIN" => self.login = known.map(str::to_owned),
            _ => return Err(ParseXclientError::UnknownAttribute),
        }
        Ok(())
    }

    /// The XCLIENT line for a next hop that offers these attributes. Without ADDR it would take the client for us,
    /// so there is no such line.
    pub fn xclient(&self, offered: &[String]) -> Option<String> {
        let offers = |keyword: &str| offered.iter().any(|offered| offered.eq_ignore_ascii_case(keyword));
        if !offers("ADDR") {
            return None;
        }
        let mut line = "XCLIENT".to_owned();
        for (keyword, value) in self.attributes().into_iter().filter(|(keyword, _)| offers(keyword)) {
            let attribute = format!(" {keyword}={}", encode(&value));
            if line.len() + attribute.len() + "\r\n".len() <= MAX_LINE {
                line.push_str(&attribute);
            }
        }
        Some(line)
    }

    /// The attributes that are worth saying, the ones that matter most first: a line has its limit.
    fn attributes(&self) -> Vec<(&'static str, String)> {
        let or_unavailable = |value: Option<String>| value.unwrap_or_else(|| UNAVAILABLE.to_owned());
        let mut attributes = vec![
            ("ADDR", or_unavailable(self.address.map(written_address))),
            ("PORT", or_unavailable(self.port.map(|port| port.to_string()))),
        ];
        match &self.name {
            HostName::Known(name) => attributes.push(("NAME", name.clone())),
            // Left alone, the reverse name would stay that of our own address.
            HostName::Unavailable => {
                attributes.extend(["NAME", "REVERSE_NAME"].map(|keyword| (keyword, UNAVAILABLE.to_owned())));
            }
            HostName::TemporarilyUnavailable => {
                let keywords = ["NAME", "REVERSE_NAME"];
                attributes.extend(keywords.map(|keyword| (keyword, TEMPORARILY_UNAVAILABLE.to_owned())));
            }
        }
        if let Some(destination) = self.destination {
            attributes.push(("DESTADDR", written_address(destination.ip())));
            let port = Some(destination.port()).filter(|&port| port != 0);
            attributes.push(("DESTPORT", or_unavailable(port.map(|port| port.to_string()))));
        }
        if let Some(protocol) = self.protocol {
            let protocol = if protocol == Protocol::Esmtp { "ESMTP" } else { "SMTP" };
            attributes.push(("PROTO", protocol.to_owned()));
        }
        let texts = [("LOGIN", &self.login), ("HELO", &self.helo)];
        for (keyword, text) in texts {
            attributes.extend(text.clone().filter(|text| is_text(text)).map(|text| (keyword, text)));
        }
        attributes
    }
}

/// The client that XFORWARD's arguments announce (Postfix's XFORWARD_README), where `client` was known before. What they leave
/// out, or do not know, stays.
pub fn forwarded(client: SocketAddr, arguments: &str) -> SocketAddr {
    let mut announced = client;
    let words = arguments.split([' ', '\t']).filter_map(|word| word.split_once('='));
    let values: Vec<_> = words
        .filter_map(|(keyword, value)| Some((keyword.to_ascii_uppercase(), decode(value).ok()?)))
        .collect();
    let value = |wanted: &str| values.iter().find(|(keyword, _)| keyword == wanted).map(|(_, value)| value);
    if let Some(address) = value("ADDR").and_then(|value| parse_address(value)) {
        // The port that was known is another address's.
        announced = SocketAddr::new(address, 0);
    }
    if let Some(port) = value("PORT").and_then(|value| parse_port(value)) {
        announced.set_port(port);
    }
    announced
}

/// The client's host name by XFORWARD's arguments, or else what it called itself.
pub fn forwarded_name(arguments: &str) -> Option<String> {
    let words = arguments.split([' ', '\t']).filter_map(|word| word.split_once('='));
    let value = |wanted: &str| {
        let mut values = words.clone().filter(|(keyword, _)| keyword.eq_ignore_ascii_case(wanted));
        let is_known = |value: &String| !matches!(value.as_str(), "[UNAVAILABLE]" | "[TEMPUNAVAIL]" | "");
        values.find_map(|(_, value)| decode(value).ok().filter(is_known))
    };
    value("NAME").or_else(|| value("HELO"))
}

impl Identity {
    /// Its host name, or else what it called itself.
    pub fn any_name(&self) -> Option<String> {
        match &self.name {
            HostName::Known(name) => Some(name.clone()),
            HostName::Unavailable | HostName::TemporarilyUnavailable => self.helo.clone(),
        }
    }
}

fn parsed<T>(known: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ParseXclientError> {
    known.map(|value| parse(value).ok_or(ParseXclientError::MalformedValue)).transpose()
}

/// `192.0.2.1` or `IPV6:2001:db8::1`.
fn parse_address(value: &str) -> Option<IpAddr> {
    const PREFIX: &str = "IPV6:";
    match value.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => {
            let address: Ipv6Addr = value[PREFIX.len()..].parse().ok()?;
            Some(IpAddr::from(address).to_canonical())
        }
        _ => value.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

fn written_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    }
}

fn parse_port(value: &str) -> Option<u16> {
    // `parse` alone would take a sign.
    value.bytes().all(|octet| octet.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

fn parse_protocol(value: &str) -> Option<Protocol> {
    match value.to_ascii_uppercase().as_str() {
        "SMTP" => Some(Protocol::Smtp),
        "ESMTP" => Some(Protocol::Esmtp),
        _ => None,
    }
}

fn is_host_name(name: &str) -> bool {
    !name.starts_with(['.', '-'])
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.'))
}

/// Whether a text can be a value: not empty, not too long, and nothing in it that could end a line.
fn is_text(text: &str) -> bool {
    (1..=MAX_VALUE).contains(&text.len()) && !text.contains(char::is_control)
}

/// xtext (RFC 3461 §4): whatever is not printable, a blank, `+` and `=` become `+XX`.
fn encode(text: &str) -> String {
    let mut xtext = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if !matches!(octet, b'+' | b'=') => xtext.push(octet.into()),
            _ => xtext.push_str(&format!("+{octet:02X}")),
        }
    }
    xtext
}

fn decode(xtext: &str) -> Result<String, ParseXclientError> {
    let mut octets = Vec::with_capacity(xtext.len());
    let mut rest = xtext.chars();
    while let Some(c) = rest.next() {
        octets.push(match c {
            '+' => {
                let mut digit = || rest.next().and_then(|c| c.to_digit(16)).map(|digit| digit as u8);
                let (high, low) = (digit(), digit());
                high.zip(low).map(|(high, low)| high << 4 | low).ok_or(ParseXclientError::MalformedValue)?
            }
            '!'..='~' if c != '=' => c as u8,
            _ => return Err(ParseXclientError::MalformedValue),
        });
    }
    String::from_utf8(octets).ok().filter(|text| is_text(text)).ok_or(ParseXclientError::MalformedValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Identity {
        Identity::connected("127.0.0.1:1024".parse().unwrap(), "127.0.0.1:25".parse().unwrap())
    }

    fn offered(attributes: &str) -> Vec<String> {
        attributes.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_forwarded_client_is_the_one_that_xforward_names() {
        let front: SocketAddr = "127.0.0.1:4711".parse().unwrap();
        for (arguments, client) in [
            ("NAME=mail.example ADDR=192.0.2.1 PORT=25 PROTO=ESMTP", "192.0.2.1:25"),
            ("addr=IPv6:2001:db8::1", "[2001:db8::1]:0"),
            ("ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]", "127.0.0.1:4711"),
            ("HELO=a+3Db SOURCE=REMOTE", "127.0.0.1:4711"),
            ("ADDR=nonsense +", "127.0.0.1:4711"),
        ] {
            assert_eq!(forwarded(front, arguments), client.parse().unwrap(), "{arguments}");
        }
    }

    #[test]
    fn reads_what_is_announced() {
        let client = peer().announced("ADDR=192.0.2.7 port=4711 NAME=spike.example.org").unwrap();
        assert_eq!((client.address, client.port), ("192.0.2.7".parse().ok(), Some(4711)));
        assert_eq!(client.name, HostName::Known("spike.example.org".into()));
        assert_eq!(client.destination, None, "it did not connect to us");

        let client = client.announced("PROTO=esmtp HELO=a+20b LOGIN=dolma+40example.org").unwrap();
        assert_eq!(client.address, "192.0.2.7".parse().ok(), "what is left out stays");
        assert_eq!((client.protocol, client.helo.as_deref()), (Some(Protocol::Esmtp), Some("a b")));
        assert_eq!(client.login.as_deref(), Some("dolma@example.org"));
        let other = client.announced("ADDR=192.0.2.8").unwrap();
        assert_eq!((other.login, other.name), (None, HostName::Unavailable), "they were another address's");

        let client =
            client.announced("ADDR=ipv6:2001:db8::1 NAME=[tempunavail] LOGIN=[Unavailable]").unwrap();
        assert_eq!((client.address, client.port), ("2001:db8::1".parse().ok(), None));
        assert_eq!((client.protocol, client.helo, client.login), (None, None, None));
        assert_eq!(client.name, HostName::TemporarilyUnavailable);
        assert_eq!(peer().announced("ADDR=[UNAVAILABLE]").unwrap().address, None);
        let mapped = peer().announced("ADDR=IPV6:::ffff:192.0.2.7").unwrap();
        assert_eq!(mapped.address, "192.0.2.7".parse().ok());
    }

    #[test]
    fn takes_nothing_that_is_malformed() {
        use ParseXclientError::*;
        for (arguments, error) in [
            ("", Missing),
            ("  ", Missing),
            ("ADDR", NoValue),
            ("ADDR=", MalformedValue),
            ("ADDR=192.0.2.1 addr=192.0.2.2", Repeated),
            ("DESTADDR=192.0.2.1", UnknownAttribute),
            ("=1", UnknownAttribute),
            ("ADDR=2001:db8::1", MalformedValue),
            ("ADDR=[192.0.2.1]", MalformedValue),
            ("ADDR=192.0.2.256", MalformedValue),
            ("ADDR=[TEMPUNAVAIL]", MalformedValue),
            ("ADDR=IPV6:192.0.2.1", MalformedValue),
            ("PORT=+2B25", MalformedValue),
            ("PORT=65536", MalformedValue),
            ("PROTO=LMTP", MalformedValue),
            ("NAME=a+20b", MalformedValue),
            ("NAME=-a.example", MalformedValue),
            ("HELO=a=b", MalformedValue),
            ("HELO=a+0D+0AMAIL", MalformedValue),
            ("HELO=a+", MalformedValue),
            ("HELO=a+4", MalformedValue),
            ("HELO=a++1", MalformedValue),
            ("HELO=a+FF", MalformedValue),
            ("HELO=\u{e9}", MalformedValue),
        ] {
            assert_eq!(peer().announced(arguments), Err(error), "{arguments}");
        }
        let long = format!("HELO={}", "x".repeat(MAX_VALUE + 1));
        assert_eq!(peer().announced(&long), Err(MalformedValue));
    }

    #[test]
    fn says_what_the_next_hop_wants_to_hear() {
        let mut client = peer();
        assert_eq!(client.xclient(&offered("ADDR")).unwrap(), "XCLIENT ADDR=127.0.0.1");
        let all = offered("NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT");
        assert_eq!(
            client.xclient(&all).unwrap(),
            "XCLIENT ADDR=127.0.0.1 PORT=1024 NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE] \
             DESTADDR=127.0.0.1 DESTPORT=25"
        );
        client = client.announced("ADDR=IPV6:2001:db8::1 NAME=a.example LOGIN=dolma").unwrap();
        client.helo = Some("two words = +1".into());
        client.protocol = Some(Protocol::Smtp);
        assert_eq!(
            client.xclient(&all).unwrap(),
            "XCLIENT ADDR=IPV6:2001:db8::1 PORT=[UNAVAILABLE] NAME=a.example PROTO=SMTP LOGIN=dolma \
             HELO=two+20words+20+3D+20+2B1"
        );
    }

    #[test]
    fn never_leaves_the_address_out() {
        assert_eq!(peer().xclient(&offered("NAME PORT HELO")), None);
        let mut client = peer();
        client.helo = Some("=".repeat(MAX_VALUE));
        assert_eq!(client.xclient(&offered("addr helo")).unwrap(), "XCLIENT ADDR=127.0.0.1");
        client.helo = Some("a\r\nMAIL FROM:<>".into());
        assert_eq!(client.xclient(&offered("ADDR HELO")).unwrap(), "XCLIENT ADDR=127.0.0.1");
    }

    #[test]
    fn what_is_said_is_read_again() {
        let client =
            peer().announced("ADDR=192.0.2.7 PORT=25 NAME=a.example PROTO=ESMTP HELO=+20 LOGIN=+2B").unwrap();
        let said = client.xclient(&offered(OFFER.strip_prefix("XCLIENT ").unwrap())).unwrap();
        assert_eq!(peer().announced(said.strip_prefix("XCLIENT ").unwrap()), Ok(client));
    }
}
