//! Postfix hands its mail in by LMTP (RFC 2033), and the receiver takes it by LMTP.

use crate::passage::{DESK, Letter, OFFICE, Passage, assert_sent};
use crate::postfix::{Postfix, smtpd};
use crate::program::run::works;
use crate::program::smtp::free_port;
use crate::programs::smtplib;

/// Each recipient has a reply of its own: the one who has no room gets the message later, the others now.
#[test]
fn postfix() {
    if !Postfix::is_there_with(&[("Python", works("python3", &["--version"]))]) {
        return;
    }
    let (passage, submission) = (Passage::new(), free_port());
    let door = passage.door();
    let transport = format!("default_transport = lmtp:inet:[{}]:{}\n", door.ip(), door.port());
    let sender = Postfix::start("mail.example.org", &[OFFICE.into()], &[smtpd(submission, &[])], &transport);

    let to = [DESK, "full@partner.example", "library@partner.example"].map(str::to_owned).to_vec();
    let letter = Letter { to, ..Letter::new("lmtp") };
    assert_sent(&letter, &smtplib(submission, &passage.file(&letter), &letter));
    passage.assert_arrived(&letter);
    for (to, status) in [(DESK, "status=sent"), ("full@partner.example", "status=deferred")] {
        let line = sender.await_log(&format!("to=<{to}>"));
        assert!(line.contains("postfix/lmtp") && line.contains(status), "{line}");
    }
    let line = sender.await_log("to=<full@partner.example>");
    assert!(line.contains("452 4.2.2 no room"), "{line}");
}
