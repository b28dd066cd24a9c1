//! The plan as people and programs read it.

use serde_json::{Value, json};

use super::survey::Survey;
use crate::commands::dlq::heap::Dlq;
use crate::commands::dlq::words::many;
use crate::deadletter::plan::{Rules, Way};
use crate::flow::pacer::Rate;
use crate::output::{Style, sanitize, words};
use crate::session::Session;
use crate::settings::duration;

/// All that a plan is told with.
pub struct View<'a> {
    pub session: &'a Session,
    pub dlq: &'a Dlq,
    pub rules: &'a Rules,
    pub survey: &'a Survey,
    /// What was asked for, in words.
    pub chosen: String,
    /// What changes events: `--transform`, `--edit`.
    pub edits: &'static str,
    pub rate: Option<Rate>,
    /// The command that handles them here.
    pub command: Option<String>,
}

/// Reasons to stay that are told one by one: with a value of the payload in it, each letter has its own.
const REASONS: usize = 4;

/// One line of where letters go.
struct Target {
    label: &'static str,
    place: String,
    count: u64,
    note: String,
}

impl View<'_> {
    /// For people. `dry`: it is all that happens.
    pub fn text(&self, dry: bool, style: Style) -> String {
        let View { session, dlq, survey, .. } = self;
        let plan = &survey.plan;
        let n = words::count;
        let mut rows: Vec<(&str, String)> = Vec::new();
        let clock = words::clock_seconds(survey.at, session.now(), &session.zone());
        let end = survey.end.as_ref().map_or(String::new(), |end| format!(", up to {end} ({clock})"));
        rows.push(("from", format!("{}{end}", dlq.title(session))));
        let all = if self.chosen.is_empty() { "all of them" } else { &self.chosen };
        rows.push(("chosen", format!("{} of {}   {all}", n(plan.chosen), n(plan.total))));
        let targets = self.targets();
        let head = |target: &Target| format!("{} {}", target.place, n(target.count)).trim().to_owned();
        let width = targets.iter().map(|t| head(t).chars().count()).max().unwrap_or(0).max(16);
        for target in &targets {
            rows.push((target.label, format!("{:width$}   {}", head(target), target.note)));
        }
        if !plan.left.is_empty() {
            let how: Vec<_> = plan.left.sorted(String::clone).into_iter().collect();
            let mut told: Vec<_> =
                how.iter().take(4).map(|(how, count)| format!("{} {how}", n(*count))).collect();
            if how.len() > told.len() {
                told.push(format!("{} others", how.len() - told.len()));
            }
            rows.push(("left", format!("{:width$}   {}", n(plan.left.total()), told.join(", "))));
        }
        if let Some(seen) = self.seen_by() {
            rows.push(("seen by", seen));
        }
        if survey.edited > 0 {
            let edits = self.edits;
            rows.push((
                "change",
                format!("{edits} edits {} (new ids, linked to the old); the first:", n(survey.edited)),
            ));
            rows.extend(survey.change.iter().map(|line| ("", format!("  {line}"))));
        }
        if !plan.positions.is_empty() {
            for (at, how) in self.how().into_iter().enumerate() {
                rows.push((if at == 0 { "how" } else { "" }, how));
            }
        }
        let mut out = match dry {
            true => format!("{}, nothing was changed\n", style.heading("PLAN")),
            false => format!("{}\n", style.heading("PLAN")),
        };
        for (label, value) in rows {
            let value = if style.terminal { sanitize::text(&value) } else { value.into() };
            out += &format!("  {} {value}\n", style.faint(&format!("{label:8}"))).replace(" \n", "\n");
        }
        out.truncate(out.trim_end().len());
        if dry && plan.positions.is_empty() {
            out += "\nnothing would be done";
        } else if dry {
            let change = style.hint("do it:");
            out += &format!("\n{change} the same with --yes --expect {} instead of --dry-run", plan.chosen);
            if let (Some(handler), false) = (&survey.handler, self.rules.here) {
                out += &format!("\nor handle them here and publish nothing: … -- {handler}");
            }
        }
        out + "\n"
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut stays = Vec::new();
        for (way, count) in self.survey.plan.ways.sorted(|way| format!("{way:?}")) {
            let target = |label, place: String, note: String| Target { label, place, count, note };
            match way {
                Way::Group { topic, group } => {
                    let note = "the group that failed, and nobody else".to_owned();
                    targets.push(target("into", format!("{group} of {topic}"), note));
                }
                Way::Topic { topic, marked } => {
                    let note = match (marked, &self.rules.into) {
                        (Some(group), _) => format!("where they came from, marked for {group}"),
                        (None, Some(_)) if !self.exists(topic) => "a new topic".to_owned(),
                        (None, Some(_)) => "every group of it sees them".to_owned(),
                        (None, None) => "where they came from, for all groups".to_owned(),
                    };
                    targets.push(target("into", topic.to_string(), note));
                }
                Way::Here => {
                    let command = self.command.clone().unwrap_or_default();
                    targets.push(target(
                        "to",
                        "a command here".into(),
                        format!("{command}; exit 0 settles it"),
                    ));
                }
                Way::Parked { topic } => {
                    let note = format!("put back {} times already -> {topic}", self.rules.max_replays);
                    targets.push(target("parked", String::new(), note));
                }
                Way::Stays(why) => stays.push(target("stays", String::new(), why.words())),
            }
        }
        let parked = targets.iter().position(|target| target.label == "parked");
        if let Some(parked) = parked.map(|at| targets.remove(at)) {
            targets.push(parked);
        }
        stays.sort_by_key(|target| std::cmp::Reverse(target.count));
        if stays.len() > REASONS + 1 {
            let others = stays.split_off(REASONS);
            let note = format!("{} other reasons (-o json has them all)", words::count(others.len() as u64));
            let count = others.iter().map(|target| target.count).sum();
            stays.push(Target { label: "stays", place: String::new(), count, note });
        }
        targets.extend(stays);
        targets
    }

    fn exists(&self, topic: &str) -> bool {
        self.survey.places.get(topic).is_some_and(|place| place.exists)
    }

    fn groups(&self, topic: &str) -> &[String] {
        self.survey.places.get(topic).map_or(&[], |place| &place.groups)
    }

    /// Who works on them again.
    fn seen_by(&self) -> Option<String> {
        let mut told = Vec::new();
        for (way, count) in self.survey.plan.ways.sorted(|way| format!("{way:?}")) {
            match way {
                Way::Group { group, .. } => told.push(format!("{group} alone")),
                Way::Topic { topic, marked } => {
                    let groups = self.groups(topic);
                    let these = format!("these {}", many(count, "event"));
                    told.push(match (groups, marked) {
                        ([], _) => format!("no group yet: nobody reads {topic}"),
                        ([one], _) => one.clone(),
                        (many, Some(group)) => format!(
                            "{}; evcat subscribe of all but {group} skips them, other programs do not",
                            many.join(", ")
                        ),
                        (many, None) => format!("{}: each gets {these} again", many.join(", ")),
                    });
                }
                Way::Here | Way::Parked { .. } | Way::Stays(_) => (),
            }
        }
        told.dedup();
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn how(&self) -> Vec<String> {
        let Dlq::Topic(name) = self.dlq else {
            return vec!["a file has nothing to settle: a rerun repeats".into()];
        };
        let count = self.survey.plan.positions.len() as u64;
        let mut how = Vec::new();
        if let Some(rate) = self.rate {
            how.push(format!("{rate}: about {}", duration::short(rate.time_for(count))));
        }
        how.push(match (self.rules.settles, self.rules.here) {
            (false, _) => "copies only, nothing is settled: a rerun repeats".to_owned(),
            (true, true) => "one after the other; what fails stays where it is".to_owned(),
            (true, false) if self.session.broker.capabilities(name).atomic_replay => {
                "each moves in one step: an event is never in both places or in none".to_owned()
            }
            (true, false) => {
                "stored first, then settled: a crash can put one back twice, and loses none".to_owned()
            }
        });
        how
    }

    /// For programs, in one line.
    pub fn json(&self) -> String {
        let View { dlq, survey, .. } = self;
        let plan = &survey.plan;
        let (back, parked, stay) = plan.counts();
        let place = match dlq {
            Dlq::Topic(name) => name.to_string(),
            Dlq::File(path) => format!("@{}", path.display()),
        };
        let ways = plan.ways.sorted(|way| format!("{way:?}")).into_iter().map(|(way, count)| match way {
            Way::Group { topic, group } => {
                json!({"topic": &**topic, "group": &**group, "count": count, "seen_by": [&**group]})
            }
            Way::Topic { topic, marked } => {
                let marked = marked.as_ref().map(|group| &**group);
                json!({"topic": &**topic, "marked_for": marked, "count": count, "seen_by": self.groups(topic)})
            }
            Way::Here => json!({"command": self.command, "count": count}),
            Way::Parked { topic } => json!({"parked": &**topic, "count": count}),
            Way::Stays(why) => json!({"stays": why.words(), "count": count}),
        });
        let left = plan.left.sorted(String::clone).into_iter();
        let left: Vec<Value> = left.map(|(how, count)| json!({"how": how, "count": count})).collect();
        let object = json!({
            "dlq": place,
            "up_to": survey.end,
            "waiting": plan.total,
            "chosen": plan.chosen,
            "criteria": self.chosen,
            "put_back": back,
            "parked": parked,
            "stay": stay,
            "ways": ways.collect::<Vec<_>>(),
            "left": left,
            "edited": survey.edited,
        });
        format!("{object}\n")
    }
}
