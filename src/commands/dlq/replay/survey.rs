//! Reads all that waits and says what would become of it: the plan.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::edits::{Edits, difference};
use crate::broker::Kind;
use crate::commands::dlq::choosing::Chooser;
use crate::commands::dlq::heap::{Dead, Dlq, Heap, must_hold_letters};
use crate::commands::dlq::words;
use crate::commands::topics::literal;
use crate::deadletter::plan::{Place, Plan, Rules, Way, Why, way};
use crate::event::{Millis, Name, Position};
use crate::session::Session;

/// What was found.
pub struct Survey {
    /// What would be done.
    pub plan: Plan,
    /// What the broker says of the topics that letters came from or go to.
    pub places: HashMap<String, Place>,
    /// Where reading ended, and when.
    pub end: Option<String>,
    /// When it was read.
    pub at: Millis,
    /// Those that `--transform` or `--edit` change.
    pub edited: u64,
    /// What it changes of the first.
    pub change: Vec<String>,
    /// A handler that failed on one of them and can be typed again.
    pub handler: Option<String>,
    /// The last letter that was chosen.
    pub last: Option<Dead>,
    /// Ids that do not wait.
    pub missing: Vec<String>,
    order: Vec<(u64, Turn)>,
    /// Topics and groups that the broker was asked about.
    asked: HashSet<(String, Option<String>)>,
}

/// Orders the letters of a key: by topic and place there, then by time, then as they lie.
type Turn = (Option<String>, Option<i32>, (u64, u64), Option<Millis>, usize);

/// How much of a change is shown.
const CHANGE: usize = 6;

/// Reads it all. `None`: somebody asked us to stop.
pub async fn survey(
    session: &Session,
    dlq: &Dlq,
    mut chooser: Chooser,
    rules: &Rules,
    edits: &mut Edits,
    ordered: bool,
) -> anyhow::Result<Option<Survey>> {
    let mut heap = Heap::open(session, dlq, None).await?;
    if rules.settles {
        must_hold_letters(session, &heap.info).await?;
    }
    let mut found = Survey {
        plan: Plan::default(),
        places: HashMap::new(),
        end: heap.end(),
        at: session.now(),
        edited: 0,
        change: Vec::new(),
        handler: None,
        last: None,
        missing: Vec::new(),
        order: Vec::new(),
        asked: HashSet::new(),
    };
    if let Some(into) = &rules.into {
        found.places.insert(into.to_string(), place(session, into).await?);
    }
    while let Some(dead) = heap.next().await? {
        let chosen = chooser.choose(&dead).await?;
        let mut taken = Vec::new();
        for (dead, chosen) in dead.iter().zip(chosen) {
            match chosen {
                true => taken.push(dead),
                false => found.plan.leave(&dead.letter),
            }
        }
        found.take(session, &taken, rules, edits, ordered).await?;
    }
    let stopped = heap.stopped();
    heap.close().await?;
    if stopped {
        return Ok(None);
    }
    found.missing = chooser.finish(dlq, session)?;
    Ok(Some(found))
}

/// What the broker says of a topic.
pub async fn place(session: &Session, topic: &str) -> anyhow::Result<Place> {
    let exists = !session.broker.topics(&literal(topic)).await?.is_empty();
    let groups = match exists {
        true => match session.broker.groups(&literal(topic)).await {
            Ok(groups) => groups.into_iter().map(|group| group.group).collect(),
            // One that is named can be asked for all the same.
            Err(error) if error.kind() == Kind::Unsupported => Vec::new(),
            Err(error) => return Err(error.into()),
        },
        false => Vec::new(),
    };
    Ok(Place { exists, address_group: session.broker.capabilities(topic).address_group, groups })
}

/// The same, and whether this group is there, where groups cannot be listed.
pub async fn place_of(session: &Session, topic: &str, group: Option<&str>) -> anyhow::Result<Place> {
    let mut place = place(session, topic).await?;
    if let Some(group) = group.filter(|_| place.exists && place.address_group)
        && !place.groups.iter().any(|known| known == group)
        && session.broker.group(topic, group).await?.is_some()
    {
        place.groups.push(group.to_owned());
    }
    Ok(place)
}

impl Survey {
    async fn take(
        &mut self,
        session: &Session,
        taken: &[&Dead],
        rules: &Rules,
        edits: &mut Edits,
        ordered: bool,
    ) -> anyhow::Result<()> {
        for dead in taken {
            let Some(topic) = &dead.letter.origin.topic else { continue };
            let group = dead.letter.group.as_deref();
            if !self.asked.insert((topic.clone(), dead.letter.group.clone())) {
                continue;
            }
            let found = place_of(session, topic, group).await?;
            match self.places.get_mut(topic) {
                None => drop(self.places.insert(topic.clone(), found)),
                Some(known) => {
                    let new = found.groups.into_iter().filter(|group| !known.groups.contains(group));
                    known.groups.extend(new.collect::<Vec<_>>());
                }
            }
        }
        let mut ways: Vec<Way> = taken.iter().map(|dead| way(&dead.letter, rules, &self.places)).collect();
        let going: Vec<usize> = (0..ways.len()).filter(|at| changes(&ways[*at])).collect();
        let contents = edits.apply(&going.iter().map(|at| taken[*at]).collect::<Vec<_>>()).await?;
        for (at, contents) in going.into_iter().zip(contents) {
            match contents {
                Err(why) => ways[at] = Way::Stays(Why::Refused(why)),
                Ok(contents) if contents.of.is_some() => {
                    self.edited += 1;
                    if self.change.is_empty() {
                        self.change = difference(&taken[at].event, &contents.event, CHANGE);
                    }
                }
                Ok(_) => (),
            }
        }
        for (dead, way) in taken.iter().zip(ways) {
            if self.handler.is_none() {
                self.handler = words::handler(&dead.letter).map(str::to_owned);
            }
            let before = self.plan.positions.len();
            self.plan.choose(dead.event.position(), way);
            if ordered && self.plan.positions.len() > before {
                self.order.push((key_of(dead), turn(dead, before)));
            }
        }
        if let Some(dead) = taken.last() {
            self.last = Some((*dead).clone());
        }
        Ok(())
    }

    /// The positions to work on, in passes: within a pass they come as they lie, and what would then overtake an earlier
    /// event of its key waits for a later pass. One pass where order does not count.
    pub fn passes(&mut self) -> Vec<Vec<Position>> {
        let positions = std::mem::take(&mut self.plan.positions);
        if self.order.is_empty() {
            return if positions.is_empty() { Vec::new() } else { vec![positions] };
        }
        let mut order = std::mem::take(&mut self.order);
        order.sort();
        let mut pass_of = vec![0usize; positions.len()];
        let (mut pass, mut last) = (0, None::<(u64, usize)>);
        for (key, (.., lies)) in &order {
            pass = match last {
                Some((same, before)) if same == *key => pass + usize::from(*lies < before),
                _ => 0,
            };
            last = Some((*key, *lies));
            pass_of[*lies] = pass;
        }
        let mut passes = vec![Vec::new(); pass_of.iter().max().map_or(0, |most| most + 1)];
        for (position, pass) in positions.into_iter().zip(pass_of) {
            passes[pass].push(position);
        }
        passes
    }
}

/// Whether edits apply: what is parked stays as it is.
pub fn changes(way: &Way) -> bool {
    matches!(way, Way::Group { .. } | Way::Topic { .. } | Way::Here)
}

/// Events without a key have no order among each other: each is its own.
pub fn key_of(dead: &Dead) -> u64 {
    let mut hasher = DefaultHasher::new();
    match dead.event.key() {
        Some(key) => key.hash(&mut hasher),
        None => (dead.event.position(), 0u8).hash(&mut hasher),
    }
    hasher.finish()
}

fn turn(dead: &Dead, lies: usize) -> Turn {
    let origin = &dead.letter.origin;
    let place = match &origin.position {
        Position::Offset(offset) | Position::At { offset, .. } => (u64::try_from(*offset).unwrap_or(0), 0),
        Position::Pair(ms, seq) => (*ms, *seq),
        _ => (0, 0),
    };
    (origin.topic.clone(), origin.position.partition(), place, origin.timestamp, lies)
}

/// Tells ids that were settled before from those that never were: the first are returned, the first of the second refused
/// by the caller.
pub async fn settled_or_unknown(
    session: &Session,
    dlq: &Name,
    missing: Vec<String>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    use crate::broker::{Read, Start, Stop};
    if missing.is_empty() {
        return Ok((missing, Vec::new()));
    }
    if crate::commands::dlq::heap::is_taken(session, dlq) {
        // What was settled is gone from there: nobody can tell the one from the other.
        return Ok((Vec::new(), missing));
    }
    let wanted: HashSet<Position> = missing.iter().map(|id| Position::parse(id)).collect();
    let mut known = HashSet::new();
    let mut reader =
        crate::commands::dlq::heap::reader(session, dlq, Start::Earliest, Stop::Now, false).await?;
    loop {
        match reader.next().await? {
            Read::Events(events) => known.extend(
                events.iter().map(|event| event.position()).filter(|at| wanted.contains(at)).cloned(),
            ),
            Read::CaughtUp => (),
            Read::End => break,
        }
    }
    reader.close().await?;
    Ok(missing.into_iter().partition(|id| known.contains(&Position::parse(id))))
}
