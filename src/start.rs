//! What happens before `run::main`, on Linux with glibc: less than usual. Together a fifteenth of the time of a publish of
//! one event.
//!
//! Rust's own start reads the map of the whole process, to say "stack overflow" where the kernel says "segmentation
//! fault". Without it the rest of what it does is done here: descriptors 0 to 2 are open, SIGPIPE is an error of a write.

use std::ffi::{c_char, c_int};

use nix::libc;

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    for standard in 0..=2 {
        // SAFETY: asks and opens; nothing else runs yet. A closed one is else given to the next file, and what is printed
        // goes there.
        unsafe {
            if libc::fcntl(standard, libc::F_GETFD) == -1
                && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == -1
            {
                libc::abort();
            }
        }
    }
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    #[cfg(all(feature = "kafka", target_arch = "x86_64"))]
    openssl::started();
    let run = || evcat::run::main(std::env::args_os().collect());
    // As Rust's own start answers a panic, which has said what it is.
    std::panic::catch_unwind(run).unwrap_or(101).into()
}

/// All that the progress bar and the big numbers of jq want of the C library's `libm.so`: without it that library is not
/// loaded, which would be a fiftieth of the time of a publish of one event.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod math {
    // SAFETY: both are the functions that C means by these names.
    #[unsafe(no_mangle)]
    extern "C" fn pow(base: f64, exponent: f64) -> f64 {
        libm::pow(base, exponent)
    }

    #[unsafe(no_mangle)]
    extern "C" fn log2(x: f64) -> f64 {
        libm::log2(x)
    }
}

/// OpenSSL, linked in with Kafka, asks the processor what it can before `main`, and in a virtual machine each question
/// goes to the host: as much time as SQLite takes for a commit without its sync. It asks once more when it is first used
/// (`ossl_init_base`); that is early enough. See `--wrap` in `build.rs`.
#[cfg(all(feature = "kafka", target_arch = "x86_64"))]
mod openssl {
    use std::sync::atomic::{AtomicBool, Ordering};

    static STARTED: AtomicBool = AtomicBool::new(false);

    unsafe extern "C" {
        fn __real_OPENSSL_cpuid_setup();
    }

    pub fn started() {
        STARTED.store(true, Ordering::Relaxed);
    }

    #[unsafe(no_mangle)]
    extern "C" fn __wrap_OPENSSL_cpuid_setup() {
        if STARTED.load(Ordering::Relaxed) {
            // SAFETY: what OpenSSL called, with its arguments: none.
            unsafe { __real_OPENSSL_cpuid_setup() }
        }
    }
}
