//! Where news go that somebody must be told: into the outbox, where they outlive this process. A gateway without a database has
//! them wait in memory, and so has one whose database cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attachment_seal::domain::DomainName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task;
use tracing::{error, warn};

use crate::notify::digest::Part;
use crate::notify::recipient::{HeldNotice, Why};
use crate::notify::{Alert, Alerter, Finding, Notice, Outcome};
use crate::store::{DatabaseError, Details, Held, HeldAttachment, HeldId, Letter, LetterKind, Outbox};

/// For how long a letter is worth sending.
const WORTH_SENDING: Duration = Duration::from_secs(5 * 86_400);

/// What an administrator is told: the content of a letter of the kind `alert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News {
    /// Of a message.
    Message(Box<Alert>),
    /// Of something that is no message's.
    Notice(Notice),
}

/// What became of mail since the start.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    /// So many were sent.
    pub fn add_sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// So many were given up.
    pub fn add_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Those that were sent, and those that were given up.
    pub fn get(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

/// What is to be told, and how it is kept until then.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// The administrator's address, if there is one to tell, and what waits in memory.
    administrator: Option<(String, Alerter)>,
    outbox: Option<Arc<dyn Outbox>>,
    /// Of alerts in the outbox.
    pub alerts: Arc<Counts>,
    /// Of notices to recipients.
    pub notices: Arc<Counts>,
}

impl Post {
    /// With the administrator's address.
    pub fn new(administrator: Option<(String, Alerter)>, outbox: Option<Arc<dyn Outbox>>) -> Self {
        Self { administrator, outbox, alerts: Arc::default(), notices: Arc::default() }
    }

    /// What is to be sent, where it outlives this process.
    pub fn outbox(&self) -> Option<&Arc<dyn Outbox>> {
        self.outbox.as_ref()
    }

    /// How many alerts and notices to the administrator were sent, and how many were given up; `None` where nobody is told.
    pub fn alerted(&self) -> Option<(u64, u64)> {
        let (_, alerter) = self.administrator.as_ref()?;
        let (sent, lost) = self.alerts.get();
        Some((sent + alerter.sent(), lost + alerter.lost()))
    }

    /// Tells the administrator of something that is no message's. Never waits.
    pub fn notice(&self, notice: Notice) {
        let Some((to, alerter)) = &self.administrator else { return };
        let Some(outbox) = self.outbox.clone() else { return alerter.notice(notice) };
        let Some(letter) = notice_letter(to, &notice) else { return };
        let alerter = alerter.clone();
        task::spawn_blocking(move || {
            if let Err(error) = outbox.put(&[letter]) {
                warn!(%error, "an alert cannot be put into the outbox, and waits in memory");
                alerter.notice(notice);
            }
        });
    }

    /// As [`Post::notice`], and waits until the notice is kept. Tells whether somebody will be told.
    pub fn announce(&self, notice: &Notice) -> Result<bool, DatabaseError> {
        let letter = self.administrator.as_ref().and_then(|(to, _)| notice_letter(to, notice));
        let Some((outbox, letter)) = self.outbox.as_ref().zip(letter) else { return Ok(false) };
        outbox.put(&[letter])?;
        Ok(true)
    }

    /// The letter to the administrator about a message. In [`Quarantine::hold`](crate::store::Quarantine::hold), `None` is about
    /// the message that is held.
    pub fn alert_letter(&self, alert: Alert, about: Option<String>) -> Option<Letter> {
        let (to, _) = self.administrator.as_ref()?;
        self.outbox.as_ref()?;
        letter(LetterKind::Alert, to, about, &News::Message(Box::new(alert.cut())))
    }

    /// Tells the administrator of a message, where there is no outbox.
    pub fn alert(&self, alert: Alert) {
        if let Some((_, alerter)) = self.administrator.as_ref().filter(|_| self.outbox.is_none()) {
            alerter.alert(alert);
        }
    }

    /// The letters to these recipients about the message that is held: one a person.
    pub fn notice_letters(&self, recipients: &[String], notice: &HeldNotice) -> Vec<Letter> {
        if self.outbox.is_none() {
            return Vec::new();
        }
        let mut told: Vec<String> = Vec::new();
        let mut letters = Vec::new();
        for recipient in recipients {
            // Addresses that differ in case alone are one person's, as far as anybody knows.
            let name = recipient.to_lowercase();
            if domain_of(recipient).is_some() && !told.contains(&name) {
                letters.extend(letter(LetterKind::Notice, recipient, None, notice));
                told.push(name);
            }
        }
        letters
    }

    /// The letters about a message that is held without them: the gateway was killed while it held it.
    pub fn letters_about(&self, id: &HeldId, held: &Held, has_notices: bool) -> Vec<Letter> {
        let Details { from, subject, .. } = &held.details;
        let alert = Alert {
            id: id.to_string(),
            verdict: held.verdict.clone(),
            reason: held.reason.clone(),
            outcome: Outcome::Quarantined,
            received: held.received,
            listener: held.listener.clone(),
            client: held.client,
            from_domain: from.as_deref().and_then(domain_of).map(|domain| domain.to_string()),
            author: from.clone(),
            subject: subject.clone(),
            reverse_path: held.reverse_path.clone(),
            recipients: held.recipients.clone(),
            more_recipients: 0,
            message_id: held.message_id.clone(),
            attachments: held.details.attachments.iter().filter_map(finding).collect(),
            more_attachments: 0,
            links: Vec::new(),
            more_links: 0,
        };
        let notice = HeldNotice {
            reference: id.to_string(),
            received: held.received,
            author: from.clone(),
            subject: subject.clone(),
            why: Why::of(&held.verdict, held.reason.as_deref()),
        };
        let notices = has_notices.then(|| self.notice_letters(&held.recipients, &notice.cut()));
        let letters = self.alert_letter(alert, None).into_iter().chain(notices.into_iter().flatten());
        letters.map(|letter| Letter { about: Some(id.to_string()), ..letter }).collect()
    }

    /// A part of a digest; of those about the same, one is sent.
    pub fn digest_letter(&self, digest: &Part, about: String) -> Option<Letter> {
        let (to, _) = self.administrator.as_ref()?;
        letter(LetterKind::Digest, to, Some(about), digest)
    }
}

/// The same news are no news on the same day, whichever gateway has them, and after a restart.
fn notice_letter(to: &str, notice: &Notice) -> Option<Letter> {
    let day = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let hash = blake3::hash(format!("{day}\n{}\n{}", notice.subject, notice.text).as_bytes());
    let about = Some(format!("notice {}", &hash.to_hex()[..32]));
    letter(LetterKind::Alert, to, about, &News::Notice(notice.clone()))
}

fn finding(attachment: &HeldAttachment) -> Option<Finding> {
    let file = attachment.sealed.as_ref().or(attachment.found.as_ref());
    let name = file.map(|file| file.name.clone()).unwrap_or_default();
    (attachment.status != "intact").then(|| Finding { status: attachment.status.clone(), name })
}

fn letter(kind: LetterKind, to: &str, about: Option<String>, content: &impl Serialize) -> Option<Letter> {
    let since = Timestamp::now();
    match serde_json::to_value(content) {
        Ok(content) => {
            Some(Letter { kind, to: to.to_owned(), about, content, since, expires: since + WORTH_SENDING })
        }
        Err(error) => {
            error!(%error, "a letter cannot be written");
            None
        }
    }
}

/// A recipient's domain, if it has one and no address literal.
pub fn domain_of(recipient: &str) -> Option<DomainName> {
    let (_, domain) = recipient.rsplit_once('@')?;
    DomainName::from_canonical(&domain.to_lowercase()).ok()
}
