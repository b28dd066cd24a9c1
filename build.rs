//! How the binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[allow(clippy::disallowed_methods)] // of cargo, about what is built
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // 25,000 addresses would be relocated at every start, and 250 pages copied for it: a fifth of `evcat -V`, and of a
    // publish of one event. The price: the image itself lies at a fixed place; heap, stack and libraries do not.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
