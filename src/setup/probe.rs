//! A message to this machine's own port 25, as a stranger would send it, and what the gateway judged it to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use attachment_seal::message::edits::Edits;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, prepare};
use tokio::time::sleep;

use crate::clock::{moment, unix_time};
use crate::config::{self, Config, Mode};
use crate::gateway::keyring::Keyrings;
use crate::gateway::setup::{Setup, next_hop_settings};
use crate::smtp::next_hop::hand_over::{Fate, Letter, Recipient, hand_over};
use crate::smtp::{Address, Introduction};
use crate::store::{Count, Location, State};

/// How long the gateway may take for its verdict: it may get the message from the queue.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Taken, and judged so: the verdict, and what was done.
    Judged {
        /// SPEC.md's word.
        verdict: String,
        /// What the gateway did with it.
        done: String,
        /// Whether it carried a seal by our own key.
        is_sealed: bool,
    },
    /// Taken, and nothing is known of a verdict.
    Taken,
    /// Not taken: what Postfix answered.
    Refused(String),
}

/// Sends the message to `to`. Needs a Tokio runtime.
pub async fn arrive(path: &Path, front: SocketAddr, to: &str) -> Result<Arrival, String> {
    let config = config::load(path).map_err(first)?;
    let listener = config.listeners.iter().find(|listener| listener.mode == Mode::Verify);
    let listener = listener.ok_or("nothing here verifies")?;
    let mut settings = next_hop_settings(&config, listener).map_err(first)?;
    settings.next_hop = Address::from(front);
    settings.introduction = Introduction::Nothing;
    let now = unix_time().ok_or("the system clock is set before 1970")?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("the system gave no random numbers: {error}"))?;

    let domain = config.domains.first().map_or(&config.hostname, |domain| &domain.name);
    let from = format!("postmaster@{domain}");
    let plain = letter(&from, to, now, u64::from_ne_bytes(random[..8].try_into().unwrap_or_default()));
    let sealed = sealed(&config, &plain, Moment { now, random })?;
    let message = sealed.as_deref().unwrap_or(&plain);
    let before = counts(&config.state, now);
    let letter = Letter {
        client: Ipv4Addr::LOCALHOST.into(),
        reverse_path: &from,
        mail_parameters: &[],
        recipients: &[Recipient { path: to, parameters: &[] }],
        message,
        edits: &Edits::none(),
    };
    let fates = hand_over(&settings, &letter, |_| Ok(())).await.map_err(|error| error.to_string())?;
    if let Some(Fate::Refused(reply)) = fates.first() {
        return Ok(Arrival::Refused(reply.to_string()));
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(count) = more(&before, &counts(&config.state, now)) {
            let (verdict, done) = (count.verdict.clone(), count.done.clone());
            return Ok(Arrival::Judged { verdict, done, is_sealed: sealed.is_some() });
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(Arrival::Taken)
}

/// The message with a seal by our own key, where we have one.
fn sealed(config: &Config, message: &[u8], moment: Moment) -> Result<Option<Vec<u8>>, String> {
    let setup = Setup::read(config.clone()).map_err(first)?;
    Keyrings::read(&config.state.folder).map_err(|error| error.to_string())?.settle(&setup);
    let Some(sealer) = setup.sealers().next() else { return Ok(None) };
    let unsigned = prepare(&Message::new(message), &sealer, moment).map_err(|error| error.to_string())?;
    let edits = unsigned.sign(&sealer.key).map_err(|error| error.to_string())?;
    Ok(Some(edits.apply(message)))
}

fn letter(from: &str, to: &str, now: u64, chance: u64) -> Vec<u8> {
    let date = moment(now).strftime("%a, %d %b %Y %H:%M:%S +0000");
    let domain = from.rsplit('@').next().unwrap_or_default();
    format!(
        "From: waxseal setup <{from}>\r\nTo: <{to}>\r\nSubject: waxseal setup: a message that arrived\r\nDate: {date}\r\n\
         Message-ID: <waxseal-setup-{chance:016x}@{domain}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_{chance:016x}\"\r\n\r\n\
         --=_{chance:016x}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         `waxseal setup` sent this message to itself. You need not keep it.\r\n\
         --=_{chance:016x}\r\nContent-Type: text/csv; charset=us-ascii\r\n\
         Content-Disposition: attachment; filename=\"table.csv\"\r\n\r\na;b\r\n1;2\r\n\
         --=_{chance:016x}--\r\n"
    )
    .into_bytes()
}

/// What was judged on the day of `now`. Where there is no database yet, nothing was.
fn counts(state: &Location, now: u64) -> Vec<Count> {
    let period = State::open(state).judgements.since(now);
    period.map(|period| period.counts).unwrap_or_default()
}

/// What was judged more often than before.
fn more<'a>(before: &[Count], now: &'a [Count]) -> Option<&'a Count> {
    let key = |count: &Count| (count.verdict.clone(), count.asked.clone(), count.done.clone());
    let earlier =
        |count: &Count| before.iter().find(|other| key(other) == key(count)).map_or(0, |other| other.count);
    now.iter().find(|count| count.count > earlier(count))
}

fn first(mistakes: Vec<config::Mistake>) -> String {
    mistakes.into_iter().next().unwrap_or_default().to_string()
}
