//! The log of the last start that was good.

use std::{fs::File, io, io::Read, path::Path};

use serde::{Deserialize, Serialize};

use super::{NotLog, Story, Values, firmware, sum, system};
use crate::{file, host::Measured, trust::TrustError};

/// The form of the file.
const VERSION: u32 = 1;
/// The largest file: both logs in base64, and something more.
const LARGEST: usize = (firmware::LARGEST + system::LARGEST) / 3 * 4 + (64 << 10);

/// What was measured in a start that was good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    version: u32,
    /// When that was seen.
    pub at: String,
    /// What was measured.
    pub measured: Measured,
}

impl Kept {
    /// Takes this start for a good one.
    ///
    /// # Errors
    /// When its logs can't be understood.
    pub fn of(measured: Measured, at: String) -> Result<Self, NotLog> {
        Story::read(&measured.firmware_log, &measured.system_log)?;
        Ok(Self { version: VERSION, at, measured })
    }

    /// Reads it; none if there is none, or one that can't be used: it is made anew at the next good start.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn read(path: &Path) -> Result<Option<Self>, TrustError> {
        let mut text = Vec::new();
        let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrustError::Read(path.to_owned(), error)),
            Ok(_) => {}
        }
        let kept: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(kept.filter(|it| it.version == VERSION))
    }

    /// Writes it in place of the one before.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), TrustError> {
        let text = serde_json::to_vec(self).map_err(|it| TrustError::Write(path.to_owned(), it.into()))?;
        file::replace(path, &text).map_err(|error| TrustError::Write(path.to_owned(), error))
    }
}

/// Returns what the registers hold.
pub(super) fn registers(measured: &Measured) -> Values {
    measured.registers.iter().filter_map(|(pcr, text)| Some((*pcr, sum(text)?))).collect()
}
