//! The console's pages: from plain data ([`view`]) to HTML. No input, no output, no state, and no script.
//!
//! | file | what |
//! |---|---|
//! | `view` | what each page shows |
//! | `now`, `chart` | what waits, what happened, what needs a hand |
//! | `messages`, `message`, `seal`, `decide` | a search, and all that is known of one message |
//! | `correspondents`, `correspondent` | what is known of others and their keys |
//! | `preferences`, `login`, `problem`, `done` | the small pages |
//! | `frame`, `form`, `style` | what all pages have |
//! | `words`, `languages` | texts, dates, numbers and sizes in the reader's language |
//! | `foreign` | the one way by which strangers' text gets into a page |

mod chart;
mod correspondent;
mod correspondents;
mod decide;
mod done;
mod foreign;
mod form;
mod frame;
mod login;
mod message;
mod messages;
mod now;
mod preferences;
mod problem;
mod seal;
pub mod style;
pub mod view;
mod words;

pub use self::correspondent::correspondent;
pub use self::correspondents::correspondents;
pub use self::done::done;
pub use self::login::login;
pub use self::message::message;
pub use self::messages::messages;
pub use self::now::now;
pub use self::preferences::preferences;
pub use self::problem::problem;
pub use self::words::{language_for, languages};

#[cfg(test)]
mod samples;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a view that is not as it was made has failed")]
mod tests;
