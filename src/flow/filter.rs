//! Which events: `--where --grep --key --header --type`, and what is printed instead: `--select`.
//!
//! All must hold; the same flag twice matches either, but each `--where` and each `--header` must hold. What needs no jq
//! is looked at first, on the spot; only what passes goes to the thread that evaluates.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::RegexSet;

use crate::cli::FilterArgs;
use crate::event::{Event, cloudevents};
use crate::outcome::Failure;
use crate::query::{Matches, Query, Selection};

/// What a filter says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It matches.
    Keep,
    /// It does not.
    Skip,
    /// An expression failed on it: no match, and why.
    Failed(String),
}

/// What happened to all events so far, for the closing line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that matched.
    pub kept: u64,
    /// Events that did not.
    pub skipped: u64,
    /// Events that an expression failed on.
    pub failed: u64,
    /// The first of those: where it lies, and why.
    pub first: Option<String>,
}

impl Tally {
    /// The words for the closing line, where an expression failed.
    pub fn words(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let (events, more) = match self.failed {
            1 => ("1 event".to_owned(), ""),
            n => (format!("{n} events"), ", the first of them"),
        };
        Some(format!("the filter failed on {events} (no match){more}: {first}"))
    }
}

/// The filters of a command.
pub struct Filter {
    grep: Option<RegexSet>,
    key: Option<GlobSet>,
    kind: Option<GlobSet>,
    headers: Vec<(String, Option<GlobSet>)>,
    matches: Option<Matches>,
    selection: Option<Selection>,
    tally: Tally,
}

impl Filter {
    /// Checks every pattern and expression; errors name the flag.
    pub fn resolve(args: &FilterArgs) -> Result<Filter, Failure> {
        let FilterArgs { r#where, grep, key, header, r#type, select } = args;
        let queries =
            r#where.iter().map(|text| Query::compile("--where", text)).collect::<Result<Vec<_>, _>>()?;
        let selection = select.as_ref().map(|text| Query::compile("--select", text)).transpose()?;
        let headers = header.iter().map(|text| match text.split_once('=') {
            None if text.is_empty() => {
                Err(Failure::usage("--header: empty; a header is meant like tenant or tenant='a*'"))
            }
            Some(("", _)) => Err(Failure::usage(format!(
                "--header {text}: no name before the '='; tenant='a*' is meant so"
            ))),
            Some((name, glob)) => Ok((name.to_owned(), globs("--header", &[glob])?)),
            None => Ok((text.clone(), None)),
        });
        Ok(Filter {
            grep: expressions(grep)?,
            key: globs("--key", key)?,
            kind: globs("--type", r#type)?,
            headers: headers.collect::<Result<_, _>>()?,
            matches: (!queries.is_empty()).then(|| Matches::new(queries)),
            selection: selection.map(Selection::new),
            tally: Tally::default(),
        })
    }

    /// Whether every event passes, unseen.
    pub fn is_empty(&self) -> bool {
        let Filter { grep, key, kind, headers, matches, selection: _, tally: _ } = self;
        grep.is_none() && key.is_none() && kind.is_none() && headers.is_empty() && matches.is_none()
    }

    /// Whether results are printed instead of events.
    pub fn has_selection(&self) -> bool {
        self.selection.is_some()
    }

    /// What happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// One verdict per event; `failures` are raw JSON objects for `.failure`, one per event.
    ///
    /// Errors: an expression took longer than a second for the third time.
    pub async fn judge(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> anyhow::Result<Vec<Verdict>> {
        let verdict = |keep: bool| if keep { Verdict::Keep } else { Verdict::Skip };
        let mut verdicts: Vec<_> = events.iter().map(|event| verdict(self.cheap(event))).collect();
        if let Some(matches) = &mut self.matches {
            let open: Vec<usize> = (0..events.len()).filter(|i| verdicts[*i] == Verdict::Keep).collect();
            let asked: Vec<_> = open.iter().map(|i| events[*i].clone()).collect();
            let failures: Option<Vec<_>> =
                failures.map(|failures| open.iter().map(|i| failures[*i].clone()).collect());
            let answers = matches.judge(&asked, failures.as_deref()).await?;
            for (i, answer) in open.into_iter().zip(answers) {
                verdicts[i] = answer.map_or_else(Verdict::Failed, verdict);
            }
        }
        for (event, found) in events.iter().zip(&verdicts) {
            match found {
                Verdict::Keep => self.tally.kept += 1,
                Verdict::Skip => self.tally.skipped += 1,
                Verdict::Failed(why) => self.tally.fail(event, why),
            }
        }
        Ok(verdicts)
    }

    /// Per event the results of `--select` as JSON, one line each; none where there is no `--select` or where it failed.
    pub async fn select(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> anyhow::Result<Vec<Vec<String>>> {
        let answers = self.answers(events, failures).await?;
        let results = events.iter().zip(answers).map(|(event, answer)| {
            answer.unwrap_or_else(|why| {
                self.tally.fail(event, &why);
                Vec::new()
            })
        });
        Ok(results.collect())
    }

    /// As [`select`](Filter::select), where somebody else accounts for what failed: the error is why.
    pub async fn answers(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> anyhow::Result<Vec<Result<Vec<String>, String>>> {
        match &mut self.selection {
            Some(selection) => Ok(selection.select(events, failures).await?),
            None => Ok(vec![Ok(Vec::new()); events.len()]),
        }
    }

    fn cheap(&self, event: &Event) -> bool {
        // A key or value that is not UTF-8 is matched by its replaced form: no glob can name it, but `*` does.
        let glob = |set: &GlobSet, bytes: &[u8]| set.is_match(&*String::from_utf8_lossy(bytes));
        self.key.as_ref().is_none_or(|set| event.key().is_some_and(|key| glob(set, key)))
            && self.headers.iter().all(|(name, set)| match (event.headers().last(name), set) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(value), Some(set)) => value.to_text().is_some_and(|text| glob(set, &text)),
            })
            && self.kind.as_ref().is_none_or(|set| {
                cloudevents::kind(event.headers()).is_some_and(|kind| glob(set, kind.as_bytes()))
            })
            && self
                .grep
                .as_ref()
                .is_none_or(|set| event.payload().is_some_and(|payload| set.is_match(payload)))
    }
}

impl Tally {
    fn fail(&mut self, event: &Event, why: &str) {
        self.failed += 1;
        if self.first.is_none() {
            self.first = Some(format!("{} {}: {why}", event.topic(), event.position()));
        }
    }
}

fn expressions(all: &[String]) -> Result<Option<RegexSet>, Failure> {
    if all.is_empty() {
        return Ok(None);
    }
    RegexSet::new(all).map(Some).map_err(|error| {
        Failure::usage(format!("--grep: {error}")).hint("a regular expression such as 'A-[0-9]+'")
    })
}

/// Any of these globs, case-sensitive; `*` matches slashes and dots too, because keys and types are no paths.
fn globs(flag: &str, all: &[impl AsRef<str>]) -> Result<Option<GlobSet>, Failure> {
    if all.is_empty() {
        return Ok(None);
    }
    let refuse = |error: globset::Error| {
        Failure::usage(format!("{flag}: {error}")).hint("a glob such as 'A-*', '[ab]?' or '{x,y}'")
    };
    let mut set = GlobSetBuilder::new();
    for text in all {
        let glob = GlobBuilder::new(text.as_ref()).literal_separator(false).backslash_escape(true).build();
        set.add(glob.map_err(refuse)?);
    }
    set.build().map(Some).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeaderValue, HeadersBuf, Position};

    fn events() -> Vec<Event> {
        let topic = "orders".into();
        let mut batch = Batch::default();
        let mut push = |key: Option<&str>, headers: &[(&str, Option<&str>)], payload: Option<&str>| {
            let mut buf = HeadersBuf::default();
            for (name, value) in headers {
                let value = value.map_or(HeaderValue::Null, |value| HeaderValue::Bytes(value.as_bytes()));
                buf.push(name.as_bytes(), value);
            }
            let position = Position::Offset(batch.len() as i64);
            let payload = payload.map(str::as_bytes);
            batch.push(&topic, key.map(str::as_bytes), buf.as_headers(), payload, None, position);
        };
        push(Some("A-1"), &[("tenant", Some("acme"))], Some("{\"n\":1}"));
        push(Some("a-1"), &[("tenant", Some("acme")), ("tenant", Some("zeta"))], Some("{\"n\":2}"));
        push(None, &[("tenant", None), ("ce_type", Some("order.placed"))], None);
        push(Some("B/2"), &[], Some("text"));
        batch.finish().to_vec()
    }

    async fn kept(change: impl FnOnce(&mut FilterArgs)) -> Vec<usize> {
        let mut args = FilterArgs::default();
        change(&mut args);
        let mut filter = Filter::resolve(&args).unwrap();
        let verdicts = filter.judge(&events(), None).await.unwrap();
        (0..verdicts.len()).filter(|i| verdicts[*i] == Verdict::Keep).collect()
    }

    fn all(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[tokio::test]
    async fn each_filter_by_itself() {
        assert_eq!(kept(|_| ()).await, [0, 1, 2, 3]);
        assert_eq!(kept(|a| a.key = all(&["A-*"])).await, [0], "case counts");
        assert_eq!(
            kept(|a| a.key = all(&["*"])).await,
            [0, 1, 3],
            "no key is no match, a slash is nothing special"
        );
        assert_eq!(kept(|a| a.key = all(&["A-*", "B*"])).await, [0, 3], "either");
        assert_eq!(kept(|a| a.header = all(&["tenant"])).await, [0, 1, 2], "there, with a value or without");
        assert_eq!(kept(|a| a.header = all(&["tenant=a*"])).await, [0], "the last value counts");
        assert_eq!(kept(|a| a.header = all(&["tenant", "ce_type"])).await, [2], "each must hold");
        assert_eq!(kept(|a| a.r#type = all(&["order.*"])).await, [2]);
        assert_eq!(kept(|a| a.grep = all(&["^te", "\"n\":2"])).await, [1, 3]);
        assert_eq!(kept(|a| a.r#where = all(&[".key != null", ".headers == []"])).await, [3]);
    }

    #[tokio::test]
    async fn all_must_hold() {
        let both = |a: &mut FilterArgs| {
            a.key = all(&["*-1"]);
            a.r#where = all(&[".payload.n == 2"]);
        };
        assert_eq!(kept(both).await, [1]);
    }

    #[tokio::test]
    async fn a_failure_is_no_match_and_counted() {
        let args = FilterArgs { r#where: all(&[".payload.n > 1"]), ..Default::default() };
        let mut filter = Filter::resolve(&args).unwrap();
        let verdicts = filter.judge(&events(), None).await.unwrap();
        assert!(matches!(verdicts[3], Verdict::Failed(_)));
        let tally = filter.tally();
        assert_eq!((tally.kept, tally.skipped, tally.failed), (1, 2, 1));
        let words = tally.words().unwrap();
        assert!(words.starts_with("the filter failed on 1 event (no match): orders 3: --where: "), "{words}");
    }

    #[test]
    fn a_mistake_names_its_flag() {
        let refused = |change: fn(&mut FilterArgs)| {
            let mut args = FilterArgs::default();
            change(&mut args);
            Filter::resolve(&args).err().map(|failure| failure.message).unwrap_or_default()
        };
        assert!(refused(|a| a.grep = all(&["("])).starts_with("--grep"));
        assert!(refused(|a| a.key = all(&["["])).starts_with("--key"));
        assert!(refused(|a| a.r#type = all(&["{a"])).starts_with("--type"));
        assert!(refused(|a| a.header = all(&["=x"])).starts_with("--header"));
        assert!(refused(|a| a.header = all(&[""])).starts_with("--header"));
        assert!(refused(|a| a.select = Some("|".into())).starts_with("--select"));
        assert!(refused(|a| a.r#where = all(&["("])).starts_with("--where"));
    }
}
