//! Hands one stored message to a next hop, with the envelope that it came with: what a session does for a client, done
//! once, for nobody. Parameters of MAIL and RCPT are given only where the next hop offers what they belong to.

use std::net::{IpAddr, SocketAddr};

use attachment_seal::message::edits::Edits;
use thiserror::Error;

use crate::smtp::content::Content;
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::next_hop::{Framing, RelayError, remedy};
use crate::smtp::protocol::data;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Introduction, Settings};

/// A stored message and its envelope.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The client that it came from; it is whom the next hop is told of, if it is told of anyone.
    pub client: IpAddr,
    /// The reverse-path without its brackets.
    pub reverse_path: &'a str,
    /// MAIL's parameters as they were given.
    pub mail_parameters: &'a [String],
    /// The recipients that it is for now.
    pub recipients: &'a [Recipient<'a>],
    /// The message.
    pub message: &'a [u8],
    /// Our changes to it.
    pub edits: &'a Edits,
}

/// One recipient.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The forward-path without its brackets.
    pub path: &'a str,
    /// RCPT's parameters as they were given.
    pub parameters: &'a [String],
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next hop took it.
    Delivered(Reply),
    /// The next hop refused it.
    Refused(Reply),
    /// The next hop was lost between the message's end and the reply to it, so it may have it or not.
    InDoubt,
}

/// Why nothing was sent: the next hop has no part of the message, or none that has an end.
#[derive(Debug, Error)]
pub enum HandOverError {
    /// The next hop is of no use.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// It refuses everybody or everything.
    #[error("the next hop says {reply} to {command}")]
    Refused {
        /// Which command.
        command: &'static str,
        /// What it said.
        reply: Reply,
    },
    /// The message cannot go without something that the next hop does not offer.
    #[error("the message needs {0}, which the next hop does not offer")]
    NotOffered(&'static str),
    /// What must be noted before the message's end could not be.
    #[error("{0}")]
    NotNoted(String),
}

/// Hands a message over, and says what became of it for each recipient, in their order. `before_end` is called when all
/// of the message but its end is with the next hop, for the recipients that it took (by their places): what cannot be
/// known afterwards begins there, so it is noted before.
pub async fn hand_over(
    settings: &Settings,
    letter: &Letter<'_>,
    before_end: impl FnOnce(&[usize]) -> Result<(), String>,
) -> Result<Vec<Fate>, HandOverError> {
    let mut hop = open(settings, letter.client).await?;
    let mail = mail_line(&hop, letter)?;
    let reply = hop.next_hop.command(mail.as_bytes()).await?;
    if !reply.is_positive() {
        return Err(HandOverError::Refused { command: "MAIL", reply });
    }
    let mut fates = vec![None; letter.recipients.len()];
    let mut accepted = Vec::new();
    for (at, recipient) in letter.recipients.iter().enumerate() {
        let reply = hop.next_hop.command(rcpt_line(&hop, recipient).as_bytes()).await?;
        match reply.code() {
            421 => return Err(HandOverError::Refused { command: "RCPT", reply }),
            _ if reply.is_positive() => accepted.push(at),
            _ => fates[at] = Some(Fate::Refused(reply)),
        }
    }
    if !accepted.is_empty() {
        let sent = send(&mut hop, letter, || before_end(&accepted), accepted.len()).await?;
        for (at, fate) in accepted.into_iter().zip(sent) {
            fates[at] = Some(fate);
        }
    }
    // Taken or not, there is nothing more to say; one that is lost has nothing to hear it with.
    let is_lost = fates.contains(&Some(Fate::InDoubt));
    if !is_lost {
        hop.next_hop.quit().await;
    }
    Ok(fates.into_iter().flatten().collect())
}

/// Calls on a next hop, so that it has been greeted and knows who the client is.
async fn open(settings: &Settings, client: IpAddr) -> Result<Visit, HandOverError> {
    let from = SocketAddr::new(client, 0);
    let mut hop = Visit::pay_at(settings, from, destination(from)).await?;
    if !hop.greeting.is_positive() {
        return Err(HandOverError::Refused { command: "our connection", reply: hop.greeting });
    }
    if hop.offer.is_positive() && settings.introduction == Introduction::Xclient {
        let greeting = hop.introduce(client).await?;
        if !greeting.is_positive() {
            return Err(RelayError::XclientRefused(greeting, remedy(Some(client))).into());
        }
    }
    if hop.offer.is_positive() {
        return Ok(hop);
    }
    Err(HandOverError::Refused { command: "EHLO", reply: hop.offer })
}

/// Sends the message. What is refused before its end is refused for all.
async fn send(
    hop: &mut Visit,
    letter: &Letter<'_>,
    before_end: impl FnOnce() -> Result<(), String>,
    recipients: usize,
) -> Result<Vec<Fate>, HandOverError> {
    let before_end = || before_end().map_err(HandOverError::NotNoted);
    if !is_binary(letter) && data::has_bare_line_ends(letter.message) {
        return Err(HandOverError::NotOffered("BINARYMIME"));
    }
    let ended = if is_binary(letter) {
        before_end()?;
        // Lent for the one call that takes it so.
        let content = Content::new(letter.message.to_vec());
        match hop.next_hop.send_message(&content, letter.edits, Framing::Chunk).await {
            Ok(Err(refusal)) => return Ok(vec![Fate::Refused(refusal); recipients]),
            sent => sent.map(drop),
        }
    } else {
        let mut passage = match hop.next_hop.begin_data().await? {
            Ok(passage) => passage,
            Err(refusal) => return Ok(vec![Fate::Refused(refusal); recipients]),
        };
        hop.next_hop.pass_on(&mut passage, letter.edits.pieces(letter.message)).await?;
        if let Err(error) = before_end() {
            hop.next_hop.break_off().await;
            return Err(error);
        }
        hop.next_hop.end_data(passage, std::iter::empty()).await
    };
    if ended.is_err() {
        return Ok(vec![Fate::InDoubt; recipients]);
    }
    // LMTP has a reply for each recipient (RFC 2033 §4.2).
    let replies = if hop.is_lmtp { recipients } else { 1 };
    let mut fates = Vec::new();
    for more in (0..replies).rev() {
        match hop.next_hop.reply_to_message(more).await {
            Ok(reply) if reply.is_positive() => fates.push(Fate::Delivered(reply)),
            Ok(reply) => fates.push(Fate::Refused(reply)),
            Err(_) => break,
        }
    }
    let last = if hop.is_lmtp { Fate::InDoubt } else { fates.first().cloned().unwrap_or(Fate::InDoubt) };
    fates.resize(recipients, last);
    Ok(fates)
}

/// MAIL with those of the parameters that the next hop offers; what cannot be left out without harm must be offered.
fn mail_line(hop: &Visit, letter: &Letter<'_>) -> Result<String, HandOverError> {
    let needs = |keyword: &'static str| {
        if hop.offers(keyword) { Ok(()) } else { Err(HandOverError::NotOffered(keyword)) }
    };
    let mut line = format!("MAIL FROM:<{}>", letter.reverse_path);
    if hop.offers("SIZE") {
        line.push_str(&format!(" SIZE={}", letter.edits.size_after(letter.message.len() as u64)));
    }
    let is_ascii_envelope =
        letter.reverse_path.is_ascii() && letter.recipients.iter().all(|recipient| recipient.path.is_ascii());
    let mut is_utf8 = !is_ascii_envelope;
    for parameter in letter.mail_parameters {
        let (keyword, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match keyword.to_ascii_uppercase().as_str() {
            "BODY" if value.eq_ignore_ascii_case("BINARYMIME") => {
                needs("CHUNKING").and_then(|()| needs("BINARYMIME"))?;
                line.push_str(" BODY=BINARYMIME");
            }
            "BODY" if hop.offers("8BITMIME") => line.push_str(&format!(" {parameter}")),
            "BODY" if !letter.message.is_ascii() => needs("8BITMIME")?,
            "SMTPUTF8" => {
                is_utf8 |= hop.offers("SMTPUTF8") || !header_section(letter.message).is_ascii();
            }
            "REQUIRETLS" => return Err(HandOverError::NotOffered("REQUIRETLS")),
            "RET" | "ENVID" if hop.offers("DSN") => line.push_str(&format!(" {parameter}")),
            // SIZE was said already, AUTH was another session's, and what we never offered means nothing here.
            _ => {}
        }
    }
    if is_utf8 {
        needs("SMTPUTF8")?;
        line.push_str(" SMTPUTF8");
    }
    Ok(line)
}

fn rcpt_line(hop: &Visit, recipient: &Recipient<'_>) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.path);
    for parameter in recipient.parameters {
        let keyword = parameter.split_once('=').map_or(parameter.as_str(), |(keyword, _)| keyword);
        let is_dsn = ["NOTIFY", "ORCPT"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
        if is_dsn && hop.offers("DSN") {
            line.push_str(&format!(" {parameter}"));
        }
    }
    line
}

/// An address of ours in the client's family, which is all that a PROXY header needs to be well-formed.
fn destination(client: SocketAddr) -> SocketAddr {
    match client.ip().to_canonical() {
        IpAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], 25)),
        IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 25),
    }
}

fn is_binary(letter: &Letter<'_>) -> bool {
    letter.mail_parameters.iter().any(|parameter| parameter.eq_ignore_ascii_case("BODY=BINARYMIME"))
}

fn header_section(message: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(message, b"\r\n\r\n").unwrap_or(message.len());
    &message[..end]
}
