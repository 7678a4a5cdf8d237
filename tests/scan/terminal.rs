//! What a scan prints on terminals of several widths, and where there is no terminal.

use std::net::UdpSocket;
use std::process::Command;

use crate::program::desk::Desk;
use crate::program::run::Run;
use crate::program::smtp::closed_port;
use crate::program::{Config, letter};

/// What a scan leaves on a terminal of so many columns, and its exit status. `script` of util-linux makes the terminal, and
/// every Debian has it.
fn on_terminal(desk: &Desk, columns: u16, arguments: &str) -> (i32, String) {
    let scan =
        format!("stty cols {columns} rows 24; exec '{}' scan {arguments}", env!("CARGO_BIN_EXE_waxseal"));
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &scan, "/dev/null"]).current_dir(desk.folder.path());
    let output =
        script.env_clear().env("TERM", "xterm").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").run();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The lines that were written one over the other or one below the other, without their colours.
fn lines(written: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = written;
    while let Some((before, escape)) = rest.split_once('\u{1b}') {
        plain += before;
        let end = escape[1..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
        rest = &escape[end + 2..];
    }
    plain += rest;
    let lines = plain.split(['\r', '\n']).map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

fn is_progress(line: &&String) -> bool {
    line.ends_with(" left")
}

/// A store with enough mail for a bar, and one finding in it.
fn store() -> Desk {
    let desk = Desk::new();
    let sealed = desk.sealed("one");
    for number in 0..200 {
        desk.write(&format!("store/{number}.eml"), sealed.as_bytes());
    }
    desk.write("store/100.eml", letter::swapped(&sealed).as_bytes());
    desk
}

const ARGUMENTS: &str = "--keys pins store";
const LAST: &str = "200 messages: 1 fail, 199 pass";

#[test]
fn a_terminal_has_a_bar_that_fits_in() {
    let desk = store();
    for columns in [40, 60, 80, 89, 90, 132] {
        let (status, written) = on_terminal(&desk, columns, ARGUMENTS);
        let lines = lines(&written);
        assert_eq!((status, lines.last().map(String::as_str)), (1, Some(LAST)), "{columns}: {written:?}");
        let bars: Vec<&String> = lines.iter().filter(is_progress).collect();
        assert!(!bars.is_empty(), "{columns}: {written:?}");
        for bar in bars {
            assert!(bar.chars().count() <= usize::from(columns), "{columns}: {bar:?}");
            assert!(bar.contains("B/s, "), "{columns}: it has the rate: {bar:?}");
        }
        // The finding is on lines of its own, and not cut.
        for line in [
            "store/100.eml: fail — ",
            "  From: Office <office@example.org>",
            "  Message-ID: <one@example.org>",
        ] {
            assert!(lines.iter().any(|written| written.starts_with(line)), "{columns}: {line}: {lines:#?}");
        }
        let table = lines.iter().filter(|line| line.contains(['│', '┆', '╞', '┌', '└']));
        let widest = table.map(|line| line.chars().count()).max();
        assert!(widest.is_none_or(|widest| widest <= usize::from(columns)), "{columns}: {lines:#?}");
        assert_eq!(widest.is_some(), columns >= 80, "{columns}: {lines:#?}");
        assert!(
            lines.iter().any(|line| line.contains("altered") && line.contains("Agenda.pdf")),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_terminal_without_width_has_no_bar() {
    let desk = store();
    for columns in [0, 1, 39] {
        let (status, written) = on_terminal(&desk, columns, ARGUMENTS);
        let lines = lines(&written);
        assert_eq!((status, lines.last().map(String::as_str)), (1, Some(LAST)), "{columns}: {written:?}");
        assert!(!lines.iter().any(|line| is_progress(&line)), "{columns}: {lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("store/100.eml: fail — ")), "{columns}: {lines:#?}");
        assert!(lines.iter().any(|line| line.contains("Agenda.pdf")), "{columns}: {lines:#?}");
    }
}

/// A name server that does not answer makes a scan slow.
#[test]
fn a_terminal_without_width_tells_of_slow_progress() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new();
    desk.write("store/1.eml", desk.sealed("1").as_bytes());
    let dns = format!("[dns]\nservers = [\"{}\"]\ntimeout = \"6s\"\n", silent.local_addr().unwrap());
    let config = Config::new(desk.folder.path(), "mx.partner.example");
    config.listener("inbound", "verify", closed_port(), "").and(&dns).write();
    let (status, written) = on_terminal(&desk, 0, "--config waxseal.toml store");
    let lines = lines(&written);
    assert_eq!(
        (status, lines.last().map(String::as_str)),
        (2, Some("1 message: 1 temperror")),
        "{written:?}"
    );
    let progress: Vec<&String> = lines.iter().filter(is_progress).collect();
    assert_eq!(progress.len(), 1, "{lines:#?}");
    assert!(progress[0].contains(" of ") && progress[0].contains(" messages/s, "), "{progress:?}");
}

#[test]
fn a_pipe_gets_neither_bar_nor_colours() {
    let desk = store();
    let arguments: Vec<&str> = ["scan"].into_iter().chain(ARGUMENTS.split(' ')).collect();
    let ended = desk.run(&arguments);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    assert!(!ended.text().contains(['\u{1b}', '\r']), "{}", ended.text());
    assert_eq!(ended.text().lines().last(), Some(LAST));
    assert!(ended.text().lines().all(|line| line.chars().count() <= 120), "{}", ended.text());
}
