//! Why somebody does not get in.

use std::{io, time::Duration};

use super::{
    credentials::{CredentialsError, MOST},
    password::{LONGEST, SHORTEST},
    users::MOST_USERS,
};

/// Why somebody was not let in, or got no token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Somebody else was first.
    #[error("this machine is claimed already")]
    Claimed,
    /// The code is wrong, or another one by now.
    #[error("this is not the code that the machine shows")]
    WrongCode,
    /// It waits for nobody's key.
    #[error("this machine waits for no key")]
    NoKey,
    /// The owner of the key has not signed that.
    #[error("this is not signed by the key that the machine waits for, for this machine and just now")]
    NotSigned,
    /// There were too many tries.
    #[error("too many tries; wait {} s", .0.as_secs() + 1)]
    TooMany(Duration),
    /// A label can't be that.
    #[error("a label has 1 to 64 characters, none of them a control character")]
    Label,
    /// A time is too long for a calendar.
    #[error("no token holds that long")]
    Lifetime,
    /// There are too many tokens.
    #[error("there are {MOST} tokens already; revoke some first")]
    Full,
    /// What is remembered can't be used.
    #[error("who may come in can't be read; see `piccolo status`")]
    Shut,
    /// There is no such token.
    #[error("there is no token `{0}`")]
    NoToken(String),
    /// What was decided can't be remembered, so it does not hold.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A name is none for a user.
    #[error("a name has 1 to 32 small letters, digits, `.`, `_` or `-`, and begins with a letter or digit")]
    Name,
    /// A password is too easily found, or too long to be looked at.
    #[error("a password has at least {SHORTEST} characters, and at most {LONGEST} bytes")]
    Password,
    /// There is such a user.
    #[error("there is a user `{0}` already")]
    UserThere(String),
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// There are too many users.
    #[error("there are {MOST_USERS} users already; remove some first")]
    FullOfUsers,
    /// Name and password don't belong together.
    #[error("this is not the name of a user with its password")]
    WrongLogin,
    /// The password could not be looked at.
    #[error("the password could not be looked at: {0}")]
    Hash(String),
    /// The kernel has no randomness to give.
    #[error("there is no randomness")]
    Random(#[source] io::Error),
}
