//! The way that every client's mail takes, and the letters that it carries.
//!
//! ```text
//! client → sealing gateway → verifying gateway → receiver
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use encodify::base64;
use tempfile::TempDir;

use crate::program::{self, Config, Gateway, letter};
use crate::receiver::{Receiver, Taken};

/// The usual author.
pub(crate) const OFFICE: &str = "office@example.org";

/// The usual reader.
pub(crate) const DESK: &str = "desk@partner.example";

/// What a client is asked to send.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Its Message-ID's left side, by which it is found again.
    pub(crate) name: String,
    /// The reverse-path, without brackets.
    pub(crate) from: &'static str,
    /// The forward-paths, without brackets.
    pub(crate) to: Vec<String>,
    /// The message, lines ending in CR LF.
    pub(crate) message: Vec<u8>,
}

impl Letter {
    /// To the desk, with two attachments, octets over 127, and lines that begin with dots.
    pub(crate) fn new(name: &str) -> Self {
        let dots = "is attached.\r\n.\r\n..\r\n.hidden\r\n";
        let message = text(&letter::with_attachments(name)).replace("is attached.\r\n", dots);
        Self { name: name.to_owned(), from: OFFICE, to: vec![DESK.to_owned()], message: message.into_bytes() }
    }

    /// With an attachment more, of three megabytes.
    pub(crate) fn bulky(name: &str) -> Self {
        let content: Vec<u8> =
            (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let part = format!(
            "--=_letter\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"Map.png\"\r\n\r\n{}--=_letter--\r\n",
            base64::MIME.encode(&content)
        );
        let mut letter = Self::new(name);
        letter.message = text(&letter.message).replace("--=_letter--\r\n", &part).into_bytes();
        letter
    }

    /// As bounces and other notices are sent: nobody wants to hear of their fate.
    pub(crate) fn with_null_reverse_path(name: &str) -> Self {
        Self { from: "", ..Self::new(name) }
    }

    /// Between people whose addresses are no ASCII (RFC 6531).
    pub(crate) fn international(name: &str) -> Self {
        let author = "büro@example.org";
        let message = text(&Self::new(name).message).replace(OFFICE, author);
        let to = vec!["empfänger@partner.example".to_owned()];
        Self { name: name.to_owned(), from: author, to, message: message.into_bytes() }
    }

    /// To sixty people, one of whom does not exist.
    pub(crate) fn to_many(name: &str) -> Self {
        let mut to: Vec<String> = (0..59).map(|n| format!("desk{n}@partner.example")).collect();
        to.insert(30, "nobody@partner.example".to_owned());
        Self { to, ..Self::new(name) }
    }

    /// The reverse-path as command lines have it: without brackets, unless it is null.
    pub(crate) fn reverse_path(&self) -> &str {
        if self.from.is_empty() { "<>" } else { self.from }
    }

    /// The recipients who exist, and have room for it.
    pub(crate) fn readers(&self) -> Vec<&str> {
        let reads = |to: &&str| !to.starts_with("nobody@") && !to.starts_with("full@");
        self.to.iter().map(String::as_str).filter(reads).collect()
    }

    /// The field by which the letter is found.
    pub(crate) fn message_id(&self) -> String {
        format!("Message-ID: <{}@example.org>", self.name)
    }
}

fn text(message: &[u8]) -> String {
    String::from_utf8(message.to_vec()).unwrap()
}

/// Two gateways with a key between them, in a folder.
#[derive(Debug)]
pub(crate) struct Passage {
    folder: TempDir,
    pub(crate) receiver: Receiver,
    pub(crate) verifying: Gateway,
    pub(crate) sealing: Gateway,
}

impl Passage {
    /// From the client to the receiver.
    pub(crate) fn new() -> Self {
        let folder = gateways_folder();
        let receiver = Receiver::start();
        let record = program::keygen(&folder.path().join("sealing/gate1.pem"));
        let verifying = verifying(folder.path(), &record, receiver.address);
        let sealing = sealing(folder.path(), verifying.address("inbound"), "");
        Self { folder, receiver, verifying, sealing }
    }

    /// Where the gateways' files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where clients hand in mail.
    pub(crate) fn door(&self) -> SocketAddr {
        self.sealing.address("outbound")
    }

    /// The letter's message in a file.
    pub(crate) fn file(&self, letter: &Letter) -> PathBuf {
        let file = self.folder.path().join(&letter.name);
        fs::write(&file, &letter.message).unwrap();
        file
    }

    /// Asserts that the letter arrived as it was sent, once, and was found to be so.
    pub(crate) fn assert_arrived(&self, letter: &Letter) -> Taken {
        let taken = self.receiver.await_message(&letter.message_id());
        assert!(taken.mail.starts_with(&format!("<{}>", letter.from)), "{}: {}", letter.name, taken.mail);
        assert_eq!(taken.recipients, letter.readers(), "{}", letter.name);
        assert_passed(letter, &text(&taken.message));
        assert_eq!(self.receiver.with(&letter.message_id()).len(), 1, "{}", letter.name);
        taken
    }

    /// Asserts that nothing of the letter arrived, and nothing is held.
    pub(crate) fn assert_not_arrived(&self, letter: &Letter) {
        assert!(self.receiver.with(&letter.message_id()).is_empty(), "{}", letter.name);
        assert!(self.verifying.held().is_empty());
    }
}

/// A folder with one for each gateway's files.
pub(crate) fn gateways_folder() -> TempDir {
    let folder = program::folder();
    for gateway in ["sealing", "verifying"] {
        fs::create_dir(folder.path().join(gateway)).unwrap();
    }
    folder
}

/// A gateway that seals for example.org; `keys` are more keys of its listener.
pub(crate) fn sealing(folder: &Path, next_hop: SocketAddr, keys: &str) -> Gateway {
    Config::new(&folder.join("sealing"), "gate.example.org")
        .listener("outbound", "seal", next_hop, keys)
        .sealing_with(Path::new("gate1.pem"))
        .start()
}

/// A gateway that verifies, and holds what is not as it was sent.
pub(crate) fn verifying(folder: &Path, record: &str, next_hop: SocketAddr) -> Gateway {
    Config::new(&folder.join("verifying"), "mx.partner.example")
        .listener("inbound", "verify", next_hop, "")
        .pinning(record)
        .start()
}

/// Asserts that a message got the verdict `pass`, and is octet for octet the letter, but for the fields that servers
/// put before it. Line ends may be those of a mailbox.
pub(crate) fn assert_passed(letter: &Letter, message: &str) {
    let message = message.replace("\r\n", "\n").replace('\n', "\r\n");
    let start = message.find("From: Office <").unwrap_or_else(|| panic!("{message}"));
    let (added, own) = message.split_at(start);
    assert!(
        own.as_bytes() == letter.message,
        "{}: not as it was sent: {}",
        letter.name,
        difference(own.as_bytes(), &letter.message)
    );
    let verdict = "Authentication-Results: mx.partner.example; x-attachment-seal=pass header.d=example.org";
    assert!(added.contains(verdict), "{}: {added}", letter.name);
    assert_eq!(added.matches("Attachment-Seal: v=1;").count(), 1, "{}: {added}", letter.name);
}

/// Where two messages begin to differ.
fn difference(found: &[u8], wanted: &[u8]) -> String {
    let same = found.iter().zip(wanted).take_while(|(one, other)| one == other).count();
    let window = |octets: &[u8]| {
        let start = same.saturating_sub(20);
        String::from_utf8_lossy(&octets[start..octets.len().min(same + 60)]).into_owned()
    };
    format!("from octet {same}, found {:?}, sent {:?}", window(found), window(wanted))
}

/// Asserts that a client believes to have sent the letter.
pub(crate) fn assert_sent(letter: &Letter, output: &Output) {
    assert!(output.status.success(), "{}: {output:?}", letter.name);
}
