//! What a disk holds when the power goes: what was synced, and of the rest any part.

use std::collections::BTreeMap;
use std::path::Path;

use crate::vfs::Op;

/// The files of one directory, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A disk that has taken some operations.
#[derive(Default)]
pub struct Disk {
    /// What programs see.
    now: Files,
    /// What a power cut cannot take.
    safe: Files,
    /// What it can.
    unsafe_yet: BTreeMap<String, Vec<Op>>,
}

impl Disk {
    /// Takes one operation; a sync of `ignored` is believed and does nothing.
    pub fn take(&mut self, op: &Op, ignored: Option<&str>) {
        match op {
            Op::Write { file, .. } | Op::Truncate { file, .. } => {
                apply(self.now.entry(file.clone()).or_default(), op);
                self.unsafe_yet.entry(file.clone()).or_default().push(op.clone());
            }
            Op::Sync { file } if ignored != Some(file) => {
                self.unsafe_yet.remove(file);
                self.safe.insert(file.clone(), self.now.get(file).cloned().unwrap_or_default());
            }
            Op::Remove { file } => {
                self.now.remove(file);
                self.safe.remove(file);
                self.unsafe_yet.remove(file);
            }
            Op::Sync { .. } | Op::Mark(_) => {}
        }
    }

    /// What may be there after a power cut at this moment: nothing unsynced, all of it, and some of it at random, in
    /// sectors of 512 and of 4,096 bytes.
    pub fn after_a_cut(&self, random: &mut fastrand::Rng, tries: usize) -> Vec<Files> {
        let mut all = vec![self.safe.clone(), self.now.clone()];
        for i in 0..tries {
            let sector = [512, 4096][i % 2];
            let kept = [0.5, 0.9][random.usize(..2)];
            let mut files = self.safe.clone();
            for (file, ops) in &self.unsafe_yet {
                let bytes = files.entry(file.clone()).or_default();
                for op in ops {
                    tear(bytes, op, sector, |random| random.f64() < kept, random);
                }
            }
            all.push(files);
        }
        all
    }
}

fn apply(file: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { at, bytes, .. } => {
            if file.len() < at + bytes.len() {
                file.resize(at + bytes.len(), 0);
            }
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Op::Truncate { len, .. } => file.resize(*len, 0),
        _ => {}
    }
}

/// Applies the sectors of a write that reached the disk.
fn tear(
    file: &mut Vec<u8>,
    op: &Op,
    sector: usize,
    kept: impl Fn(&mut fastrand::Rng) -> bool,
    random: &mut fastrand::Rng,
) {
    let Op::Write { file: name, at, bytes } = op else {
        if kept(random) {
            apply(file, op);
        }
        return;
    };
    for (i, part) in bytes.chunks(sector).enumerate() {
        if kept(random) {
            let part = Op::Write { file: name.clone(), at: at + i * sector, bytes: part.to_vec() };
            apply(file, &part);
        }
    }
}

/// Puts these files, and nothing else, into a directory.
pub fn lay_out(files: &Files, dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}
