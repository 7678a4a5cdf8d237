//! Fingerprints: what two people read to each other to compare a key, or the attachments of one message. Twelve groups
//! of five digits, or sixteen words of the BIP 39 list, whose words differ in their first four letters.

use std::fmt;
use std::str::FromStr;

use bip39::Language;
use thiserror::Error;

use crate::manifest::Manifest;
use crate::mime::Kind;

const GROUPS: usize = 12;
const WORDS: usize = 16;
const BITS_OF_A_WORD: usize = 11;

/// The octets that the digits show, and of which the words show the first 22.
const OCTETS: usize = GROUPS * 2;

/// What a manifest's fingerprint begins with, so that it is never a key's.
const MANIFEST_CONTEXT: &[u8] = b"attachment-seal-manifest/1\n";

/// The first 192 bits of a BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; OCTETS]);

impl Fingerprint {
    /// The fingerprint of a public key's octets.
    pub fn of_key(octets: &[u8; 32]) -> Self {
        Self::of(blake3::hash(octets))
    }

    /// The fingerprint of a message's attachments in their order: bytes, types and names, wherever in the message they
    /// stand, so that a mailing list's footer makes no difference.
    pub fn of_attachments(manifest: &Manifest) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(MANIFEST_CONTEXT);
        for entry in &manifest.entries {
            if entry.kind == Kind::Attachment {
                let placeless = crate::manifest::Entry { path: String::new(), ..entry.clone() };
                hasher.update(format!("{placeless}\n").as_bytes());
            }
        }
        Self::of(hasher.finalize())
    }

    /// The fingerprint of a message's attachments and texts, places included.
    pub fn of_manifest(manifest: &Manifest) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(MANIFEST_CONTEXT);
        for entry in &manifest.entries {
            hasher.update(format!("{entry}\n").as_bytes());
        }
        Self::of(hasher.finalize())
    }

    fn of(hash: blake3::Hash) -> Self {
        let mut octets = [0; OCTETS];
        octets.copy_from_slice(&hash.as_bytes()[..OCTETS]);
        Self(octets)
    }

    /// Twelve groups of five digits, 192 bits.
    pub fn digits(&self) -> String {
        let groups = self.0.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        groups.map(|group| format!("{group:05}")).collect::<Vec<_>>().join(" ")
    }

    /// Sixteen words, 176 bits.
    pub fn words(&self) -> String {
        let list = Language::English.word_list();
        let words = (0..WORDS).map(|at| list[usize::from(self.bits_of_word(at))]);
        words.collect::<Vec<_>>().join(" ")
    }

    /// The bits of the word at `at`, most significant first.
    fn bits_of_word(&self, at: usize) -> u16 {
        let bit = |at: usize| u16::from(self.0[at / 8] >> (7 - at % 8) & 1);
        (at * BITS_OF_A_WORD..(at + 1) * BITS_OF_A_WORD).fold(0, |bits, at| bits << 1 | bit(at))
    }
}

/// A fingerprint as somebody told it, in either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Twelve groups of digits.
    Digits(Fingerprint),
    /// Sixteen words, by their places in the list.
    Words([u16; WORDS]),
}

/// A text that is no whole fingerprint. Half of one proves nothing, so none is taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseFingerprintError {
    /// Neither twelve groups nor sixteen words.
    #[error("a fingerprint is {GROUPS} groups of five digits or {WORDS} words; this has {0}")]
    Length(usize),
    /// A group that is no five digits up to 65535.
    #[error("`{0}` is not a group of a fingerprint: five digits, at most 65535")]
    Group(String),
    /// A word that is not on the list.
    #[error("`{0}` is not a word of the list")]
    Word(String),
}

impl Told {
    /// Whether it is what this fingerprint reads.
    pub fn is(&self, fingerprint: &Fingerprint) -> bool {
        match self {
            Self::Digits(told) => told == fingerprint,
            Self::Words(told) => {
                told.iter().enumerate().all(|(at, word)| *word == fingerprint.bits_of_word(at))
            }
        }
    }
}

impl FromStr for Told {
    type Err = ParseFingerprintError;

    /// Takes either form as people type it: any case, blanks, commas, dots or hyphens between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | '.' | '-' | ';');
        let pieces: Vec<&str> = text.split(is_between).filter(|piece| !piece.is_empty()).collect();
        let short = |piece: &str| piece.chars().take(20).collect::<String>();
        let is_number = |piece: &&str| piece.bytes().all(|octet| octet.is_ascii_digit());
        match (pieces.len(), pieces.first().is_some_and(is_number)) {
            (GROUPS, true) => {
                let mut octets = [0; OCTETS];
                for (pair, piece) in octets.chunks_exact_mut(2).zip(pieces) {
                    let group = (piece.len() == 5 && is_number(&piece)).then(|| piece.parse::<u16>().ok());
                    let group = group.flatten().ok_or_else(|| ParseFingerprintError::Group(short(piece)))?;
                    pair.copy_from_slice(&group.to_be_bytes());
                }
                Ok(Self::Digits(Fingerprint(octets)))
            }
            (WORDS, false) => {
                let mut words = [0; WORDS];
                for (word, piece) in words.iter_mut().zip(pieces) {
                    let found = Language::English.find_word(&piece.to_ascii_lowercase());
                    *word = found.ok_or_else(|| ParseFingerprintError::Word(short(piece)))?;
                }
                Ok(Self::Words(words))
            }
            (count, _) => Err(ParseFingerprintError::Length(count)),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits(fingerprint) => f.write_str(&fingerprint.digits()),
            Self::Words(words) => {
                let list = Language::English.word_list();
                let words: Vec<&str> =
                    words.iter().filter_map(|at| list.get(usize::from(*at))).copied().collect();
                f.write_str(&words.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::key::SealingKey;

    fn fingerprint() -> Fingerprint {
        SealingKey::from_seed(&[3; 32]).public().fingerprint()
    }

    #[test]
    fn both_forms_are_read_back_as_people_type_them() {
        let fingerprint = fingerprint();
        let (digits, words) = (fingerprint.digits(), fingerprint.words());
        assert!(digits.split(' ').count() == 12 && digits.split(' ').all(|group| group.len() == 5));
        assert_eq!(words.split(' ').count(), 16);
        for text in [
            digits.clone(),
            words.clone(),
            words.to_uppercase().replace(' ', ", "),
            digits.replace(' ', "-"),
            format!("  {} ", digits.replace(' ', "\n")),
        ] {
            let told: Told = text.parse().unwrap();
            assert!(told.is(&fingerprint), "{text}");
            assert!(!told.is(&SealingKey::from_seed(&[4; 32]).public().fingerprint()), "{text}");
            assert_eq!(told.to_string().parse(), Ok(told));
        }
    }

    #[test]
    fn the_forms_do_not_change() {
        let fingerprint = Fingerprint::of_key(&[7; 32]);
        assert_eq!(
            fingerprint.digits(),
            "60335 34228 26016 40418 06969 36785 04801 20495 11454 25996 17139 31200"
        );
        assert_eq!(
            fingerprint.words(),
            "two label home slender antenna valve hollow cradle rain noodle favorite bundle slogan crazy country fury"
        );
    }

    #[test]
    fn half_a_fingerprint_is_none() {
        let (digits, words) = (fingerprint().digits(), fingerprint().words());
        for text in [
            "",
            &digits[..digits.len() - 6],
            &format!("{digits} 00000"),
            &digits.replacen(&digits[..5], "65536", 1),
            &digits.replacen(&digits[..5], "1", 1),
            &words[..words.rfind(' ').unwrap()],
            &words.replacen(words.split(' ').next().unwrap(), "waxseal", 1),
        ] {
            assert!(text.parse::<Told>().is_err(), "{text}");
        }
    }

    #[test]
    fn where_an_attachment_stands_makes_no_difference() {
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let manifest = |text: String| Manifest::parse(&text).unwrap();
        let sent = manifest(format!("t:mixed:2:{hash}:text/plain:,a:mixed:9:{hash}:application/pdf:x.pdf"));
        let listed = manifest(format!(
            "t:mixed.mixed:2:{hash}:text/plain:,a:mixed.mixed:9:{hash}:application/pdf:x.pdf,t:mixed:3:{hash}:text/plain:"
        ));
        let renamed =
            manifest(format!("t:mixed:2:{hash}:text/plain:,a:mixed:9:{hash}:application/pdf:x.exe"));
        let of = Fingerprint::of_attachments;
        assert_eq!(of(&sent), of(&listed));
        assert_ne!(of(&sent), of(&renamed));
        assert_ne!(Fingerprint::of_manifest(&sent), Fingerprint::of_manifest(&listed));
    }
}
