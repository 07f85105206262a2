//! The words on the wire between a person and a program: messages of a web socket, whose first byte says what the others
//! are. They are those of Kubernetes, so that its clients are understood.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::Input;

/// The name of these words, by which both sides agree on them.
pub const PROTOCOL: &str = "v5.channel.k8s.io";
/// The name of the same words without [`Channel::Close`].
pub const OLDER: &str = "v4.channel.k8s.io";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What is typed.
    Input = 0,
    /// What is printed.
    Out = 1,
    /// What is printed of errors.
    Err = 2,
    /// How it ended, as a `Status`.
    Status = 3,
    /// The size of the terminal.
    Size = 4,
    /// The number of a channel on which nothing more comes.
    Close = 255,
}

impl Channel {
    /// Returns a message of this channel.
    pub fn message(self, bytes: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.put_u8(self as u8);
        message.put_slice(bytes);
        message.freeze()
    }

    /// Takes a message apart; none if it is of no channel that is known.
    pub fn read(mut message: Bytes) -> Option<(Self, Bytes)> {
        let all = [Self::Input, Self::Out, Self::Err, Self::Status, Self::Size, Self::Close];
        let channel = *message.first()?;
        let bytes = message.split_off(1);
        all.into_iter().find(|it| *it as u8 == channel).map(|channel| (channel, bytes))
    }
}

impl Input {
    /// Returns its message.
    pub fn message(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => Channel::Input.message(bytes),
            Self::End => Channel::Close.message(&[Channel::Input as u8]),
            Self::Size { columns, rows } => {
                Channel::Size.message(json!({ "Width": columns, "Height": rows }).to_string().as_bytes())
            }
        }
    }

    /// Reads a message; none if it is nothing that goes to a program.
    pub fn read(message: Bytes) -> Option<Self> {
        match Channel::read(message)? {
            (Channel::Input, bytes) => Some(Self::Bytes(bytes)),
            (Channel::Close, which) => (*which == [Channel::Input as u8]).then_some(Self::End),
            (Channel::Size, text) => {
                let size: Value = serde_json::from_slice(&text).ok()?;
                let number = |key: &str| size[key].as_u64().and_then(|number| u16::try_from(number).ok());
                Some(Self::Size { columns: number("Width")?, rows: number("Height")? })
            }
            _ => None,
        }
    }
}

/// Says how a program ended: by its exit code, or by a sentence when nobody knows.
pub fn status(ended: &Result<i64, String>) -> Value {
    match ended {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(why) => json!({ "metadata": {}, "status": "Failure", "reason": "InternalError", "message": why }),
    }
}

/// Reads how a program ended.
///
/// # Errors
/// A sentence, when it did not end by itself.
pub fn ended(status: &[u8]) -> Result<i64, String> {
    let status: Value = serde_json::from_slice(status).map_err(|error| error.to_string())?;
    let cause = status["details"]["causes"].get(0).filter(|cause| cause["reason"] == "ExitCode");
    match cause.and_then(|cause| cause["message"].as_str()?.parse().ok()) {
        Some(code) => Ok(code),
        None if status["status"] == "Success" => Ok(0),
        None => Err(status["message"].as_str().unwrap_or("nobody says why").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let all = [Input::Bytes(Bytes::from_static(b"\x00\xff")), Input::End, Input::Size { columns: 80, rows: 24 }];
        for input in all {
            assert_eq!(Input::read(input.message()), Some(input));
        }
        for end in [Ok(0), Ok(3), Ok(255), Err("It is gone".to_owned())] {
            assert_eq!(ended(status(&end).to_string().as_bytes()), end);
        }
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        for message in ["", "\x01out", "\x07", "\x04", "\x04{\"Width\":70000,\"Height\":1}", "\x04[]"] {
            assert_eq!(Input::read(Bytes::from(message)), None, "{message:?}");
        }
        assert_eq!(Input::read(Bytes::from_static(&[255, 1])), None);
        assert!(ended(b"{}").is_err() && ended(b"").is_err());
    }
}
