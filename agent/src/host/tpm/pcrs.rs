use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// How many registers a bank has.
const COUNT: u8 = 24;

/// A set of the registers in which a machine is measured as it starts, 0 to 23.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pcrs(u32);

impl Pcrs {
    /// No register at all.
    pub const NONE: Self = Self(0);
    /// All that a start is measured into; those behind can be set back.
    pub const OF_A_START: Self = Self(0xffff);

    /// Returns the set of these; none if one of them is no register.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let bit = |number: u64| (number < COUNT.into()).then(|| 1_u32 << number);
        numbers.into_iter().map(bit).try_fold(0, |all, bit| Some(all | bit?)).map(Self)
    }

    /// Returns the set of which a TPM writes three octets.
    pub const fn from_octets(octets: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([octets[0], octets[1], octets[2], 0]))
    }

    /// Returns the numbers, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..COUNT).filter(move |number| self.0 & (1 << number) != 0)
    }

    /// Returns true if this one is in it.
    pub const fn has(self, number: u8) -> bool {
        number < COUNT && self.0 & (1 << number) != 0
    }

    /// Returns true if there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Pcrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.iter().map(|number| number.to_string()).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(","))
    }
}

impl FromStr for Pcrs {
    type Err = String;

    /// Reads `7`, `0,2,7` or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
        let wrong = || format!("`{text}` names no registers: write numbers from 0 to 23, as in `0,7`, or `none`");
        numbers.and_then(Self::of).ok_or_else(wrong)
    }
}

impl Serialize for Pcrs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Pcrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<u64>::deserialize(deserializer)?;
        Self::of(numbers).ok_or_else(|| D::Error::custom("registers are numbers from 0 to 23"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written() {
        for text in ["7", "0,2,7", "23", "none"] {
            assert_eq!(text.parse::<Pcrs>().unwrap().to_string(), text);
        }
        assert_eq!("7, 0 ,7".parse::<Pcrs>().unwrap().to_string(), "0,7");
        for text in ["", "24", "-1", "7,", "a", "0x7", "99999999999999999999"] {
            assert!(text.parse::<Pcrs>().is_err(), "{text}");
        }
        assert_eq!(Pcrs::from_octets([0x81, 0, 0x80]).to_string(), "0,7,23");
        assert_eq!(serde_json::to_string(&Pcrs::of([7, 0]).unwrap()).unwrap(), "[0,7]");
        assert!(serde_json::from_str::<Pcrs>("[24]").is_err());
    }
}
