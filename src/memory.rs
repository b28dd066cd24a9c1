//! The C library's allocator, and mimalloc in its place from the first client that reads of Kafka, or long stream to it, on.
//!
//! librdkafka allocates every message on a thread of its own, and it is freed on ours, which is what glibc is worst at:
//! with mimalloc a million events of 100 bytes take 303 ms in place of 498, and as JSON 382 in place of 581 (`evcat tail`,
//! 2 cores, medians of interleaved runs). All else is no faster with it, and takes up to a half more memory: so it is for
//! those who ask, and not before.
//!
//! These are the functions of C by their own names, which the whole process then uses. What one allocator made goes back
//! to the one that made it.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use libmimalloc_sys as mi;

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(old: *mut c_void);
}

static CROSSES_THREADS: AtomicBool = AtomicBool::new(false);

/// From here on much is freed on another thread than the one that allocated it.
pub fn crosses_threads() {
    CROSSES_THREADS.store(true, Relaxed);
}

/// From this size on the C library has it all the same: mimalloc 2 does not know a block of 1 GiB or more by its address
/// again (its map of segments ends at 48 TiB, and beyond an arena it takes what the kernel gives).
const HUGE: usize = 512 << 20;

fn by_mimalloc(size: usize) -> bool {
    size < HUGE && CROSSES_THREADS.load(Relaxed)
}

fn is_of_mimalloc(old: *mut c_void) -> bool {
    // SAFETY: looks the address up in its own map, and at nothing behind it.
    CROSSES_THREADS.load(Relaxed) && unsafe { mi::mi_is_in_heap_region(old) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: both are C's `malloc`.
    unsafe { if by_mimalloc(size) { mi::mi_malloc(size) } else { __libc_malloc(size) } }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: both are C's `calloc`.
    unsafe {
        match by_mimalloc(count.saturating_mul(size)) {
            true => mi::mi_calloc(count, size),
            false => __libc_calloc(count, size),
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: both are C's `realloc`; what is old goes to the one that made it.
    unsafe {
        match old.is_null() {
            true => malloc(size),
            false if !is_of_mimalloc(old) => __libc_realloc(old, size),
            false if size < HUGE => mi::mi_realloc(old, size),
            false => {
                let new = __libc_malloc(size);
                if !new.is_null() {
                    new.cast::<u8>().copy_from_nonoverlapping(old.cast(), mi::mi_usable_size(old).min(size));
                    mi::mi_free(old);
                }
                new
            }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(old: *mut c_void) {
    // SAFETY: it goes to the one that made it.
    unsafe { if is_of_mimalloc(old) { mi::mi_free(old) } else { __libc_free(old) } }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: both are glibc's `memalign`.
    unsafe {
        match by_mimalloc(size) {
            true => mi::mi_malloc_aligned(size, alignment),
            false => __libc_memalign(alignment, size),
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: the same for every power of two, which is all that C allows.
    unsafe { memalign(alignment, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(into: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    const EINVAL: c_int = nix::libc::EINVAL;
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<*mut c_void>()) {
        return EINVAL;
    }
    // SAFETY: `into` is the caller's to be written.
    unsafe {
        let made = memalign(alignment, size);
        if made.is_null() {
            return nix::libc::ENOMEM;
        }
        *into = made;
    }
    0
}

/// What the modules of the C library for names ask (systemd's does).
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(old: *mut c_void) -> usize {
    type Asked = unsafe extern "C" fn(*mut c_void) -> usize;
    if is_of_mimalloc(old) {
        // SAFETY: its own.
        return unsafe { mi::mi_usable_size(old) };
    }
    // SAFETY: the next of this name is the C library's, which has no other name for it.
    unsafe {
        let asked = nix::libc::dlsym(nix::libc::RTLD_NEXT, c"malloc_usable_size".as_ptr());
        if asked.is_null() { 0 } else { std::mem::transmute::<*mut c_void, Asked>(asked)(old) }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    /// Both allocators' blocks, of all sizes, grown, shrunk and freed after the switch.
    #[test]
    fn what_one_made_goes_back_to_it() {
        let sizes = [0, 1, 24, 4096, 1 << 20, 600 << 20];
        // SAFETY: each block is used within its size, and freed once.
        unsafe {
            let before: Vec<_> = sizes.iter().map(|size| (malloc(*size), *size)).collect();
            crosses_threads();
            let after = sizes.iter().map(|size| (calloc(1, *size), *size));
            for (block, size) in before.into_iter().chain(after) {
                assert!(malloc_usable_size(block) >= size, "{size}");
                let mark = |block: *mut c_void, size: usize| {
                    if size > 0 {
                        block.cast::<u8>().add(size - 1).write(7);
                    }
                };
                mark(block, size);
                let block = realloc(block, size + (1 << 30));
                assert!(size == 0 || block.cast::<u8>().add(size - 1).read() == 7, "{size}");
                mark(block, size + (1 << 30));
                let block = realloc(block, 10);
                free(block);
            }
            let mut aligned = null_mut();
            assert_eq!(posix_memalign(&mut aligned, 4096, 100), 0);
            assert!(aligned.addr().is_multiple_of(4096) && is_of_mimalloc(aligned));
            free(aligned);
            assert_eq!(posix_memalign(&mut aligned, 3, 100), nix::libc::EINVAL);
            free(null_mut());
        }
    }
}
