//! An account of one test's own at a stand-in for AWS that all share: there it is whatever twelve digits the access key is.

/// The shared URL, as another account.
pub fn new(shared: &str) -> String {
    let (_, rest) = shared.split_once("://").expect("a URL");
    let (_, rest) = rest.split_once(':').expect("an access key and its secret");
    format!("aws://{:012}:{rest}", fastrand::u64(100_000_000_000..1_000_000_000_000))
}
