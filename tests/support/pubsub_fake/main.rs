//! The Pub/Sub of the tests as a server to try evcat on: `cargo run --example pubsub-fake -- 127.0.0.1:8085`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "for people who work on evcat")]

#[path = "mod.rs"]
mod pubsub_fake;

fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8085".to_owned());
    let fake = pubsub_fake::Fake::at(address.parse().expect("an address such as 127.0.0.1:8085"));
    println!("export PUBSUB_EMULATOR_HOST={}", fake.address);
    fake.wait();
}
