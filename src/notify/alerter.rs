//! Alerts to the administrator, as mail; the only module that names lettre.
//!
//! [`Alerter::alert`] never waits and never fails, so no mail waits for it. The first alert goes out at once
//! and those of the next minute together, so that an attacker who sends a thousand forged messages does not
//! send the administrator a thousand mails.

mod alert;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attachment_seal::domain::DomainName;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, warn};

pub use self::alert::{Alert, Finding, Notice, Outcome};
use self::alert::{body, printable, subject};

/// Alerts that may wait to be sent; the others are counted only.
const MAX_WAITING: usize = 100;
/// Notices that may wait.
const MAX_NOTICES: usize = 16;
/// The longest that one attempt to send may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// How alerts reach the administrator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The administrator's address.
    pub to: String,
    /// The address alerts come from. Their reverse-path is null: an alert that bounces makes no more mail.
    pub from: String,
    /// Host and port of the server that takes alerts, in clear: it should be near.
    pub next_hop: (String, u16),
    /// Our name, for EHLO and Message-ID.
    pub hostname: DomainName,
    /// How long alerts are gathered after one was sent. [`Settings::new`] sets 60 seconds.
    pub gather: Duration,
    /// The pauses between attempts to send; then the alert is dropped. [`Settings::new`] sets 5 s, 30 s and 2 min.
    pub pauses: Vec<Duration>,
}

impl Settings {
    /// The usual pauses.
    pub fn new(to: String, from: String, next_hop: (String, u16), hostname: DomainName) -> Self {
        let pauses = [5, 30, 120].map(Duration::from_secs).to_vec();
        Self { to, from, next_hop, hostname, gather: Duration::from_secs(60), pauses }
    }
}

/// Settings that cannot work.
#[derive(Debug, Error)]
#[error("`{text}` is not a mail address")]
pub struct AddressError {
    text: String,
    source: lettre::address::AddressError,
}

/// The handle that sessions tell about mail. When its last clone is dropped, what waits is sent once more and
/// the task ends.
#[derive(Clone, Debug)]
pub struct Alerter(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    alerts: mpsc::Sender<Alert>,
    notices: mpsc::Sender<Notice>,
    overflow: Arc<AtomicU64>,
    counts: Arc<Counts>,
    /// Never written to: closing it tells the task, even in a pause, that it is time to go.
    _open: watch::Sender<()>,
}

/// What became of alerts since the start.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Alerter {
    /// The handle, and the task that does the work. The task is to be spawned; once every handle is dropped
    /// it ends, at most four attempts of 30 seconds later. Drop the task to wait no longer.
    pub fn start(
        settings: &Settings,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), AddressError> {
        let (alerts, incoming) = mpsc::channel(MAX_WAITING);
        let (notices, incoming_notices) = mpsc::channel(MAX_NOTICES);
        let (open, closed) = watch::channel(());
        let (overflow, counts) = (Arc::new(AtomicU64::new(0)), Arc::new(Counts::default()));
        let task = Task {
            mailer: Mailer::new(settings)?,
            incoming,
            notices: incoming_notices,
            overflow: overflow.clone(),
            counts: counts.clone(),
            closed,
            gather: settings.gather,
            pauses: settings.pauses.clone(),
        };
        Ok((Self(Arc::new(Handle { alerts, notices, overflow, counts, _open: open })), task.run()))
    }

    /// Tells the administrator of something that is no message's. Where too many wait already, the log has to do.
    pub fn notice(&self, notice: Notice) {
        if let Err(error) = self.0.notices.try_send(notice) {
            warn!(%error, "a notice was not sent");
            self.0.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many alerts and notices have been sent since the start.
    pub fn sent(&self) -> u64 {
        self.0.counts.sent.load(Ordering::Relaxed)
    }

    /// How many were given up: no server took them.
    pub fn lost(&self) -> u64 {
        self.0.counts.lost.load(Ordering::Relaxed)
    }

    /// Tells the administrator, soon. Where too many wait already, this one is only counted.
    pub fn alert(&self, alert: Alert) {
        if self.0.alerts.try_send(alert.cut()).is_err() {
            self.0.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Task {
    mailer: Mailer,
    counts: Arc<Counts>,
    incoming: mpsc::Receiver<Alert>,
    notices: mpsc::Receiver<Notice>,
    overflow: Arc<AtomicU64>,
    closed: watch::Receiver<()>,
    gather: Duration,
    pauses: Vec<Duration>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(notice) = self.notices.recv() => self.deliver(&Mail::Notice(&notice), 1).await,
                Some(first) = self.incoming.recv() => self.tell(first).await,
                else => return,
            }
        }
    }

    /// The first alert at once, those of the next minute together.
    async fn tell(&mut self, first: Alert) {
        let mut batch = vec![first];
        // After a quiet spell the next alert is a first one again.
        while !batch.is_empty() {
            let more = self.overflow.swap(0, Ordering::Relaxed);
            self.deliver(&Mail::Alerts { batch: &batch, more }, batch.len() as u64 + more).await;
            batch = self.gather().await;
        }
    }

    /// The alerts of the next minute, or fewer if it is time to go. Notices do not wait for them: in a flood there is always
    /// another alert.
    async fn gather(&mut self) -> Vec<Alert> {
        let mut batch = Vec::new();
        let deadline = Instant::now() + self.gather;
        loop {
            tokio::select! {
                biased;
                Some(notice) = self.notices.recv() => self.deliver(&Mail::Notice(&notice), 1).await,
                alert = timeout_at(deadline, self.incoming.recv()) => match alert {
                    Ok(Some(alert)) if batch.len() < MAX_WAITING => batch.push(alert),
                    Ok(Some(_)) => _ = self.overflow.fetch_add(1, Ordering::Relaxed),
                    Ok(None) | Err(_) => return batch,
                },
            }
        }
    }

    async fn deliver(&mut self, mail: &Mail<'_>, alerts: u64) {
        let mut pauses = self.pauses.clone().into_iter();
        loop {
            let Err(failure) = self.mailer.send(mail).await else {
                debug!(alerts, "alert sent");
                self.counts.sent.fetch_add(alerts, Ordering::Relaxed);
                return;
            };
            match pauses.next().filter(|_| !failure.is_final()) {
                Some(pause) => {
                    warn!(error = %failure, ?pause, "alert not sent, trying again");
                    if self.pause(pause).await.is_err() {
                        // One last attempt.
                        pauses = Vec::new().into_iter();
                    }
                }
                None => {
                    error!(error = %failure, lost = alerts, "alert dropped");
                    self.counts.lost.fetch_add(alerts, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Waits; `Err` if it is time to go.
    async fn pause(&mut self, pause: Duration) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            () = sleep(pause) => Ok(()),
            closed = self.closed.changed() => closed,
        }
    }
}

/// Why a mail was not sent.
#[derive(Debug, Error)]
enum SendError {
    #[error("the mail cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    #[error("no answer within {} seconds", ATTEMPT_TIMEOUT.as_secs())]
    Timeout,
}

impl SendError {
    fn is_final(&self) -> bool {
        match self {
            Self::Message(_) => true,
            Self::Smtp(error) => error.is_permanent(),
            Self::Timeout => false,
        }
    }
}

/// The content of one mail.
enum Mail<'a> {
    Alerts { batch: &'a [Alert], more: u64 },
    Notice(&'a Notice),
}

struct Mailer {
    transport: Transport,
    to: Address,
    from: Address,
    hostname: DomainName,
}

impl Mailer {
    fn new(settings: &Settings) -> Result<Self, AddressError> {
        let (host, port) = &settings.next_hop;
        let transport = Transport::builder_dangerous(host)
            .port(*port)
            .hello_name(ClientId::Domain(settings.hostname.to_string()))
            .timeout(Some(ATTEMPT_TIMEOUT))
            .build();
        let (to, from) = (address(&settings.to)?, address(&settings.from)?);
        Ok(Self { transport, to, from, hostname: settings.hostname.clone() })
    }

    async fn send(&self, mail: &Mail<'_>) -> Result<(), SendError> {
        let message = self.compose(mail)?;
        timeout(ATTEMPT_TIMEOUT, self.transport.send(message)).await.map_err(|_| SendError::Timeout)??;
        Ok(())
    }

    fn compose(&self, mail: &Mail<'_>) -> Result<Message, lettre::error::Error> {
        let (subject, body) = match mail {
            Mail::Alerts { batch, more } => (subject(batch), body(batch, *more)),
            Mail::Notice(notice) => (notice.subject(), notice.body()),
        };
        // RFC 3834 §5: not to be answered by machines.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .envelope(Envelope::new(None, vec![self.to.clone()])?)
            .from(Mailbox::new(Some("waxseal".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, self.to.clone()))
            .subject(subject)
            .date_now()
            .message_id(Some(self.message_id()))
            .raw_header(HeaderValue::new(name, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(body)
    }

    fn message_id(&self) -> String {
        // Without randomness the clock alone has to tell alerts apart.
        let random = getrandom::u64().unwrap_or_default();
        format!("<{}.{random:016x}@{}>", jiff::Timestamp::now().as_millisecond(), self.hostname)
    }
}

fn address(text: &str) -> Result<Address, AddressError> {
    text.parse().map_err(|source| AddressError { text: printable(text), source })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::alert::tests::alert;
    use super::*;

    /// Takes mail on loopback; the first `refusals` messages get `reply` instead of 250.
    async fn receiver(refusals: usize, reply: &'static str) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, mails) = mpsc::channel(20);
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok((client, _)) = listener.accept().await {
                let verdict = if count < refusals { reply } else { "250 2.0.0 taken" };
                let mail = converse(client, verdict).await;
                count += 1;
                if verdict.starts_with("250") && sender.send(mail).await.is_err() {
                    return;
                }
            }
        });
        (port, mails)
    }

    async fn converse(client: TcpStream, verdict: &str) -> String {
        let (reader, mut writer) = client.into_split();
        let mut lines = BufReader::new(reader).lines();
        let (mut mail, mut in_data) = (String::new(), false);
        writer.write_all(b"220 test\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let reply = match line.as_str() {
                "." if in_data => {
                    in_data = false;
                    verdict
                }
                _ if in_data => {
                    mail += &format!("{line}\n");
                    continue;
                }
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                "QUIT" => "221 bye",
                _ => {
                    mail += &format!("{line}\n");
                    "250 ok"
                }
            };
            writer.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
        mail
    }

    fn settings(port: u16, gather: Duration) -> Settings {
        let hostname = "mx.example.org".parse().unwrap();
        let usual = Settings::new(
            "root@example.org".into(),
            "waxseal@mx.example.org".into(),
            ("127.0.0.1".into(), port),
            hostname,
        );
        Settings { gather, pauses: vec![Duration::from_millis(10); 2], ..usual }
    }

    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn the_first_alert_goes_out_at_once() {
        let (port, mut mails) = receiver(0, "").await;
        let (alerter, task) = Alerter::start(&settings(port, LONG)).unwrap();
        tokio::spawn(task);
        alerter.alert(alert("20261123T061112-7f3a9c"));
        let mail = mails.recv().await.unwrap();
        for line in [
            "EHLO mx.example.org",
            "MAIL FROM:<>",
            "RCPT TO:<root@example.org>",
            "Subject: [waxseal] mail from partner.example quarantined: fail (attachments)",
            "Auto-Submitted: auto-generated",
            "             id: 20261123T061112-7f3a9c",
            "     attachment: altered: Agenda 2026.pdf",
        ] {
            assert!(mail.lines().any(|found| found == line), "{line} in\n{mail}");
        }
        for field in ["Date: ", "Message-ID: <", "From: "] {
            assert!(mail.lines().any(|found| found.starts_with(field)), "{field} in\n{mail}");
        }
    }

    #[tokio::test]
    async fn a_notice_is_a_mail_of_its_own() {
        let (port, mut mails) = receiver(0, "").await;
        let (alerter, task) = Alerter::start(&settings(port, LONG)).unwrap();
        tokio::spawn(task);
        alerter.notice(Notice { subject: "the delegation ends".into(), text: "soon".into() });
        let mail = mails.recv().await.unwrap();
        assert!(
            mail.contains("Subject: [waxseal] the delegation ends\n") && mail.contains("\nsoon\n"),
            "{mail}"
        );
    }

    #[tokio::test]
    async fn a_notice_does_not_wait_for_the_next_alerts() {
        let (port, mut mails) = receiver(0, "").await;
        let (alerter, task) = Alerter::start(&settings(port, LONG)).unwrap();
        tokio::spawn(task);
        alerter.alert(alert("one"));
        mails.recv().await.unwrap();
        alerter.alert(alert("two"));
        alerter.notice(Notice { subject: "the quarantine is full".into(), text: "look".into() });
        let mail = timeout(Duration::from_secs(20), mails.recv()).await.unwrap().unwrap();
        assert!(mail.contains("the quarantine is full"), "{mail}");
    }

    #[tokio::test]
    async fn a_flood_becomes_two_mails() {
        let (port, mut mails) = receiver(0, "").await;
        let (alerter, task) = Alerter::start(&settings(port, SHORT)).unwrap();
        for n in 0..MAX_WAITING + 7 {
            alerter.alert(alert(&format!("id-{n}")));
        }
        tokio::spawn(task);
        let first = mails.recv().await.unwrap();
        assert!(first.contains("id-0\n") && !first.contains("id-1\n"), "{first}");
        assert!(first.contains("7 more alerts"), "{first}");
        let second = mails.recv().await.unwrap();
        assert!(second.contains("Subject: [waxseal] 99 messages: 99 quarantined"), "{second}");
        assert!(second.contains("id-99\n"), "{second}");
    }

    #[tokio::test]
    async fn dropping_the_handle_sends_what_was_gathered() {
        let (port, mut mails) = receiver(0, "").await;
        let (alerter, task) = Alerter::start(&settings(port, LONG)).unwrap();
        let task = tokio::spawn(task);
        alerter.alert(alert("one"));
        mails.recv().await.unwrap();
        alerter.alert(alert("two"));
        drop(alerter);
        assert!(mails.recv().await.unwrap().contains(" two\n"));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn tries_again_after_a_temporary_failure() {
        let (port, mut mails) = receiver(2, "451 4.3.0 later").await;
        let (alerter, task) = Alerter::start(&settings(port, SHORT)).unwrap();
        tokio::spawn(task);
        alerter.alert(alert("stubborn"));
        assert!(mails.recv().await.unwrap().contains("stubborn"));
    }

    #[tokio::test]
    async fn a_refusal_drops_that_alert_only() {
        let (port, mut mails) = receiver(1, "550 5.7.1 no").await;
        let (alerter, task) = Alerter::start(&settings(port, SHORT)).unwrap();
        tokio::spawn(task);
        alerter.alert(alert("refused"));
        sleep(SHORT / 2).await;
        alerter.alert(alert("taken"));
        let mail = mails.recv().await.unwrap();
        assert!(mail.contains("taken") && !mail.contains(" refused\n"), "{mail}");
    }

    #[tokio::test]
    async fn does_not_outlive_its_handles_when_nobody_answers() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let (alerter, task) =
            Alerter::start(&Settings { pauses: vec![LONG; 3], ..settings(port, LONG) }).unwrap();
        alerter.alert(alert("lost"));
        drop(alerter);
        timeout(Duration::from_secs(5), task).await.unwrap();
    }

    #[test]
    fn refuses_what_is_no_address() {
        let wrong = Settings { to: "root".into(), ..settings(25, SHORT) };
        assert!(Alerter::start(&wrong).is_err());
    }
}
