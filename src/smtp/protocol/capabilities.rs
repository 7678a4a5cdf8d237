//! What EHLO offers the client (RFC 5321 §4.1.1.1): of the next hop's keywords those that work through us.
//! It is an allow-list: a keyword that we don't know may promise what a message held back cannot keep.

use crate::smtp::protocol::identity;
use crate::smtp::protocol::mechanisms;
use crate::smtp::protocol::reply::Reply;

/// What we know about the client and ourselves that decides about keywords.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// Our name, which replaces the next hop's in the first line.
    pub hostname: &'a str,
    /// Largest message that we take.
    pub message_size: u64,
    /// Most octets that we add to one: the next hop must have room for them, too.
    pub growth: u64,
    /// Whether STARTTLS is offered, which is ours: the next hop's is between it and us.
    pub starttls: bool,
    /// Whether AUTH may be offered: only where nobody can read along.
    pub auth: bool,
    /// Whether XCLIENT is offered: only to those whom we believe.
    pub xclient: bool,
    /// Whether XFORWARD may be offered: only to those whom we believe.
    pub xforward: bool,
}

impl Offer<'_> {
    /// The reply to EHLO for the client, made from the next hop's 250.
    pub fn reply(&self, next_hop: &Reply) -> Reply {
        let size = match next_hop_size(next_hop) {
            // From a small one an eighth is kept for us.
            Some(size) => (size - self.growth.min(size / 8)).min(self.message_size),
            None => self.message_size,
        };
        // Ours to offer: the client's commands wait in our buffer (RFC 2920 §3.2), and chunks become DATA where the next
        // hop has no CHUNKING (RFC 3030 §2).
        let mut lines: Vec<String> = [self.hostname, "PIPELINING", "CHUNKING"].map(str::to_owned).into();
        lines.push(format!("SIZE {size}"));
        lines.extend(self.starttls.then(|| "STARTTLS".to_owned()));
        // It cannot become DATA (RFC 3030 §3).
        lines.extend(
            (offers(next_hop, "CHUNKING") && offers(next_hop, "BINARYMIME")).then(|| "BINARYMIME".to_owned()),
        );
        lines.extend(self.xclient.then(|| identity::OFFER.to_owned()));
        lines.extend(keywords(next_hop).filter_map(|line| self.pass(line)));
        Reply::list(&lines)
    }

    fn pass(&self, line: &str) -> Option<String> {
        let keyword = keyword(line).to_ascii_uppercase();
        match keyword.as_str() {
            "8BITMIME" | "SMTPUTF8" | "DSN" | "ENHANCEDSTATUSCODES" | "HELP" => Some(keyword),
            "AUTH" if self.auth => {
                let working = mechanisms::offered(&line[keyword.len()..])?;
                Some(format!("{keyword} {working}"))
            }
            "XFORWARD" if self.xforward => Some(line.to_owned()),
            _ => None,
        }
    }
}

/// Whether the next hop offers this keyword.
pub fn offers(next_hop: &Reply, wanted: &str) -> bool {
    parameters(next_hop, wanted).next().is_some()
}

/// Whether the next hop offers AUTH with a mechanism that works through us.
pub(crate) fn offers_auth(next_hop: &Reply) -> bool {
    parameters(next_hop, "AUTH").any(|mechanisms| mechanisms::offered(mechanisms).is_some())
}

/// The attributes of XCLIENT that the next hop takes; none if it takes no XCLIENT.
pub fn xclient_attributes(next_hop: &Reply) -> Vec<String> {
    parameters(next_hop, "XCLIENT").flat_map(str::split_ascii_whitespace).map(str::to_owned).collect()
}

/// The largest message that the next hop takes; 0 and no number mean that it doesn't say (RFC 1870 §4).
pub(crate) fn next_hop_size(next_hop: &Reply) -> Option<u64> {
    parameters(next_hop, "SIZE")
        .find_map(|parameters| parameters.split_ascii_whitespace().next()?.parse().ok())
        .filter(|&size| size != 0)
}

/// What stands behind each keyword of this name.
fn parameters<'a>(next_hop: &'a Reply, wanted: &str) -> impl Iterator<Item = &'a str> {
    keywords(next_hop)
        .filter(move |line| keyword(line).eq_ignore_ascii_case(wanted))
        .map(|line| &line[keyword(line).len()..])
}

/// The lines behind the first that are printable ASCII.
fn keywords(reply: &Reply) -> impl Iterator<Item = &str> {
    let printable = |line: &&[u8]| line.iter().all(|octet| matches!(octet, b' '..=b'~'));
    reply.lines().skip(1).filter(printable).filter_map(|line| std::str::from_utf8(line).ok())
}

fn keyword(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(keyword, _)| keyword)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::protocol::reply::ReplyParser;

    fn filtered(next_hop: &str, auth: bool) -> String {
        filtered_with(next_hop, auth, 0)
    }

    fn filtered_with(next_hop: &str, auth: bool, growth: u64) -> String {
        let reply = ReplyParser::default().push(&mut next_hop.as_bytes()).unwrap().unwrap();
        let offer = Offer {
            hostname: "gate.example",
            message_size: 1000,
            growth,
            starttls: false,
            auth,
            xclient: false,
            xforward: false,
        };
        String::from_utf8(offer.reply(&reply).octets().to_vec()).unwrap()
    }

    #[test]
    fn passes_what_works_through_us() {
        let next_hop = "250-mail.example greets you\r\n250-PIPELINING\r\n250-SIZE 500\r\n250-VRFY\r\n250-ETRN\r\n\
            250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN\r\n250-EnhancedStatusCodes\r\n250-8BITMIME\r\n\
            250-DSN\r\n250-SMTPUTF8\r\n250-BINARYMIME\r\n250-XCLIENT NAME\r\n250-XFORWARD NAME\r\n\
            250-BURL\r\n250-REQUIRETLS\r\n250-LIMITS RCPTMAX=1\r\n250-HELP\r\n250 X-NEW\r\n";
        let ours = "250-gate.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 500\r\n250-ENHANCEDSTATUSCODES\r\n\
            250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 HELP\r\n";
        assert_eq!(filtered(next_hop, false), ours);
        let with_chunks = next_hop.replace("250-BURL", "250-CHUNKING");
        assert!(filtered(&with_chunks, false).contains("250-BINARYMIME\r\n"));
        assert!(filtered(next_hop, true).contains("250-AUTH PLAIN LOGIN\r\n"));
        assert!(!filtered(next_hop, true).contains("AUTH=PLAIN"));
    }

    #[test]
    fn offers_the_smaller_size() {
        for (next_hop, size) in [
            ("250 a\r\n", 1000),
            ("250-a\r\n250 SIZE\r\n", 1000),
            ("250-a\r\n250 SIZE 0\r\n", 1000),
            ("250-a\r\n250 SIZE 5000\r\n", 1000),
            ("250-a\r\n250 size 10\r\n", 10),
        ] {
            assert!(filtered(next_hop, false).ends_with(&format!("250 SIZE {size}\r\n")), "{next_hop}");
        }
    }

    #[test]
    fn keeps_room_for_what_we_add() {
        for (next_hop, size) in [("5000", 1000), ("1050", 950), ("800", 700), ("80", 70)] {
            let offer = filtered_with(&format!("250-a\r\n250 SIZE {next_hop}\r\n"), false, 100);
            assert!(offer.ends_with(&format!("250 SIZE {size}\r\n")), "{next_hop}: {offer}");
        }
    }

    #[test]
    fn offers_no_mechanism_that_binds_to_tls() {
        let next_hop = "250-a\r\n250 AUTH SCRAM-SHA-256-PLUS EXTERNAL PLAIN\r\n";
        assert!(filtered(next_hop, true).ends_with("250 AUTH PLAIN\r\n"));
        assert!(!filtered("250-a\r\n250 AUTH EXTERNAL\r\n", true).contains("AUTH"));
    }

    #[test]
    fn knows_what_is_offered() {
        let reply = |text: &str| ReplyParser::default().push(&mut text.as_bytes()).unwrap().unwrap();
        assert!(offers(&reply("250-a\r\n250 auth PLAIN\r\n"), "AUTH"));
        assert!(!offers(&reply("250 AUTH PLAIN\r\n"), "AUTH"));
        assert_eq!(xclient_attributes(&reply("250-a\r\n250 xclient NAME ADDR\r\n")), ["NAME", "ADDR"]);
        assert!(xclient_attributes(&reply("250-a\r\n250 XFORWARD NAME ADDR\r\n")).is_empty());
    }
}
