//! The hostile relay: a server on the way that can do what it likes to mail. It is the same transparent proxy
//! as the gateway, with a hostile handler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attachment_seal::message::edits::Edits;
use encodify::base64;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::smtp::envelope::Envelope;
use crate::smtp::limits::Limits;
use crate::smtp::{
    self, BareLineEnds, Content, Decision, Introduction, MessageHandler, NextHopTls, Resources, SessionInfo,
    Settings, Tls,
};

/// What the relay does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Passes it on.
    Nothing,
    /// What honest lists and relays do: a footer, and base64 wrapped at another column.
    FooterAndRewrap,
    /// Puts other bytes in the attachment's place.
    Swap,
    /// Puts an attachment into a message that had none.
    Add,
    /// Renames the attachment from .pdf to .exe.
    Rename,
    /// Takes the seal off.
    Strip,
    /// Puts an earlier message's seal in place of this one's.
    Transplant,
}

impl Trick {
    /// What the relay did, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Nothing => "passed it on",
            Self::FooterAndRewrap => "added a list footer, wrapped the base64 anew",
            Self::Swap => "swapped the attachment for another file",
            Self::Add => "added an attachment",
            Self::Rename => "renamed Agenda.pdf to Agenda.exe",
            Self::Strip => "took the seal off",
            Self::Transplant => "put another mail's seal on a changed mail",
        }
    }
}

/// The relay's mind.
#[derive(Debug, Default)]
pub(super) struct Relay {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    trick: Trick,
    kept_seal: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self { trick: Trick::Nothing, kept_seal: None }
    }
}

impl Relay {
    /// Says what is done to the next message.
    pub(super) fn prepare(&self, trick: Trick) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trick = trick;
    }

    fn work_on(&self, message: &str) -> String {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (seal, rest) = split_seal(message);
        let kept = state.kept_seal.get_or_insert_with(|| seal.to_owned()).clone();
        match state.trick {
            Trick::Nothing => message.to_owned(),
            Trick::FooterAndRewrap => seal.to_owned() + &rewrap(&footer(rest)),
            Trick::Swap => seal.to_owned() + &swap(rest),
            Trick::Add => seal.to_owned() + &add(rest),
            Trick::Rename => message.replace("Agenda.pdf\"", "Agenda.exe\""),
            Trick::Strip => rest.to_owned(),
            Trick::Transplant => kept + &swap(rest),
        }
    }
}

impl MessageHandler for Relay {
    type Watch = ();
    type Account = ();

    async fn handle(
        &self,
        _session: &SessionInfo,
        _envelope: &Envelope,
        mut message: Content,
        (): (),
    ) -> Decision<()> {
        let message = match message.examine(|octets| String::from_utf8_lossy(octets).into_owned()).await {
            Ok(text) => Content::new(self.work_on(&text).into_bytes()),
            Err(_) => message,
        };
        Decision::relay(message, Edits::none(), ())
    }
}

/// Serves until told to stop.
pub(super) async fn serve(
    socket: TcpListener,
    next_hop: SocketAddr,
    relay: Arc<Relay>,
    stopped: watch::Receiver<bool>,
) {
    let settings = Arc::new(Settings {
        listener: "relay".to_owned(),
        hostname: "relay.hostile.example".to_owned(),
        next_hop: next_hop.into(),
        next_hop_tls: NextHopTls::Off,
        tls: Tls::Off,
        clients: vec![IpAddr::from(Ipv4Addr::LOCALHOST).into()],
        introduction: Introduction::Nothing,
        xclient_from: Vec::new(),
        xforward_from: Vec::new(),
        proxy_header_from: Vec::new(),
        requires_auth: false,
        growth: 0,
        bare_line_ends: BareLineEnds::Refuse,
        limits: Limits::default(),
    });
    let grace = Duration::from_secs(1);
    smtp::serve(
        socket,
        move || Arc::clone(&settings),
        relay,
        Resources::new(std::env::temp_dir()),
        stopped,
        grace,
    )
    .await;
}

/// The seal at the top, and the rest.
fn split_seal(message: &str) -> (&str, &str) {
    let end = message.find("\r\nFrom:").map_or(0, |at| at + 2);
    message.split_at(end)
}

fn footer(message: &str) -> String {
    message.replacen("is attached.\r\n", "is attached.\r\n_______\r\nThe visitors' mailing list\r\n", 1)
}

/// Where the attachment's base64 is.
fn encoded(message: &str) -> Option<std::ops::Range<usize>> {
    let part = message.find("base64\r\n")?;
    let start = part + message[part..].find("\r\n\r\n")? + 4;
    let end = start + message[start..].find("--=_letter")?;
    Some(start..end)
}

fn replace_encoded(message: &str, change: impl Fn(&str) -> String) -> String {
    let Some(range) = encoded(message) else { return message.to_owned() };
    format!("{}{}{}", &message[..range.start], change(&message[range.clone()]), &message[range.end..])
}

fn rewrap(message: &str) -> String {
    replace_encoded(message, |text| {
        let symbols: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
        symbols.chunks(60).map(|line| String::from_utf8_lossy(line).into_owned() + "\r\n").collect()
    })
}

fn swap(message: &str) -> String {
    replace_encoded(message, |_| base64::MIME.encode(b"%PDF-1.4\nan infected document"))
}

fn add(message: &str) -> String {
    let body = message.find("\r\n\r\n").map_or("", |at| &message[at + 4..]);
    let header = message.find("Content-Type:").map_or(message, |at| &message[..at]);
    let invoice = base64::MIME.encode(b"MZ an infected program");
    format!(
        "{header}Content-Type: multipart/mixed; boundary=\"=_added\"\r\n\r\n\
         --=_added\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\
         --=_added\r\nContent-Type: application/octet-stream; name=\"Agenda.exe\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"Agenda.exe\"\r\n\r\n\
         {invoice}--=_added--\r\n"
    )
}
