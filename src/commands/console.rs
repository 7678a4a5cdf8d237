//! `waxseal console`: who may use the console.

mod password;

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Cell;
use jiff::Timestamp;
use serde::Serialize;

use super::table::shown;
use super::{ConfigArg, FAILED, confirmed, fail, partial_config, table};
use crate::clock::second;
use crate::console::passwords;
use crate::phrase::with_causes;
use crate::store::{Account, AccountName, Accounts, DatabaseError, Preferences, Role, State};

/// Arguments of `console`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add, change, list and remove accounts of the console
    User(UserArgs),
}

#[derive(Debug, clap::Args)]
struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Make an account
    #[command(after_help = ADD_HELP)]
    Add {
        #[command(flatten)]
        config: ConfigArg,
        /// viewer reads; operator also releases, deletes, keeps and downloads held mail; admin also approves, pins and
        /// forgets keys of correspondents
        #[arg(long)]
        role: Role,
        /// Make an account without a password, for somebody whom a reverse proxy vouches for (`trusted_header`)
        #[arg(long)]
        no_password: bool,
        /// The account's name: letters, digits and . - _ @ +
        name: AccountName,
    },
    /// Give an account another role, or another password
    #[command(after_help = CHANGE_HELP)]
    Change {
        #[command(flatten)]
        config: ConfigArg,
        /// The new role: viewer, operator or admin
        #[arg(long, required_unless_present = "password")]
        role: Option<Role>,
        /// Ask for a new password, and end the account's sessions
        #[arg(long)]
        password: bool,
        /// The account's name
        name: AccountName,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// One JSON object a line, one line an account
        #[arg(long)]
        json: bool,
    },
    /// Remove an account, and end its sessions at once
    Remove {
        #[command(flatten)]
        config: ConfigArg,
        /// Do not ask. Without a terminal the command never asks
        #[arg(long)]
        yes: bool,
        /// The account's name
        name: AccountName,
    },
}

const ADD_HELP: &str = "\
At a terminal the command asks for the password, twice. Otherwise it reads one line from stdin. A password has 12 \
characters or more. Only its hash is kept.";

const CHANGE_HELP: &str = "\
A new role counts from the next page on. The password is read as by `add`.";

pub(super) fn run(args: &Args) -> ExitCode {
    let Command::User(UserArgs { command }) = &args.command;
    let (UserCommand::Add { config, .. }
    | UserCommand::Change { config, .. }
    | UserCommand::List { config, .. }
    | UserCommand::Remove { config, .. }) = command;
    let Some((_, location)) = partial_config(config) else { return ExitCode::from(FAILED) };
    let accounts = State::open(&location).accounts;
    let done = match command {
        UserCommand::Add { role, no_password, name, .. } => add(&*accounts, name, *role, *no_password),
        UserCommand::Change { role, password, name, .. } => change(&*accounts, name, *role, *password),
        UserCommand::List { json, .. } => list(&*accounts, *json),
        UserCommand::Remove { yes, name, .. } => remove(&*accounts, name, *yes),
    };
    done.map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn add(accounts: &dyn Accounts, name: &AccountName, role: Role, no_password: bool) -> Result<(), String> {
    if accounts.find(name).map_err(|error| with_causes(&error))?.is_some() {
        return Err(format!("there is an account {name} already; see: waxseal console user change"));
    }
    let password = if no_password { String::new() } else { hashed(name)? };
    let account = Account {
        name: name.clone(),
        password,
        role,
        preferences: Preferences::default(),
        created: Timestamp::now(),
    };
    accounts.add(&account).map_err(|error| with_causes(&error))?;
    say!("{name}: account made, {}", role.as_str());
    Ok(())
}

fn change(
    accounts: &dyn Accounts,
    name: &AccountName,
    role: Option<Role>,
    password: bool,
) -> Result<(), String> {
    if accounts.find(name).map_err(|error| with_causes(&error))?.is_none() {
        return Err(format!("there is no account {name}"));
    }
    if password {
        accounts.set_password(name, &hashed(name)?).map_err(|error| with_causes(&error))?;
        say!("{name}: password changed, and all sessions ended");
    }
    if let Some(role) = role {
        accounts.set_role(name, role).map_err(|error| with_causes(&error))?;
        say!("{name}: now {}", role.as_str());
    }
    Ok(())
}

/// What is kept of a password that somebody types.
fn hashed(name: &AccountName) -> Result<String, String> {
    let password = password::read(name)?;
    passwords::hash(&password).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    role: &'static str,
    created: String,
    has_password: bool,
    language: Option<&'a str>,
    time_zone: Option<&'a str>,
}

fn list(accounts: &dyn Accounts, json: bool) -> Result<(), String> {
    let found = match accounts.list() {
        Ok(found) => found,
        Err(DatabaseError::None(_)) => Vec::new(),
        Err(error) => return Err(with_causes(&error)),
    };
    if json {
        for account in &found {
            let line = Line {
                name: account.name.as_str(),
                role: account.role.as_str(),
                created: second(account.created),
                has_password: !account.password.is_empty(),
                language: account.preferences.language.as_deref(),
                time_zone: account.preferences.time_zone.as_deref(),
            };
            say!("{}", serde_json::to_string(&line).map_err(|error| error.to_string())?);
        }
        return Ok(());
    }
    if found.is_empty() {
        say!("there is no account; make one: waxseal console user add NAME --role admin");
        return Ok(());
    }
    let mut table = table::new();
    table.set_header(["name", "role", "made", "password"]);
    for account in &found {
        let password = if account.password.is_empty() { "none" } else { "yes" };
        let (name, made) = (shown(account.name.as_str()), second(account.created));
        table.add_row([
            Cell::new(name),
            Cell::new(account.role.as_str()),
            Cell::new(made),
            Cell::new(password),
        ]);
    }
    say!("{table}");
    Ok(())
}

fn remove(accounts: &dyn Accounts, name: &AccountName, yes: bool) -> Result<(), String> {
    if !yes && !confirmed(&format!("Remove the account {name}? [y/N] ")) {
        return Err("the account stays".to_owned());
    }
    if !accounts.remove(name).map_err(|error| with_causes(&error))? {
        return Err(format!("there is no account {name}"));
    }
    say!("{name}: account removed, and all its sessions ended");
    Ok(())
}
