//! Finding, starting and ending the processes of handlers.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use is_executable::IsExecutable;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::flow::lanes::{Failure, Verdict};
use crate::outcome::Failure as Refusal;

/// After it was asked to end, a handler is killed so much later.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A command that was found.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it lies.
    pub path: PathBuf,
    /// As it was typed: what the process is told its name is.
    pub name: OsString,
}

/// Finds a command as a shell would: with a slash it is a path, else it is looked for in `PATH`.
pub fn look_up(name: &OsStr, search: Option<&OsStr>) -> Result<Program, Refusal> {
    let shown = name.to_string_lossy();
    let refuse =
        |why: &str, hint: String| Err(Refusal::usage(format!("the handler '{shown}' {why}")).hint(hint));
    let found = |path: PathBuf| Ok(Program { path, name: name.to_owned() });
    if name.is_empty() {
        return refuse(
            "has no name",
            "a command stands after --: evcat subscribe orders -g g -- ./ship.sh".into(),
        );
    }
    if name.as_encoded_bytes().contains(&b'/') {
        let path = Path::new(name);
        if path.is_dir() {
            return refuse("is a directory", format!("ls {shown}"));
        }
        return match (path.exists(), path.is_executable()) {
            (false, _) => {
                refuse("does not exist", "a path is relative to the directory evcat runs in".into())
            }
            (true, false) => refuse("may not be executed", format!("chmod +x {shown}")),
            (true, true) => found(path.to_owned()),
        };
    }
    let directories = search.map(std::env::split_paths).into_iter().flatten();
    let candidates: Vec<_> =
        directories.map(|directory| directory.join(name)).filter(|p| p.is_file()).collect();
    match (candidates.iter().find(|path| path.is_executable()), candidates.first()) {
        (Some(path), _) => found(path.clone()),
        (None, Some(path)) => refuse("may not be executed", format!("chmod +x {}", path.display())),
        (None, None) if Path::new(name).is_file() => {
            refuse("is not in PATH", format!("to run the file here: -- ./{shown}"))
        }
        (None, None) => {
            refuse("is not in PATH", "no shell is involved; for one: -- sh -c 'COMMAND LINE'".into())
        }
    }
}

/// A process in a group of its own: Ctrl-C in the terminal is for evcat, which lets handlers finish; and what is ended
/// is ended with its children.
pub fn command(program: &Program, args: &[OsString]) -> Command {
    let mut command = Command::new(&program.path);
    command
        .arg0(&program.name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    #[cfg(target_os = "linux")]
    end_with_us(&mut command);
    command
}

/// Where evcat is killed outright nobody is left to end the handler, and its event is handed out again meanwhile. The
/// system ends it then: not its children, and nothing that changes its user. It does so when the thread ends that started
/// it, which is the one of the runtime and of `main`.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    let us = nix::unistd::getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Killed since the fork: nobody would tell.
        match nix::unistd::getppid() == us {
            true => Ok(()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        }
    };
    // SAFETY: two system calls, nothing is allocated or locked.
    unsafe { command.pre_exec(ask) };
}

/// The process groups that run.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// As long as this lives, a second Ctrl-C ends the process and its children before it ends us: nobody would wait for
/// them any more, and their events are handed out again.
pub struct Leash(Option<i32>);

impl Leash {
    /// Of a process that was started by [`command`].
    pub fn of(child: &Child) -> Leash {
        crate::shutdown::before_the_end(|| {
            for group in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
            }
        });
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).extend(group);
        Leash(group)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
        }
    }
}

/// Why a process could not be started, and whether another event could fare better.
pub fn not_started(program: &Program, error: &std::io::Error) -> Verdict {
    let failure = Failure::new("exec", format!("{} could not be started", program.name.to_string_lossy()))
        .said(error.to_string());
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => Verdict::Halt(failure),
        _ => Verdict::Retry(failure),
    }
}

/// How a process ended, as a verdict on its event.
pub fn verdict(status: ExitStatus, said: String) -> Verdict {
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Ack,
        (Some(65), _) => Verdict::Dead(Failure::new("exit", "exit 65").said(said)),
        (Some(code @ (126 | 127)), _) => {
            Verdict::Halt(Failure::new("exit", format!("exit {code}")).said(said))
        }
        (Some(code), _) => Verdict::Retry(Failure::new("exit", format!("exit {code}")).said(said)),
        (None, signal) => {
            let what = format!("killed by signal {}", signal.unwrap_or_default());
            Verdict::Retry(Failure::new("signal", what).said(said))
        }
    }
}

/// Ends a process and its children: asks, waits a little, kills.
pub async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
    let _ = killpg(group, Signal::SIGTERM);
    let _ = tokio::time::timeout(LAST_WORDS, child.wait()).await;
    // Also where it ended by itself: its children may not have.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn finds_what_a_shell_would_and_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("plain"), "x").unwrap();
        std::fs::write(path("tool"), "x").unwrap();
        std::fs::set_permissions(path("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = Some(dir.path().as_os_str());
        let look = |name: &OsStr| look_up(name, search).map(|p| p.path).map_err(|refusal| refusal.message);
        assert_eq!(look("tool".as_ref()), Ok(path("tool")));
        assert_eq!(look(path("tool").as_os_str()), Ok(path("tool")));
        for (name, why) in [
            ("plain".into(), "may not be executed"),
            ("none".into(), "is not in PATH"),
            ("".into(), "has no name"),
            (path("plain").into_os_string(), "may not be executed"),
            (path("none").into_os_string(), "does not exist"),
            (dir.path().as_os_str().to_owned(), "is a directory"),
        ] {
            let error = look(&name).unwrap_err();
            assert!(error.ends_with(why), "{error}");
        }
        assert!(look_up("tool".as_ref(), None).is_err());
    }

    #[test]
    fn an_exit_says_what_becomes_of_the_event() {
        let exit = |code: i32| verdict(ExitStatus::from_raw(code << 8), String::new());
        assert_eq!(exit(0), Verdict::Ack);
        assert!(matches!(exit(65), Verdict::Dead(_)));
        assert!(matches!(exit(126), Verdict::Halt(_)));
        assert!(matches!(exit(127), Verdict::Halt(_)));
        assert!(matches!(exit(1), Verdict::Retry(_)));
        let Verdict::Retry(failure) = verdict(ExitStatus::from_raw(9), "no".into()) else { panic!() };
        assert_eq!(failure.to_string(), "killed by signal 9: no");
    }
}
