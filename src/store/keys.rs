//! What is known of our own keys, by domain: `<state>/keys.json`. The gateway writes it, commands read it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json_file::{JsonFile, StateFileError};

/// The file; it need not be there.
#[derive(Clone, Debug)]
pub struct KeysFile(JsonFile);

impl KeysFile {
    /// The file in a state folder.
    pub fn new(state: &Path) -> Self {
        Self(JsonFile::new(state, "keys"))
    }

    /// Its place.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// What it holds; what nothing was written to holds the default.
    pub fn read<T: Default + DeserializeOwned>(&self) -> Result<T, StateFileError> {
        self.0.read()
    }

    /// Puts this in its place. When this returns `Ok`, it is on disk to stay.
    pub fn replace<T: Serialize>(&self, content: &T) -> Result<(), StateFileError> {
        self.0.replace(content)
    }
}
