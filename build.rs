//! How the binary is linked.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[allow(clippy::disallowed_methods)] // of cargo, about what is built
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // Only for those who build for the machine they build on: the compiler asked below is that one's.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // 25,000 addresses would be relocated at every start, and 250 pages copied for it: a fifth of `evcat -V`, and
        // of a publish of one event. The price: the image itself lies at a fixed place; heap, stack and libraries do
        // not.
        println!("cargo:rustc-link-arg-bins=-no-pie");
        if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_FEATURE_KAFKA", "1") {
            // See `openssl` in `src/start.rs`.
            println!("cargo:rustc-link-arg-bins=-Wl,--wrap=OPENSSL_cpuid_setup");
        }
        if is("HOST", "x86_64-unknown-linux-gnu") && is("TARGET", "x86_64-unknown-linux-gnu") {
            unwind_from_an_archive();
        }
    }
}

/// What Rust unwinds the stack with, out of an archive and not out of `libgcc_s.so`: to load that costs 0.1 ms at every
/// start, half of it to ask the processor what it can. Named here the archive stands before the shared library, which
/// then nothing needs. Where there is no such archive all stays as it was.
fn unwind_from_an_archive() {
    let Ok(found) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let found = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if let Some(dir) = Path::new(&found).parent().filter(|dir| dir.is_absolute()) {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
