//! From the arguments of the process to its exit code.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;

use clap::ValueEnum;

use crate::broker::BACKENDS;
use crate::cli::{self, Cli, Command, GlobalArgs, When};
use crate::commands::{self, help};
use crate::outcome::{self, Exit, Failure, Outcome};
use crate::output::stdout::{Closed, print};
use crate::output::ui::trace_to_stderr;
use crate::output::{Style, Ui};
use crate::session::{Choice, Setup, broker_flag};
use crate::settings::environment;
use crate::shutdown::{self, Stop};
use crate::usage;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// See [`or_left`].
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs `evcat` with these arguments, the first of which is its own name; the exit code of the process.
pub fn main(arguments: Vec<OsString>) -> u8 {
    keep_memory();
    if let Some(shell) = &environment().complete {
        commands::completions::live::answer(shell, &arguments, environment());
        return 0;
    }
    let cli = match cli::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let color = usage::peek(&arguments, "--color").and_then(|when| When::from_str(when, true).ok());
            return usage::answer(
                &error,
                &arguments,
                &ui(color.unwrap_or_default(), When::Never, false, false, None),
            );
        }
    };
    let GlobalArgs { color, progress, quiet, verbose, .. } = cli.global;
    let ui = ui(color, progress, quiet, verbose, cli.global.broker.as_deref());
    trace_to_stderr(ui.err, verbose);
    match run(cli, &ui) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Partial) => Exit::Partial as u8,
        Ok(Outcome::Short) => Exit::Short as u8,
        Ok(Outcome::Usage) => Exit::Usage as u8,
        Ok(Outcome::Interrupted(signal)) => {
            shutdown::end_by(signal);
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
        // The reader of our stdout went away: it has what it wanted.
        Err(error) if error.chain().any(|e| e.downcast_ref().is_some_and(Closed::reader_left)) => 0,
        Err(error) => {
            let error = usage::as_typed(error, &arguments);
            ui.error(&error);
            outcome::exit_of(&error) as u8
        }
    }
}

/// Batches are buffers of a megabyte, made by one thread and dropped by another. As glibc comes, each goes back to the
/// kernel, and the next one pays for all its pages again: a fifth of the time of a bulk publish.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        // SAFETY: it sets numbers of the allocator, and no other thread runs yet.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 8 << 20);
            mallopt(M_TRIM_THRESHOLD, 64 << 20);
        }
    }
}

/// What needs no command.
fn answer(global: &GlobalArgs) -> anyhow::Result<bool> {
    let text = if global.version {
        format!("evcat {VERSION}\n")
    } else if global.versions {
        versions()
    } else if global.options.iter().any(|option| option == "help") {
        options(global)?
    } else {
        return Ok(false);
    };
    print(&text)?;
    Ok(true)
}

fn run(cli: Cli, ui: &Ui) -> anyhow::Result<Outcome> {
    let Cli { global, command } = cli;
    if answer(&global)? {
        return Ok(Outcome::Done);
    }
    let Some(command) = command else {
        ui.line(first_screen(ui.err).trim_end());
        return Ok(Outcome::Usage);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let setup = Setup { ui: ui.clone(), stop: Stop::on_signals()?, global, environment: environment() };
        dispatch(command, &setup).await
    });
    // A thread that waits for stdin or for a blocked client must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Boxed one by one: the largest command would else size the stack of them all.
async fn dispatch(command: Command, setup: &Setup) -> anyhow::Result<Outcome> {
    let ran = async {
        match command {
            Command::Help(args) => help::run(args, first_screen(setup.ui.out)).await,
            Command::Completions(args) => commands::completions::run(args),
            Command::Profiles(args) => Box::pin(commands::profiles::run(args, setup)).await,
            Command::Publish(args) => Box::pin(commands::publish::run(args, &setup.session()?)).await,
            Command::Subscribe(args) => {
                let session = setup.session_bound(args.binding())?;
                Box::pin(commands::subscribe::run(args, &session)).await
            }
            Command::Tail(args) => {
                let session = setup.session_bound(args.binding())?;
                Box::pin(commands::tail::run(args, &session)).await
            }
            Command::Replay(args) => Box::pin(commands::replay::run(args, &setup.session()?)).await,
            Command::Dlq(args) => Box::pin(commands::dlq::run(args, &setup.session()?)).await,
            Command::Topics(args) => Box::pin(commands::topics::run(args, &setup.session()?)).await,
            Command::Groups(args) => {
                let session = setup.session_bound(args.binding())?;
                Box::pin(commands::groups::run(args, &session)).await
            }
        }
    };
    or_left(setup, ran).await
}

/// A command that has not ended so long after a signal asked it to is left where it is, while nothing is half done: it
/// waits for a broker.
async fn or_left(
    setup: &Setup,
    command: impl Future<Output = anyhow::Result<Outcome>>,
) -> anyhow::Result<Outcome> {
    let asked = async {
        setup.stop.requested().await;
        tokio::time::sleep(PATIENCE).await;
        if setup.stop.has_begun() {
            std::future::pending().await
        }
    };
    tokio::select! {
        biased;
        outcome = command => outcome,
        () = asked => Ok(Outcome::Interrupted(setup.stop.signal().unwrap_or(nix::libc::SIGINT))),
    }
}

/// `--version`: the brokers compiled in and the client library of each.
fn versions() -> String {
    let brokers = BACKENDS.iter().map(|backend| match backend.open {
        Some(_) => format!("  {:10} {}\n", backend.name, (backend.client)()),
        None => format!("  {:10} not compiled in\n", backend.name),
    });
    format!("evcat {VERSION}\nbrokers:\n{}", brokers.collect::<String>())
}

/// `-X help`: the options of the broker that would be used.
fn options(global: &GlobalArgs) -> Result<String, Failure> {
    let backend = Choice::make(global.broker.as_deref(), environment())?.address.backend;
    let name = backend.name;
    if backend.options.is_empty() {
        return Ok(format!("{name} has no options\n"));
    }
    let width = backend.options.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let lines = backend.options.iter().map(|(key, help)| format!("  {key:width$}  {help}\n"));
    Ok(format!("options of {name}, given as -X KEY=VALUE:\n{}", lines.collect::<String>()))
}

fn first_screen(style: Style) -> String {
    let environment = environment();
    let data_dir = environment.data_dir.clone().unwrap_or_else(|| "$XDG_DATA_HOME/evcat".into());
    help::first_screen(style, &data_dir, environment.home.as_deref())
}

fn ui(color: When, progress: When, quiet: bool, verbose: bool, broker: Option<&str>) -> Ui {
    let decide = |when: When, auto: bool| match when {
        When::Always => true,
        When::Never => false,
        When::Auto => auto,
    };
    let plain = environment().no_color;
    let style = |terminal| Style { color: decide(color, terminal && !plain), terminal };
    let (stdout, stderr) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
    Ui::new(
        style(stdout),
        style(stderr),
        quiet,
        verbose,
        decide(progress, stderr),
        broker.map_or_else(String::new, broker_flag),
    )
}
