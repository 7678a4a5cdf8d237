//! Whether a proof could be looked up at all. hickory calls an answer forged whose proof it could not get, be it that a
//! server on the way is down or overloaded; an administrator who reads `bogus` looks for an attacker.

use futures_util::future::join_all;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RecordType};

use super::Resolver;

/// What proofs are made of.
const PROOFS: [RecordType; 3] = [RecordType::DNSKEY, RecordType::DS, RecordType::NS];

/// Most names above one that are looked at, the highest ones: a stranger may have named it, and each costs three questions.
const MAX_NAMES: usize = 16;

/// Whether every question that a proof for `name` may need, from the zone `top` on, is answered now, whatever the answer.
/// `resolver` must not validate.
pub(super) async fn answers(resolver: &Resolver, name: &Name, top: &Name) -> bool {
    let mut names = vec![name.clone()];
    while let Some(last) = names.last().filter(|last| !last.is_root() && *last != top) {
        names.push(last.base_name());
    }
    let questions =
        names.iter().rev().take(MAX_NAMES).flat_map(|name| PROOFS.map(|record_type| (name, record_type)));
    let answered = questions.map(async |(name, record_type)| {
        let answer = resolver.lookup(name.clone(), record_type).await;
        matches!(answer, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))))
    });
    join_all(answered).await.into_iter().all(|is_answered| is_answered)
}
