//! What holds between the events of one key, whatever their handlers do.

use nix::sys::signal::Signal::SIGINT;

use crate::rig::Home;

/// Runs workers with this script, which logs to `log`, two at a time, each event once; answers what was logged.
fn logged(home: &Home, script: &str, flags: &[&str]) -> Vec<String> {
    home.write("worker.sh", script);
    let work = ["subscribe", "orders", "-g", "g", "--from", "beginning", "--no-follow", "--concurrency", "2"];
    let run = ["--worker", "--", "sh", "worker.sh"];
    home.run(&[&work[..], flags, &run[..]].concat()).exit(6);
    home.read("log").lines().map(str::to_owned).collect()
}

#[test]
fn a_worker_that_took_too_long_has_ended_before_the_next_event_of_its_key_begins() {
    let home = Home::new();
    // While the first lane is being freed the second goes through other keys, and then takes what is next.
    let keys = ["A slow", "B -", "C -", "B -", "C -", "B -", "C -", "A next"];
    let line = |(k, n): (&str, &str)| format!("{{\"k\":\"{k}\",\"n\":\"{n}\"}}\n");
    let publish = ["publish", "orders", "--key-from", ".payload.k"];
    home.feed(&publish, keys.iter().filter_map(|event| event.split_once(' ')).map(line).collect::<String>())
        .ok();
    let script = "trap '' TERM
while IFS= read -r line; do
  case $line in
    *slow*) echo begin >> log; sleep 2; echo end >> log;;
    *next*) echo next >> log; echo ok;;
    *) sleep 0.2; echo ok;;
  esac
done
";
    let log = logged(&home, script, &["--handler-timeout", "500ms", "--max-attempts", "1"]);
    assert_eq!(log, ["begin", "end", "next"]);
}

#[test]
fn a_second_ctrl_c_ends_the_handlers_too() {
    let home = Home::new();
    home.run(&["publish", "orders", "1"]).ok();
    for flags in [&[][..], &["--worker"]] {
        let work = ["subscribe", "orders", "-g", "g", "--from", "beginning"];
        let run = ["--", "sh", "-c", "echo $$ > pid; exec sleep 100"];
        let subscribe = home.start(&[&work[..], flags, &run[..]].concat());
        let pid = home.until("a handler", |home| home.read("pid").trim().parse::<i32>().ok());
        std::fs::remove_file(home.path("pid")).unwrap();
        // Dead is dead, whether or not anybody has asked how it ended.
        let is_gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        home.until("the end of the handler", |_| {
            subscribe.signal(SIGINT);
            is_gone().then_some(())
        });
        assert!(subscribe.end().exit(130).by_signal);
    }
}
