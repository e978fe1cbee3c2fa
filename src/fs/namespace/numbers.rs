//! Numbers for namespaces whose log is not open.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Mutex;

use crate::fs::locks::lock;
use immuta::Namespace;

/// The numbers by which the tree knows namespaces that are not open, and so have no id yet. A namespace keeps its number.
#[derive(Debug, Default)]
pub(crate) struct UnopenedNumbers(Mutex<BTreeMap<u32, Namespace>>);

impl UnopenedNumbers {
    /// The number of a namespace: a checksum of its name, or the next free number.
    pub(crate) fn of(&self, namespace: &Namespace) -> u32 {
        let mut names = lock(&self.0);
        let mut number = crc32c::crc32c(namespace.as_str().as_bytes());
        loop {
            match names.entry(number) {
                Entry::Vacant(free) => {
                    free.insert(namespace.clone());
                    return number;
                }
                Entry::Occupied(taken) if taken.get() == namespace => return number,
                Entry::Occupied(_) => number = number.wrapping_add(1),
            }
        }
    }

    pub(crate) fn namespace(&self, number: u32) -> Option<Namespace> {
        lock(&self.0).get(&number).cloned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_its_number_and_shares_it_with_no_other() {
        let numbers = UnopenedNumbers::default();
        let [a, b] = ["a", "b"].map(|name| Namespace::new(name).unwrap());
        let of_a = numbers.of(&a);
        // As if both names had the same checksum.
        lock(&numbers.0).insert(crc32c::crc32c(b"b"), a.clone());
        let of_b = numbers.of(&b);
        assert_eq!(of_b, crc32c::crc32c(b"b").wrapping_add(1));
        assert_eq!([numbers.of(&a), numbers.of(&b)], [of_a, of_b]);
        assert_eq!(numbers.namespace(of_b), Some(b));
        assert_eq!(numbers.namespace(0), None);
    }
}
