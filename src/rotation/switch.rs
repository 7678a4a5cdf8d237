//! The switch from the old key to the new one: the old key's word for the new one, the configuration's change, and the
//! gateway's own word that it seals with it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attachment_seal::domain::Selector;
use attachment_seal::seal::delegation::Delegation;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::RECENT;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::edit::Change;
use super::error::{Handed, is_denied};
use super::plan::{is_credential, is_file};
use super::{Awaits, Order, RotateError, Rotation, place};
use crate::clock::unix_time;
use crate::config;
use crate::gateway::setup::Setup;
use crate::keys::{CREDENTIAL, read_delegations, read_sealing_key};
use crate::store::{Announcement, UnderWay};

/// For clocks that are behind ours.
const CLOCKS: u64 = 3_600;

/// How long the gateway may take to read its configuration and keys again.
const RELOAD_WAIT: Duration = Duration::from_secs(30);

/// What a changed configuration file's copy is called, before the new selector.
const BACKUP: &str = ".before-";

impl Rotation<'_> {
    /// Whether a root's delegation of the new key that holds now is where the configuration has delegations.
    pub(super) fn is_delegated(&self, to: &Selector, key: PublicKey) -> Result<bool, RotateError> {
        let Some(path) = &self.own().delegation else { return Ok(true) };
        let now = unix_time().unwrap_or_default();
        let all = read_delegations(&path.value, &self.domain, to)?;
        Ok(all.iter().any(|own| own.key == key && own.is_signed() && own.covers(now)))
    }

    /// The old key's word for the new one, in its file where we may write that; `None` where it would be of no use, or cannot be had.
    pub(super) fn succession(
        &self,
        under_way: &UnderWay,
        to: &Selector,
        key: PublicKey,
    ) -> Result<Option<Succession>, RotateError> {
        let own = self.own();
        // A root's word counts for more, and what a stolen key says the thief may have said.
        if own.delegation.is_some() || under_way.compromised {
            return Ok(None);
        }
        let now = unix_time().unwrap_or_default();
        // For as long as the old key is remembered, and as the last seal made within that time lives.
        let ends = now + RECENT + own.lifetime.as_secs();
        let period = (now.saturating_sub(CLOCKS), ends);
        let word = read_sealing_key(&own.key.value).map_err(|error| error.to_string()).and_then(|old| {
            Delegation::new(&old, &self.domain, to, key, period).map_err(|error| error.to_string())
        });
        let word = match word {
            Ok(word) => word,
            Err(why) => {
                (self.say)(&format!(
                    "the old key cannot be used here ({why}), so it cannot vouch for the new one: correspondents without \
                     DNSSEC will have to approve that"
                ));
                if is_credential(&own.key.value) {
                    let name = own.key.value.to_string_lossy().replacen(CREDENTIAL, "", 1);
                    (self.say)(&format!(
                        "for it to vouch run this with the old credential, as the service's unit has it, before you change the \
                         configuration: systemd-run --pty -p LoadCredential={name}:FILE waxseal keys rotate {}",
                        self.domain
                    ));
                }
                return Ok(None);
            }
        };
        // By the configuration alone: what is under way, the gateway's user could have written, and we may be root.
        let beside = if is_file(&own.key.value) { own.key.value.as_path() } else { self.path };
        let file = beside.with_file_name(format!("{to}.succession"));
        let text = format!(
            "# {} vouches for {to} of {} until {}: for correspondents who remember it.\n{}\n",
            own.selector,
            self.domain,
            Timestamp::from_second(i64::try_from(ends).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX),
            word.as_str()
        );
        // One of an earlier attempt is ours, and out of date.
        let is_ours = under_way.succession.as_ref() == Some(&file) && file.exists();
        self.note(&UnderWay { succession: Some(file.clone()), ..under_way.clone() })?;
        let removed = if is_ours { fs::remove_file(&file) } else { Ok(()) };
        match removed.and_then(|()| place::new(&file, text.as_bytes(), 0o644, self.path)) {
            Ok(()) => Ok(Some(Succession { file, unwritten: None })),
            Err(error) if is_denied(&error) => Ok(Some(Succession { file, unwritten: Some((text, error)) })),
            Err(error) => Err(RotateError::File { path: file, error }),
        }
    }

    /// Has the configuration file name the new key, if that can be done here; else says how.
    pub(super) fn configure(
        &self,
        under_way: &UnderWay,
        to: &Selector,
        key: PublicKey,
        succession: Option<&Succession>,
    ) -> Result<Option<Changed>, RotateError> {
        let own = self.own();
        let change = Change {
            domain: &self.domain,
            selector: to,
            key: (&own.key.value, &under_way.key),
            succession: succession.map(|succession| succession.file.as_path()),
        };
        let unwritten = succession.and_then(|succession| succession.unwritten.as_ref());
        let by_hand = |why: &str| {
            let (path, domain) = (self.path.display(), &self.domain);
            (self.say)(&format!("{why}; in {path}, under [[domain]] with name = \"{domain}\", write"));
            for line in change.lines().lines() {
                (self.say)(&format!("  {line}"));
            }
            if own.succession.is_some() && succession.is_none() {
                (self.say)("and take the line `succession` away");
            }
            if let (Some((text, _)), Some(file)) = (unwritten, change.succession) {
                (self.say)(&format!("and put this into {}, where everybody may read it", file.display()));
                text.lines().for_each(|line| (self.say)(&format!("  {line}")));
            }
            if let (Some(file), true) = (&under_way.file, is_credential(&under_way.key)) {
                let file = file.display();
                (self.say)(&format!("and in the service's unit: LoadCredential={to}:{file}"));
                (self.say)("a reload hands over no new credential, so that the gateway must be restarted");
            }
        };
        // Of a credential the service alone can tell whether it is there.
        if !self.wishes.edit || is_credential(&under_way.key) {
            by_hand("the configuration is yours to change");
            return Ok(None);
        }
        // Without it the new configuration would be refused.
        if let (Some((_, error)), Some(file)) = (unwritten, change.succession) {
            by_hand(&format!("{} cannot be written here ({error})", file.display()));
            return Ok(None);
        }
        let failed = |error| RotateError::File { path: self.path.to_owned(), error };
        let old = fs::read_to_string(self.path).map_err(failed)?;
        let new = change.apply(&old)?;
        let setup =
            config::load_text(&new, self.path).and_then(Setup::read).map_err(RotateError::Mistakes)?;
        let seals = |sealer: &attachment_seal::seal::sign::Sealer| {
            (&sealer.domain, &sealer.selector, sealer.key.public()) == (&self.domain, to, key)
        };
        if !setup.sealers.iter().any(|sealer| seals(sealer)) {
            return Err(RotateError::NotAsMeant);
        }
        match place::replace(self.path, &old, &new, &format!("{BACKUP}{to}")) {
            Ok(backup) => {
                let (path, backup) = (self.path.display(), backup.display());
                (self.say)(&format!("{path} names the new key now; what it was before is in {backup}"));
                let (key, is_vouched) = (under_way.key.clone(), succession.is_some());
                Ok(Some(Changed { old, new, key, is_vouched }))
            }
            Err(error) => {
                by_hand(&format!("the configuration cannot be changed here ({error})"));
                Ok(None)
            }
        }
    }

    /// Has the gateway read its configuration, and waits until it says that it seals with the new key. `changed` is what we
    /// did to the configuration; it is undone if the gateway refuses that.
    pub(super) async fn take_over(
        &self,
        to: &Selector,
        key: PublicKey,
        changed: Option<Changed>,
    ) -> Result<Result<Timestamp, Awaits>, RotateError> {
        let (state, order) = (&self.config.state, Order::for_key(&self.own().key.value));
        let names = (self.domain.as_str(), to.as_str(), key.to_base64url());
        let seals = |said: &Announcement| {
            said.sealing
                .iter()
                .any(|with| (with.domain.as_str(), with.selector.as_str(), with.public.clone()) == names)
        };
        let Some(before) = Announcement::of(state)? else {
            let state = state.display();
            (self.say)(&format!("no gateway that seals runs with the state folder {state}"));
            return Ok(Err(Awaits::Gateway(order)));
        };
        if seals(&before) {
            return Ok(Ok(before.at));
        }
        if let Err(error) = hang_up(before.process, state) {
            let process = before.process;
            (self.say)(&format!(
                "cannot tell the gateway, process {process}, to reload ({error}); do it yourself: systemctl reload waxseal"
            ));
        }
        let (deadline, mut has_reloaded) = (Instant::now() + RELOAD_WAIT, false);
        while Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            let Some(said) = Announcement::of(state)? else { return Ok(Err(Awaits::Gateway(order))) };
            if seals(&said) {
                return Ok(Ok(said.at));
            }
            let is_answer = said.process == before.process && said.reloads > before.reloads;
            if is_answer && said.refused {
                let path = self.path.to_owned();
                let Some(Changed { old, new, key: key_place, .. }) = changed else {
                    return Err(RotateError::RefusedAsItIs(path, Handed::of(&self.own().key.value)));
                };
                let kind = Handed::of(&key_place);
                return match place::replace(self.path, &new, &old, ".refused") {
                    Ok(_) => Err(RotateError::Refused(kind)),
                    Err(error) => Err(RotateError::NotUndone { path, error }),
                };
            }
            // It may have been on its way to an earlier order; ours comes next.
            has_reloaded |= is_answer;
        }
        if has_reloaded {
            return Err(RotateError::OtherConfiguration(self.path.to_owned()));
        }
        (self.say)("the gateway has not taken the configuration in yet");
        Ok(Err(Awaits::Gateway(order)))
    }
}

/// Tells a gateway to reload. What is said of its process stands in the state folder, so it must be a process of the folder's
/// owner: nobody shall have root send signals to others.
fn hang_up(process: u32, state: &Path) -> io::Result<()> {
    let is_owners = fs::metadata(format!("/proc/{process}"))?.uid() == fs::metadata(state)?.uid();
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).filter(|_| is_owners);
    let process =
        process.ok_or_else(|| io::Error::other("it is not a process of the state folder's owner"))?;
    Ok(kill_process(process, Signal::HUP)?)
}

/// The old key's word for the new one.
pub(super) struct Succession {
    /// Where it belongs.
    file: PathBuf,
    /// Its text, and why it is not there, where we may not write.
    unwritten: Option<(String, io::Error)>,
}

/// What the configuration file held before we changed it, and after.
pub(super) struct Changed {
    old: String,
    new: String,
    /// The new key, as it names it.
    key: PathBuf,
    /// Whether the old key vouches for the new one in it.
    pub(super) is_vouched: bool,
}
