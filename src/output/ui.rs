//! Talk on stderr: status, warnings, errors, progress.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::{Style, sanitize};

/// From now on what the program traces is said on stderr: warnings of ours, and with `-v` all of it.
pub fn trace_to_stderr(style: Style, verbose: bool) {
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr);
    match verbose {
        true => {
            let lines = lines.with_max_level(tracing::Level::DEBUG);
            lines.with_ansi(style.color).without_time().with_target(false).init();
        }
        false => lines.with_max_level(tracing::Level::WARN).event_format(Warning(style)).init(),
    }
}

/// A warning as people read it; those of libraries are for `-v`.
struct Warning(Style);

impl<S, N> FormatEvent<S, N> for Warning
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !event.metadata().target().starts_with(env!("CARGO_CRATE_NAME")) {
            return Ok(());
        }
        write!(out, "{} ", self.0.warning("warning:"))?;
        ctx.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

/// What is said beside the data, and to whom.
#[derive(Clone)]
pub struct Ui {
    /// How stdout is written.
    pub out: Style,
    /// How stderr is written.
    pub err: Style,
    /// `-q`: status and progress are not said; warnings and errors are.
    pub quiet: bool,
    /// `-v`: causes and raw headers.
    pub verbose: bool,
    /// Whether progress bars are drawn.
    pub progress: bool,
    /// ` -b prod` where it was given, for the commands in hints.
    broker: String,
    bars: MultiProgress,
}

impl Ui {
    /// What is said goes through here from now on.
    pub fn new(out: Style, err: Style, quiet: bool, verbose: bool, progress: bool, broker: String) -> Ui {
        colored::control::set_override(true);
        Ui {
            out,
            err,
            quiet,
            verbose,
            progress: progress && !quiet,
            broker,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// A line about what is happening. Silent under `-q`.
    pub fn status(&self, line: impl Display) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// A line that is said under `-q` too.
    pub fn warn(&self, line: impl Display) {
        self.line(format_args!("{} {line}", self.err.warning("warning:")));
    }

    /// A line as it is, always: summaries of what went wrong, plans.
    pub fn line(&self, line: impl Display) {
        self.bars.suspend(|| {
            // In one write: what other processes say on the same terminal must not come in between. Nobody left to tell
            // is no reason to fail.
            let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
        });
    }

    /// A question: no line break behind it.
    pub fn ask(&self, question: impl Display) {
        self.bars.suspend(|| {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "{question}").and_then(|()| err.flush());
        });
    }

    /// An error and what to do next; with `-v` its causes.
    pub fn error(&self, error: &anyhow::Error) {
        // It quotes arguments and names, and nothing of ours in it is coloured.
        let safe = |text: String| match self.err.terminal {
            true => sanitize::block(text.as_bytes()).into_owned(),
            false => text,
        };
        let told = error.to_string();
        // A file that cannot be opened is only named: why not must not wait for -v.
        let why = error.chain().skip(1).find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let why = why.map(system_words).filter(|why| !self.verbose && !told.contains(why.as_str()));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        self.line(format_args!("{} {}{why}", self.err.error("error:"), safe(told)));
        if self.verbose {
            for cause in error.chain().skip(1) {
                self.line(format_args!("  because: {}", safe(cause.to_string())));
            }
        }
        if let Some(hint) = crate::outcome::hint_of(error) {
            let hint = safe(crate::outcome::with_broker(hint, &self.broker));
            let hint = hint.replace('\n', "\n      ");
            self.line(format_args!("{} {hint}", self.err.hint("hint:")));
        }
    }

    /// A bar for so many events (a spinner where nobody knows); hidden where progress is not drawn.
    pub fn bar(&self, total: Option<u64>) -> ProgressBar {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        if !self.progress {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return bar;
        }
        self.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let bar = self.bars.add(bar);
        let template = match total {
            Some(_) => "[{bar:24}] {human_pos}/{human_len}  {rate}  {eta} left  {msg}",
            None => "{spinner} {human_pos}  {rate}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A bar for so many bytes of input; hidden where progress is not drawn.
    pub fn byte_bar(&self, total: u64) -> ProgressBar {
        let bar = self.bar(Some(total));
        if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {bytes}/{total_bytes}  {eta} left  {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    }
}

/// `48,996/s`; below ten a second with one decimal.
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let rate = state.per_sec();
    // A bar that cannot be drawn is no failure.
    let _ = match rate < 10.0 {
        true => write!(out, "{rate:.1}/s"),
        false => write!(out, "{}/s", super::words::count(rate as u64)),
    };
}

/// What the system says, without its number.
fn system_words(error: &std::io::Error) -> String {
    let told = error.to_string();
    told.split(" (os error").next().unwrap_or_default().to_owned()
}
