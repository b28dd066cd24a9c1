//! What the tests of every command need: a home of one's own, evcat in it, and evcat while it runs.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

/// Longer than anything here takes on a busy machine; what does not come by then will not come.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// A directory that is home and working directory, with nothing else in the environment.
pub struct Home(tempfile::TempDir);

/// How a command ended and what it said.
pub struct Ran {
    /// As the shell sees it: 128 and the number of the signal.
    pub code: i32,
    /// It was a signal that ended it.
    pub by_signal: bool,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// What stands in a file; nothing where there is none yet.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
        command.args(args);
        self.settle(&mut command);
        command
    }

    fn settle(&self, command: &mut Command) {
        let program = Path::new(env!("CARGO_BIN_EXE_evcat")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        command
            .env_clear()
            .envs([("TZ", "UTC"), ("LANG", "C.UTF-8"), ("EVCAT_BROKER", "local:")])
            .env("PATH", format!("{}:{path}", program.display()))
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
    }

    /// Runs it to its end, with nothing on stdin.
    pub fn run(&self, args: &[&str]) -> Ran {
        Running::new(&mut self.command(args)).end()
    }

    /// Runs it with this on stdin.
    pub fn feed(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let input = self.input(input.as_ref());
        Running::new(self.command(args).stdin(input)).end()
    }

    fn input(&self, input: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile_in(self.0.path()).unwrap();
        file.write_all(input).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    /// Runs a line of bash, in which `evcat` is ours.
    pub fn bash(&self, line: &str) -> Ran {
        let mut command = Command::new("bash");
        self.settle(&mut command);
        Running::new(command.args(["-c", line])).end()
    }

    /// Runs a line of bash in a terminal of 80 columns; what is seen there, with what was written over.
    pub fn terminal(&self, line: &str) -> String {
        let line = format!("stty cols 80 rows 50; {line}");
        let mut command = Command::new("script");
        self.settle(&mut command);
        command.envs([("TERM", "xterm"), ("SHELL", "/bin/bash")]);
        let output = command.args(["-qec", &line, "/dev/null"]).output();
        let output = output.expect("script(1) of util-linux runs");
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// Begins it, with stdin open.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::new(self.command(args).stdin(Stdio::piped()))
    }

    /// Every event of a topic, as `-o json` has them.
    #[track_caller]
    pub fn events(&self, topic: &str) -> Vec<Value> {
        self.lines(topic).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The canonical lines of a topic.
    #[track_caller]
    pub fn lines(&self, topic: &str) -> Vec<String> {
        let all = self.run(&["tail", topic, "--from", "beginning", "--no-follow", "-o", "json"]).ok();
        all.out.lines().map(str::to_owned).collect()
    }

    /// The payloads of a topic: text as it is, all else as JSON.
    #[track_caller]
    pub fn payloads(&self, topic: &str) -> Vec<String> {
        self.column(topic, "payload")
    }

    /// One member of every event of a topic: text as it is, all else as JSON.
    #[track_caller]
    pub fn column(&self, topic: &str, member: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.events(topic).iter().map(|event| text(&event[member])).collect()
    }

    /// What `groups lag` knows of a group: `lag`, `dead`, `members` and more.
    #[track_caller]
    pub fn group(&self, group: &str) -> Value {
        let found = self.run(&["groups", "lag", group, "-o", "json"]).ok();
        serde_json::from_str(found.out.lines().next().unwrap_or("null")).unwrap()
    }

    /// Looks again and again until there is something.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Home) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begun.elapsed() < DEADLINE, "never came: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran::new(output.status, text(output.stdout), text(output.stderr))
    }
}

impl Ran {
    fn new(status: ExitStatus, out: String, err: String) -> Ran {
        let by_signal = status.signal().is_some();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ran { code, by_signal, out, err }
    }

    /// It was done.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exit(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn exit(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// It said this on stderr.
    #[track_caller]
    pub fn said(self, words: &str) -> Ran {
        assert!(self.err.contains(words), "not said: {words}\nstderr: {}", self.err);
        self
    }

    /// It printed exactly this.
    #[track_caller]
    pub fn printed(self, out: &str) -> Ran {
        assert_eq!(self.out, out, "stderr: {}", self.err);
        self
    }
}

/// A command that has not ended yet. Dropped, it is killed.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

fn gather(mut from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> std::thread::JoinHandle<()> {
    let into = into.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    })
}

impl Running {
    pub fn new(command: &mut Command) -> Running {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let (out, err) = <(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let readers =
            vec![gather(child.stdout.take().unwrap(), &out), gather(child.stderr.take().unwrap(), &err)];
        Running { stdin: child.stdin.take(), child, out, err, readers }
    }

    /// Writes to its stdin, which stays open.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// Waits until this stands on stdout.
    #[track_caller]
    pub fn prints(&self, text: &str) {
        self.wait(text, Running::out);
    }

    /// Waits until this stands on stderr.
    #[track_caller]
    pub fn says(&self, text: &str) {
        self.wait(text, Running::err);
    }

    #[track_caller]
    fn wait(&self, text: &str, seen: impl Fn(&Running) -> String) {
        let begun = Instant::now();
        while !seen(self).contains(text) {
            let waited = begun.elapsed() < DEADLINE;
            assert!(waited, "never came: {text}\nstdout: {}\nstderr: {}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends it again and again until it has ended.
    #[track_caller]
    pub fn insist(&mut self, signal: Signal) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < DEADLINE, "it does not end");
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Closes its stdin.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let waited = begun.elapsed() < DEADLINE;
            assert!(waited, "it does not end\nstdout: {}\nstderr: {}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ran::new(status, self.out(), self.err())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // With what it started, where that was a pipeline.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
