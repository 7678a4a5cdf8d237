//! Pieces of sentences that several rooms say.

use std::error::Error;
use std::fmt::Display;

/// An error with its causes, in one line. A cause that the text before it contains already is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// A count with its noun: `1 message`, `2 messages`.
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        cause: Option<Box<Layer>>,
    }

    fn layer(text: &'static str, cause: Option<Layer>) -> Layer {
        Layer { text, cause: cause.map(Box::new) }
    }

    #[test]
    fn says_each_cause_once() {
        let error = layer("not sent", Some(layer("no connection", Some(layer("refused", None)))));
        assert_eq!(with_causes(&error), "not sent: no connection: refused");
        let error = layer("not sent: refused", Some(layer("refused", None)));
        assert_eq!(with_causes(&error), "not sent: refused");
    }

    #[test]
    fn counts_in_the_noun_s_number() {
        assert_eq!(
            [0, 1, 2, 21].map(|count| counted(count, "message")),
            ["0 messages", "1 message", "2 messages", "21 messages"]
        );
    }
}
