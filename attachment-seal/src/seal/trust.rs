//! How a key was proved, how a domain is known to seal, and what asking DNS came to (SPEC.md §9.4 and §10).

/// How a key was proved, weakest first (SPEC.md §9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// An unsigned DNS answer.
    Dns,
    /// Seen before.
    Remembered,
    /// A DNS answer that DNSSEC proved.
    Dnssec,
    /// Delegated by a known root.
    Root,
    /// Named by the administrator.
    Pinned,
}

impl Trust {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Remembered => "remembered",
            Self::Dnssec => "dnssec",
            Self::Root => "root",
            Self::Pinned => "pinned",
        }
    }
}

/// On what ground a domain is known to seal (SPEC.md §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It is a pinned correspondent.
    Pinned,
    /// Its published policy says so.
    Policy,
    /// It sealed before.
    Memory,
}

impl Ground {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Policy => "policy",
            Self::Memory => "memory",
        }
    }
}

/// What asking DNS came to, worst first. A proven absence is as good an answer as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// An answer whose DNSSEC proof is wrong: forged, or a fault of the zone or of the name server.
    Bogus,
    /// No answer for now.
    Failed,
    /// An answer that nothing proves.
    Insecure,
    /// An answer that DNSSEC proves.
    Secure,
}

impl Lookup {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bogus => "bogus",
            Self::Failed => "failed",
            Self::Insecure => "insecure",
            Self::Secure => "secure",
        }
    }
}
