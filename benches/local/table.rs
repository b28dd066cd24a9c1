//! What was measured, what must hold, and what was hoped for.

use std::fmt;

/// One promise.
pub struct Row {
    pub work: String,
    /// What was measured, in words: times of ours and of the peer.
    pub measured: String,
    /// What is compared with `must` and `aim`: a ratio, milliseconds, mebibytes, or events per second.
    pub value: Option<f64>,
    pub unit: Unit,
    pub must: f64,
    pub aim: f64,
}

/// What a value means, and which way is better.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// Of the peer's.
    Times,
    Millis,
    Mebibytes,
    /// More is better.
    PerSecond,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Times => format!("{value:.2}x"),
            Unit::Millis => format!("{value:.2} ms"),
            Unit::Mebibytes => format!("{value:.0} MiB"),
            Unit::PerSecond => format!("{value:.0}/s"),
        }
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        if self == Unit::PerSecond { value >= bound } else { value <= bound }
    }
}

impl Row {
    /// A row whose peer, or whose data, is not here.
    pub fn not_measured(work: &str, why: &str) -> Row {
        let (work, measured) = (work.to_owned(), why.to_owned());
        Row { work, measured, value: None, unit: Unit::Times, must: 0.0, aim: 0.0 }
    }

    fn failed(&self) -> bool {
        self.value.is_some_and(|value| !self.unit.holds(value, self.must))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { work, measured, unit, must, aim, .. } = self;
        let Some(value) = self.value else { return write!(f, "{work:<52} NOT MEASURED: {measured}") };
        let verdict = match (unit.holds(value, *must), unit.holds(value, *aim)) {
            (false, _) => "FAIL",
            (true, true) => "pass, and the aim",
            (true, false) => "pass",
        };
        let goal = |goal: f64| if goal == f64::MAX { "-".to_owned() } else { unit.show(goal) };
        let (value, must, aim) = (unit.show(value), goal(*must), goal(*aim));
        write!(f, "{work:<52} {value:>10}  must {must:<10} aim {aim:<11} {verdict:<18} {measured}")
    }
}

/// Says how it went, and answers the exit code.
pub fn verdict(rows: &[Row]) -> i32 {
    let failed = rows.iter().filter(|row| row.failed()).count();
    let unmeasured = rows.iter().filter(|row| row.value.is_none()).count();
    let aims =
        rows.iter().filter(|row| row.value.is_some_and(|value| row.unit.holds(value, row.aim))).count();
    println!("{} rows: {failed} FAIL, {aims} reach the aim, {unmeasured} not measured", rows.len());
    i32::from(failed > 0)
}
