//! The end of what a handler wrote to stderr: the text of its failure.

/// So much of it is kept.
const KEPT: usize = 4096;

#[derive(Default)]
pub struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(bytes);
    }

    /// What is kept, as text without the white space around it; a character cut in half at its start is left out.
    pub fn text(&self) -> String {
        let cut = self.bytes.len() == KEPT;
        let start =
            self.bytes.iter().take(if cut { 3 } else { 0 }).take_while(|b| **b & 0xc0 == 0x80).count();
        String::from_utf8_lossy(&self.bytes[start..]).trim().to_owned()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_whole_characters() {
        let mut tail = Tail::default();
        tail.push(b"first\n");
        assert_eq!(tail.text(), "first");
        for _ in 0..1000 {
            tail.push("ümlaut ".as_bytes());
        }
        tail.push(b"last\n");
        let text = tail.text();
        assert!(text.len() <= KEPT && text.ends_with("ümlaut last"), "{text}");
        assert!(!text.contains('\u{fffd}'));
        tail.push(&vec![b'x'; 100_000]);
        assert_eq!(tail.text(), "x".repeat(KEPT));
    }
}
