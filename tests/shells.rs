//! The completion scripts, loaded in their real shells at a real terminal, complete the name of a topic that exists.
//!
//! A shell that is not installed is said and skipped; `EVCAT_REQUIRE_ALL=1` turns that into a failure.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

const TOPIC: &str = "orders-live-7";
/// Somebody else's choice of a name.
const HOSTILE: &str = "we $(touch ran)";
const EVCAT: &str = env!("CARGO_BIN_EXE_evcat");

fn evcat(home: &Path) -> Command {
    let mut command = Command::new(EVCAT);
    surround(&mut command, home);
    command
}

fn surround(command: &mut Command, home: &Path) {
    let directory = Path::new(EVCAT).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear().env("HOME", home).env("TERM", "dumb").env("LC_ALL", "C");
    command.env("PATH", format!("{}:{path}", directory.display())).current_dir(home);
}

/// A shell at a terminal of its own, and what it has printed.
struct Terminal {
    shell: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(mut shell: Command) -> Option<Terminal> {
        let size = Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("cloned"));
        let shell = match shell.stdin(side()).stdout(side()).stderr(side()).spawn() {
            Ok(shell) => shell,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().expect("cloned");
        let (send, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                if send.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Terminal { shell, keys, screen, seen: String::new() })
    }

    fn type_keys(&mut self, keys: &str) {
        self.seen.clear();
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }

    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            let bytes =
                self.screen.recv_timeout(left).unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn home_with_topic() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    for topic in [TOPIC, HOSTILE] {
        let made = evcat(home.path()).args(["topics", "create", topic]).output().expect("runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    home
}

fn missing(shell: &str) {
    assert!(std::env::var_os("EVCAT_REQUIRE_ALL").is_none(), "{shell} is not installed");
    // Not by `eprintln!`, which the test runner keeps to itself while a test passes.
    writeln!(std::io::stderr(), "SKIPPED: {shell} is not installed").expect("stderr is there");
}

/// Loads the script as people are told to, types the beginning of a name and a tab.
fn completes(shell: &str, arguments: &[&str], load: &str) {
    let home = home_with_topic();
    let mut command = Command::new(shell);
    surround(&mut command, home.path());
    let Some(mut terminal) = Terminal::start({
        command.args(arguments);
        command
    }) else {
        return missing(shell);
    };
    // Sums are printed only where the line was run, not where it is echoed.
    terminal.type_keys(&format!("{load}; echo ready-$((40+2))\n"));
    terminal.wait_for("ready-42");
    terminal.type_keys("evcat topics describe ord\t");
    terminal.wait_for(TOPIC);
    terminal.type_keys("\x15evcat topics describe -b local:");
    terminal.type_keys(&format!("{}/.local/share/evcat/local.db ord\t", home.path().display()));
    terminal.wait_for(TOPIC);
    terminal.type_keys("\x15evcat compl\t");
    terminal.wait_for("completions");
    // Echoed with its quotes, printed without them.
    terminal.type_keys("\x15evcat tail --no-follow we\t");
    terminal.wait_for("ran");
    terminal.type_keys("\n");
    terminal.wait_for(&format!("{HOSTILE} on local: no events"));
    assert!(!home.path().join("ran").exists(), "a name is not run");
}

#[test]
fn bash_completes_a_live_topic() {
    completes("bash", &["--norc", "--noprofile", "-i"], "source <(evcat completions bash)");
}

#[test]
fn zsh_completes_a_live_topic() {
    let load = "autoload -Uz compinit; compinit -u -d $HOME/dump; source <(evcat completions zsh)";
    completes("zsh", &["-f", "-i"], load);
}

#[test]
fn fish_completes_a_live_topic() {
    let home = home_with_topic();
    let mut command = Command::new("fish");
    surround(&mut command, home.path());
    let ask =
        "evcat completions fish | source; complete -C 'evcat topics describe ord'; complete -C 'evcat tai'";
    match command.args(["--no-config", "-c", ask]).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let words: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
            assert_eq!(words, [TOPIC, "tail"], "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing("fish"),
        Err(error) => panic!("{error}"),
    }
}

fn asked(home: &Path, words: &[&str]) -> (String, String, Duration) {
    let start = Instant::now();
    let index = (words.len() - 1).to_string();
    let mut command = evcat(home);
    command.env("EVCAT_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
    let output = command.arg("--").args(words).output().expect("runs");
    assert!(output.status.success());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), start.elapsed())
}

#[test]
fn nothing_is_said_where_nothing_can_be_asked() {
    let home = tempfile::tempdir().expect("a directory");
    for broker in ["nowhere", "xyz://host", "local:/nowhere/x.db", "local:"] {
        let (out, err, _) = asked(home.path(), &["evcat", "topics", "describe", "-b", broker, "ord"]);
        assert_eq!((out.as_str(), err.as_str()), ("", ""), "{broker}");
    }
    assert!(!home.path().join(".local").exists(), "asking for names makes no file");
}

#[test]
fn a_password_command_is_never_run() {
    let home = tempfile::tempdir().expect("a directory");
    let config = home.path().join(".config/evcat");
    std::fs::create_dir_all(&config).expect("made");
    let text = "[profiles.zed]\nurl = 'local:'\npassword_command = 'touch ran'\n";
    std::fs::write(config.join("config.toml"), text).expect("written");
    let (out, err, _) = asked(home.path(), &["evcat", "topics", "describe", "-b", "zed", ""]);
    assert!(err.is_empty() && !out.contains("ran"));
    assert!(!home.path().join("ran").exists());
    let (out, _, _) = asked(home.path(), &["evcat", "tail", "-b", "z"]);
    assert_eq!(out, "zed", "profiles are completed");
}
