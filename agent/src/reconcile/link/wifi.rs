//! What a port without a wire is told, as a file of wpa_supplicant, and what it lacks of that. Pure.

use piccolo_schema::{
    LinkSpec,
    link::{Security, Wifi},
};

use super::{render::Text, step::Act};
use crate::host::{DeviceSeen, KEY, LinksView, PASSWORD, WifiFile, firewall};

/// Where a person, or another program, speaks to wpa_supplicant.
const CONTROL: &str = "/run/wpa_supplicant";

/// What a link needs of wpa_supplicant.
#[derive(Default)]
pub(super) struct Radio {
    /// The digest of what its file is made from; none for a link with a wire.
    pub(super) digest: Option<String>,
    /// Has wpa_supplicant run, if it does not.
    pub(super) serve: Option<Act>,
    /// The file that it needs and has not got.
    file: Option<WifiFile>,
    /// The links on which it is to end.
    stale: Vec<String>,
}

impl Radio {
    /// Compares what is wanted with what is there. An error is a reason and a sentence.
    pub(super) fn of(
        name: &str,
        spec: &LinkSpec,
        devices: &[&DeviceSeen],
        view: &LinksView,
    ) -> Result<Self, (&'static str, String)> {
        let ours = view.wifi.iter().filter(|it| it.subject.as_deref() == Some(name));
        let Some(wifi) = &spec.wifi else {
            return Ok(Self { stale: ours.map(|it| it.device.clone()).collect(), ..Self::default() });
        };
        let text = file(name, wifi);
        let password = wifi.psk.as_ref().and_then(|from| view.secrets.get(&from.secret)?.get(&from.key));
        let digest = firewall::digest(&format!("{text}{}", password.map_or("", String::as_str)));
        let mut radio = Self { digest: Some(digest.clone()), ..Self::default() };
        // Where the port is not plugged in, what it was told stays for when it is.
        let Some(device) = usable(devices, view)? else { return Ok(radio) };
        let there = view.wifi.iter().find(|it| it.device == device.name);
        // The unit of a distribution for one driver has a name of its own for its file.
        let names = [device.name.clone(), format!("nl80211-{}", device.name)];
        let others = view.wifi.iter().find(|it| it.subject.is_none() && names.contains(&it.device));
        if let Some(others) = others {
            let message = format!(
                "wpa_supplicant has a file for {} that is not Piccolo's; it is never touched: remove `{}` yourself",
                device.name,
                path(&others.device)
            );
            return Err(("LinkClaimed", message));
        }
        radio.stale = ours.filter(|it| it.device != device.name).map(|it| it.device.clone()).collect();
        let is_same =
            there.is_some_and(|it| it.subject.as_deref() == Some(name) && it.digest.as_ref() == Some(&digest));
        if !is_same {
            let (device, ssid, psk) = (device.name.clone(), wifi.ssid.clone(), wifi.psk.clone());
            radio.file = Some(WifiFile { device, text, ssid, security: wifi.security, psk, digest });
        }
        let serves = is_same && there.is_some_and(|it| it.serves);
        radio.serve = (!serves).then(|| Act::ServeWifi { device: device.name.clone() });
        Ok(radio)
    }

    /// Returns true if a file is to be written or removed.
    pub(super) fn changes(&self) -> bool {
        self.file.is_some() || !self.stale.is_empty()
    }

    /// Returns what has to be well before anything is changed.
    pub(super) fn check(&self) -> Option<Act> {
        let file = self.file.as_ref()?;
        Some(Act::CheckPassword { from: file.psk.clone()?, security: file.security })
    }

    /// Returns what is to be done: what is stale goes first, as two programs must not fight for one port.
    pub(super) fn acts(self, change: &str) -> impl Iterator<Item = Act> {
        let digest = change.to_owned();
        let ends = move |device| Act::RemoveWifi { device, digest: digest.clone() };
        let digest = change.to_owned();
        let written = self.file.map(|file| Act::WriteWifi { device: file.device.clone(), file, digest });
        self.stale.into_iter().map(ends).chain(written).chain(self.serve)
    }
}

/// Returns the one port that can join a network; none if it is not plugged in.
fn usable<'a>(devices: &[&'a DeviceSeen], view: &LinksView) -> Result<Option<&'a DeviceSeen>, (&'static str, String)> {
    let device = match devices {
        [] => return Ok(None),
        [device] => device,
        [first, second, ..] => {
            let message = format!(
                "It means {} and {}, and one manifest joins a network with one port; narrow `match`, for example with a \
                 `permanentMac`",
                first.name, second.name
            );
            return Err(("Ambiguous", message));
        }
    };
    if !device.wireless {
        let message = format!("{} has a wire; choose another port, or take `wifi` out", device.name);
        return Err(("NotWireless", message));
    }
    match &view.no_wifi {
        Some(why) => Err(("WifiUnavailable", why.clone())),
        None => Ok(Some(device)),
    }
}

fn path(device: &str) -> String {
    format!("/etc/wpa_supplicant/wpa_supplicant-{device}.conf")
}

/// Returns the file by which wpa_supplicant joins a network, with marks in place of the password.
#[must_use]
pub fn file(name: &str, wifi: &Wifi) -> String {
    let mut text = Text::of(name);
    text.line("ctrl_interface", CONTROL);
    if let Some(country) = &wifi.country {
        text.line("country", country);
    }
    text.0.push_str("\nnetwork={\n");
    text.line("ssid", wifi.ssid.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    if wifi.hidden {
        text.line("scan_ssid", 1);
    }
    for (key, value) in protection(wifi.security) {
        text.line(key, value);
    }
    // Within quotes it takes some characters for the beginning of a comment. So neither the name nor the password has any:
    // WPA2 needs no more than the key that is made of both, and WPA3 takes hexadecimal digits.
    if matches!(wifi.security, Security::Wpa2 | Security::Wpa2Wpa3) {
        text.line("psk", KEY);
    }
    if matches!(wifi.security, Security::Wpa3 | Security::Wpa2Wpa3) {
        text.line("sae_password", PASSWORD);
    }
    text.0.push_str("}\n");
    text.0
}

/// What came before WPA2 is never spoken. WPA3 asks for frames of control that are signed, and older access points for none.
const fn protection(security: Security) -> &'static [(&'static str, &'static str)] {
    match security {
        Security::Open => &[("key_mgmt", "NONE")],
        Security::Wpa2 => &[("proto", "RSN"), ("pairwise", "CCMP"), ("key_mgmt", "WPA-PSK WPA-PSK-SHA256")],
        Security::Wpa3 => &[("proto", "RSN"), ("pairwise", "CCMP"), ("key_mgmt", "SAE"), ("ieee80211w", "2")],
        Security::Wpa2Wpa3 => {
            &[("proto", "RSN"), ("pairwise", "CCMP"), ("key_mgmt", "SAE WPA-PSK WPA-PSK-SHA256"), ("ieee80211w", "1")]
        }
    }
}
