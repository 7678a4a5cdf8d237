//! The words that labels take. All of them are known beforehand, so that each count can begin at 0 with the program: a series
//! that appears with its first event is no increase to those who watch.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// An enum of words, with a list of them all.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$what])* $variant,)+
        }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

words! {
    /// Whose a reply is.
    Replier {
        /// Ours.
        Gateway = "gateway",
        /// The next hop's, passed on.
        NextHop = "next-hop",
    }
}

words! {
    /// A reply's first digit, as RFC 5321 §4.2.1 writes it.
    ReplyClass {
        /// Taken.
        Positive = "2yz",
        /// Not now.
        Transient = "4yz",
        /// Never.
        Permanent = "5yz",
    }
}

impl ReplyClass {
    /// Of a reply code. What is neither success nor failure has no place at the end of a message, and is not now.
    pub(super) fn of(code: u16) -> Self {
        match code {
            200..=299 => Self::Positive,
            500..=599 => Self::Permanent,
            _ => Self::Transient,
        }
    }
}

words! {
    /// Why there is no session with one who connects.
    SessionRefusal {
        /// Not in `clients`.
        NotListed = "not-listed",
        /// `connections` or `connections_per_client` are taken.
        TooManyConnections = "too-many-connections",
        /// `memory` is taken.
        OutOfMemory = "out-of-memory",
        /// No PROXY header, or none that makes sense.
        ProxyHeader = "proxy-header",
        /// No handshake where TLS begins with the connection.
        Tls = "tls",
    }
}

words! {
    /// Why a message is refused before anybody looks at it.
    MessageRefusal {
        /// It holds a bare CR or LF.
        BareLineEnd = "bare-line-end",
        /// It is larger than allowed.
        MessageTooLarge = "message-too-large",
        /// Its header section is.
        HeaderTooLarge = "header-too-large",
        /// It goes in circles.
        TooManyHops = "too-many-hops",
        /// There was no memory for it in time.
        OutOfMemory = "out-of-memory",
        /// Its file could not be made or written.
        OutOfSpace = "out-of-space",
        /// `spool` or `spool_per_client` is taken.
        SpoolFull = "spool-full",
    }
}

words! {
    /// What is wrong with the next hop.
    NextHopFailure {
        /// No connection could be made.
        Connect = "connect",
        /// It did not connect, reply or take what we sent in time.
        Timeout = "timeout",
        /// It hung up, or the connection broke.
        Lost = "lost",
        /// It greeted us with no 2yz.
        Refused = "refused",
        /// What it said makes no sense.
        Protocol = "protocol",
        /// It cannot be told who the client is.
        Xclient = "xclient",
        /// There is no TLS with it.
        Tls = "tls",
    }
}

words! {
    /// What is looked up in DNS.
    Record {
        /// A sealing key.
        Key = "key",
        /// A domain's policy.
        Policy = "policy",
    }
}

words! {
    /// What a lookup came to.
    LookupResult {
        /// A record that DNSSEC proves.
        Secure = "secure",
        /// A record that nothing proves.
        Insecure = "insecure",
        /// There is none.
        Absent = "absent",
        /// The proof is wrong.
        Bogus = "bogus",
        /// No answer, or none in time.
        Failed = "failed",
    }
}
