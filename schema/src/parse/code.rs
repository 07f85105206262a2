use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// The stable code of a mistake. A number, once given, never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Code {
    /// The text is not TOML.
    Syntax = 1,
    /// No such key exists here.
    UnknownKey = 2,
    /// A key that must be given is missing.
    MissingKey = 3,
    /// The value is of another type than the key takes.
    WrongType = 4,
    /// No such kind exists.
    UnknownKind = 5,
    /// The version of the API is another one.
    WrongApiVersion = 6,
    /// A name breaks the rules for names.
    BadName = 7,
    /// The word is not one of those that the key knows.
    UnknownWord = 8,
    /// The text does not have the form that the key takes.
    WrongForm = 9,
    /// The number, size or time is too small or too great.
    OutOfRange = 10,
    /// Two keys contradict each other.
    Conflict = 11,
    /// The same thing is declared twice.
    Duplicate = 12,
    /// The name belongs to the machine or to the engine.
    Reserved = 13,
    /// The image reference can't be understood.
    BadImage = 14,
    /// The path is not a plain absolute path.
    BadPath = 15,
    /// The subnet, or the gateway in it, is no such thing.
    BadSubnet = 16,
    /// The container waits for itself.
    DependsOnItself = 17,
    /// The text holds a character that can't stand there.
    ForbiddenCharacter = 18,
    /// The text or list is too short or too long.
    WrongLength = 19,
    /// The file is too large to be a manifest.
    TooLarge = 20,
    /// The text is nested too deep to be a manifest.
    TooDeep = 21,
    /// There are more mistakes than are shown.
    TooMany = 22,
    /// The container could take over the machine, and nobody said that it may.
    NeedsGrant = 23,
    /// A value of a secret is not encrypted.
    NotEncrypted = 30,
    /// Two networks have addresses in common.
    SubnetOverlap = 40,
    /// Containers wait for each other in a circle.
    DependencyCycle = 41,
    /// What the manifest names is declared nowhere.
    NotDeclared = 42,
    /// Two containers ask for the same port of the machine.
    PortClash = 43,
    /// A rule of a policy chooses no container.
    ChoosesNobody = 44,
    /// Two disks have mount points in each other's way, or are chosen alike.
    DiskClash = 45,
}

impl Code {
    /// Every code, in the order of the numbers.
    pub const ALL: &'static [Self] = &[
        Self::Syntax,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::UnknownKind,
        Self::WrongApiVersion,
        Self::BadName,
        Self::UnknownWord,
        Self::WrongForm,
        Self::OutOfRange,
        Self::Conflict,
        Self::Duplicate,
        Self::Reserved,
        Self::BadImage,
        Self::BadPath,
        Self::BadSubnet,
        Self::DependsOnItself,
        Self::ForbiddenCharacter,
        Self::WrongLength,
        Self::TooLarge,
        Self::TooDeep,
        Self::TooMany,
        Self::NeedsGrant,
        Self::NotEncrypted,
        Self::SubnetOverlap,
        Self::DependencyCycle,
        Self::NotDeclared,
        Self::PortClash,
        Self::ChoosesNobody,
        Self::DiskClash,
    ];

    /// Returns a paragraph that teaches what the code means and how to get rid of it.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Syntax => {
                "A manifest is written in TOML: `key = value` lines under `[table]` headers. The text at the mark breaks \
                 that form, so nothing after it can be trusted. Usual causes: text without quotes, a quote or bracket \
                 that is never closed, a path with backslashes in double quotes (use single quotes), the same key \
                 written twice, or YAML habits such as `key: value`."
            }
            Self::UnknownKey => {
                "Every key must be one that the kind knows; nothing is ignored silently, because a misspelt key would \
                 look as if it worked. Keys are written in camelCase. When a known key is near, the message names it; \
                 a key that belongs into another table is pointed there. `piccolo explain container.spec` lists all \
                 keys."
            }
            Self::MissingKey => {
                "Some keys have no sensible default and must be given: `apiVersion`, `kind` and `metadata.name` in \
                 every manifest, and those that the kind names. The mark shows the table in which the key is missing."
            }
            Self::WrongType => {
                "TOML tells texts (\"80\"), numbers (80), truth values (true), lists ([…]), tables ({…}) and dates \
                 apart, and each key takes one of them. Values are never converted, so that `restart = no` or \
                 `\"8080\"` can't mean something by accident. Lists of tables are written with double brackets, \
                 `[[spec.ports]]`, one block for each."
            }
            Self::UnknownKind => {
                "`kind` says what the manifest declares. Upper and lower case matter: `Container`, `Network`, `Volume`, \
                 `Secret`, `Image`, `ConfigSource`, `Host`, `Firewall`, `Disk`, `Install`, `Link`. A file of a kind that this version does not know \
                 changes nothing."
            }
            Self::WrongApiVersion => {
                "`apiVersion` says which edition of the kinds the file was written for. This version of Piccolo \
                 understands `piccolo.os/v1alpha1`. A file for another edition is refused rather than half \
                 understood."
            }
            Self::BadName => {
                "Names of manifests are used as names of containers, networks, volumes and hosts. They consist of at \
                 most 63 lower-case letters, digits and hyphens, and begin and end with a letter or digit. Containers \
                 and volumes need at least two."
            }
            Self::UnknownWord => {
                "The key takes one of a few words, written exactly as the message lists them. They are texts and stand \
                 in quotes."
            }
            Self::WrongForm => {
                "The text has the right type but not the form that the key needs: a duration is `90s` or `1h30m`, an \
                 amount of memory is `256Mi`, an address is `127.0.0.1`. The message says which form is wanted."
            }
            Self::OutOfRange => {
                "The value is of the right type but smaller or greater than what can work. Ports lie between 1 and \
                 65535; a container can't start with less than 6Mi of memory; times between checks are more than \
                 nothing."
            }
            Self::Conflict => {
                "Two keys of the manifest can't both be meant. A mount has either a `hostPath` or a `volume`; a \
                 container on the `host` network has no ports of its own to publish. Remove one of the two."
            }
            Self::Duplicate => {
                "The same thing is declared twice: a key, a port of the machine, a path in the container, a \
                 dependency, a manifest that stands in two files. Only one of the two could win, and which one would \
                 be chance. Remove or change one."
            }
            Self::Reserved => {
                "The name is used by Piccolo or by the engine itself: labels under `piccolo.os/` mark what belongs to \
                 a manifest, and `bridge`, `host` and `none` are networks that the engine always has. Choose another \
                 name."
            }
            Self::BadImage => {
                "An image is named `[registry[:port]/]path[:tag]` or `…@sha256:<64 hex digits>`. The path is in lower \
                 case; without a tag `latest` is meant. Only images with a digest stay the same for ever."
            }
            Self::BadPath => {
                "Paths in a manifest are absolute: they begin with `/`, and contain no `..`, so that a reader sees at \
                 once which place is meant. In the container, `/` itself can't be mounted over. A volume has a directory \
                 of its own: one that the machine or its other programs stand on, such as `/etc` or `/home`, can't be one."
            }
            Self::BadSubnet => {
                "A subnet is a network address and the number of its fixed bits, `172.30.0.0/24`; all other bits are \
                 zero. The gateway is one of its addresses, but not the first (the network itself) nor, in IPv4, the \
                 last (broadcast)."
            }
            Self::DependsOnItself => {
                "A container that waits for itself never starts. Name another container, or remove the entry."
            }
            Self::ForbiddenCharacter => {
                "The kernel passes arguments, variables and paths as texts that end at a NUL character, and a \
                 variable's name at the first `=`. Such a character would cut the text in two without a word."
            }
            Self::WrongLength => {
                "The text or list has fewer or more entries than can work. A health check needs at least its program."
            }
            Self::TooLarge => {
                "A manifest has at most 1 MiB, more than a thousand times what a long one needs. A larger file is most \
                 likely not a manifest but lies in the directory by mistake."
            }
            Self::TooDeep => {
                "No manifest nests tables and lists deeper than five levels. Text nested much deeper is refused before \
                 it is read."
            }
            Self::TooMany => {
                "Only the first hundred mistakes of a file are shown. Mend those and look again; often one cause made \
                 many of them."
            }
            Self::NeedsGrant => {
                "Some settings are as good as the machine's root password: `privileged`, the machine's own network or \
                 processes, the engine's socket, a mount of `/etc` or the like, a capability such as `SYS_ADMIN`. They \
                 work only when the manifest says that they are meant, `grants = [\"docker-socket\"]`, so that nobody \
                 copies one from the Internet without having seen it. `piccolo explain container.spec.grants` lists \
                 the words."
            }
            Self::NotEncrypted => {
                "A manifest is kept in git and read by many, so the values of a Secret stand in it encrypted, and only the \
                 machine they are meant for can read them. `piccolo secret set NAME KEY` asks for a value and writes it \
                 encrypted; `age --armor --recipient \"$(piccolo secret recipient)\"` does the same elsewhere. Take a \
                 value that stood in a file in plain text for known, and replace it where it came from."
            }
            Self::SubnetOverlap => {
                "Two Networks have addresses in common, so that a packet could mean either, and the engine refuses the \
                 second. Give one of them another range, or leave `subnet` out: then the engine picks a free one. The one \
                 that stands keeps its addresses, the other waits."
            }
            Self::DependencyCycle => {
                "Each of these Containers is to start after the next one, and the last after the first, so none would \
                 ever start. Take out one `dependsOn`: that of a program which tries again by itself."
            }
            Self::NotDeclared => {
                "A manifest names another one, or a value of a Secret, that stands in none of the files. Add it, or \
                 correct the name. Manifests may come in any order: what needs the missing one waits for it. A network \
                 or volume may have been made without Piccolo, so for these it is a warning."
            }
            Self::PortClash => {
                "A port of the machine can lead to one container only. Give one of the two another `hostPort`, or bind \
                 them to different addresses with `hostIp`. The one that has the port keeps it, the other waits."
            }
            Self::ChoosesNobody => {
                "A rule of a policy is for containers of its network whose `spec.labels` have all that it names, and \
                 there is no such Container. Often a label is misspelt, or the container does not join the network."
            }
            Self::DiskClash => {
                "Each Disk has a mount point of its own, not above or below that of another one, and chooses another disk. Two \
                 with the same `select` would both mean the same disk. The first by name has it, the other waits."
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PIC{:04}", *self as u16)
    }
}

impl FromStr for Code {
    type Err = ();

    /// Reads `PIC0007`, in either case.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.to_string().eq_ignore_ascii_case(text)).ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
