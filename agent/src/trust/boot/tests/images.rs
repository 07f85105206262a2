use super::*;

/// Makes a program for the firmware with these sections; `signed` puts something behind it that signs it.
fn program(sections: &[(&str, &[u8])], signed: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 1024;
    let mut file = vec![0; HEADERS];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 64;
    file[64..68].copy_from_slice(b"PE\0\0");
    file[70..72].copy_from_slice(&u16::try_from(sections.len()).unwrap().to_le_bytes());
    file[84] = 240;
    file[88..90].copy_from_slice(&[0x0b, 0x02]);
    file[88 + 60..88 + 64].copy_from_slice(&u32::try_from(HEADERS).unwrap().to_le_bytes());
    for (at, (name, data)) in sections.iter().enumerate() {
        let entry = 88 + 240 + at * 40;
        file[entry..entry + name.len()].copy_from_slice(name.as_bytes());
        let (size, begins) = (data.len().next_multiple_of(512), file.len());
        for (offset, number) in [(8, data.len()), (16, size), (20, begins)] {
            file[entry + offset..entry + offset + 4].copy_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
        }
        file.extend(*data);
        file.resize(begins + size, 0);
    }
    let end = u32::try_from(file.len()).unwrap();
    let length = u32::try_from(signed.len()).unwrap();
    if length > 0 {
        file[88 + 112 + 32..88 + 112 + 36].copy_from_slice(&end.to_le_bytes());
        file[88 + 112 + 36..88 + 112 + 40].copy_from_slice(&length.to_le_bytes());
    }
    file.extend(signed);
    file
}

#[test]
fn a_signature_or_a_checksum_is_no_other_image() {
    let kernel = program(&[(".text", b"code")], b"");
    let sections: [(&str, &[u8]); 3] = [(".osrel", b"ID=x"), (".linux", &kernel), (".cmdline", b"quiet")];
    let plain = program(&sections, b"");
    let digest = |bytes: &[u8]| Image::read(bytes).unwrap().digest();
    assert_eq!(digest(&plain), digest(&program(&sections, b"a signature")));
    let mut summed = plain.clone();
    summed[88 + 64] = 7;
    assert_eq!(digest(&plain), digest(&summed));
    let mut other = plain.clone();
    *other.last_mut().unwrap() = 1;
    assert_ne!(digest(&plain), digest(&other));
    // What only starts can't be told for is refused.
    assert!(matches!(Image::read(&kernel), Err(NotNext::Kernel)));
    assert!(matches!(Image::read(&program(&[(".linux", b"no program")], b"")), Err(NotNext::Kernel)));
    let twice = [sections[0], sections[1], sections[1]];
    assert!(matches!(Image::read(&program(&twice, b"")), Err(NotNext::Several)));
    let several = [sections[1], (".profile", &b"x"[..])];
    assert!(matches!(Image::read(&program(&several, b"")), Err(NotNext::Several)));
    for cut in (0..plain.len() - 512).step_by(7) {
        assert!(Image::read(&plain[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn the_next_start_is_this_one_with_another_image() {
    let kernel = program(&[(".text", b"code")], b"");
    let sections: [(&str, &[u8]); 3] = [(".osrel", b"ID=x"), (".linux", &kernel), (".cmdline", b"quiet")];
    let image = Image::read(&program(&sections, b"")).unwrap();
    let (first, next) = (story("first"), image.next(&story("first")).unwrap());
    let changed: Vec<u8> = (0..16).filter(|pcr| first.value(*pcr) != next.value(*pcr)).collect();
    assert_eq!(changed, [4, 11]);
    // Under Secure Boot the kernel inside is not measured for itself.
    let (secure, after) = (story("secure-boot-on"), image.next(&story("secure-boot-on")).unwrap());
    assert_eq!(secure.events.iter().filter(|it| it.pcr == 4 && it.part == Part::Kernel).count(), 1);
    assert!(
        after.value(4) != secure.value(4) && after.value(7) == secure.value(7) && after.value(11) == next.value(11)
    );
    // The stub measures name and content of each section, in an order of its own.
    let mut values = Values::new();
    for (name, data) in [(".linux", &kernel[..]), (".osrel", b"ID=x"), (".cmdline", b"quiet")] {
        extend(&mut values, 11, &Sha256::digest([name.as_bytes(), b"\0"].concat()).into());
        extend(&mut values, 11, &Sha256::digest(data).into());
    }
    assert_eq!(next.value(11), values[&11]);
    // A start by something else says nothing of it.
    let mut events = first.events.clone();
    events.retain(|it| it.pcr != 11);
    assert!(matches!(image.next(&first.with(events)), Err(NotNext::NotImage)));
}

/// Two starts of an emulated machine by GRUB 2.12, from the slots of one with two systems: another kernel, another file with the
/// name of the slot, another command line.
#[test]
fn the_next_start_by_grub_is_this_one_with_other_files() {
    let (now, then) = (story("grub-a"), story("grub-b"));
    let held = registers(&measured("grub-b"));
    assert!(now.untrue_of(&measured("grub-a")).is_empty() && then.untrue(&held).is_empty());
    let of = |pcr, name: &str| then.events.iter().rfind(|it| it.pcr == pcr && it.detail == name).unwrap().digest;
    let cmdline =
        "BOOT_IMAGE=/flatcar/vmlinuz-b console=ttyS0 mount.usr=PARTUUID=e03dd35c-7c2d-4a47-b3fe-27f15780a57c panic=5";
    let grub = |files: &[&str], cmdline: Option<&str>| Grub {
        kernel: of(4, "inside its image"),
        content: of(9, "/flatcar/vmlinuz-b"),
        files: files.iter().map(|name| ((*name).to_owned(), of(9, name))).collect(),
        cmdline: cmdline.map(str::to_owned),
    };
    let next = grub(&["/grub/slot"], Some(cmdline)).after(&now).unwrap();
    let right: Vec<u8> = (0..10).filter(|pcr| next.value(*pcr) == held[pcr]).collect();
    // What GRUB is told is not worked out: it tells the slots apart by other commands.
    assert_eq!(right, [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    // What is left out is another start.
    for wrong in [grub(&[], Some(cmdline)), grub(&["/grub/slot"], None), grub(&["/grub/slot"], Some("quiet"))] {
        assert_ne!(wrong.after(&now).unwrap().value(9), held[&9]);
    }
    // An initrd is measured as a file, and as what the kernel got.
    let initrd = Grub { files: vec![("/flatcar/initrd".to_owned(), [7; 32])], ..grub(&[], None) };
    let after = initrd.after(&now).unwrap();
    assert_eq!(after.events.iter().filter(|it| it.pcr == 9 && it.digest == [7; 32]).count(), 2);
    assert!(Next::Grub(initrd).unforeseen().has(8));
}

#[test]
fn what_grub_did_otherwise_is_not_told() {
    let now = story("grub-a");
    let grub = |files: &[&str], cmdline: Option<&str>| Grub {
        kernel: [1; 32],
        content: [2; 32],
        files: files.iter().map(|name| ((*name).to_owned(), [3; 32])).collect(),
        cmdline: cmdline.map(str::to_owned),
    };
    let missing = grub(&["/boot/initrd.img"], None).after(&now);
    assert_eq!(missing, Err(NotNext::NotRead("/boot/initrd.img".to_owned())));
    assert_eq!(grub(&[], None).after(&story("first")), Err(NotNext::NotGrub));
    let altered = |change: fn(&mut Event)| {
        let mut events = now.events.clone();
        events.iter_mut().for_each(change);
        now.with(events)
    };
    let untold = altered(|it| it.detail = it.detail.replace("kernel_cmdline", "grub_cmd"));
    assert_eq!(grub(&[], Some("quiet")).after(&untold), Err(NotNext::Options));
    let other = altered(|it| it.detail = it.detail.replace("panic=5", "panic=6"));
    assert_eq!(grub(&[], Some("quiet")).after(&other), Err(NotNext::Options));
    let several = altered(|it| {
        if it.part == Part::Initrd && it.detail.is_empty() {
            it.digest = [9; 32];
        }
    });
    assert_eq!(grub(&["/flatcar/initrd"], None).after(&several), Err(NotNext::Initrds));
    assert!(grub(&[], None).after(&several).is_ok());
}
