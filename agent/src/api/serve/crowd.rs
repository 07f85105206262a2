//! How many connections each address has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// The most connections of one address.
const MOST: usize = 64;

/// Who is connected.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place for one connection, free again when this is dropped.
pub(super) struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// Gives a connection of this address a place; none if it has enough of them. Whoever has an IPv6 address has all of
    /// its network.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = match address.to_canonical() {
            IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> 64 << 64)),
            address => address,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places() {
        let (crowd, one, other) = (Crowd::default(), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut places: Vec<_> = (0..MOST).map(|_| crowd.enter(one).unwrap()).collect();
        assert!(crowd.enter(one).is_none() && crowd.enter(other).is_some());
        places.pop();
        assert!(crowd.enter(one).is_some());
        drop(places);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
