//! What may happen to a machine, to its files and to the daemon.

use piccolo_agent::host::{
    DiskSeen, Ends, Identity,
    fake::{Verb, When},
};
use piccolo_schema::{
    ContainerSpec, DiskSpec, FirewallSpec, ImageSpec, NetworkSpec, SecretSpec, VolumeSpec,
    disk::{Encryption, Filesystem, MountOption, Selector},
    quantity::Bytes,
};
use proptest::{prelude::*, sample::select};

use crate::{
    BAD, BETTER, DISK, GOOD, SERIALS, support,
    support::scenes::{
        Drift, a_name, a_network, a_secret, a_volume, an_image, drift, firewall, image_spec, network_spec, secret_spec,
        spec, volume_spec,
    },
    wires::{Wire, wire},
};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A person writes a file.
    Write(&'static str, Box<ContainerSpec>),
    /// A person deletes a file.
    Delete(&'static str),
    WriteNetwork(&'static str, NetworkSpec),
    DeleteNetwork(&'static str),
    WriteVolume(&'static str, VolumeSpec),
    DeleteVolume(&'static str),
    WriteFirewall(Option<FirewallSpec>),
    WriteSecret(&'static str, SecretSpec),
    DeleteSecret(&'static str),
    WriteDisk(&'static str, Box<DiskSpec>),
    DeleteDisk(&'static str),
    /// A disk is plugged in: one that is blank, or the one that was pulled out.
    Plug(u64),
    PullOut(u64),
    /// A disk tells another size.
    Resize(u64, u64),
    /// A disk is about to fail, or tells that it is not.
    DiskFails(u64, bool),
    /// Makings break off after this step.
    BreakMakings(Option<u8>),
    WriteImage(&'static str, ImageSpec),
    DeleteImage(&'static str),
    /// A file can't be read for a while.
    Break(bool),
    Drift(Drift),
    /// The packet filter can't be used for a while.
    BreakFirewall(bool),
    /// The registry has this image under the tag that a container follows.
    Offer(&'static str, &'static str),
    /// A person wants the image that a container is offered.
    Approve(&'static str, &'static str),
    /// A verb fails before or after it took effect.
    Fail(Option<Verb>, u32, When),
    /// The daemon dies in its pass, in the verb of this number, before or after that took effect.
    Crash(u32, When),
    /// The next looks show the machine as it is now.
    Stale(u32),
    /// Something happens to links.
    Wire(Wire),
    /// The daemon makes a pass.
    Pass,
    TimePasses,
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    let when = || prop_oneof![Just(When::Before), Just(When::After)];
    prop_oneof![
        4 => (a_name(), spec()).prop_map(|(name, spec)| Happening::Write(name, Box::new(spec))),
        1 => a_name().prop_map(Happening::Delete),
        1 => (a_network(), network_spec()).prop_map(|(name, spec)| Happening::WriteNetwork(name, spec)),
        1 => a_network().prop_map(Happening::DeleteNetwork),
        2 => (a_volume(), volume_spec()).prop_map(|(name, spec)| Happening::WriteVolume(name, spec)),
        1 => a_volume().prop_map(Happening::DeleteVolume),
        2 => firewall().prop_map(Happening::WriteFirewall),
        2 => (a_secret(), secret_spec()).prop_map(|(name, spec)| Happening::WriteSecret(name, spec)),
        1 => a_secret().prop_map(Happening::DeleteSecret),
        3 => (a_disk(), disk_spec()).prop_map(|(name, spec)| Happening::WriteDisk(name, Box::new(spec))),
        1 => a_disk().prop_map(Happening::DeleteDisk),
        4 => (0..3u64).prop_map(Happening::Plug),
        2 => (0..3u64).prop_map(Happening::PullOut),
        1 => (0..3u64, 1..4u64).prop_map(|(disk, size)| Happening::Resize(disk, size)),
        1 => (0..3u64, any::<bool>()).prop_map(|(disk, fails)| Happening::DiskFails(disk, fails)),
        1 => proptest::option::of(1..6u8).prop_map(Happening::BreakMakings),
        2 => (an_image(), image_spec()).prop_map(|(name, spec)| Happening::WriteImage(name, spec)),
        1 => an_image().prop_map(Happening::DeleteImage),
        1 => any::<bool>().prop_map(Happening::Break),
        4 => drift().prop_map(Happening::Drift),
        1 => any::<bool>().prop_map(Happening::BreakFirewall),
        3 => (a_name(), digest()).prop_map(|(name, digest)| Happening::Offer(name, digest)),
        1 => (a_name(), digest()).prop_map(|(name, digest)| Happening::Approve(name, digest)),
        2 => (proptest::option::of(verb()), 0..4u32, when()).prop_map(|(verb, nth, when)| Happening::Fail(verb, nth, when)),
        3 => (0..6u32, when()).prop_map(|(nth, when)| Happening::Crash(nth, when)),
        1 => (1..3u32).prop_map(Happening::Stale),
        5 => wire().prop_map(Happening::Wire),
        6 => Just(Happening::Pass),
        1 => Just(Happening::TimePasses),
    ]
}

fn a_disk() -> impl Strategy<Value = &'static str> {
    select(&["films", "music"])
}

/// Of disks that may be mistaken for each other, at the places of volumes or elsewhere.
fn disk_spec() -> impl Strategy<Value = DiskSpec> {
    let serial = || select(&SERIALS).prop_map(|it| Selector { serial: Some(it.to_owned()), ..Selector::default() });
    let size = Just(Selector { min_size: Some(Bytes::new(1)), ..Selector::default() });
    let by = prop_oneof![4 => serial(), 1 => size];
    let place = select(&["/srv/one", "/srv/two", "/srv"]);
    let parted = prop::bool::weighted(0.3);
    (by, place, any::<bool>(), support::disks::encryption(), parted).prop_map(
        |(select, mount, reads, encryption, parted)| {
            let options = reads.then_some(MountOption::NoAtime).into_iter().collect();
            let one = DiskSpec { select, filesystem: Filesystem::Ext4, ..DiskSpec::default() };
            if parted {
                return support::disks::parted(DiskSpec { encryption, ..one }, mount, options);
            }
            if encryption.as_ref().is_some_and(|it| !it.recovery) {
                let encryption = Some(Encryption::default());
                return DiskSpec { filesystem: Filesystem::Swap, encryption, ..one };
            }
            DiskSpec { encryption, mount: Some(mount.to_owned()), options, ..one }
        },
    )
}

pub(crate) fn blank_disk(number: u64) -> DiskSeen {
    let serial = SERIALS[usize::try_from(number).unwrap_or_default()].to_owned();
    DiskSeen {
        device: format!("sd{number}"),
        seq: number,
        identity: Identity { serial, wwn: String::new(), size: 2 * DISK },
        ends: Ends::Zero,
        ..DiskSeen::default()
    }
}

fn digest() -> impl Strategy<Value = &'static str> {
    select(&[GOOD, BETTER, BAD])
}

fn verb() -> impl Strategy<Value = Verb> {
    select(vec![
        Verb::Containers,
        Verb::Networks,
        Verb::Images,
        Verb::Pull,
        Verb::PullDeclared,
        Verb::Build,
        Verb::Push,
        Verb::GiveBack,
        Verb::Create,
        Verb::Start,
        Verb::Stop,
        Verb::Unpause,
        Verb::Rename,
        Verb::Update,
        Verb::Remove,
        Verb::CreateNetwork,
        Verb::RemoveNetwork,
        Verb::Volumes,
        Verb::CreateVolume,
        Verb::SetAccess,
        Verb::Disks,
        Verb::MakeDisk,
        Verb::MountDisk,
        Verb::UnmountDisk,
        Verb::SetQuota,
        Verb::ReleaseVolume,
        Verb::SetFilter,
        Verb::ClearFilter,
        Verb::SetRules,
        Verb::ClearRules,
        Verb::PlaceSecrets,
        Verb::ClearSecrets,
        Verb::Secrets,
        Verb::WriteSecret,
        Verb::RemoveSecret,
        Verb::Snapshot,
        Verb::Restore,
        Verb::DropSnapshot,
        Verb::Commit,
        Verb::Condemn,
    ])
}
