//! A site whose gateway holds mail, with its state in one database or the other, and people who deal with it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use waxseal::store::{Held, HeldId, Location, Quotas, State};

use crate::program::site::{SENDER, Site};
use crate::program::smtp::Client;
use crate::program::{Config, Ended, Gateway, waxseal_with, word};
#[cfg(feature = "postgres")]
use crate::server::Postgres;

/// A site, and where its state is.
pub(crate) struct Desk {
    pub(crate) site: Site,
    /// The lines of the configuration that name the state.
    state: String,
    /// Its database; none where that is in the folder.
    database: Option<String>,
}

/// A desk for each database that is here.
pub(crate) fn desks() -> Vec<Desk> {
    let plain = Desk { site: Site::new(), state: "state = \"state\"\n".to_owned(), database: None };
    std::iter::once(plain).chain(with_postgres()).collect()
}

#[cfg(feature = "postgres")]
fn with_postgres() -> Option<Desk> {
    let database = Postgres::shared()?.database();
    let state = format!("state = \"{database}\"\nfolder = \"state\"\nlabel = \"mx1\"\n");
    Some(Desk { site: Site::new(), state, database: Some(database) })
}

#[cfg(not(feature = "postgres"))]
fn with_postgres() -> Option<Desk> {
    None
}

impl Desk {
    /// Its configuration, with these lines at the end.
    pub(crate) fn config(&self, more: &str) -> Config {
        self.config_before(self.site.next_hop.address, more)
    }

    /// The same before another server than the site's own.
    pub(crate) fn config_before(&self, next_hop: SocketAddr, more: &str) -> Config {
        let folder = self.site.folder.path();
        Config::of(folder, "mx.partner.example", &self.state)
            .listener("inbound", "verify", next_hop, "")
            .pinning(&self.site.record)
            .and(more)
    }

    /// Its gateway, of that configuration.
    pub(crate) fn start(&self, more: &str) -> Gateway {
        self.config(more).start()
    }

    /// Where its state is.
    pub(crate) fn place(&self) -> Location {
        let folder = self.site.folder.path().join("state");
        match &self.database {
            None => folder.as_path().into(),
            #[cfg(feature = "postgres")]
            Some(url) => Postgres::place_at(url, &folder, "mx1"),
            #[cfg(not(feature = "postgres"))]
            Some(url) => panic!("{url}"),
        }
    }

    /// The configuration of another gateway on the same database; `None` where there is none to share.
    pub(crate) fn other_gateway(&self, more: &str) -> Option<PathBuf> {
        let database = self.database.as_ref()?;
        let folder = self.site.folder.path().join("mx2");
        fs::create_dir(&folder).unwrap();
        let state = format!("state = \"{database}\"\nfolder = \"state\"\nlabel = \"mx2\"\n");
        let config = Config::of(&folder, "mx2.partner.example", &state)
            .listener("inbound", "verify", self.site.next_hop.address, "")
            .pinning(&self.site.record)
            .and(more);
        Some(config.write())
    }

    /// Runs a command of this configuration as somebody who logged in by that name.
    pub(crate) fn run_as(&self, who: &str, arguments: &[&str]) -> Ended {
        let config = self.site.folder.path().join("waxseal.toml");
        waxseal_with(&[("SUDO_USER", who)], &[arguments, &["--config", word(&config)]].concat())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as("anna", arguments)
    }

    /// The ids of those that are listed with these arguments.
    pub(crate) fn listed(&self, arguments: &[&str]) -> Vec<String> {
        let listed = self.run(&[&["quarantine", "list", "--json"], arguments].concat());
        assert_eq!((listed.status, listed.stderr.as_str()), (0, ""), "{arguments:?}");
        listed.json().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn shown(&self, id: &str) -> Value {
        self.run(&["quarantine", "show", "--json", id]).json().remove(0)
    }

    /// What is on record of a message: what was done, and by whom.
    pub(crate) fn record(&self, message_id: &str) -> Vec<(String, String)> {
        let report = self.run(&["report", "--json", "--message-id", message_id]).json().remove(0);
        let text = |deed: &Value, key: &str| deed[key].as_str().unwrap().to_owned();
        let deeds = report["deeds"].as_array().unwrap().iter();
        deeds.map(|deed| (text(deed, "what"), text(deed, "who"))).collect()
    }
}

/// Has a message held; gives its id.
pub(crate) fn hold(gateway: &Gateway, recipients: &[&str], message: &[u8]) -> String {
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say(&format!("MAIL FROM:<{SENDER}> BODY=8BITMIME")).starts_with("250"));
    for recipient in recipients {
        assert!(client.say(&format!("RCPT TO:<{recipient}>")).starts_with("250"));
    }
    assert!(client.say("DATA").starts_with("354"));
    let reply = client.finish(message);
    reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// Holds a message as an early version did, which knew less of it.
pub(crate) fn hold_without_details(state: &State, received: &str, verdict: &str, message: &[u8]) -> HeldId {
    let reason = if verdict == "fail" { "\"attachments\"" } else { "null" };
    let held: Held = serde_json::from_str(&format!(
        r#"{{"listener": "inbound", "received": "{received}", "client": "192.0.2.1", "reverse_path": "{SENDER}",
            "recipients": ["desk@partner.example"], "verdict": "{verdict}", "reason": {reason}, "summary": "",
            "message_id": "<early@example.org>", "size": {}}}"#,
        message.len()
    ))
    .unwrap();
    state.quarantine.hold(&Quotas::default(), &held, &[], &mut &*message).unwrap().id
}
