//! Somebody with a browser: cookies, forms, and nothing more.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::program::site::{RECIPIENT, SENDER, Site};
use crate::program::smtp::{Client, connected};
use crate::program::{Config, Ended, Gateway, waxseal_reading, word};

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) const CONSOLE: &str = "[console]\nlisten = [\"127.0.0.1:0\"]";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header section, in lower case but for its values.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The one field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.head.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = found.next();
        assert_eq!(found.next(), None, "{name} is there twice");
        value
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The token of the form that goes there.
    pub(crate) fn token(&self, path: &str) -> Option<String> {
        let (_, form) = self.text().split_once(&format!("action=\"{path}\""))?;
        let (form, _) = form.split_once("</form>")?;
        let (_, token) = form.split_once("name=\"token\" value=\"")?;
        Some(token.split('"').next().unwrap().to_owned())
    }
}

/// Sends a request as it is, and reads the answer.
pub(crate) fn exchange<S: Read + Write>(mut stream: S, request: &[u8]) -> Answer {
    // It may have been refused before its end was sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|octets| octets == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&answer)));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_lowercase(), value.trim().to_owned())
    };
    Answer { status, head: lines.map(field).collect(), body: answer[end + 4..].to_vec() }
}

/// A browser that is at a console.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) console: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What it sends as Host and Origin.
    pub(crate) host: String,
    pub(crate) origin: Option<String>,
    /// Other fields that it sends, whole lines.
    pub(crate) more: String,
}

impl Visitor {
    pub(crate) fn new(console: SocketAddr) -> Self {
        Self {
            console,
            cookies: BTreeMap::new(),
            host: console.to_string(),
            origin: Some(format!("http://{console}")),
            more: String::new(),
        }
    }

    /// Somebody who is logged in already.
    pub(crate) fn logged_in(console: SocketAddr, name: &str) -> Self {
        let mut visitor = Self::new(console);
        let answer = visitor.log_in(name, PASSWORD);
        assert_eq!((answer.status, answer.field("location")), (303, Some("/")), "{answer:?}");
        visitor
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// Sends a form, as it is.
    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let origin = self.origin.as_ref().map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\n{origin}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.send(&head, &body)
    }

    /// Sends the form that a page has, with its token.
    pub(crate) fn send_form(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(page);
        let token = page.token(path).unwrap_or_else(|| panic!("no form for {path}: {}", page.text()));
        self.post(path, &[&[("token", token.as_str())], fields].concat())
    }

    pub(crate) fn log_in(&mut self, name: &str, password: &str) -> Answer {
        self.send_form("/login", "/login", &[("name", name), ("password", password), ("next", "/")])
    }

    fn send(&mut self, head: &str, body: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let request =
            format!("{head}Host: {}\r\nConnection: close\r\n{cookies}{}\r\n{body}", self.host, self.more);
        let answer = exchange(connected(self.console), request.as_bytes());
        for (_, cookie) in answer.head.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            for part in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
                assert!(name.starts_with("__Host-") && cookie.contains(part), "{cookie}");
            }
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

/// Where the console of a gateway is.
pub(crate) fn console(gateway: &Gateway) -> SocketAddr {
    gateway.await_log(" console address=").rsplit_once('=').unwrap().1.parse().unwrap()
}

/// `waxseal console user …` with a line on stdin.
pub(crate) fn user(gateway: &Gateway, arguments: &[&str], line: &str) -> Ended {
    let config = ["--config", word(&gateway.config)];
    waxseal_reading(line.as_bytes(), &[&["console", "user"], arguments, &config].concat())
}

/// Makes an account.
pub(crate) fn add(gateway: &Gateway, name: &str, role: &str) {
    let added = user(gateway, &["add", name, "--role", role], &format!("{PASSWORD}\n"));
    assert_eq!((added.status, added.stderr.as_str()), (0, ""), "{added:?}");
}

/// A site with a console.
pub(crate) fn with_console(site: &Site) -> Config {
    site.verifying("").and(CONSOLE)
}

/// Sends a message whose attachment was swapped, and gives the id under which it is held.
pub(crate) fn held(site: &Site, gateway: &Gateway, subject: &str) -> String {
    let reply = Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &site.swapped(subject));
    reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}
