//! Failures of the same reason get the same short name, whatever numbers, ids and names stand in their texts.
//!
//! The name ends up in scripts and tickets, so it must not change between versions: the vectors in the tests are fixed.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// The most characters of a text that count.
const LIMIT: usize = 300;

/// What differs between two failures of one reason, in the order in which it is looked for. A number that names the
/// reason (an exit code, a status) stays.
static VARIES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?P<keep>(?i:\b(?:exit|signal|status|code|errno|http(?:/\d(?:\.\d)?)?)[ =:]{1,2}\d{1,5}\b))"#,
        r#"|"(?:[^"\\]|\\.)*"|`[^`]*`|\B'[^']*'\B|“[^”]*”|«[^»]*»"#,
        r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
        r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?",
        r"|\b0x[0-9a-fA-F]+\b|\b(?:[a-fA-F]*\d[0-9a-fA-F]*[a-fA-F][0-9a-fA-F]*|[a-fA-F]+\d[0-9a-fA-F]{4,})\b",
        r"|\d+(?:[.,:]\d+)*",
    ))
    .ok()
});

/// The short name of a failure: six hexadecimal digits, such as `f3a9c1`.
pub fn of(kind: &str, error: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a: a few lines, the same for ever
    for byte in kind.bytes().chain([0x1f]).chain(reason(error).bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:06x}", (hash ^ (hash >> 24) ^ (hash >> 48)) & 0xff_ffff)
}

/// The failure without what differs from event to event: `timeout: carrier API silent for # s`.
pub fn reason(error: &str) -> String {
    let line = headline(error);
    let replaced = match &*VARIES {
        Some(varies) => varies.replace_all(&line, |found: &regex::Captures<'_>| match found.name("keep") {
            Some(kept) => kept.as_str().to_owned(),
            None => "#".to_owned(),
        }),
        None => Cow::Borrowed(&*line),
    };
    let mut out = String::with_capacity(replaced.len());
    for word in replaced.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if let Some((end, _)) = out.char_indices().nth(LIMIT) {
        out.truncate(end);
    }
    out
}

/// The one line of a failure that says what happened: how it ended, and the last line of the text that is not a trace.
pub fn headline(error: &str) -> Cow<'_, str> {
    let error = error.trim();
    if !error.contains('\n') {
        return error.into();
    }
    let (how, said) = match error.split_once(": ") {
        Some((how, said))
            if how.starts_with("exit ")
                || how.starts_with("killed by ")
                || how.starts_with("no end after ") =>
        {
            (Some(how), said)
        }
        _ => (None, error),
    };
    let lines = || said.lines().filter(|line| !line.trim().is_empty());
    // Java puts the cause last, Go its panic first with the trace behind it.
    let line = lines()
        .rfind(|line| line.starts_with("Caused by: "))
        .or_else(|| lines().find(|line| line.starts_with("panic: ")))
        .or_else(|| lines().rfind(|line| !is_trace(line)))
        .or_else(|| lines().next())
        .unwrap_or_default()
        .trim();
    match how {
        Some(how) => format!("{how}: {line}").into(),
        None => line.into(),
    }
}

fn is_trace(line: &str) -> bool {
    const STARTS: [&str; 10] = [
        " ",
        "\t",
        "at ",
        "... ",
        "note:",
        "goroutine ",
        "exit status ",
        "Node.js v",
        "stack backtrace:",
        "Traceback (",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_never_changes() {
        let fixed = [
            ("exit", "exit 65: total is not a number", "e5f795"),
            ("timeout", "timeout: carrier API silent for 5 s", "88f954"),
            ("signal", "killed by signal 9", "f75719"),
            ("exit", "exit 1: order 'A-17' of 019aa5b2-7c1e-7000-8000-000000000001: HTTP 503", "dbd60f"),
            ("", "", "d3386b"),
        ];
        for (kind, error, name) in fixed {
            assert_eq!(of(kind, error), name, "{kind} {error}");
        }
    }

    #[test]
    fn what_differs_from_event_to_event_does_not_count() {
        let same = [
            ("timeout: silent for 5 s", "timeout: silent for 12.5 s"),
            ("no order \"A-17\"", "no order \"B\\\"x\""),
            ("no order 'A-17' there", "no order 'B' there"),
            ("id 019aa5b2-7c1e-7000-8000-000000000001 gone", "id 7f1caa00-7c1e-7000-8000-00000000ffff gone"),
            ("at 0x7ffe01", "at 0xdeadbeef"),
            ("commit f3a9c1 missing", "commit 81c04e missing"),
            ("since 2026-11-21T11:57:41Z", "since 2025-01-02 03:04:05.678"),
            ("order A-17 is late", "order A-1804 is late"),
            ("a  b\tc", "a b c"),
            ("exit 1: loading shop 7\nTotal is bad", "exit 1: loading shop Berlin\nTotal is bad"),
        ];
        for (a, b) in same {
            assert_eq!(reason(a), reason(b));
            assert_eq!(of("exit", a), of("exit", b));
        }
    }

    #[test]
    fn what_names_the_reason_does_count() {
        let differ = [
            ("exit 1", "exit 65"),
            ("killed by signal 9", "killed by signal 11"),
            ("exit 1: HTTP 503", "exit 1: HTTP 404"),
            ("status=503", "status=404"),
            ("status code: 500", "status code: 502"),
            ("can't find a facade", "can't find a decade"),
            ("it isn't there, it isn't here", "it isn't here, it isn't there"),
        ];
        for (a, b) in differ {
            assert_ne!(of("exit", a), of("exit", b), "{a} / {b}");
        }
        assert_ne!(of("exit", "x"), of("dead", "x"), "the kind counts");
    }

    #[test]
    fn the_headline_is_the_line_that_says_why() {
        let python =
            "exit 1: Traceback (most recent call last):\n  File \"x.py\", line 3\nValueError: bad total";
        assert_eq!(headline(python), "exit 1: ValueError: bad total");
        let java = "exit 1: java.lang.RuntimeException: outer\n\tat a.B\nCaused by: java.io.IOException: gone\n\tat c.D\n\t... 3 more";
        assert_eq!(headline(java), "exit 1: Caused by: java.io.IOException: gone");
        let rust = "exit 101: thread 'main' panicked at src/main.rs:2:5:\nno total\nnote: run with `RUST_BACKTRACE=1`";
        assert_eq!(headline(rust), "exit 101: no total");
        let go =
            "exit 2: panic: nil map\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:4 +0x1d\nexit status 2";
        assert_eq!(headline(go), "exit 2: panic: nil map");
        let node = "exit 1: /x.js:1\nthrow 1\n^\n\nError: no total\n    at Object.<anonymous> (/x.js:1:7)\n\nNode.js v22.1.0";
        assert_eq!(headline(node), "exit 1: Error: no total");
        assert_eq!(headline("one line"), "one line");
        assert_eq!(headline("exit 1: \n\n"), "exit 1:");
    }

    #[test]
    fn an_endless_text_stays_a_line() {
        assert_eq!(reason(&"ü ".repeat(5000)).chars().count(), LIMIT);
    }
}
