//! A million events through a group whose members are killed, on brokers that are killed. What must hold is checked as the
//! test does that kills them too; a bench is what it is called for, because it takes minutes.

use std::time::Duration;

use crate::brokers::{Private, python};
use crate::chaos::{self, Chaos};
use crate::table::{Row, Unit};

/// Run only by its name.
pub fn chaos() -> Row {
    let work = "1,000,000 events while brokers and members die";
    if let Err(missing) = python() {
        return Row::not_measured(work, &missing);
    }
    let cluster = match Private::up("kafka:cluster") {
        Ok(cluster) => cluster,
        Err(missing) => return Row::not_measured(work, &missing),
    };
    let dir = tempfile::tempdir().unwrap();
    let wish = Chaos {
        events: 1_000_000,
        keys: 10_000,
        rate: 8_000,
        members: 4,
        broker_kills: 8,
        pause: true,
        seed: fastrand::u64(..),
        limit: Duration::from_secs(1200),
    };
    let report = chaos::run(&cluster, dir.path(), &wish);
    let value = Some(report.events as f64 / report.took.as_secs_f64());
    let measured = format!("seed {} {report:?}", wish.seed);
    Row { work: work.into(), measured, value, unit: Unit::PerSecond, must: 0.0, aim: 0.0 }
}
