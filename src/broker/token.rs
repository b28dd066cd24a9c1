//! What a delivery is settled by.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Minted by the subscription, never reused: its key to receipt handle, delivery tag and channel, offset and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What is known of deliveries.
pub type ByToken<T> = HashMap<Token, T, BuildHasherDefault<Mixed>>;

/// For numbers that are counted or hashed already: nobody outside chooses them.
#[derive(Default)]
pub struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, word: u64) {
        // The map wants differences in the high bits too.
        self.0 = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
