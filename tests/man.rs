//! The man pages in `docs/man/` say what `--help` says. `BLESS=1 cargo test --test man` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its page has failed")]

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use waxseal::commands::Cli;

/// The page of a command, and of each below it, by file name.
fn pages(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    // Without the version and the date, so that a page changes only when what it says does.
    let untitled = command.clone().version(None).disable_version_flag(true);
    Man::new(untitled)
        .title(name)
        .section("1")
        .date("")
        .source("waxseal")
        .manual("waxseal")
        .render(&mut page)
        .unwrap();
    pages.push((format!("{name}.1"), page));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        self::pages(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

#[test]
fn every_command_has_its_page() {
    let mut command = Cli::command();
    command.build();
    let mut expected = Vec::new();
    pages(&command, "waxseal", &mut expected);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    if std::env::var_os("BLESS").is_some() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
        for (name, page) in &expected {
            fs::write(folder.join(name), page).unwrap();
        }
    }
    assert!(expected.len() >= 14, "{}", expected.len());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), expected.len());
    for (name, page) in &expected {
        let written = fs::read(folder.join(name)).unwrap_or_default();
        assert!(written == *page, "{name} is out of date: BLESS=1 cargo test --test man");
    }
}
