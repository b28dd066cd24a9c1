//! The library's lists of partitions: topic, number, offset, the metadata of a commit, and an error of each.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use super::sys::{self, Code, rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_t};

/// A list of our own.
pub struct Partitions(NonNull<rd_kafka_topic_partition_list_t>);

// SAFETY: plain memory with one owner.
unsafe impl Send for Partitions {}
// SAFETY: nothing changes it through a shared reference.
unsafe impl Sync for Partitions {}

/// One of a list.
#[derive(Clone, Copy, Debug)]
pub struct Partition<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its number.
    pub partition: i32,
    /// An offset, or one of the library's below 0 (`RD_KAFKA_OFFSET_...`).
    pub offset: i64,
    /// What was committed with the offset.
    pub metadata: &'a [u8],
    /// What is wrong with this one.
    pub code: Code,
}

impl Partitions {
    /// An empty one with room for so many.
    pub fn new(room: usize) -> Partitions {
        // SAFETY: allocates, and never answers null.
        Partitions(unsafe { NonNull::new_unchecked(sys::rd_kafka_topic_partition_list_new(room as i32)) })
    }

    /// Takes over a list that the library gave away.
    ///
    /// # Safety
    /// `raw` must be live and nobody else's.
    pub unsafe fn own(raw: NonNull<rd_kafka_topic_partition_list_t>) -> Partitions {
        Partitions(raw)
    }

    /// Adds one.
    pub fn add(&mut self, topic: &str, partition: i32, offset: i64, metadata: &[u8]) {
        let topic = sys::c_text(topic);
        // SAFETY: the list is live and copies the name. The metadata are of the library's own allocator, which frees
        // them with the list.
        unsafe {
            let element = sys::rd_kafka_topic_partition_list_add(self.raw(), topic.as_ptr(), partition);
            (*element).offset = offset;
            if !metadata.is_empty() {
                let copy = sys::rd_kafka_mem_malloc(std::ptr::null_mut(), metadata.len()).cast::<u8>();
                copy.copy_from_nonoverlapping(metadata.as_ptr(), metadata.len());
                (*element).metadata = copy.cast::<c_void>();
                (*element).metadata_size = metadata.len();
            }
        }
    }

    /// The list, for the library's calls.
    pub fn raw(&self) -> *mut rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.raw()) }
    }
}

/// All of a list that the library keeps; null is empty.
///
/// # Safety
/// `list` must be null or live, and unchanged, for `'a`.
pub unsafe fn iter<'a>(list: *const rd_kafka_topic_partition_list_t) -> impl Iterator<Item = Partition<'a>> {
    // SAFETY: the caller's; `cnt` elements lie behind `elems`.
    let (elements, count) = match list.is_null() {
        true => (std::ptr::null_mut(), 0),
        false => unsafe { ((*list).elems, (*list).cnt as usize) },
    };
    // SAFETY: within the array.
    (0..count).map(move |i| unsafe { read(elements.add(i)) })
}

/// What one element says.
///
/// # Safety
/// `element` must be live and unchanged for `'a`.
pub unsafe fn read<'a>(element: *const rd_kafka_topic_partition_t) -> Partition<'a> {
    // SAFETY: the caller's. Field by field, because the struct as a whole may have a code that the bindings do not know.
    unsafe {
        let (metadata, size) = ((*element).metadata.cast::<u8>(), (*element).metadata_size);
        Partition {
            // Topic names are ASCII.
            topic: CStr::from_ptr((*element).topic).to_str().unwrap_or_default(),
            partition: (*element).partition,
            offset: (*element).offset,
            metadata: if metadata.is_null() { &[] } else { std::slice::from_raw_parts(metadata, size) },
            code: Code::at(&raw const (*element).err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read() {
        let mut list = Partitions::new(1);
        list.add("a", 0, 7, b"x\0y");
        list.add("b\0", 3, -1, b"");
        // SAFETY: the list is live.
        let all = unsafe { iter(list.raw()) };
        let all: Vec<_> = all.map(|p| (p.topic, p.partition, p.offset, p.metadata, p.code)).collect();
        assert_eq!(all, [("a", 0, 7, &b"x\0y"[..], Code::OK), ("b\u{1}", 3, -1, &b""[..], Code::OK)]);
    }
}
