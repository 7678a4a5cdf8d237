//! A liar between us and the name server: it passes questions on, and does with the answers what the test says.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// The answer that is given in place of the true one; `None` for none at all.
pub(crate) type Lie = dyn Fn(&Query, Message) -> Option<Message> + Send + Sync;

/// A liar that listens, on UDP and TCP, until the test program ends.
pub(crate) struct Forger {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, RecordType), usize>>>,
}

impl Forger {
    /// Before the name server at `truth`.
    pub(crate) fn before(
        truth: SocketAddr,
        lie: impl Fn(&Query, Message) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let liar = Liar { truth, lie: Arc::new(lie), asked: Arc::clone(&asked) };
        let (over_udp, over_tcp) = (liar.clone(), liar);
        thread::spawn(move || over_udp.serve_udp(&udp));
        thread::spawn(move || over_tcp.serve_tcp(&tcp));
        Self { address, asked }
    }

    /// How often a question came.
    pub(crate) fn times_asked(&self, name: &str, record_type: RecordType) -> usize {
        self.asked.lock().unwrap().get(&(name.to_owned(), record_type)).copied().unwrap_or_default()
    }
}

/// The same port for both.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

#[derive(Clone)]
struct Liar {
    truth: SocketAddr,
    lie: Arc<Lie>,
    asked: Arc<Mutex<HashMap<(String, RecordType), usize>>>,
}

impl Liar {
    fn serve_udp(self, socket: &UdpSocket) {
        let mut buffer = [0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let query = buffer[..length].to_vec();
            let (liar, socket) = (self.clone(), socket.try_clone().unwrap());
            thread::spawn(move || {
                let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
                upstream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                upstream.send_to(&query, liar.truth).unwrap();
                let mut answer = [0; 65_535];
                if let Ok(length) = upstream.recv(&mut answer)
                    && let Some(answer) = liar.answer(&query, &answer[..length])
                {
                    let _ = socket.send_to(&answer, client);
                }
            });
        }
    }

    fn serve_tcp(self, listener: &TcpListener) {
        for client in listener.incoming() {
            let (liar, mut client) = (self.clone(), client.unwrap());
            thread::spawn(move || {
                let mut upstream = TcpStream::connect(liar.truth).unwrap();
                while let Some(query) = read_framed(&mut client) {
                    write_framed(&mut upstream, &query);
                    let Some(answer) = read_framed(&mut upstream) else { break };
                    if let Some(answer) = liar.answer(&query, &answer) {
                        write_framed(&mut client, &answer);
                    }
                }
            });
        }
    }

    fn answer(&self, query: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?.queries.into_iter().next()?;
        let key = (query.name().to_ascii().to_lowercase(), query.query_type());
        *self.asked.lock().unwrap().entry(key).or_default() += 1;
        let answer = (self.lie)(&query, Message::from_vec(answer).ok()?)?;
        Some(answer.to_vec().unwrap())
    }
}

fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn write_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let _ = stream.write_all(&[&length, message].concat());
}

/// Whether a question is for the TXT records at `name`.
pub(crate) fn is_for(query: &Query, name: &str) -> bool {
    query.query_type() == RecordType::TXT && query.name().to_ascii().eq_ignore_ascii_case(name)
}

/// A TXT record that nobody signed.
pub(crate) fn unsigned_txt(name: &str, text: &str) -> Record {
    let name = Name::from_ascii(name).unwrap();
    Record::from_rdata(name, 300, RData::TXT(TXT::new(vec![text.to_owned()])))
}
