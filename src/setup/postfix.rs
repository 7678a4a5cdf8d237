//! A Postfix, by its own programs: its settings, its master.cf as it would be, and whether it runs and likes its configuration.

use std::fs;
use std::path::{Path, PathBuf};

use super::master_cf::edited;
use super::wiring::Edit;
use crate::doctor::postfix::{self, settings::Settings};
use crate::doctor::programs;

/// One instance of Postfix.
#[derive(Clone, Debug)]
pub struct Postfix {
    /// Where main.cf and master.cf are.
    folder: PathBuf,
}

impl Postfix {
    /// The instance whose configuration is in `folder`, or the usual one.
    pub(super) fn find(folder: Option<&Path>) -> Result<Self, String> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => ask("postconf", &["-dh", "config_directory"])?.trim().into(),
        };
        // Links are the administrator's: what they lead to is changed.
        let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        for name in ["main.cf", "master.cf"] {
            let path = folder.join(name);
            fs::metadata(&path)
                .map_err(|error| format!("{}: {error}; is Postfix set up?", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// Where its configuration is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its master.cf, beyond all links.
    pub(super) fn master(&self) -> Result<PathBuf, String> {
        let path = self.folder.join("master.cf");
        path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Its settings.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        postfix::settings_in(&self.folder)
    }

    /// Its master.cf with these changes: `postconf` makes them in a copy. Where it reads the same in a text whose other lines
    /// are left as they are, it is that text.
    pub(super) fn rewritten(&self, edits: &[Edit]) -> Result<Vec<u8>, String> {
        let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = copy.path().join("master.cf");
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        for name in ["main.cf", "master.cf"] {
            let from = self.folder.join(name);
            fs::copy(&from, copy.path().join(name))
                .map_err(|error| format!("{}: {error}", from.display()))?;
        }
        let before = fs::read(&path).map_err(failed)?;
        let folder = copy.path().to_string_lossy();
        for edit in edits {
            let set = |kind: &str, what: &str| ask("postconf", &["-c", &folder, kind, "-e", what]);
            let entry = edit.entry();
            match edit {
                Edit::Entry { fields, options } => {
                    let options: String =
                        options.iter().map(|(name, value)| format!(" -o {name}={value}")).collect();
                    set("-M", &format!("{entry}={fields}{options}"))?;
                }
                Edit::Option { name, value, .. } => {
                    set("-P", &format!("{entry}/{name}={value}"))?;
                }
            }
        }
        let read = || ask("postconf", &["-c", &folder, "-M"]);
        let (after, meant) = (fs::read(&path).map_err(failed)?, read()?);
        let neat = std::str::from_utf8(&before).ok().and_then(|text| edited(text, edits));
        if let Some(neat) = neat {
            fs::write(&path, &neat).map_err(failed)?;
            if read()? == meant {
                return Ok(neat.into_bytes());
            }
        }
        Ok(after)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.postfix("status").is_ok()
    }

    /// Whether it finds its configuration in order; an error has what it complains of.
    pub(super) fn check(&self) -> Result<(), String> {
        self.postfix("check")
    }

    /// Has it read its configuration anew, if it runs.
    pub(super) fn reload(&self) -> Result<(), String> {
        if self.is_running() { self.postfix("reload") } else { Ok(()) }
    }

    /// Whether mail waits in its queue.
    pub(super) fn has_queue(&self) -> bool {
        let folder = self.folder.to_string_lossy();
        ask("postqueue", &["-c", &folder, "-p"]).is_ok_and(|list| !list.contains("queue is empty"))
    }

    fn postfix(&self, command: &str) -> Result<(), String> {
        ask("postfix", &["-c", &self.folder.to_string_lossy(), command]).map(drop)
    }
}

/// What a program prints; an error in words where it fails.
fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ended = programs::run(program, arguments)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let said = ended.stderr.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!("{program} {}: {}", arguments.join(" "), said.unwrap_or("it fails without a message").trim()))
}
