use std::{collections::BTreeMap, future::pending, time::Duration};

use crate::host::{HostError, Reason};

/// A verb of the engine, to say which one goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Lists containers.
    Containers,
    /// Pulls an image.
    Pull,
    /// Says what is known of repositories.
    Sources,
    /// Puts a revision in force.
    Take,
    /// Lists images.
    Images,
    /// Pulls the image of a manifest.
    PullDeclared,
    /// Builds an image.
    Build,
    /// Pushes an image.
    Push,
    /// Gives a name back.
    GiveBack,
    /// Loads an image from an archive.
    Load,
    /// Removes an image.
    RemoveImage,
    /// Makes a container.
    Create,
    /// Starts a container.
    Start,
    /// Restarts a container.
    Restart,
    /// Stops a container.
    Stop,
    /// Lets a container go on.
    Unpause,
    /// Renames a container.
    Rename,
    /// Changes limits.
    Update,
    /// Removes a container.
    Remove,
    /// Writes files of secrets for a container.
    PlaceSecrets,
    /// Removes files of secrets.
    ClearSecrets,
    /// Lists networks.
    Networks,
    /// Makes a network.
    CreateNetwork,
    /// Removes a network.
    RemoveNetwork,
    /// Lists volumes.
    Volumes,
    /// Makes a volume.
    CreateVolume,
    /// Changes owner and mode of a volume.
    SetAccess,
    /// Limits a volume.
    SetQuota,
    /// Makes the engine forget a volume.
    ReleaseVolume,
    /// Lists disks.
    Disks,
    /// Makes a file system.
    MakeDisk,
    /// Mounts a disk, or changes how it is mounted.
    MountDisk,
    /// Unmounts a disk.
    UnmountDisk,
    /// Takes a snapshot.
    Snapshot,
    /// Goes back to a snapshot.
    Restore,
    /// Removes a snapshot.
    DropSnapshot,
    /// Lists snapshots.
    Snapshots,
    /// Sets the rules of the packet filter.
    SetRules,
    /// Removes the rules of the packet filter.
    ClearRules,
    /// Looks at who may reach the machine.
    Filter,
    /// Says who may reach the machine.
    SetFilter,
    /// Opens the machine to all.
    ClearFilter,
    /// Lists secrets.
    Secrets,
    /// Decrypts a secret.
    WriteSecret,
    /// Removes a secret.
    RemoveSecret,
    /// Inspects what is not ours.
    Strangers,
    /// Writes down that a container is ours.
    Adopt,
    /// Writes down that an image did well.
    Commit,
    /// Writes down that an image did not do well.
    Condemn,
}

/// On which side of its effect a verb goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing happened.
    Before,
    /// It happened, but the answer is lost.
    After,
}

/// How a verb goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Fail(HostError),
    Hang,
}

/// What is to go wrong.
#[derive(Default)]
pub(super) struct Faults {
    /// Which verb, any that changes something if none, how many uses are left before it goes wrong, and how.
    due: Vec<(Option<Verb>, u32, When, Outcome)>,
    random: Option<(fastrand::Rng, f64)>,
    delays: BTreeMap<Verb, Duration>,
}

/// What happens to one use of a verb.
#[derive(Default)]
pub(super) struct Order {
    pub(super) delay: Option<Duration>,
    pub(super) before: Option<Outcome>,
    pub(super) after: Option<Outcome>,
}

impl Outcome {
    /// Returns the error, or never returns.
    pub(super) async fn happen(self) -> HostError {
        match self {
            Self::Fail(error) => error,
            Self::Hang => pending().await,
        }
    }
}

impl Faults {
    pub(super) fn add(&mut self, verb: Option<Verb>, nth: u32, when: When, outcome: Outcome) {
        self.due.push((verb, nth, when, outcome));
    }

    pub(super) fn at_random(&mut self, seed: u64, probability: f64) {
        self.random = Some((fastrand::Rng::with_seed(seed), probability));
    }

    pub(super) fn delay(&mut self, verb: Verb, time: Duration) {
        self.delays.insert(verb, time);
    }

    /// Says what happens to this use of a verb.
    pub(super) fn order(&mut self, verb: Verb) -> Order {
        let mut order = Order { delay: self.delays.get(&verb).copied(), ..Order::default() };
        self.due.retain_mut(|(which, left, when, outcome)| {
            if which.map_or(!verb.changes(), |which| which != verb) {
                return true;
            }
            if *left > 0 {
                *left -= 1;
                return true;
            }
            order.put(*when, outcome.clone());
            false
        });
        if let Some((rng, probability)) = self.random.as_mut().filter(|_| verb.changes())
            && rng.f64() < *probability
        {
            let when = if rng.bool() { When::Before } else { When::After };
            order.put(when, Outcome::Fail(HostError::new(Reason::Failed, "It failed at random")));
        }
        order
    }
}

impl Order {
    fn put(&mut self, when: When, outcome: Outcome) {
        match when {
            When::Before => self.before = Some(outcome),
            When::After => self.after = Some(outcome),
        }
    }
}

impl Verb {
    const fn changes(self) -> bool {
        !matches!(
            self,
            Self::Containers
                | Self::Images
                | Self::Filter
                | Self::Networks
                | Self::Secrets
                | Self::Volumes
                | Self::Disks
                | Self::Snapshots
                | Self::Strangers
        )
    }
}
