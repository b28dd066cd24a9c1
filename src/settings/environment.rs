//! The only place that reads the environment.
#![allow(clippy::disallowed_methods)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The variables that evcat heeds, as they were at start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `EVCAT_BROKER`: a URL or a profile, also when it is empty.
    pub broker: Option<String>,
    /// `EVCAT_COMPLETE`: a completion script of this shell asks.
    pub complete: Option<String>,
    /// `NO_COLOR` is set and not empty, or `TERM` is `dumb`.
    pub no_color: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Where settings live: `$XDG_CONFIG_HOME/evcat`, else `~/.config/evcat`; `None` without `HOME`.
    pub config_dir: Option<PathBuf>,
    /// Where events live: `$XDG_DATA_HOME/evcat`, else `~/.local/share/evcat`; `None` without `HOME`.
    pub data_dir: Option<PathBuf>,
    /// `TRACEPARENT`, where it is not empty.
    pub traceparent: Option<String>,
    /// `TRACESTATE`, where it is not empty.
    pub tracestate: Option<String>,
    /// `COLUMNS`: how wide a table may be.
    pub columns: Option<usize>,
    /// `PATH`: where handlers are looked for.
    pub path: Option<OsString>,
    /// `VISUAL`, else `EDITOR`.
    pub editor: Option<String>,
}

impl Environment {
    /// From any source of variables: tests hand in a map.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Environment {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| filled(name).map(|value| value.to_string_lossy().into_owned());
        // The XDG specification: a relative path is to be ignored.
        let absolute = |name: &str| filled(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = filled("HOME").map(PathBuf::from);
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let directory = |name, fallback| {
            absolute(name).or_else(|| below_home(fallback)).map(|directory: PathBuf| directory.join("evcat"))
        };
        Environment {
            broker: variable("EVCAT_BROKER").map(|value| value.to_string_lossy().into_owned()),
            complete: text("EVCAT_COMPLETE"),
            no_color: filled("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb"),
            config_dir: directory("XDG_CONFIG_HOME", ".config"),
            data_dir: directory("XDG_DATA_HOME", ".local/share"),
            traceparent: text("TRACEPARENT"),
            tracestate: text("TRACESTATE"),
            columns: text("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0),
            path: filled("PATH"),
            editor: text("VISUAL").or_else(|| text("EDITOR")),
            home,
        }
    }
}

/// That of this process, read once.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Environment::read(|name| std::env::var_os(name)))
}

/// A variable that a setting names (`password_env`), not one of evcat's own.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn without_a_home_there_is_no_directory_and_no_panic() {
        let bare = with(&[]);
        assert_eq!((bare.config_dir, bare.data_dir, bare.broker), (None, None, None));
    }

    #[test]
    fn the_directories_follow_xdg() {
        let home = with(&[("HOME", "/h")]);
        assert_eq!(home.data_dir, Some("/h/.local/share/evcat".into()));
        assert_eq!(home.config_dir, Some("/h/.config/evcat".into()));
        let xdg = with(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d"), ("XDG_CONFIG_HOME", "relative")]);
        assert_eq!(xdg.data_dir, Some("/d/evcat".into()));
        assert_eq!(xdg.config_dir, Some("/h/.config/evcat".into()), "a relative one is ignored");
    }

    #[test]
    fn an_empty_broker_is_told_from_none() {
        assert_eq!(with(&[("EVCAT_BROKER", "")]).broker.as_deref(), Some(""));
    }

    #[test]
    fn an_empty_no_color_does_not_count() {
        assert!(!with(&[("NO_COLOR", "")]).no_color);
        assert!(with(&[("NO_COLOR", "1")]).no_color);
        assert!(with(&[("TERM", "dumb")]).no_color);
    }
}
