//! What holds for every command: exit codes, how errors read, which broker is used, the settings of a home.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A home of its own, and evcat in it with nothing else in the environment.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
        command.env_clear().env("HOME", self.path()).current_dir(self.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        said(self.command(arguments).output())
    }
}

fn said(output: std::io::Result<Output>) -> (i32, String, String) {
    let output = output.expect("evcat runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn alone_it_shows_the_first_screen_and_exits_2() {
    let (code, out, err) = Home::new().run(&[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("evcat help story") && err.contains("~/.local/share/evcat/local.db"), "{err}");
}

#[test]
fn the_version_is_one_line_and_needs_nothing() {
    let home = Home::new();
    std::fs::create_dir_all(home.path().join(".config/evcat")).expect("made");
    std::fs::write(home.path().join(".config/evcat/config.toml"), "broken").expect("written");
    assert_eq!(home.run(&["-V"]), (0, format!("evcat {}\n", env!("CARGO_PKG_VERSION")), String::new()));
    let (code, out, _) = home.run(&["--version"]);
    assert!(code == 0 && out.contains("local") && out.contains("SQLite"), "{out}");
    let bare = said(home.command(&["-V"]).env_remove("HOME").output());
    assert_eq!((bare.0, bare.2.as_str()), (0, ""));
}

#[test]
fn what_was_typed_wrong_is_exit_2_with_a_hint_and_nothing_on_stdout() {
    let home = Home::new();
    for (arguments, error, hint) in [
        (&["tial"][..], "unrecognized subcommand 'tial'", "'tail'"),
        (&["topics", "list", "--outptu"], "unexpected argument '--outptu'", "'--output'"),
        (&["topics", "list", "--timeout", "5"], "a unit is missing", "1h30m"),
        (
            &["-b", "nosuch", "profiles", "check"],
            "there is no profile 'nosuch'",
            "evcat profiles add nosuch URL",
        ),
        (&["-b", "locla:", "profiles", "check"], "knows no broker 'locla'", "'local:'"),
        (&["-b", "local://x", "profiles", "check"], "has no host", "local:x"),
        (&["-X", "nonsense", "profiles", "check"], "KEY=VALUE", "-X help"),
        (&["-X", "no.such=1", "profiles", "check"], "no such option", "-X help"),
        (&["profiles", "add", "a b", "local:"], "a name has letters", "prod"),
    ] {
        let (code, out, err) = home.run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.starts_with("error: ") || err.contains("\nerror: "), "{err}");
        assert!(err.contains(error) && err.contains(hint), "{arguments:?}: {err}");
    }
}

#[test]
fn a_password_in_a_url_is_never_printed() {
    for scheme in ["nosuch", "kafka"] {
        let url = format!("{scheme}://me:hunter2@host?secret=hunter3");
        let (code, out, err) = Home::new().run(&["-v", "-b", &url, "profiles", "check"]);
        assert!(code == 2 && !format!("{out}{err}").contains("hunter"), "{out}{err}");
        assert!(scheme == "kafka" || err.contains("nosuch://me:***@host"), "{err}");
    }
}

#[test]
fn the_default_broker_is_announced_off_a_terminal_only_while_nobody_chose() {
    let home = Home::new();
    let (code, _, err) = home.run(&["profiles", "check"]);
    assert!(code == 0 && err.contains("broker: local:"), "{err}");
    let (_, _, err) = home.run(&["-q", "profiles", "check"]);
    assert_eq!(err, "");
    let (_, _, err) = home.run(&["-b", "local:", "profiles", "check"]);
    assert!(!err.contains("broker:"), "{err}");
    let (code, _, err) = said(home.command(&["profiles", "check"]).env("EVCAT_BROKER", "").output());
    assert!(code == 2 && err.contains("EVCAT_BROKER is set and empty"), "{err}");
    let (code, _, err) =
        said(home.command(&["profiles", "check"]).env("EVCAT_BROKER", "local:x.db").output());
    assert!(code == 0 && !err.contains("broker: local:"), "{err}");
}

#[test]
fn with_a_profile_and_none_in_use_a_broker_must_be_named() {
    let home = Home::new();
    assert_eq!(home.run(&["profiles", "add", "work", "local:w.db"]).0, 0);
    let (code, _, err) = home.run(&["profiles", "check"]);
    assert!(
        code == 2 && err.contains("-b work, -b local:") && err.contains("evcat profiles use work"),
        "{err}"
    );
    assert_eq!(home.run(&["profiles", "check", "-b", "work"]).0, 0);
    assert_eq!(home.run(&["profiles", "use", "work"]).0, 0);
    assert_eq!(home.run(&["profiles", "check"]).0, 0);
    let (code, _, err) = home.run(&["profiles", "use", "wrok"]);
    assert!(code == 2 && err.contains("did you mean 'work'?"), "{err}");
    let (_, _, err) = home.run(&["profiles", "remove", "work"]);
    assert!(err.contains("local: is the default again"), "{err}");
}

#[test]
fn a_profile_is_listed_as_table_and_as_json_and_found_from_any_directory() {
    let home = Home::new();
    home.run(&["profiles", "add", "work", "local:w.db", "--read-only", "--use"]);
    let file = format!("local:{}/w.db", home.path().canonicalize().expect("there").display());
    let (_, out, _) = home.run(&["profiles", "list"]);
    assert!(out.starts_with("PROFILE ") && out.contains(&file), "{out}");
    let (_, out, _) = home.run(&["profiles", "list", "-o", "json"]);
    let line: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((line["profile"].as_str(), line["url"].as_str()), (Some("work"), Some(file.as_str())));
    assert_eq!((line["read_only"].as_bool(), line["in_use"].as_bool()), (Some(true), Some(true)));
    let (code, out, _) = home.run(&["profiles", "show"]);
    assert!(code == 0 && out.contains("read only  yes"), "{out}");
}

#[test]
fn a_read_only_profile_refuses_every_write() {
    let home = Home::new();
    home.run(&["-b", "local:w.db", "topics", "create", "orders"]);
    home.run(&["profiles", "add", "safe", "local:w.db", "--read-only", "--use"]);
    assert_eq!(home.run(&["profiles", "check"]).0, 0, "looking is allowed");
    for arguments in [
        &["topics", "create", "x"][..],
        &["topics", "delete", "orders", "--yes"],
        &["groups", "create", "g", "orders"],
    ] {
        let (code, _, err) = home.run(arguments);
        assert!(code == 5 && err.contains("evcat profiles show safe"), "{arguments:?}: {err}");
    }
}

#[test]
fn without_a_home_there_are_words_and_no_panic() {
    let home = Home::new();
    let bare = |arguments: &[&str]| said(home.command(arguments).env_remove("HOME").output());
    let (code, _, err) = bare(&["profiles", "check"]);
    assert!(
        code == 2 && err.contains("neither XDG_DATA_HOME nor HOME is set") && err.contains("-b local:PATH"),
        "{err}"
    );
    assert_eq!(bare(&["-b", "local:x.db", "profiles", "check"]).0, 0);
    let (code, _, err) = bare(&["profiles", "add", "a", "local:/x"]);
    assert!(code == 2 && err.contains("neither XDG_CONFIG_HOME nor HOME is set"), "{err}");
    assert_eq!(bare(&["help"]).0, 0);
}

#[test]
fn a_full_disk_is_a_failure_and_a_reader_who_left_is_none() {
    let home = Home::new();
    for arguments in [&["help"][..], &["--help"], &["--version"], &["completions", "bash"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("there");
        let (code, _, err) = said(home.command(arguments).stdout(full).stderr(Stdio::piped()).output());
        assert!(code == 1 && err.contains("No space left"), "{arguments:?}: {code} {err}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, _, err) = said(home.command(arguments).stdout(writer).stderr(Stdio::piped()).output());
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn colour_is_only_written_when_asked_for() {
    let home = Home::new();
    assert!(!home.run(&["tial"]).2.contains('\x1b'));
    assert!(home.run(&["--color=always", "tial"]).2.contains('\x1b'));
    assert!(!home.run(&["--color", "never", "--help"]).1.contains('\x1b'));
}

#[test]
fn every_command_has_help_that_fits_and_says_what_it_does() {
    let home = Home::new();
    let (code, out, _) = home.run(&["--help"]);
    assert_eq!(code, 0);
    let commands =
        out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for name in
        commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
    {
        let (code, out, err) = home.run(&[name, "--help"]);
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        assert!(out.contains("Usage: ") && out.contains("Global options:"), "{name}: {out}");
    }
}
