//! Sealing a message (SPEC.md §7). Pure: key, time and chance are given, and what comes out are edits.

use thiserror::Error;

use super::delegation::{Delegations, NotDelegated};
use super::format::{FIELD, Seal, Statement};
use super::key::{SealingKey, SignError};
use super::message::Message;
use crate::domain::{DomainName, Selector};
use crate::doubt::Doubt;
use crate::manifest::{self, Manifest, Parts, SealedLinks};
use crate::message::edits::Edits;
use crate::message::header::{Fault, HeaderSection};
use crate::mime::{self, Beyond, Kind, MAX_DEPTH, MAX_LEAVES, marks};

/// Default time that a seal is valid for, in seconds: 14 days.
pub const DEFAULT_LIFETIME: u64 = 14 * 24 * 3600;

/// Who seals, and with what.
#[derive(Debug)]
pub struct Sealer {
    /// The sealing domain.
    pub domain: DomainName,
    /// The selector that the key is published under.
    pub selector: Selector,
    /// The key.
    pub key: SealingKey,
    /// How long a seal is valid, in seconds.
    pub lifetime: u64,
    /// Delegations to the key, by a root or by an earlier key; the newest that holds is carried in every seal.
    pub delegations: Delegations,
}

/// A message that cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// A line of the header section is not clean (SPEC.md §8 step 7).
    #[error("line {} of the header section is not clean: {}", .0.line, .0.doubt)]
    Unclean(Fault),
    /// More parts than a seal may name.
    #[error("more than {MAX_LEAVES} parts")]
    TooManyParts,
    /// Deeper nesting than a seal may name.
    #[error("more than {MAX_DEPTH} levels of nesting")]
    TooDeep,
    /// A part's header section is over the limit.
    #[error("the header section of a part is too long")]
    HeaderTooLong,
    /// No delegation holds now. The message is as good as any; it is we who cannot seal.
    #[error(transparent)]
    NotDelegated(#[from] NotDelegated),
    /// The key does not sign. The message is as good as any; it is our token that is gone.
    #[error("the key does not sign: {0}")]
    Sign(#[from] SignError),
}

/// What sealing takes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time, in Unix seconds.
    pub now: u64,
    /// Chance, for a missing Message-ID.
    pub random: [u8; 16],
}

/// Seals a message: the edits put a seal at the top, and a Date and Message-ID below it where they are missing; a seal
/// that names our domain already is cut out.
pub fn seal(message: &Message<'_>, sealer: &Sealer, moment: Moment) -> Result<Edits, SealError> {
    Ok(prepare(message, sealer, moment)?.sign(&sealer.key)?)
}

/// A seal that lacks its signature alone. No longer needs the message, so that a key which [blocks](SealingKey::blocks)
/// can be waited for elsewhere.
#[derive(Debug)]
pub struct Unsigned {
    edits: Edits,
    statement: Statement,
    beyond: Option<Beyond>,
}

impl Unsigned {
    /// What the message has more of than common readers show: worth a word to its sender or to the administrator.
    pub fn beyond_readers(&self) -> Option<Beyond> {
        self.beyond
    }

    /// Signs with the sealer's key, and gives the edits that seal the message.
    pub fn sign(mut self, key: &SealingKey) -> Result<Edits, SignError> {
        let signature = key.sign(&self.statement.signed())?;
        self.edits.insert_top(&self.statement.to_field(&signature));
        Ok(self.edits)
    }
}

/// [`seal`] without the signature.
pub fn prepare(message: &Message<'_>, sealer: &Sealer, moment: Moment) -> Result<Unsigned, SealError> {
    let mut header = message.header().clone();
    if let Some(&fault) = header.faults.first() {
        return Err(SealError::Unclean(fault));
    }
    let (delegation, expires_at) = sealer.delegations.for_seal(moment.now, sealer.lifetime)?;
    let structure = mime::walk(message.raw(), &header);
    match structure.limit {
        Some(Doubt::TooDeep) => return Err(SealError::TooDeep),
        Some(Doubt::HeaderTooLong) => return Err(SealError::HeaderTooLong),
        Some(_) => return Err(SealError::TooManyParts),
        None => {}
    }
    let digests = manifest::digests(message.raw(), &structure.leaves);
    let marks = marks::marks(message.raw(), &header, &structure, &digests);
    let texts = structure.leaves.iter().zip(&digests).filter(|(leaf, _)| leaf.kind == Kind::Text);
    let links = manifest::links(message.raw(), texts);

    let mut edits = Edits::none();
    for field in
        header.all(FIELD).filter(|field| Seal::domain_of(field.value).as_ref() == Some(&sealer.domain))
    {
        edits.remove(field.start..field.end);
    }
    // A later system would add them, and break the identity hash.
    let missing = missing_fields(&header, sealer, moment);
    header.fields.extend(HeaderSection::parse(missing.as_bytes()).fields);
    edits.insert_top(missing.as_bytes());

    // The seal itself is a field, too.
    let beyond = Beyond::of(header.fields.len() + 1, &structure);
    let statement = Statement {
        domain: sealer.domain.clone(),
        selector: sealer.selector.clone(),
        sealed_at: moment.now,
        expires_at,
        identity: header.identity_hash(),
        addressing: header.addressing_hash(),
        structure: header.structure_hash(),
        body: message.body_hash(),
        manifest: Manifest::of(&structure.leaves, &digests),
        parts: Some(Parts::of(&structure, &marks)),
        links: Some(SealedLinks::of(&links)),
        delegation: delegation.map(|own| own.as_str().to_owned()),
    };
    Ok(Unsigned { edits, statement, beyond })
}

/// The Date and Message-ID fields that the message lacks (RFC 6409 §8.2 and §8.3).
fn missing_fields(header: &HeaderSection<'_>, sealer: &Sealer, moment: Moment) -> String {
    let mut fields = String::new();
    if header.all("Date").next().is_none() {
        let date = i64::try_from(moment.now).ok().and_then(|now| jiff::Timestamp::from_second(now).ok());
        let date = date.unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S +0000");
        fields.push_str(&format!("Date: {date}\r\n"));
    }
    if header.all("Message-ID").next().is_none() {
        let random: String = moment.random.iter().map(|octet| format!("{octet:02x}")).collect();
        fields.push_str(&format!("Message-ID: <{}.{random}@{}>\r\n", moment.now, sealer.domain));
    }
    fields
}
