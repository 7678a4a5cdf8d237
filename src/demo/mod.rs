//! The whole story on one machine: sealing gateway → hostile relay → verifying gateway → receiving server, all on
//! loopback and all but the last two the same code as `run`. Each scene is one message and what the relay did to it.

mod letter;
mod receiver;
mod relay;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attachment_seal::message::edits::Edits;
#[cfg(feature = "console")]
use attachment_seal::seal::fingerprint::Fingerprint;
use attachment_seal::seal::key::KeyRecord;
#[cfg(feature = "console")]
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::letter::Letter;
use self::receiver::Mailbox;
use self::relay::Relay;
pub use self::relay::Trick;
use crate::config::{self, ListenAddress};
#[cfg(feature = "console")]
use crate::console::passwords;
use crate::dns::lookup::PinsOnly;
use crate::gateway::setup::Setup;
use crate::keys::make_sealing_key;
use crate::service::Service;
use crate::service::systemd::HandedOver;
use crate::smtp::Content;
use crate::smtp::next_hop::{Framing, NextHop};
#[cfg(feature = "console")]
use crate::store::{Account, Preferences, Role};
use crate::store::{Filter, Location, State};

/// Words of a password that is made up.
#[cfg(feature = "console")]
const WORDS: usize = 5;

/// How long any one step may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One message, what the relay did to it, and what it must be judged.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What the message carries, for people.
    pub sent: &'static str,
    /// What the relay does.
    pub trick: Trick,
    /// The verdict that is right.
    pub verdict: &'static str,
}

/// The scenes in the order in which they are played.
pub const SCENES: [Scene; 7] = [
    Scene { sent: "Agenda.pdf", trick: Trick::Nothing, verdict: "pass" },
    Scene { sent: "Agenda.pdf", trick: Trick::FooterAndRewrap, verdict: "pass" },
    Scene { sent: "Agenda.pdf", trick: Trick::Swap, verdict: "fail" },
    Scene { sent: "no attachment", trick: Trick::Add, verdict: "fail" },
    Scene { sent: "Agenda.pdf", trick: Trick::Rename, verdict: "fail" },
    Scene { sent: "Agenda.pdf", trick: Trick::Strip, verdict: "missing" },
    Scene { sent: "Agenda.pdf", trick: Trick::Transplant, verdict: "fail" },
];

/// How a scene ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The verdict that the verifying gateway gave.
    pub verdict: String,
    /// Whether the message reached the mailbox, or is held.
    pub delivered: bool,
    /// The gateway's reasons, for people.
    pub detail: String,
}

/// The four servers, running.
#[derive(Debug)]
pub struct Stage {
    entrance: SocketAddr,
    relay: Arc<Relay>,
    mailbox: Arc<Mailbox>,
    state: State,
    /// Where the verifying gateway's console is, if it has one.
    console: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Makes keys in `folder` and starts everything on free ports, the console of the verifying gateway only if it is wanted. Needs
    /// a Tokio runtime.
    pub async fn set(folder: &Path, with_console: bool) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let key = make_sealing_key(&folder.join("gate1.pem"))?;

        let mailbox = Arc::new(Mailbox::default());
        let (receiver, receiver_address) = bind().await?;
        let receiving = tokio::spawn(receiver::serve(receiver, Arc::clone(&mailbox)));

        let record = KeyRecord { key: Some(key.public()), trial: false };
        let console = if with_console { "[console]\nlisten = [\"127.0.0.1:0\"]\n" } else { "" };
        let verifying = verifying_config(folder, receiver_address, record) + console;
        let verifying = service(folder, &verifying).await?;
        let console = match verifying.console_addresses().first() {
            Some(ListenAddress::Tcp(address)) => Some(*address),
            Some(ListenAddress::Unix(_)) | None => None,
        };
        let verifier = port_of(&verifying)?;
        let relay = Arc::new(Relay::default());
        let (relay_socket, relay_address) = bind().await?;
        let relaying = relay::serve(relay_socket, verifier, Arc::clone(&relay), stopped.clone());
        let sealing = service(folder, &sealing_config(folder, relay_address)).await?;
        let entrance = port_of(&sealing)?;

        let servers = vec![
            receiving,
            tokio::spawn(verifying.run(stopped.clone())),
            tokio::spawn(relaying),
            tokio::spawn(sealing.run(stopped)),
        ];
        Ok(Self {
            entrance,
            relay,
            mailbox,
            state: State::open(&Location::from(&*folder.join("verifying"))),
            console,
            stop,
            servers,
        })
    }

    /// Where the verifying gateway's console is.
    pub fn console(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Makes an account that may do everything, and gives its password, which is nowhere else.
    #[cfg(feature = "console")]
    pub fn invite(&self, name: &str) -> Result<String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the system gave no random numbers")?;
        let words = Fingerprint::of_key(&random).words();
        let password = words.split(' ').take(WORDS).collect::<Vec<_>>().join("-");
        let account = Account {
            name: name.parse()?,
            password: passwords::hash(&password)?,
            role: Role::Admin,
            preferences: Preferences::default(),
            created: Timestamp::now(),
        };
        self.state.accounts.add(&account)?;
        Ok(password)
    }

    /// Plays one scene: sends the message and sees where it ended up.
    pub async fn play(&self, number: usize, scene: &Scene) -> Result<Ending> {
        self.relay.prepare(scene.trick);
        let letter = Letter { number, has_attachment: scene.trick != Trick::Add };
        self.send(&letter.text()).await?;
        if let Some(message) = self.mailbox.take() {
            return Ending::of_delivered(&message);
        }
        let filter = Filter { message_id: Some(letter.message_id()), ..Filter::default() };
        let listing = self.state.quarantine.list(&filter, None, 1)?;
        let held = listing.held.first().map(|listed| &listed.held);
        let held = held.context("the message is neither delivered nor held")?;
        Ok(Ending { verdict: held.verdict.clone(), delivered: false, detail: held.summary.clone() })
    }

    async fn send(&self, message: &[u8]) -> Result<()> {
        let (mut server, greeting) = NextHop::connect(&self.entrance.into(), None, None, PATIENCE).await?;
        if !greeting.is_positive() {
            bail!("the sealing gateway said {greeting}");
        }
        for line in
            ["EHLO desk.example.org", "MAIL FROM:<office@example.org>", "RCPT TO:<desk@partner.example>"]
        {
            let reply = server.command(line.as_bytes()).await?;
            if !reply.is_positive() {
                bail!("{line}: {reply}");
            }
        }
        let message = Content::new(message.to_vec());
        let reply = match server.send_message(&message, &Edits::none(), Framing::Data).await? {
            Ok(()) => server.reply_to_message(0).await?,
            Err(refusal) => refusal,
        };
        if !reply.is_positive() {
            bail!("the message was answered {reply}");
        }
        server.quit().await;
        Ok(())
    }

    /// Stops the servers, as a signal would.
    pub async fn strike(self) {
        let Self { stop, mut servers, .. } = self;
        _ = stop.send(true);
        servers.remove(0).abort();
        for server in servers {
            _ = tokio::time::timeout(PATIENCE, server).await;
        }
    }
}

impl Ending {
    fn of_delivered(message: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(message);
        let result = text.lines().find_map(|line| line.split_once("; x-attachment-seal="));
        let (_, result) = result.context("a delivered message without a result")?;
        let (verdict, _) = result.split_once(' ').unwrap_or((result, ""));
        Ok(Self { verdict: verdict.to_owned(), delivered: true, detail: String::new() })
    }
}

async fn bind() -> Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

async fn service(folder: &Path, text: &str) -> Result<Service<PinsOnly>> {
    let setup = config::parse(text, &folder.join("demo.toml"), std::iter::empty()).and_then(Setup::read);
    match setup {
        Ok(setup) => Ok(Service::bind(setup, HandedOver::default(), PinsOnly).await?),
        Err(mistakes) => bail!("{}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

fn port_of(service: &Service<PinsOnly>) -> Result<SocketAddr> {
    match service.addresses().first() {
        Some((_, ListenAddress::Tcp(address))) => Ok(*address),
        Some((_, ListenAddress::Unix(_))) | None => bail!("no port to connect to"),
    }
}

fn sealing_config(folder: &Path, next_hop: SocketAddr) -> String {
    format!(
        r#"
hostname = "gate.example.org"
state = "{folder}/sealing"
[[listener]]
name = "outbound"
mode = "seal"
listen = ["127.0.0.1:0"]
next_hop = "{next_hop}"
[[domain]]
name = "example.org"
selector = "gate1"
key = "gate1.pem"
"#,
        folder = folder.display()
    )
}

fn verifying_config(folder: &Path, next_hop: SocketAddr, record: KeyRecord) -> String {
    format!(
        r#"
hostname = "mx.partner.example"
state = "{folder}/verifying"
[[listener]]
name = "inbound"
mode = "verify"
listen = ["127.0.0.1:0"]
next_hop = "{next_hop}"
clients = ["127.0.0.0/8"]
[[correspondent]]
domain = "example.org"
keys = ["{record}"]
"#,
        folder = folder.display()
    )
}
