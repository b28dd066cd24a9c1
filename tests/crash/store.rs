//! Reads an evcat file with nothing of evcat's own code, and says what is wrong with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CStr;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The system's own file layer, which nobody records.
pub const UNRECORDED: &CStr = c"unix";

/// One event as it lies in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
}

impl Stored {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload.as_deref().unwrap_or(b"(tombstone)")).into_owned()
    }
}

/// One group: everything below `next` that is not `open` is settled.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub next: i64,
    /// Offsets that are handed out or wait.
    pub open: HashSet<i64>,
    /// Put back and not settled yet.
    pub back: usize,
}

impl Group {
    pub fn has_settled(&self, offset: i64) -> bool {
        offset < self.next && !self.open.contains(&offset)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Store {
    /// First offset kept, and the events from there on.
    pub topics: BTreeMap<String, (i64, Vec<Stored>)>,
    pub groups: HashMap<(String, String), Group>,
    /// Settled dead letters.
    pub settled: HashMap<String, HashSet<i64>>,
}

impl Store {
    pub fn events(&self, topic: &str) -> &[Stored] {
        self.topics.get(topic).map_or(&[], |(_, events)| events)
    }

    pub fn group(&self, topic: &str, group: &str) -> Group {
        self.groups.get(&(topic.to_owned(), group.to_owned())).cloned().unwrap_or_default()
    }
}

/// Reads and checks everything: the tree, the checksums, dense offsets, and that groups are where they can be.
pub fn read(path: &Path) -> Result<Store, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags_and_vfs(path, flags, UNRECORDED).map_err(text)?;
    let whole: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(text)?;
    if whole != "ok" {
        return Err(format!("integrity: {whole}"));
    }
    let made: i64 = sql
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name='topic'", [], |row| row.get(0))
        .map_err(text)?;
    if made == 0 {
        return Ok(Store::default());
    }
    let mut store = Store::default();
    let mut names = HashMap::new();
    for (id, name, first) in rows(&sql, "SELECT id, name, first FROM topic", |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    })? {
        let (mut events, mut next) = (Vec::new(), first);
        let (mut stored, mut peak) = (i64::MIN, i64::MIN);
        let blocks = format!(
            "SELECT id - ({id} << 40), n, stored, peak, data FROM block WHERE id >= {id} << 40 AND id < ({id} + 1) << 40
             ORDER BY id"
        );
        for (offset, n, at, highest, data) in rows(&sql, &blocks, |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, Vec<u8>>(4)?,
            ))
        })? {
            if offset != next {
                return Err(format!("{name}: offset {next} is missing, {offset} follows"));
            }
            if at < stored || highest < peak {
                return Err(format!("{name}: time runs backwards at {offset}"));
            }
            (stored, peak) = (at, highest);
            let some = decode(&data).ok_or_else(|| format!("{name}: the block at {offset} is damaged"))?;
            if some.len() as i64 != n {
                return Err(format!("{name}: the block at {offset} says {n} events and has {}", some.len()));
            }
            events.extend(some);
            next += n;
        }
        names.insert(id, (name.clone(), next));
        store.topics.insert(name, (first, events));
    }
    for (id, topic, name, next) in rows(&sql, "SELECT id, topic, name, next FROM grp", |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
    })? {
        let Some((topic, end)) = names.get(&topic) else { return Err(format!("group {name} has no topic")) };
        if next > *end {
            return Err(format!("group {name} on {topic} is at {next}, behind the end {end}"));
        }
        let mut group = Group { next, ..Group::default() };
        let open =
            format!("SELECT id - ({id} << 41) FROM open WHERE id >= {id} << 41 AND id < ({id} + 1) << 41");
        for (place, lane) in rows(&sql, &open, |row| {
            let place = row.get::<_, i64>(0)?;
            Ok((place & ((1 << 40) - 1), place >> 40))
        })? {
            if lane == 0 {
                group.back += 1;
                continue;
            }
            if !name.is_empty() && place >= next {
                return Err(format!("group {name} on {topic}: {place} is open above {next}"));
            }
            group.open.insert(place);
        }
        store.groups.insert((topic.clone(), name), group);
    }
    for (id, n) in
        rows(&sql, "SELECT id, n FROM settled", |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?
    {
        let Some((name, _)) = names.get(&(id >> 40)) else {
            return Err("settled letters of no topic".into());
        };
        let first = id & ((1 << 40) - 1);
        store.settled.entry(name.clone()).or_default().extend(first..first + n);
    }
    Ok(store)
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}

fn rows<T>(
    sql: &Connection,
    query: &str,
    map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, String> {
    let mut statement = sql.prepare(query).map_err(text)?;
    let all = statement.query_map([], map).map_err(text)?.collect::<rusqlite::Result<Vec<T>>>();
    all.map_err(text)
}

/// One format byte, checksum of all that follows, base time, then the events: four varints (difference in time; lengths
/// + 1 of key, headers, payload) and the bytes.
fn decode(block: &[u8]) -> Option<Vec<Stored>> {
    let sum = u32::from_le_bytes(block.get(1..5)?.try_into().ok()?);
    if block[0] != 1 || crc32c(&block[5..]) != sum {
        return None;
    }
    let (mut at, mut events) = (13, Vec::new());
    while at < block.len() {
        varint(block, &mut at)?;
        let lengths = [varint(block, &mut at)?, varint(block, &mut at)?, varint(block, &mut at)?];
        let mut parts = lengths.map(|length| {
            let bytes = (length > 0).then(|| block.get(at..at + length - 1));
            at += length.saturating_sub(1);
            bytes
        });
        if parts.contains(&Some(None)) {
            return None;
        }
        let mut part = |i: usize| parts[i].take().flatten().map(<[u8]>::to_vec);
        events.push(Stored { key: part(0), payload: part(2) });
    }
    Some(events)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return Some(value);
        }
    }
}

/// Castagnoli's polynomial, from the book.
fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::OnceLock<[u32; 256]> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| {
        std::array::from_fn(|i| {
            (0..8).fold(i as u32, |c, _| if c & 1 == 1 { c >> 1 ^ 0x82F6_3B78 } else { c >> 1 })
        })
    });
    !bytes.iter().fold(!0, |c, byte| table[(c as u8 ^ byte) as usize] ^ c >> 8)
}
