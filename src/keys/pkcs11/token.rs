//! What is done with a token: found, logged in to, its key found, used and made. Everything here blocks and runs on the
//! module's thread.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use attachment_seal::seal::key::PublicKey;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use tracing::warn;

use super::uri::{KeyName, Pin, PinSource, Uri};
use super::{Caution, TokenError, pin_from};

/// Signed when a key is opened, to see that it signs, and by which key. No statement that we sign begins like this.
const PROBE: &[u8] = b"waxseal asks whether this key signs";

/// A module is begun anew no more often than this.
const RENEWAL: Duration = Duration::from_secs(1);

/// How a token may want the curve named: its object identifier, 1.3.101.112, or its name (PKCS#11 v3.0 §2.3.10).
const CURVE: [&[u8]; 2] = [b"\x06\x03\x2b\x65\x70", b"\x13\x0cedwards25519"];

/// A module, what is open through it, and what must not be tried again.
pub(super) struct Tokens {
    path: PathBuf,
    module: Option<Pkcs11>,
    begun: Option<Instant>,
    open: HashMap<KeyName, OpenKey>,
    /// PINs that a token refused, with the token.
    refused: Vec<(String, Pin)>,
}

struct OpenKey {
    session: Session,
    key: ObjectHandle,
}

impl Tokens {
    /// Of a module that is not loaded yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, module: None, begun: None, open: HashMap::new(), refused: Vec::new() }
    }

    /// Closes all sessions, so that all is opened anew.
    pub(super) fn forget(&mut self) {
        for (_, open) in self.open.drain() {
            // It may be long gone.
            let _ = open.session.close();
        }
    }

    /// Finds a key and sees that it signs.
    pub(super) fn open(&mut self, uri: &Uri, caution: Caution) -> Result<PublicKey, TokenError> {
        if let Some(open) = self.open.remove(&uri.key) {
            let _ = open.session.close();
        }
        let opened = match self.find(uri, caution) {
            // Many modules see a token that is back only once they are begun anew.
            Err(error) if error.may_be_the_modules() && self.renew()? => self.find(uri, caution),
            found => found,
        };
        let (open, public) = opened?;
        self.open.insert(uri.key.clone(), open);
        Ok(public)
    }

    /// Signs with a key that has been opened once. A session that is lost is opened anew.
    pub(super) fn sign(&mut self, uri: &Uri, text: &[u8]) -> Result<[u8; 64], TokenError> {
        if let Some(open) = self.open.get(&uri.key) {
            match open.sign(text) {
                Ok(signature) => return Ok(signature),
                Err(error) if !error.may_be_the_modules() => return Err(error),
                Err(error) => warn!(key = %uri.key, %error, "session with a token lost"),
            }
        }
        self.open(uri, Caution::Unattended)?;
        self.open.get(&uri.key).ok_or(TokenError::Broke)?.sign(text)
    }

    /// Makes a key that never leaves the token.
    pub(super) fn make(&mut self, uri: &Uri) -> Result<PublicKey, TokenError> {
        let label = uri.key.object.as_ref().ok_or(TokenError::NoLabel)?.as_bytes().to_vec();
        let id = match &uri.key.id {
            Some(id) => id.clone(),
            None => {
                let mut id = [0; 16];
                getrandom::fill(&mut id).map_err(|_| TokenError::NoRandom)?;
                id.to_vec()
            }
        };
        let (slot, info) = self.slot(&uri.key)?;
        let session = self.module()?.open_rw_session(slot)?;
        self.log_in(&session, &info, uri, Caution::ByHand)?;
        for name in [Attribute::Label(label.clone()), Attribute::Id(id.clone())] {
            if !session.find_objects(&[name])?.is_empty() {
                return Err(TokenError::Exists);
            }
        }
        let common = [Attribute::Token(true), Attribute::Label(label), Attribute::Id(id)];
        let mut private = common.to_vec();
        private.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ]);
        let made = |curve: &[u8]| {
            let mut public = common.to_vec();
            public.extend([Attribute::Verify(true), Attribute::EcParams(curve.to_vec())]);
            session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private)
        };
        let (public, private) = match made(CURVE[0]) {
            Err(first) => made(CURVE[1]).map_err(|_| first)?,
            made => made?,
        };
        let kept =
            session.get_attributes(private, &[AttributeType::Sensitive, AttributeType::Extractable])?;
        if ![Attribute::Sensitive(true), Attribute::Extractable(false)]
            .iter()
            .all(|asked| kept.contains(asked))
        {
            session.destroy_object(private)?;
            session.destroy_object(public)?;
            return Err(TokenError::Extractable);
        }
        drop(session);
        self.open(uri, Caution::ByHand)
    }

    fn module(&mut self) -> Result<Pkcs11, TokenError> {
        if let Some(module) = &self.module {
            return Ok(module.clone());
        }
        let module = Pkcs11::new(&self.path)
            .map_err(|error| TokenError::Module { path: self.path.clone(), error: Box::new(error) })?;
        begin(&module)?;
        self.begun = Some(Instant::now());
        self.module = Some(module.clone());
        Ok(module)
    }

    /// Begins the module anew, and says whether it did.
    fn renew(&mut self) -> Result<bool, TokenError> {
        let Some(module) = self.module.clone() else { return Ok(false) };
        if self.begun.is_some_and(|begun| begun.elapsed() < RENEWAL) {
            return Ok(false);
        }
        self.forget();
        // If it could not end, beginning tells.
        let _ = module.clone().finalize();
        self.begun = Some(Instant::now());
        begin(&module)?;
        Ok(true)
    }

    fn slot(&mut self, name: &KeyName) -> Result<(Slot, TokenInfo), TokenError> {
        let module = self.module()?;
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for slot in module.get_slots_with_token()? {
            // A token that is just being taken out is none.
            let Ok(info) = module.get_token_info(slot) else { continue };
            if !info.token_initialized() {
                continue;
            }
            let is = |asked: &Option<String>, has: &str| asked.as_ref().is_none_or(|asked| asked == has);
            if is(&name.token, info.label())
                && is(&name.serial, info.serial_number())
                && is(&name.manufacturer, info.manufacturer_id())
                && is(&name.model, info.model())
                && name.slot.is_none_or(|asked| asked == slot.id())
            {
                found.push((slot, info));
            } else {
                others.push(info.label().to_owned());
            }
        }
        match found.len() {
            0 => Err(TokenError::NoToken { others }),
            1 => found.pop().ok_or(TokenError::NoToken { others }),
            _ => Err(TokenError::SeveralTokens),
        }
    }

    fn find(&mut self, uri: &Uri, caution: Caution) -> Result<(OpenKey, PublicKey), TokenError> {
        let (slot, info) = self.slot(&uri.key)?;
        // It is closed by hand: one that was lost cannot be, which is no news.
        let session = self.module()?.open_ro_session_no_drop(slot)?;
        let found = self.log_in(&session, &info, uri, caution).and_then(|()| find_key(&session, &uri.key));
        match found {
            Ok((key, public)) => Ok((OpenKey { session, key }, public)),
            Err(error) => {
                let _ = session.close();
                Err(error)
            }
        }
    }

    /// Logs in, unless another session has: that counts for all of this process. A wrong PIN is tried once, and not at all
    /// where the token says that somebody tried one before; most tokens lock after three.
    fn log_in(
        &mut self,
        session: &Session,
        info: &TokenInfo,
        uri: &Uri,
        caution: Caution,
    ) -> Result<(), TokenError> {
        let state = session.get_session_info()?.session_state();
        if matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let pin = match &uri.pin {
            Some(PinSource::Value(pin)) => pin.clone(),
            Some(PinSource::File(path)) => pin_from(path)?,
            None if info.login_required() => return Err(TokenError::NoPin),
            None => return Ok(()),
        };
        if info.user_pin_locked() {
            return Err(TokenError::PinLocked);
        }
        if info.user_pin_final_try() {
            return Err(TokenError::PinLastTry);
        }
        let token = (format!("{} {}", info.label(), info.serial_number()), pin);
        if self.refused.contains(&token) {
            return Err(TokenError::PinRefused);
        }
        if info.user_pin_count_low() && matches!(caution, Caution::Unattended) {
            return Err(TokenError::PinTriedBefore);
        }
        match session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(token.1.0.to_vec()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                self.refused.push(token);
                Err(TokenError::PinRefused)
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::PinLocked),
            Err(error) => Err(error.into()),
        }
    }
}

impl OpenKey {
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], TokenError> {
        sign(&self.session, self.key, text)
    }
}

fn begin(module: &Pkcs11) -> Result<(), TokenError> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sign(session: &Session, key: ObjectHandle, text: &[u8]) -> Result<[u8; 64], TokenError> {
    // RFC 8032's Ed25519 is EdDSA without parameters.
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
    let signature = session.sign(&mechanism, key, text).map_err(|error| match error {
        Error::Pkcs11(RvError::DataLenRange, _) => TokenError::TooLong(text.len()),
        error => error.into(),
    })?;
    signature.try_into().map_err(|_| TokenError::NotEd25519)
}

/// The private key of that name, and the public key that its signatures are by.
fn find_key(session: &Session, name: &KeyName) -> Result<(ObjectHandle, PublicKey), TokenError> {
    let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let mut wanted = vec![class.clone()];
    wanted.extend(name.object.iter().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    wanted.extend(name.id.iter().map(|id| Attribute::Id(id.clone())));
    let key = match session.find_objects(&wanted)?[..] {
        [] => return Err(TokenError::NoKey { others: labels(session, &class)? }),
        [key] => key,
        _ => return Err(TokenError::SeveralKeys),
    };
    let (mut id, mut label) = (Vec::new(), Vec::new());
    let asked = [AttributeType::KeyType, AttributeType::Id, AttributeType::Label];
    for attribute in session.get_attributes(key, &asked)? {
        match attribute {
            Attribute::KeyType(kind) if kind != KeyType::EC_EDWARDS => return Err(TokenError::NotEd25519),
            Attribute::Id(octets) => id = octets,
            Attribute::Label(octets) => label = octets,
            _ => {}
        }
    }
    let partner = if id.is_empty() { Attribute::Label(label) } else { Attribute::Id(id) };
    let mut points = vec![key];
    points.extend(session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), partner])?);
    let mut candidates = Vec::new();
    for object in points {
        for attribute in session.get_attributes(object, &[AttributeType::EcPoint])? {
            if let Attribute::EcPoint(point) = attribute {
                candidates.extend(public_key(&point));
            }
        }
    }
    if candidates.is_empty() {
        return Err(TokenError::NoPublicKey);
    }
    let signature = sign(session, key, PROBE)?;
    let own = candidates.into_iter().find(|public| public.verifies(PROBE, &signature));
    Ok((key, own.ok_or(TokenError::WrongPublicKey)?))
}

/// A `CKA_EC_POINT`: 32 octets, as they are or (PKCS#11 v2.40 and SoftHSM) in a DER OCTET STRING or BIT STRING.
fn public_key(point: &[u8]) -> Option<PublicKey> {
    let octets = match point {
        [0x04, 0x20, octets @ ..] | [0x03, 0x21, 0x00, octets @ ..] if octets.len() == 32 => octets,
        octets => octets,
    };
    PublicKey::from_octets(octets).ok()
}

fn labels(session: &Session, class: &Attribute) -> Result<Vec<String>, TokenError> {
    let mut labels = Vec::new();
    for object in session.find_objects(std::slice::from_ref(class))? {
        for attribute in session.get_attributes(object, &[AttributeType::Label])? {
            if let Attribute::Label(label) = attribute {
                labels.push(String::from_utf8_lossy(&label).into_owned());
            }
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;

    use super::*;

    #[test]
    fn reads_a_point_however_it_is_wrapped() {
        let key = SealingKey::from_seed(&[6; 32]).public();
        let octets = key.as_octets();
        for (head, is_read) in [
            (&b""[..], true),
            (b"\x04\x20", true),
            (b"\x03\x21\x00", true),
            (b"\x04\x21", false),
            (b"\x03\x21", false),
            (b"\x04", false),
        ] {
            let point = [head, octets].concat();
            assert_eq!(public_key(&point), is_read.then_some(key), "{head:?}");
        }
        assert_eq!(public_key(&[]), None);
    }
}
