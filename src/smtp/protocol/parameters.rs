//! The parameters of MAIL and RCPT (RFC 5321 §4.1.1.11). Only those that were announced to this client are taken: one that
//! was not, `BODY=BINARYMIME` above all, would change how a message is read by us and not by the next hop.

use std::fmt;

use thiserror::Error;

use crate::smtp::envelope::Parameter;

/// What was announced to the client that parameters belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// 8BITMIME (RFC 6152).
    pub(crate) eight_bit: bool,
    /// BINARYMIME (RFC 3030).
    pub(crate) binary: bool,
    /// SMTPUTF8 (RFC 6531).
    pub(crate) smtputf8: bool,
    /// DSN (RFC 3461).
    pub(crate) dsn: bool,
    /// AUTH (RFC 4954).
    pub(crate) auth: bool,
    /// SIZE by the next hop (RFC 1870). We announce it in any case.
    pub(crate) next_hop_size: bool,
    /// XFORWARD: the client passes on what a client of its own has written, to whom it has announced AUTH.
    pub(crate) xforward: bool,
}

/// Which command a parameter stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Mail,
    Rcpt,
}

/// Why a parameter is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ParameterError {
    /// It was not announced, or nobody knows it.
    #[error("{0} was not offered")]
    NotOffered(Shown),
    /// It belongs behind the other command.
    #[error("{0} does not belong here")]
    Misplaced(Shown),
    /// It says two things.
    #[error("{0} stands there twice")]
    Repeated(Shown),
}

/// As much of a parameter as goes into a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown(String);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Parameter> for Shown {
    fn from(parameter: &Parameter) -> Self {
        Self(parameter.to_string().chars().take(60).collect())
    }
}

/// Checks the parameters of a command.
pub(crate) fn check(
    place: Place,
    parameters: &[Parameter],
    announced: &Announced,
) -> Result<(), ParameterError> {
    for (at, parameter) in parameters.iter().enumerate() {
        match place_of(parameter) {
            Some(its) if its != place => return Err(ParameterError::Misplaced(parameter.into())),
            Some(_) if is_announced(parameter, announced) => {}
            Some(_) | None => return Err(ParameterError::NotOffered(parameter.into())),
        }
        let differs = |other: &&Parameter| other.is(&parameter.keyword) && !has_same_value(other, parameter);
        if parameters[..at].iter().any(|other| differs(&other)) {
            return Err(ParameterError::Repeated(parameter.into()));
        }
    }
    Ok(())
}

/// Leaves those that the next hop offers: SIZE is ours, whatever it offers, and AUTH may be for the client alone.
pub(crate) fn drop_unoffered(parameters: &mut Vec<Parameter>, announced: &Announced) {
    parameters.retain(|parameter| {
        (announced.next_hop_size || !parameter.is("SIZE")) && (announced.auth || !parameter.is("AUTH"))
    });
}

fn place_of(parameter: &Parameter) -> Option<Place> {
    let is_one_of = |known: &[&str]| known.iter().any(|keyword| parameter.is(keyword));
    if is_one_of(&["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"]) {
        return Some(Place::Mail);
    }
    is_one_of(&["NOTIFY", "ORCPT"]).then_some(Place::Rcpt)
}

fn is_announced(parameter: &Parameter, announced: &Announced) -> bool {
    match parameter.keyword.to_ascii_uppercase().as_str() {
        // To an old client that says HELO as well: there is one thing that it can mean.
        "SIZE" => true,
        "BODY" => match parameter.value.as_deref().map(str::to_ascii_uppercase).as_deref() {
            Some("7BIT" | "8BITMIME") => announced.eight_bit || announced.binary,
            Some("BINARYMIME") => announced.binary,
            _ => false,
        },
        "SMTPUTF8" => announced.smtputf8,
        "AUTH" => announced.auth || announced.xforward,
        "RET" | "ENVID" | "NOTIFY" | "ORCPT" => announced.dsn,
        _ => false,
    }
}

fn has_same_value(one: &Parameter, other: &Parameter) -> bool {
    match (&one.value, &other.value) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::protocol::command::{Command, parse};

    const ALL: Announced = Announced {
        eight_bit: true,
        binary: true,
        smtputf8: true,
        dsn: true,
        auth: true,
        next_hop_size: true,
        xforward: false,
    };

    fn parameters(text: &str) -> Vec<Parameter> {
        let Ok(Command::Mail(_, parameters)) = parse(format!("MAIL FROM:<> {text}").as_bytes()) else {
            panic!("{text}")
        };
        parameters
    }

    fn judged(place: Place, text: &str, announced: &Announced) -> Option<u16> {
        let error = check(place, &parameters(text), announced).err()?;
        Some(crate::smtp::protocol::reply::Reply::from(&error).code())
    }

    #[test]
    fn takes_what_was_announced() {
        for text in ["SIZE=1 BODY=7bit SMTPUTF8", "body=BinaryMime RET=HDRS ENVID=x AUTH=<>", "SIZE=1 size=1"]
        {
            assert_eq!(judged(Place::Mail, text, &ALL), None, "{text}");
        }
        assert_eq!(judged(Place::Rcpt, "NOTIFY=NEVER ORCPT=rfc822;a@b", &ALL), None);
    }

    #[test]
    fn refuses_what_was_not() {
        let none = Announced::default();
        for text in ["BODY=8BITMIME", "BODY=BINARYMIME", "SMTPUTF8", "RET=FULL", "ENVID=x", "AUTH=<>"] {
            assert_eq!(judged(Place::Mail, text, &none), Some(555), "{text}");
        }
        for text in ["XFOO", "XFOO=1", "BODY", "BODY=", "BODY=9BIT", "MT-PRIORITY=3", "REQUIRETLS"] {
            assert_eq!(judged(Place::Mail, text, &ALL), Some(555), "{text}");
        }
        let no_binary = Announced { binary: false, ..ALL };
        assert_eq!(judged(Place::Mail, "BODY=binarymime", &no_binary), Some(555));
        assert_eq!(judged(Place::Mail, "BODY=8BITMIME BODY=BINARYMIME", &no_binary), Some(555));
        assert_eq!(judged(Place::Rcpt, "NOTIFY=NEVER", &none), Some(555));
        assert_eq!(judged(Place::Mail, "SIZE=1", &none), None);
    }

    #[test]
    fn refuses_what_stands_wrong() {
        assert_eq!(judged(Place::Mail, "NOTIFY=NEVER", &ALL), Some(501));
        assert_eq!(judged(Place::Rcpt, "BODY=BINARYMIME", &ALL), Some(501));
        assert_eq!(judged(Place::Mail, "BODY=8BITMIME BODY=BINARYMIME", &ALL), Some(501));
        assert_eq!(judged(Place::Mail, "SIZE=1 SIZE=2", &ALL), Some(501));
    }

    #[test]
    fn passes_on_what_the_next_hop_offers() {
        let passed = |announced: &Announced| {
            let mut parameters = parameters("SIZE=1 BODY=8BITMIME AUTH=<>");
            drop_unoffered(&mut parameters, announced);
            parameters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(passed(&ALL), "SIZE=1 BODY=8BITMIME AUTH=<>");
        let filter = Announced { auth: false, xforward: true, ..ALL };
        assert_eq!(judged(Place::Mail, "AUTH=<>", &filter), None);
        assert_eq!(passed(&filter), "SIZE=1 BODY=8BITMIME");
        assert_eq!(passed(&Announced { next_hop_size: false, ..ALL }), "BODY=8BITMIME AUTH=<>");
    }
}
