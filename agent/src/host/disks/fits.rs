use piccolo_schema::disk::Selector;

use super::DiskSeen;

impl DiskSeen {
    /// Returns true if it has all that a selector asks for. A selector that asks for nothing fits no disk.
    pub fn fits(&self, select: &Selector) -> bool {
        let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|it| it.trim() == has.trim());
        !select.is_empty()
            && same(&select.serial, &self.identity.serial)
            && same(&select.wwn, &self.identity.wwn)
            && same(&select.model, &self.model)
            && select.id.as_ref().is_none_or(|id| self.ids.contains(id))
            && select.transport.is_none_or(|it| self.transport == Some(it))
            && select.min_size.is_none_or(|it| self.identity.size >= it.get())
            && select.max_size.is_none_or(|it| self.identity.size <= it.get())
            && select.rotational.is_none_or(|it| self.rotational == it)
    }
}
