//! A small receiving server (RFC 5321) with one mailbox: the next hop of the verifying gateway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::smtp::connection::{Connection, ConnectionError, DATA_CHUNK, MAX_COMMAND_LINE};
use crate::smtp::protocol::data::{BareLineEnds, Receiver};

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The mailbox: the last message that was delivered.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    message: Mutex<Option<Vec<u8>>>,
}

impl Mailbox {
    /// Takes the message out.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, message: Vec<u8>) {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(socket: TcpListener, mailbox: Arc<Mailbox>) {
    while let Ok((client, _)) = socket.accept().await {
        let mailbox = Arc::clone(&mailbox);
        tokio::spawn(async move {
            // A client that is gone is no concern of a demonstration.
            _ = converse(Connection::new(client, PATIENCE), &mailbox).await;
        });
    }
}

async fn converse(mut client: Connection<TcpStream>, mailbox: &Mailbox) -> Result<(), ConnectionError> {
    client.queue(b"220 mail.partner.example ESMTP\r\n");
    loop {
        client.flush().await?;
        let Ok(line) = client.read_line(MAX_COMMAND_LINE, Instant::now() + PATIENCE).await? else { continue };
        let verb: Vec<u8> = line.iter().take(4).map(u8::to_ascii_uppercase).collect();
        match verb.as_slice() {
            b"EHLO" => client.queue(b"250-mail.partner.example\r\n250 8BITMIME\r\n"),
            b"DATA" => {
                client.queue(b"354 go ahead\r\n");
                client.flush().await?;
                let mut receiver = Receiver::for_data(1 << 20, BareLineEnds::Refuse);
                let mut message = Vec::new();
                let deadline = Instant::now() + PATIENCE;
                while !client
                    .receive(DATA_CHUNK, |input| receiver.push(input, &mut message), deadline)
                    .await?
                {}
                match receiver.error() {
                    None => {
                        mailbox.put(message);
                        client.queue(b"250 2.0.0 delivered\r\n");
                    }
                    Some(_) => client.queue(b"550 5.6.0 not this\r\n"),
                }
            }
            b"QUIT" => {
                client.queue(b"221 2.0.0 bye\r\n");
                client.flush().await?;
                return Ok(());
            }
            _ => client.queue(b"250 2.0.0 ok\r\n"),
        }
    }
}
