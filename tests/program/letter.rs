//! The letters that tests send, and what hostile relays make of them.

use encodify::base64;

/// The attachment that nobody may touch: not text, and longer than one line.
pub(crate) fn agenda() -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n".to_vec();
    pdf.extend((0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    pdf
}

/// The attachment that travels as it is, umlauts and all.
pub(crate) const BUDGET: &str = "Posten;Betrag\r\nReise;1200 €\r\nÜbernachtung;800 €\r\n";

/// A mail from the office, with Agenda.pdf in base64 and Budget.csv in 8bit. The subject tells it from others.
pub(crate) fn with_attachments(subject: &str) -> Vec<u8> {
    let header = header("office@example.org", subject);
    format!(
        "{header}Content-Type: multipart/mixed; boundary=\"=_letter\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         --=_letter\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Schöne Grüße, the agenda is attached.\r\n\r\n\
         --=_letter\r\nContent-Type: application/pdf; name=\"Agenda.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"Agenda.pdf\"\r\n\r\n{agenda}\
         --=_letter\r\nContent-Type: text/csv; charset=utf-8; name=\"Budget.csv\"\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         Content-Disposition: attachment; filename=\"Budget.csv\"\r\n\r\n{BUDGET}\r\n\
         --=_letter--\r\n",
        agenda = base64::MIME.encode(agenda()),
    )
    .into_bytes()
}

/// A mail with nothing attached.
pub(crate) fn plain(author: &str, subject: &str) -> Vec<u8> {
    let header = header(author, subject);
    format!("{header}Content-Type: text/plain; charset=us-ascii\r\n\r\nThe agenda follows tomorrow.\r\n")
        .into_bytes()
}

fn header(author: &str, subject: &str) -> String {
    format!(
        "From: Office <{author}>\r\nTo: Desk <desk@partner.example>\r\nSubject: {subject}\r\n\
         Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{}@example.org>\r\nMIME-Version: 1.0\r\n",
        subject.replace(' ', ".")
    )
}

/// The message without its seal.
pub(crate) fn stripped(message: &str) -> String {
    let mut rest = String::new();
    let mut in_seal = false;
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    for line in header.split("\r\n") {
        in_seal = line.starts_with("Attachment-Seal:") || in_seal && line.starts_with([' ', '\t']);
        if !in_seal {
            rest.push_str(line);
            rest.push_str("\r\n");
        }
    }
    rest + "\r\n" + body
}

/// The message with another document in place of Agenda.pdf.
pub(crate) fn swapped(message: &str) -> String {
    let document = base64::MIME.encode(b"%PDF-1.4\nan infected document");
    change_agenda(message, |_| document.clone())
}

/// The message with Agenda.pdf's base64 wrapped at another column.
pub(crate) fn rewrapped(message: &str) -> String {
    change_agenda(message, |text| {
        let symbols: String = text.split_whitespace().collect();
        symbols
            .as_bytes()
            .chunks(60)
            .map(|line| String::from_utf8_lossy(line).into_owned() + "\r\n")
            .collect()
    })
}

fn change_agenda(message: &str, change: impl Fn(&str) -> String) -> String {
    let part = message.find("filename=\"Agenda.pdf\"").unwrap();
    let start = part + message[part..].find("\r\n\r\n").unwrap() + 4;
    let end = start + message[start..].find("--=_letter").unwrap();
    format!("{}{}{}", &message[..start], change(&message[start..end]), &message[end..])
}

/// The message with one part more.
pub(crate) fn added(message: &str) -> String {
    let program = base64::MIME.encode(b"MZ an infected program");
    let part = format!(
        "--=_letter\r\nContent-Type: application/octet-stream; name=\"Viewer.exe\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"Viewer.exe\"\r\n\r\n{program}--=_letter--\r\n"
    );
    message.replace("--=_letter--\r\n", &part)
}

/// The message with Agenda.pdf called Agenda.exe.
pub(crate) fn renamed(message: &str) -> String {
    message.replace("\"Agenda.pdf\"", "\"Agenda.exe\"")
}

/// The message with a mailing list's footer and subject tag.
pub(crate) fn with_footer(message: &str) -> String {
    message
        .replace("\r\nSubject: ", "\r\nSubject: [visitors] ")
        .replace("is attached.\r\n", "is attached.\r\n_______\r\nThe visitors' mailing list\r\n")
}
