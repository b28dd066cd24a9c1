//! The newest N over all partitions, by their timestamps.
//!
//! Offsets do not count events: transactions and compaction leave gaps. So what lies before the ends is looked at, and
//! further back where it was too few.

use std::collections::BinaryHeap;

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::message::Message;
use super::super::places::{self, Span};
use super::intake::{Intake, Sink};
use super::lane::Lane;
use super::lifeline::{Lifeline, explain};
use crate::broker::Result;
use crate::event::{Millis, Name};

/// So many are looked at without asking first from which time on they may be.
const FEW: u64 = 100_000;
/// What is looked at further back grows so.
const GROWS: i64 = 4;
/// At least so much further back.
const LEAST: i64 = 16;

/// The end of a partition, as far as it was looked at.
struct Window {
    span: Span,
    /// From here on.
    from: i64,
    /// Offset and time of each event, by offset.
    events: Vec<(i64, Millis)>,
}

impl Window {
    fn is_whole(&self) -> bool {
        self.from <= self.span.first
    }
}

/// From where each partition is to be read, so that all together are the newest `n`; fewer where there are fewer.
pub async fn newest(client: &Client, spans: &[Span], n: u64) -> Result<Vec<(Name, i32, i64)>> {
    let places = match n.saturating_mul(spans.len() as u64) {
        0 => spans.iter().map(|span| (span.topic.clone(), span.partition, span.end)).collect(),
        1..=FEW => {
            let from = |span: &Span| span.first.max(span.end - n as i64);
            spans.iter().map(|span| (span.topic.clone(), span.partition, from(span))).collect()
        }
        _ => places::newest(client, "reader", spans, n).await?,
    };
    if n == 0 {
        return Ok(places);
    }
    let window = |(span, place): (&Span, (Name, i32, i64))| Window {
        span: span.clone(),
        from: place.2,
        events: Vec::new(),
    };
    let mut windows: Vec<_> = spans.iter().zip(places).map(window).collect();
    let mut look: Vec<_> = windows.iter().map(|window| window.from..window.span.end).collect();
    loop {
        let lanes = windows.iter().zip(&look).map(|(window, look)| {
            let Span { topic, partition, .. } = &window.span;
            Lane::new(topic.clone(), *partition, look.start, Some(look.end), look.end)
        });
        let lanes = lanes.collect();
        for (window, mut before) in windows.iter_mut().zip(times(client, lanes).await?) {
            before.append(&mut window.events);
            window.events = before;
        }
        match choose(&windows, n) {
            Ok(starts) => {
                let start =
                    |(window, start): (Window, i64)| (window.span.topic, window.span.partition, start);
                return Ok(windows.into_iter().zip(starts).map(start).collect());
            }
            Err(short) => {
                look = windows.iter().map(|window| window.from..window.from).collect();
                for at in short {
                    let window = &mut windows[at];
                    let back = LEAST.max((window.span.end - window.from) * (GROWS - 1));
                    window.from = window.span.first.max(window.from.saturating_sub(back));
                    look[at].start = window.from;
                }
            }
        }
    }
}

/// The newest `n` of what was looked at, as the first offset of each; or which windows are too small to tell.
fn choose(windows: &[Window], n: u64) -> std::result::Result<Vec<i64>, Vec<usize>> {
    let mut left: Vec<usize> = windows.iter().map(|window| window.events.len()).collect();
    // What lies before a window that has nothing left may be newer than what others have left.
    let short = |left: &[usize]| -> std::result::Result<(), Vec<usize>> {
        let short: Vec<_> =
            (0..windows.len()).filter(|at| left[*at] == 0 && !windows[*at].is_whole()).collect();
        if short.is_empty() { Ok(()) } else { Err(short) }
    };
    short(&left)?;
    // The last that is left of each window; what is newest goes first.
    let last = |at: usize, left: usize| windows[at].events[..left].last().map(|(_, time)| (*time, at));
    let mut heap: BinaryHeap<_> = (0..windows.len()).filter_map(|at| last(at, left[at])).collect();
    for wanted in (0..n).rev() {
        let Some((_, at)) = heap.pop() else { break };
        left[at] -= 1;
        match last(at, left[at]) {
            Some(next) => heap.push(next),
            None if wanted > 0 => short(&left)?,
            None => {}
        }
    }
    let start = |(window, left): (&Window, usize)| match window.events.get(left) {
        Some((offset, _)) => *offset,
        None => window.span.end,
    };
    Ok(windows.iter().zip(left).map(start).collect())
}

/// Offset and time of each event.
#[derive(Default)]
struct Times(Vec<Vec<(i64, Millis)>>);

impl Sink for Times {
    fn take(&mut self, at: usize, _: &Lane, message: Message<'_>) -> std::result::Result<(), Trouble> {
        self.0[at].push((message.offset(), message.timestamp().unwrap_or(Millis::MIN)));
        Ok(())
    }
}

/// Those of each of these lanes, which have a stop.
async fn times(client: &Client, lanes: Vec<Lane>) -> Result<Vec<Vec<(i64, Millis)>>> {
    let mut times = Times(vec![Vec::new(); lanes.len()]);
    let (mut intake, mut lifeline) = (Intake::new(client), Lifeline::new(client));
    for lane in lanes {
        let about = About::topic("reader", &lane.topic);
        intake.add(lane).map_err(|trouble| trouble.error(&about, client))?;
    }
    loop {
        if let Some(trouble) = intake.sweep(&mut times) {
            let lane = intake.lanes()[trouble.at].clone();
            explain(client.clone(), lane, trouble).await?;
            intake.again().map_err(|trouble| trouble.error(&About::new("reader", ""), client))?;
        }
        if intake.lanes().iter().all(Lane::is_done) {
            break;
        }
        tokio::select! {
            biased;
            () = intake.filled() => {}
            error = lifeline.broken(intake.lanes(), true) => return Err(error),
        }
    }
    intake.stop();
    Ok(times.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(first: i64, from: i64, events: &[(i64, Millis)]) -> Window {
        let span = Span { topic: "t".into(), partition: 0, first, end: 100 };
        Window { span, from, events: events.to_vec() }
    }

    #[test]
    fn the_newest_over_all_are_chosen_and_gaps_are_no_events() {
        let a = || window(0, 90, &[(90, 10), (93, 30), (99, 50)]);
        let b = || window(0, 0, &[(7, 20), (8, 40)]);
        assert_eq!(choose(&[a(), b()], 2), Ok(vec![99, 8]));
        assert_eq!(choose(&[a(), b()], 4), Ok(vec![93, 7]));
        assert_eq!(choose(&[a(), b()], 5), Ok(vec![90, 7]), "all that was looked at is enough");
        assert_eq!(choose(&[a(), b()], 6), Err(vec![0]), "one more may lie before");
        assert_eq!(choose(&[b()], 6), Ok(vec![7]), "there are no more");
    }

    #[test]
    fn what_was_not_looked_at_may_be_newer() {
        let nothing = || window(0, 95, &[]);
        assert_eq!(choose(&[nothing(), window(0, 0, &[(1, 5), (2, 6)])], 1), Err(vec![0]));
        assert_eq!(choose(&[window(95, 95, &[]), window(0, 0, &[(1, 5), (2, 6)])], 1), Ok(vec![100, 2]));
    }

    #[test]
    fn within_a_partition_order_is_that_of_offsets() {
        let disordered = window(0, 0, &[(1, 90), (2, 10), (3, 80)]);
        assert_eq!(choose(&[disordered, window(0, 0, &[(5, 85)])], 2), Ok(vec![3, 5]));
    }
}
