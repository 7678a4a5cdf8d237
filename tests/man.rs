//! The man pages in `docs/man/` and the completions in `deploy/completions/` are made from the commands themselves, as `--help`
//! is. `BLESS=1 cargo test --test man` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its page has failed")]

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell, generate};
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

/// The files in the folder are those expected; with `BLESS` set they are written.
fn compare(folder: &str, expected: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in expected {
            fs::write(folder.join(name), content).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), expected.len());
    for (name, content) in expected {
        let written = fs::read(folder.join(name)).unwrap_or_default();
        assert!(written == *content, "{name} is out of date: BLESS=1 cargo test --test man");
    }
}

#[test]
fn every_command_has_its_page() {
    let mut command = Cli::command();
    command.build();
    let mut expected = Vec::new();
    pages(&command, "waxseal", &mut expected);
    assert!(expected.len() >= 14, "{}", expected.len());
    compare("docs/man", &expected);
}

#[test]
fn every_shell_has_its_completions() {
    let expected = [Shell::Bash, Shell::Zsh, Shell::Fish].map(|shell| {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "waxseal", &mut script);
        (shell.file_name("waxseal"), script)
    });
    compare("deploy/completions", &expected);
}
