//! The letters that the demonstration sends.

use encodify::base64;

/// One letter from an office to a partner's desk.
pub(super) struct Letter {
    /// Makes it unlike the others.
    pub(super) number: usize,
    /// Whether the agenda goes with it.
    pub(super) has_attachment: bool,
}

impl Letter {
    /// The Message-ID, which finds the letter again wherever it ended up.
    pub(super) fn message_id(&self) -> String {
        format!("<agenda.{}@example.org>", self.number)
    }

    /// The message as a mail program would write it.
    pub(super) fn text(&self) -> Vec<u8> {
        let header = format!(
            "From: Office <office@example.org>\r\nTo: Desk <desk@partner.example>\r\nSubject: Agenda for the visit\r\n\
             Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: {}\r\nMIME-Version: 1.0\r\n",
            self.message_id()
        );
        let body = if self.has_attachment {
            format!(
                "Content-Type: multipart/mixed; boundary=\"=_letter\"\r\n\r\n\
                 --=_letter\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                 The agenda is attached.\r\n\r\n\
                 --=_letter\r\nContent-Type: application/pdf; name=\"Agenda.pdf\"\r\n\
                 Content-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"Agenda.pdf\"\r\n\r\n\
                 {}--=_letter--\r\n",
                base64::MIME.encode(agenda())
            )
        } else {
            "Content-Type: text/plain; charset=utf-8\r\n\r\nThe agenda follows tomorrow.\r\n".to_owned()
        };
        (header + &body).into_bytes()
    }
}

/// A small PDF.
fn agenda() -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n".to_vec();
    pdf.extend((0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    pdf
}
