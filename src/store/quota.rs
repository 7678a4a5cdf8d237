//! How much may be held: one plain struct that the configuration fills and the quarantine obeys.

/// What may be held, `[quarantine]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// All held mail. Default 4 GiB, 10,000 messages.
    pub all: Quota,
    /// The part of it that anybody can cause: no seal that was verified is the reason. Default 1 GiB, 2,500 messages.
    pub unverified: Quota,
}

/// A limit in octets and in number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Octets of messages.
    pub octets: u64,
    /// Messages.
    pub messages: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            all: Quota { octets: 4 << 30, messages: 10_000 },
            unverified: Quota { octets: 1 << 30, messages: 2_500 },
        }
    }
}
