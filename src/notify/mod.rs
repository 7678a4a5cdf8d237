//! Mail that the gateway writes itself: alerts to the administrator, notices to recipients. Facts come in, texts and mails go out.
//!
//! | file | what |
//! |---|---|
//! | `alert` | what the administrator is told of a message, or of something that is no message's |
//! | `recipient`, `languages` | what a recipient is told of held mail, in their language |
//! | `digest` | what the administrator is told of a day |
//! | `mail` | one mail, and the server that takes it |
//! | `alerter` | alerts that wait in memory, where there is no database for them to wait in |

mod alert;
mod alerter;
pub mod digest;
mod languages;
mod mail;
pub mod recipient;

pub use self::alert::{Alert, Finding, Notice, Outcome, alerts_mail, terse_mail};
pub use self::alerter::{Alerter, GATHER, Settings};
pub use self::languages::{LanguageError, Languages, Words};
pub use self::mail::{AddressError, Mail, Mailer, Route, SendError, is_address};
