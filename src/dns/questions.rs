//! The questions that go out for one message, counted where they go out: hickory follows aliases, tries again and looks
//! proofs up by itself, so one lookup of ours can become hundreds.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{Stream, once};
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse};
use hickory_resolver::{ConnectionProvider, PoolContext};
use tokio::sync::Semaphore;
use tracing::warn;

/// Questions that wait for an answer at once, over all messages. An answer has at most 64 KiB.
const MAX_AT_ONCE: usize = 256;

/// The same for one message: the sessions that one client may have (`connections_per_client`, 50) leave room for others.
const MAX_OF_MESSAGE: usize = 4;

tokio::task_local! {
    /// The message for which this task asks.
    static MESSAGE: Arc<Allowance>;
}

/// What one message may ask yet.
#[derive(Debug)]
struct Allowance {
    left: AtomicUsize,
    at_once: Semaphore,
}

/// Lets `asking` put so many questions, which belong to one message. What would be one more has no answer.
pub(crate) async fn at_most<T>(questions: usize, asking: impl Future<Output = T>) -> T {
    let (left, at_once) = (AtomicUsize::new(questions), Semaphore::new(MAX_OF_MESSAGE));
    MESSAGE.scope(Arc::new(Allowance { left, at_once }), asking).await
}

impl Allowance {
    /// One question fewer, if there is one.
    fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if taken == Ok(1) {
            warn!(
                "a message has used up its DNS questions (dns.questions); what it still asks is not answered"
            );
        }
        taken.is_ok()
    }
}

/// What hickory connects with, so that each question goes through our hands. Clones count together.
#[derive(Clone)]
pub(super) struct Counting {
    provider: TokioRuntimeProvider,
    load: Arc<Load>,
}

struct Load {
    at_once: Semaphore,
    octets: AtomicUsize,
}

impl Counting {
    pub(super) fn new() -> Self {
        let load = Load { at_once: Semaphore::new(MAX_AT_ONCE), octets: AtomicUsize::new(0) };
        Self { provider: TokioRuntimeProvider::default(), load: Arc::new(load) }
    }

    /// Octets of all answers so far.
    pub(super) fn heard(&self) -> usize {
        self.load.octets.load(Ordering::Relaxed)
    }
}

impl ConnectionProvider for Counting {
    type Conn = Counted;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Counted, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.provider.new_connection(ip, config, cx)?;
        let load = Arc::clone(&self.load);
        Ok(Box::pin(async move { connecting.await.map(|exchange| Counted { exchange, load }) }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.provider
    }
}

/// A connection to a name server whose questions are counted.
#[derive(Clone)]
pub(super) struct Counted {
    exchange: DnsExchange<TokioRuntimeProvider>,
    load: Arc<Load>,
}

impl DnsHandle for Counted {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let Self { exchange, load } = self.clone();
        Box::pin(once(async move {
            let message = MESSAGE.try_with(Arc::clone).ok();
            let _turn = match &message {
                Some(message) if !message.take() => return Err("too many questions for one message".into()),
                Some(message) => message.at_once.acquire().await.ok(),
                // Of a command, or of nobody's mail.
                None => None,
            };
            let _place = load.at_once.acquire().await;
            let answer = exchange.send(request).first_answer().await?;
            load.octets.fetch_add(answer.as_buffer().len(), Ordering::Relaxed);
            Ok(answer)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    use attachment_seal::seal::knowledge::{Answer, Failure, Pins};
    use attachment_seal::seal::message::Message;
    use hickory_resolver::proto::op::Message as DnsMessage;
    use hickory_resolver::proto::rr::rdata::CNAME;
    use hickory_resolver::proto::rr::{Name, RData, Record};

    use super::*;
    use crate::dns::lookup::{Bounds, Wanted, look_up};
    use crate::dns::{Dns, Settings};

    /// A name server to which every name is an alias of one that nobody has asked about yet; and how often it was asked.
    fn loops() -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let question = DnsMessage::from_vec(&buffer[..length]).unwrap();
                let query = question.queries.first().unwrap().clone();
                let target = Name::from_ascii(format!("n{number}.loop.test.")).unwrap();
                let mut answer = DnsMessage::response(question.metadata.id, question.metadata.op_code);
                answer.add_query(query.clone());
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::CNAME(CNAME(target))));
                socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        (address, asked)
    }

    /// The mail that makes a check ask for as much as it ever does: 8 keys and 32 policies.
    fn greedy() -> String {
        let hash = encodify::base64::URL_SAFE_NO_PAD.encode([0; 32]);
        let signature = encodify::base64::URL_SAFE_NO_PAD.encode([0; 64]);
        let seal = |n| {
            format!(
                "Attachment-Seal: v=1; a=ed25519-blake3; d=d{n}.loop.test; s=s; t=1; x=2; hi={hash}; ha={hash}; \
                 hs={hash}; bh={hash}; m=; b={signature}\r\n"
            )
        };
        let seals: String = (0..8).map(seal).collect();
        let authors: Vec<String> = (0..24).map(|n| format!("a@m{n}.loop.test")).collect();
        format!("{seals}From: {}\r\n\r\n", authors.join(", "))
    }

    #[tokio::test]
    async fn aliases_without_end_use_up_what_one_message_may_ask() {
        let (server, asked) = loops();
        let timeout = Duration::from_secs(20);
        let dns = Dns::new(Settings { servers: Some(vec![server]), timeout, ..Settings::default() });
        let mail = greedy();
        let wanted = Wanted::by(&Message::new(mail.as_bytes()));
        let answers = look_up(&wanted, &Pins::default(), &dns, Bounds { timeout, questions: 50 }).await;
        assert!(answers.keys.len() == 8 && answers.policies.len() >= 16, "{answers:?}");
        assert!(answers.keys.values().all(|answer| *answer == Answer::Failed(Failure::Unanswered)));
        let asked = asked.load(Ordering::Relaxed);
        assert!((40..=50).contains(&asked), "{asked} questions");
    }
}
