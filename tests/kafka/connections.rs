//! Who answers on the port, and what is said where nobody does. Needs no broker.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use evcat::broker::{Error, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{DEADLINE, run, try_broker, words};

/// Listens, and does this with every connection, for as long as the test runs.
fn stranger(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(connection));
        }
    });
    address
}

/// What `check` says, and how long it took to say so.
fn refusal(url: &str, timeout: Duration) -> (Error, Duration) {
    let begun = Instant::now();
    let error = run(async { try_broker(url, timeout, &[]).unwrap().check().await }).unwrap_err();
    (error, begun.elapsed())
}

/// Reads the first request.
fn read_some(connection: &mut TcpStream) {
    let _ = connection.read(&mut [0; 512]);
}

#[test]
fn a_port_where_nobody_listens_is_waited_for_and_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (error, took) = refusal(&format!("kafka://127.0.0.1:{port}"), Duration::from_millis(700));
    assert_eq!(error.kind(), Kind::Unreachable);
    let said = words(&error);
    assert!(said.contains(&format!("127.0.0.1:{port}: Connection refused")), "{said}");
    assert!(said.contains("within 700ms") && said.contains("--timeout"), "{said}");
    assert!(took >= Duration::from_millis(700) && took < DEADLINE, "{took:?}");
}

#[test]
fn one_who_is_silent_is_told_of_as_no_answer() {
    let address = stranger(|mut connection| while connection.read(&mut [0; 512]).is_ok_and(|n| n > 0) {});
    let (error, _) = refusal(&format!("kafka://{address}"), Duration::from_millis(700));
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(words(&error).contains(&format!("no answer within 700ms from {address}")), "{}", words(&error));
}

#[test]
fn something_that_is_not_kafka_is_noticed_at_once() {
    let address = stranger(|mut connection| {
        read_some(&mut connection);
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        read_some(&mut connection);
    });
    let (error, took) = refusal(&format!("kafka://{address}"), DEADLINE);
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(words(&error).contains("not Kafka"), "{}", words(&error));
    assert!(took < DEADLINE / 2, "no patience helps: {took:?}");
}

#[test]
fn tls_where_none_is_spoken_is_noticed_at_once() {
    let address = stranger(|mut connection| {
        read_some(&mut connection);
        let _ = connection.write_all(b"what do you mean?");
        read_some(&mut connection);
    });
    let (error, took) = refusal(&format!("kafkas://{address}"), DEADLINE);
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(words(&error).contains("does not speak TLS"), "{}", words(&error));
    assert!(words(&error).contains("kafka:// instead of kafkas://"), "{}", words(&error));
    assert!(took < DEADLINE / 2, "no patience helps: {took:?}");
}

/// Which a broker does too that goes, or one between us and it that has not found it yet.
#[test]
fn one_who_hangs_up_is_waited_for_and_may_want_tls_or_none() {
    let address = stranger(|mut connection| read_some(&mut connection));
    for (scheme, hint) in
        [("kafka", "kafkas:// instead of kafka://"), ("kafkas", "kafka:// instead of kafkas://")]
    {
        let patience = Duration::from_millis(700);
        let (error, took) = refusal(&format!("{scheme}://{address}"), patience);
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(words(&error).contains(hint), "{}", words(&error));
        assert!(took >= patience, "{took:?}");
    }
    // Where it asks how to log in: its first question, with these.
    let old = [("api.version.request", "false"), ("broker.version.fallback", "1.0.0")];
    let options = [&old[..], &[("password", "p"), ("sasl.mechanism", "PLAIN")]].concat();
    let begun = Instant::now();
    let broker = try_broker(&format!("kafka://u@{address}"), Duration::from_secs(1), &options).unwrap();
    let error = run(async { broker.check().await }).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{}", words(&error));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{}", words(&error));
}

#[test]
fn a_name_that_is_nobodys_is_named() {
    let (error, _) = refusal("kafka://nobody.invalid", Duration::from_millis(700));
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(words(&error).contains("nobody.invalid"), "{}", words(&error));
}

#[test]
fn leaving_waits_for_nobody() {
    run(async {
        let broker = try_broker("kafka://127.0.0.1:1", Duration::from_millis(100), &[]).unwrap();
        assert!(broker.check().await.is_err());
        let begun = Instant::now();
        drop(broker);
        assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_signal_ends_what_waits_for_a_broker() {
    let commands = [
        &["topics", "list"][..],
        &["groups", "list"],
        &["tail", "t"],
        &["replay", "t"],
        &["replay", "t", "--dry-run"],
        &["subscribe", "t", "-g", "g"],
        &["dlq", "list"],
        &["dlq", "peek", "t"],
        &["dlq", "replay", "t", "--yes"],
        &["dlq", "drop", "t", "0:1", "--yes"],
    ];
    for command in commands {
        let mut evcat = Command::new(env!("CARGO_BIN_EXE_evcat"))
            .args(["-b", "kafka://127.0.0.1:1", "--timeout", "1h"])
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        // Before it listens to signals one ends it in any case.
        while !catches_sigterm(evcat.id()) {
            assert!(begun.elapsed() < DEADLINE && evcat.try_wait().unwrap().is_none(), "{command:?}");
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(evcat.id() as i32), Signal::SIGTERM).unwrap();
        while evcat.try_wait().unwrap().is_none() {
            if begun.elapsed() > DEADLINE {
                evcat.kill().unwrap();
                panic!("{command:?} still waits");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn catches_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::SIGTERM as u32 - 1)) != 0
}
