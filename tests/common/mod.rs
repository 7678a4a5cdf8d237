//! What tests of the SMTP side share: a gateway on a free port that relays messages unchanged, unless a message
//! asks for something else in a field `X-Test`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use attachment_seal::message::edits::Edits;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal::smtp::envelope::Envelope;
use waxseal::smtp::limits::Limits;
use waxseal::smtp::{
    self, BareLineEnds, Content, Decision, Introduction, MessageHandler, NextHopTls, Reply, Resources,
    SessionInfo, Settings, Tls,
};

/// Relays every message unchanged, but for what its field `X-Test` asks:
/// `answer REPLY`, `insert FIELD`, `wait MILLISECONDS`, `panic`; `through` waves it through if it is large.
pub(crate) struct Obliging;

impl MessageHandler for Obliging {
    type Watch = ();
    type Account = ();

    async fn handle(
        &self,
        _session: &SessionInfo,
        _envelope: &Envelope,
        message: Content,
        (): (),
    ) -> Decision<()> {
        let head = String::from_utf8_lossy(message.head()).into_owned();
        let (verb, argument) = wish(&head);
        let mut edits = Edits::none();
        match verb {
            "answer" => {
                let (code, text) = argument.split_once(' ').expect("a code and a text");
                let reply = Reply::new(code.parse().expect("a code"), text);
                return Decision::answer(reply, ());
            }
            "insert" => edits.insert_top(format!("{argument}\r\n").as_bytes()),
            "wait" => {
                tokio::time::sleep(Duration::from_millis(argument.parse().expect("milliseconds"))).await;
            }
            "panic" => panic!("the message asked for it"),
            _ => {}
        }
        Decision::relay(message, edits, ())
    }

    async fn wave_through(
        &self,
        _session: &SessionInfo,
        _envelope: &Envelope,
        head: &[u8],
    ) -> Option<(Edits, ())> {
        let head = String::from_utf8_lossy(head).into_owned();
        let mut edits = Edits::none();
        edits.insert_top(b"X-Through: yes\r\n");
        (wish(&head).0 == "through").then_some((edits, ()))
    }
}

fn wish(head: &str) -> (&str, &str) {
    let wish = head.lines().find_map(|line| line.strip_prefix("X-Test: ")).unwrap_or_default();
    wish.split_once(' ').unwrap_or((wish, ""))
}

/// Settings that let loopback in and wait for nothing longer than a test may take.
pub(crate) fn settings(next_hop: SocketAddr) -> Settings {
    let patience = Duration::from_secs(30);
    Settings {
        listener: "test".into(),
        hostname: "gate.example".into(),
        next_hop: next_hop.into(),
        next_hop_tls: NextHopTls::Off,
        tls: Tls::Off,
        clients: vec!["127.0.0.0/8".parse().expect("a network")],
        introduction: Introduction::Nothing,
        xclient_from: Vec::new(),
        xforward_from: Vec::new(),
        proxy_header_from: Vec::new(),
        requires_auth: false,
        growth: 0,
        bare_line_ends: BareLineEnds::Refuse,
        limits: Limits {
            message_size: 1000,
            command_timeout: patience,
            data_timeout: patience,
            next_hop_timeout: patience,
            bad_commands: 3,
            ..Limits::default()
        },
    }
}

/// A next hop that greets, says yes to every command, and takes no message.
#[allow(dead_code, reason = "dialogs play their own")]
pub(crate) async fn next_hop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(say_yes(client));
        }
    });
    address
}

async fn say_yes(client: TcpStream) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    client.write_all(b"220 next.example\r\n").await?;
    let mut line = String::new();
    while client.read_line(&mut line).await? > 0 {
        let reply = if line.starts_with("DATA") { "354 go on\r\n" } else { "250 ok\r\n" };
        client.write_all(reply.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// A gateway that runs.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    shutdown: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, stopped) = watch::channel(false);
        let settings = Arc::new(settings);
        let serving = tokio::spawn(smtp::serve(
            listener,
            move || Arc::clone(&settings),
            Arc::new(Obliging),
            Resources::new(std::env::temp_dir()),
            stopped,
            Duration::from_secs(3),
        ));
        Self { address, shutdown, serving }
    }

    /// Asks the gateway to stop.
    pub(crate) fn shut_down(&self) {
        self.shutdown.send_replace(true);
    }

    /// Stops the gateway; false if sessions had to be cut off.
    pub(crate) async fn stop(self) -> bool {
        self.shut_down();
        tokio::time::timeout(Duration::from_millis(2900), self.serving).await.is_ok()
    }
}
