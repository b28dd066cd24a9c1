//! What clap refuses or shows, in the style of all other errors.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::outcome::{Exit, Failure};
use crate::output::Ui;
use crate::output::stdout::print;

/// Shows the help that was asked for, or says what was wrong with the arguments.
pub fn answer(error: &clap::Error, ui: &Ui) -> ExitCode {
    let styled = error.render();
    let text = |color| if color { styled.ansi().to_string() } else { styled.to_string() };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print(&text(ui.out.color)) {
            Err(closed) if !closed.reader_left() => {
                ui.error(&closed.into());
                ExitCode::from(Exit::Failed as u8)
            }
            _ => ExitCode::SUCCESS,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ui.line(text(ui.err.color).trim_end());
            ExitCode::from(Exit::Usage as u8)
        }
        _ => {
            ui.error(&failure(&text(false)).into());
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// What clap says of numbers, and what a person needs to hear: a value that is right.
const PLAINER: [(&str, &str); 5] = [
    ("0 is not in 1..18446744073709551615", "write a whole number from 1 on, such as 10"),
    ("0 is not in 1..=65535", "write a whole number from 1 on, such as 4"),
    ("invalid digit found in string", "write a whole number, such as 10"),
    ("cannot parse integer from empty string", "write a whole number, such as 10"),
    ("number too large to fit in target type", "that is more than can be counted; write a number such as 10"),
];

/// clap's text, taken apart: its tips and the usage are our hint.
fn failure(text: &str) -> Failure {
    let (mut message, mut hint) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("For more information")) {
        match line.strip_prefix("  tip: ") {
            Some(tip) => hint.push(tip.to_owned()),
            None => match line.strip_prefix("Usage: ") {
                Some(usage) => hint.push(format!("usage: {usage}")),
                None => message.push(line),
            },
        }
    }
    let message = message.join("\n");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    if message.starts_with("invalid UTF-8") {
        return Failure::usage("an argument is not valid UTF-8")
            .hint("bytes go in by stdin: printf 'a\\xff' | evcat publish orders --input whole");
    }
    let plainer = PLAINER.iter().find(|(theirs, _)| message.ends_with(theirs));
    let message = &plainer.map_or(message.to_owned(), |(theirs, ours)| message.replace(theirs, ours));
    match hint.is_empty() {
        true => Failure::usage(message),
        false => Failure::usage(message).hint(hint.join("\n")),
    }
}

/// The value of a global flag before anything was parsed: an error in the arguments must heed `--color` too.
pub fn peek<'a>(arguments: &'a [OsString], flag: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str()).take_while(|a| *a != "--");
    while let Some(argument) = arguments.next() {
        if argument == flag {
            return arguments.next();
        }
        if let Some(value) = argument.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tips_and_usage_become_the_hint() {
        let text = "error: unexpected argument '--form' found\n\n  tip: a similar argument exists: '--from'\n\n\
                    Usage: evcat tail --from <POINT>\n\nFor more information, try '--help'.\n";
        let failure = failure(text);
        assert_eq!(failure.message, "unexpected argument '--form' found");
        let hint = "a similar argument exists: '--from'\nusage: evcat tail --from <POINT>";
        assert_eq!(failure.hint.as_deref(), Some(hint));
    }

    #[test]
    fn a_wrong_number_is_told_with_a_right_one() {
        let failure =
            failure("error: invalid value '0' for '--count <N>': 0 is not in 1..18446744073709551615\n");
        let message = "invalid value '0' for '--count <N>': write a whole number from 1 on, such as 10";
        assert_eq!(failure.message, message);
    }

    #[test]
    fn a_flag_is_found_before_parsing() {
        let arguments: Vec<OsString> =
            ["evcat", "--color=never", "--", "--color=always"].map(OsString::from).into();
        assert_eq!(peek(&arguments, "--color"), Some("never"));
        assert_eq!(peek(&arguments, "--progress"), None);
    }
}
