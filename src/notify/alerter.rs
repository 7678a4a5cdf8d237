//! Alerts to the administrator that wait in memory: those of a gateway without a database, and those of one whose database is
//! away.
//!
//! [`Alerter::alert`] never waits and never fails, so no mail waits for it. The first alert goes out at once
//! and those of the next minute together, so that an attacker who sends a thousand forged messages does not
//! send the administrator a thousand mails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::alert::{Alert, Notice, alerts_mail};
use super::mail::{AddressError, Mail, Mailer, Route, is_address};

/// Alerts that may wait to be sent; the others are counted only.
const MAX_WAITING: usize = 100;
/// Notices that may wait.
const MAX_NOTICES: usize = 16;
/// How long alerts are gathered after one was sent.
pub const GATHER: Duration = Duration::from_secs(60);

/// How alerts reach the administrator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The administrator's address.
    pub to: String,
    /// How they leave.
    pub route: Route,
    /// How long alerts are gathered after one was sent. [`Settings::new`] sets 60 seconds.
    pub gather: Duration,
    /// The pauses between attempts to send; then the alert is dropped. [`Settings::new`] sets 5 s, 30 s and 2 min.
    pub pauses: Vec<Duration>,
}

impl Settings {
    /// The usual pauses.
    pub fn new(to: String, route: Route) -> Self {
        let pauses = [5, 30, 120].map(Duration::from_secs).to_vec();
        Self { to, route, gather: GATHER, pauses }
    }
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
        is_address(&settings.to)?;
        let task = Task {
            mailer: Mailer::new(&settings.route)?,
            to: settings.to.clone(),
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
    to: String,
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
                Some(notice) = self.notices.recv() => self.deliver(&notice.mail(&self.to), 1).await,
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
            let mail = alerts_mail(&self.to, &batch, more);
            self.deliver(&mail, batch.len() as u64 + more).await;
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
                Some(notice) = self.notices.recv() => self.deliver(&notice.mail(&self.to), 1).await,
                alert = timeout_at(deadline, self.incoming.recv()) => match alert {
                    Ok(Some(alert)) if batch.len() < MAX_WAITING => batch.push(alert),
                    Ok(Some(_)) => _ = self.overflow.fetch_add(1, Ordering::Relaxed),
                    Ok(None) | Err(_) => return batch,
                },
            }
        }
    }

    async fn deliver(&mut self, mail: &Mail, alerts: u64) {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::super::alert::tests::alert;
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
        let route = Route {
            from: "waxseal@mx.example.org".into(),
            next_hop: ("127.0.0.1".into(), port),
            hostname: "mx.example.org".parse().unwrap(),
        };
        let usual = Settings::new("root@example.org".into(), route);
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
            "        subject: Agenda",
            "      recipient: chair@example.org",
            "         client: 192.0.2.7",
            "    waxseal quarantine show 20261123T061112-7f3a9c",
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
