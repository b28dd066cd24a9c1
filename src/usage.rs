//! What clap refuses or shows, in the style of all other errors.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::outcome::{Exit, Failure, exit_of, hint_of};
use crate::output::Ui;
use crate::output::stdout::print;

/// Shows the help that was asked for, or says what was wrong with the arguments.
pub fn answer(error: &clap::Error, arguments: &[OsString], ui: &Ui) -> u8 {
    let styled = error.render();
    let text = |color| if color { styled.ansi().to_string() } else { styled.to_string() };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print(&text(ui.out.color)) {
            Err(closed) if !closed.reader_left() => {
                ui.error(&closed.into());
                Exit::Failed as u8
            }
            _ => 0,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ui.line(text(ui.err.color).trim_end());
            Exit::Usage as u8
        }
        kind => {
            let negative = (kind == ErrorKind::UnknownArgument).then(|| negative(arguments)).flatten();
            let text = negative.unwrap_or_else(|| text(false));
            ui.error(&as_typed(failure(&text).into(), arguments));
            Exit::Usage as u8
        }
    }
}

/// What is wrong with `--timeout -1s`: to clap it is an option `-1` that nobody knows, to a person a value that is refused.
fn negative(arguments: &[OsString]) -> Option<String> {
    let begins = |at: usize, with: &[char]| {
        let mut chars = arguments[at].to_str()?.strip_prefix('-')?.chars();
        chars.next().filter(|first| with.contains(first))
    };
    let digits: Vec<char> = ('0'..='9').collect();
    let at =
        (1..arguments.len()).find(|at| begins(at - 1, &['-']).is_some() && begins(*at, &digits).is_some())?;
    let mut joined = arguments.to_vec();
    let value = joined.remove(at);
    joined[at - 1].push("=");
    joined[at - 1].push(value);
    let error = crate::cli::parse(&joined).err()?;
    (error.kind() == ErrorKind::ValueValidation).then(|| error.render().to_string())
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

/// Flags that have another name, and that name.
const ALIASES: [(&str, &str); 2] = [("--from", "--since"), ("--to", "--until")];

/// The error, with each flag in it called as it was typed: neither clap nor a command knows which of its names that was.
pub fn as_typed(error: anyhow::Error, arguments: &[OsString]) -> anyhow::Error {
    let typed = |flag: &str| {
        let is_it = |argument: &str| {
            argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        let before = arguments.iter().take_while(|argument| *argument != "--");
        before.filter_map(|argument| argument.to_str()).any(is_it)
    };
    let as_typed = |text: &str| {
        let renamed = ALIASES.iter().filter(|(name, alias)| typed(alias) && !typed(name));
        renamed.fold(text.to_owned(), |text, (name, alias)| rename(&text, name, alias))
    };
    let (message, hint) = (error.to_string(), hint_of(&error));
    let (told, told_hint) = (as_typed(&message), hint.map(as_typed));
    if told == message && told_hint.as_deref() == hint {
        return error;
    }
    Failure { exit: exit_of(&error), message: told, hint: told_hint }.into()
}

/// The text with another name in the place of this one, and not in that of a longer one such as `--to-broker`.
fn rename(text: &str, name: &str, to: &str) -> String {
    let mut parts = text.split(name);
    let mut renamed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let longer = part.starts_with(|next: char| next == '-' || next.is_alphanumeric());
        renamed.push_str(if longer { name } else { to });
        renamed.push_str(part);
    }
    renamed
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
    fn a_flag_is_called_as_it_was_typed() {
        let told = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let failure =
                Failure::usage("--from 8 is not before --to 5").hint("--to-broker, --to=9 or --from 1");
            let error = as_typed(failure.into(), &arguments);
            assert_eq!(exit_of(&error), Exit::Usage);
            (error.to_string(), hint_of(&error).unwrap_or_default().to_owned())
        };
        let (message, hint) = told("evcat replay t --since 8 --until=5");
        assert_eq!(message, "--since 8 is not before --until 5");
        assert_eq!(hint, "--to-broker, --until=9 or --since 1");
        assert_eq!(told("evcat replay t --from 8 --until 5").0, "--from 8 is not before --until 5");
        assert_eq!(told("evcat replay t --from 8 -- x --since").0, "--from 8 is not before --to 5");
    }

    #[test]
    fn a_flag_is_found_before_parsing() {
        let arguments: Vec<OsString> =
            ["evcat", "--color=never", "--", "--color=always"].map(OsString::from).into();
        assert_eq!(peek(&arguments, "--color"), Some("never"));
        assert_eq!(peek(&arguments, "--progress"), None);
    }
}
