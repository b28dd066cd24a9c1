//! The question before something is deleted or moved.

use std::io::{BufRead, IsTerminal};

use super::Ui;
use crate::outcome::Failure;

/// Asks on a terminal; `Ok(false)` is a no. Without a terminal it refuses with exit 2 unless `yes` was given, because a
/// script that forgot `--yes` must not wait for an answer that never comes.
pub async fn confirm(ui: &Ui, yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !ui.err.terminal {
        let refusal = format!("{question} Nobody is here to say yes");
        return Err(Failure::usage(refusal).hint("the same command with --yes does it").into());
    }
    ui.ask(format_args!("{question} [y/N] "));
    // Reading blocks, and Ctrl-C must still end the program: the thread is left behind then.
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let _ = answer.send(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"));
    });
    Ok(answered.await.unwrap_or(false))
}
