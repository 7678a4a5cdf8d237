//! The man pages in `docs/man/` and the completions in `deploy/completions/` are made from the commands themselves, as `--help`
//! is. `BLESS=1 cargo test --test man` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its page has failed")]

#[path = "program/skip.rs"]
mod skip;

use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_complete::{Generator, Shell, generate};
use clap_mangen::Man;
use skip::are_there;
use waxseal::commands::Cli;

/// The day of these pages: the last release's.
const DAY: &str = "2026-11-28";
/// How wide a line of a page's source is at most, in octets, where it can be broken.
const WIDTH: usize = 72;

/// The page of a command, and of each below it, by file name.
fn pages(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    // Without the version, so that a page changes only when what it says does.
    let untitled = command.clone().version(None).disable_version_flag(true).disable_help_subcommand(true);
    let man = Man::new(untitled.clone())
        .title(name.to_uppercase())
        .section("1")
        .date(DAY)
        .source("waxseal")
        .manual("waxseal");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    page.extend(synopsis(&untitled).into_bytes());
    man.render_description_section(&mut page).unwrap();
    if untitled.get_arguments().next().is_some() {
        man.render_options_section(&mut page).unwrap();
    }
    if untitled.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    if let Some(notes) = untitled.get_after_help() {
        page.extend(notes_section(&notes.to_string()).into_bytes());
    }
    // A blank line needs no line breaks around it.
    let page = String::from_utf8(page).unwrap().replace(".br\n\n.br\n", ".sp\n");
    // Each section defines the apostrophe anew; once is enough.
    let is_preamble = |line: &str| line.starts_with(".ie ") || line.starts_with(".el ");
    let lines = page.lines().enumerate().filter(|(at, line)| *at < 2 || !is_preamble(line));
    pages.push((format!("{name}.1"), lines.map(|(_, line)| broken(line)).collect::<String>().into_bytes()));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        self::pages(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

/// How the command is written, each option with what it takes.
fn synopsis(command: &Command) -> String {
    let mut line = format!(".SH SYNOPSIS\n\\fB{}\\fR", command.get_bin_name().unwrap_or_default());
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help");
    let (options, places): (Vec<&Arg>, Vec<&Arg>) = shown.partition(|arg| !arg.is_positional());
    for arg in options.into_iter().chain(places) {
        let values = arg.get_value_names().unwrap_or_default().join(" ");
        let value = if arg.get_action().takes_values() { format!("\\fI{values}\\fR") } else { String::new() };
        let name = arg.get_long().map(|long| format!("\\fB--{long}\\fR"));
        let words = [name.unwrap_or_default(), value].join(" ").trim().to_owned();
        let many = if arg.get_num_args().is_some_and(|number| number.max_values() > 1) { " ..." } else { "" };
        let words = if arg.is_required_set() { format!("{words}{many}") } else { format!("[{words}{many}]") };
        // An option stays on one line with what it takes.
        line.push_str(&format!("\n{}", words.replace(' ', "\\ ")));
    }
    if command.has_subcommands() {
        line.push_str("\n\\fICOMMAND\\fR");
    }
    line.replace('-', "\\-") + "\n"
}

/// What the help says after the options: paragraphs, tables as they are, the exit status under its own heading.
fn notes_section(notes: &str) -> String {
    let mut text = String::new();
    for paragraph in notes.split("\n\n") {
        let source = paragraph.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        match source.strip_prefix("Exit status: ") {
            Some(status) => text.push_str(&format!(".SH EXIT STATUS\n{status}\n")),
            None => {
                text.push_str(if text.contains(".SH") { ".PP\n" } else { ".SH NOTES\n" });
                let is_table = source.contains("  ");
                text.push_str(&if is_table {
                    format!(".nf\n{source}\n.fi\n")
                } else {
                    format!("{source}\n")
                });
            }
        }
    }
    text
}

/// A line of the page's source, in lines that an editor shows whole.
fn broken(line: &str) -> String {
    if line.starts_with('.') || line.contains("  ") {
        return format!("{}\n", line.trim_end());
    }
    let mut lines = String::new();
    let mut width = 0;
    // `\\ ` is a blank at which a line is not broken.
    for word in line.trim_end().replace("\\ ", "\u{1}").split(' ') {
        let is_control = word.starts_with(['.', '\'']);
        if width > 0 {
            let is_full = width + 1 + word.len() > WIDTH && !is_control;
            lines.push(if is_full { '\n' } else { ' ' });
            width = if is_full { 0 } else { width + 1 };
        }
        lines.push_str(word);
        width += word.len();
    }
    lines.replace('\u{1}', "\\ ") + "\n"
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

#[test]
fn mandoc_finds_no_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let checked = std::process::Command::new("mandoc").arg("-Tlint").args(pages).output();
    if are_there(&[("mandoc", checked.is_ok())]) {
        let faults = checked.unwrap().stdout;
        assert!(faults.is_empty(), "{}", String::from_utf8_lossy(&faults));
    }
}
