//! Accounts of the console and their sessions, on each adapter.

use std::thread;

use jiff::Timestamp;
use waxseal::store::{
    Account, AccountError, AccountName, Accounts, MAX_ACCOUNTS, MAX_SESSIONS, MAX_SESSIONS_OF_ONE,
    NewSession, Preferences, Role, TokenHash,
};

use crate::contract::{NOW, on_each};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW as i64 + seconds).unwrap()
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

pub(crate) fn account(text: &str) -> Account {
    Account {
        name: name(text),
        password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
        role: Role::Operator,
        preferences: Preferences { language: None, time_zone: Some("Europe/Berlin".into()) },
        created: at(0),
    }
}

fn session(number: i64) -> NewSession {
    NewSession {
        token: TokenHash::of(&number.to_be_bytes()),
        csrf: format!("secret {number}"),
        created: at(number),
        expires: at(number + 43_200),
    }
}

#[test]
fn names_are_plain_and_have_no_case() {
    assert_eq!(name("Anna.B+c@Example.org").as_str(), "anna.b+c@example.org");
    for text in ["", "a b", "a\n", "\u{e4}", "a/b", &"x".repeat(65)] {
        assert!(text.parse::<AccountName>().is_err(), "{text}");
    }
}

#[test]
fn an_account_is_made_changed_and_removed() {
    on_each(|gateway, commands| {
        let (gateway, commands) = (&gateway.accounts, &commands.accounts);
        assert!(commands.list().unwrap().is_empty());
        let (anna, boris) = (account("anna"), Account { role: Role::Viewer, ..account("Boris") });
        commands.add(&boris).unwrap();
        commands.add(&anna).unwrap();
        assert!(matches!(gateway.add(&account("ANNA")), Err(AccountError::Exists(_))));
        assert_eq!(gateway.list().unwrap(), [anna.clone(), boris.clone()]);
        assert_eq!(gateway.find(&name("BORIS")).unwrap(), Some(boris.clone()));
        assert_eq!(gateway.find(&name("nobody")).unwrap(), None);

        let preferences = Preferences { language: Some("de".into()), time_zone: None };
        gateway.prefer(&name("anna"), &preferences).unwrap();
        gateway.set_role(&name("anna"), Role::Admin).unwrap();
        gateway.set_password(&name("anna"), "other").unwrap();
        let changed = Account { preferences, role: Role::Admin, password: "other".into(), ..anna };
        assert_eq!(commands.find(&name("anna")).unwrap(), Some(changed));
        for failed in [
            gateway.prefer(&name("nobody"), &Preferences::default()),
            gateway.set_role(&name("nobody"), Role::Admin),
            gateway.set_password(&name("nobody"), "x"),
            gateway.open_session(&name("nobody"), &session(1)),
        ] {
            assert!(matches!(failed, Err(AccountError::Unknown(_))), "{failed:?}");
        }

        assert!(commands.remove(&name("Anna")).unwrap());
        assert!(!commands.remove(&name("anna")).unwrap());
        assert_eq!(gateway.list().unwrap(), [boris]);
    });
}

/// What no database can keep, or is longer than anybody needs.
#[test]
fn what_cannot_be_kept_is_refused() {
    on_each(|gateway, _| {
        let accounts = &gateway.accounts;
        accounts.add(&account("anna")).unwrap();
        for text in ["\0", "a\nb", &"x".repeat(513)] {
            let preferences = Preferences { language: Some(text.into()), time_zone: None };
            let zone = Preferences { language: None, time_zone: Some(text.into()) };
            for failed in [
                accounts.add(&Account { password: text.into(), ..account("boris") }),
                accounts.add(&Account { preferences: preferences.clone(), ..account("boris") }),
                accounts.prefer(&name("anna"), &zone),
                accounts.set_password(&name("anna"), text),
                accounts.open_session(&name("anna"), &NewSession { csrf: text.into(), ..session(1) }),
            ] {
                assert!(matches!(failed, Err(AccountError::Unfit(_))), "{failed:?}");
            }
        }
        assert_eq!(accounts.list().unwrap(), [account("anna")]);
    });
}

#[test]
fn a_session_lasts_until_it_expires_or_is_ended() {
    on_each(|gateway, commands| {
        let (gateway, commands) = (&gateway.accounts, &commands.accounts);
        gateway.add(&account("anna")).unwrap();
        gateway.open_session(&name("anna"), &session(1)).unwrap();
        gateway.open_session(&name("anna"), &session(2)).unwrap();
        let found = commands.session(&session(1).token, at(10)).unwrap().unwrap();
        assert_eq!((found.account, found.opened), (account("anna"), session(1)));
        assert_eq!(commands.session(&session(3).token, at(10)).unwrap(), None);
        assert!(commands.session(&session(1).token, at(43_200)).unwrap().is_some());
        assert_eq!(commands.session(&session(1).token, at(43_201)).unwrap(), None, "it has expired");
        // What an account may do changes in its sessions, too.
        commands.set_role(&name("anna"), Role::Viewer).unwrap();
        let found = gateway.session(&session(2).token, at(10)).unwrap().unwrap();
        assert_eq!(found.account.role, Role::Viewer);
        assert!(gateway.close_session(&session(1).token).unwrap());
        assert!(!gateway.close_session(&session(1).token).unwrap());
        assert_eq!(gateway.session(&session(1).token, at(10)).unwrap(), None);
        assert!(gateway.session(&session(2).token, at(10)).unwrap().is_some());
    });
}

/// Also where an account of the same name is made again.
#[test]
fn removal_and_another_password_end_sessions_at_once() {
    on_each(|gateway, commands| {
        let (gateway, commands) = (&gateway.accounts, &commands.accounts);
        for one in ["anna", "boris"] {
            gateway.add(&account(one)).unwrap();
        }
        gateway.open_session(&name("boris"), &session(1)).unwrap();
        gateway.open_session(&name("anna"), &session(2)).unwrap();
        commands.remove(&name("anna")).unwrap();
        commands.add(&account("anna")).unwrap();
        assert_eq!(gateway.session(&session(2).token, at(10)).unwrap(), None);
        gateway.open_session(&name("anna"), &session(3)).unwrap();
        commands.set_password(&name("anna"), "other").unwrap();
        assert_eq!(gateway.session(&session(3).token, at(10)).unwrap(), None);
        assert!(gateway.session(&session(1).token, at(10)).unwrap().is_some(), "it is another's");
    });
}

fn are_there(accounts: &dyn Accounts, numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let is_there = |number: &i64| accounts.session(&session(*number).token, at(0)).unwrap().is_some();
    numbers.filter(is_there).collect()
}

#[test]
fn sessions_are_bounded_and_the_oldest_end() {
    on_each(|gateway, _| {
        let accounts = &*gateway.accounts;
        let of_one = MAX_SESSIONS_OF_ONE as i64;
        accounts.add(&account("anna")).unwrap();
        accounts.add(&account("boris")).unwrap();
        accounts.open_session(&name("boris"), &session(0)).unwrap();
        for number in 1..=of_one + 5 {
            accounts.open_session(&name("anna"), &session(number)).unwrap();
        }
        let there = are_there(accounts, 0..=of_one + 5);
        assert_eq!(there, [0].into_iter().chain(6..=of_one + 5).collect::<Vec<_>>());
        // The clock was set back: what was opened last stays all the same.
        let back = NewSession { created: at(-1_000), ..session(1_000) };
        accounts.open_session(&name("anna"), &back).unwrap();
        assert!(accounts.session(&back.token, at(0)).unwrap().is_some());
        // What has expired makes room.
        let later = NewSession { created: at(90_000), expires: at(95_000), ..session(2_000) };
        accounts.open_session(&name("anna"), &later).unwrap();
        assert_eq!(are_there(accounts, 0..=1_000), [0_i64; 0]);
    });
}

#[test]
fn there_are_only_so_many_accounts_and_sessions() {
    on_each(|gateway, _| {
        let accounts = &*gateway.accounts;
        let holders = MAX_SESSIONS / MAX_SESSIONS_OF_ONE + 1;
        for number in 0..MAX_ACCOUNTS {
            accounts.add(&account(&format!("a{number:04}"))).unwrap();
        }
        assert!(matches!(accounts.add(&account("one.more")), Err(AccountError::TooMany)));
        for number in 0..holders * MAX_SESSIONS_OF_ONE {
            let holder = name(&format!("a{:04}", number / MAX_SESSIONS_OF_ONE));
            accounts.open_session(&holder, &session(number as i64)).unwrap();
        }
        let there = are_there(accounts, 0..(holders * MAX_SESSIONS_OF_ONE) as i64);
        assert_eq!(there.len() as u64, MAX_SESSIONS);
        assert_eq!(there[0], MAX_SESSIONS_OF_ONE as i64, "the oldest ended");
    });
}

/// Of two who make an account of the same name, one does.
#[test]
fn an_account_is_made_once() {
    on_each(|gateway, commands| {
        let made: usize = thread::scope(|scope| {
            let all = [gateway, commands, gateway, commands];
            let started = all.map(|state| scope.spawn(|| state.accounts.add(&account("anna")).is_ok()));
            started.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        });
        assert_eq!(made, 1);
        assert_eq!(gateway.accounts.list().unwrap().len(), 1);
    });
}

#[test]
fn no_log_shows_a_token() {
    assert_eq!(format!("{:?}", TokenHash::of(b"x")), "TokenHash(…)");
}
