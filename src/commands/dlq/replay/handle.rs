//! `-- COMMAND`: letters handled here, one after the other.

use std::collections::HashMap;
use std::ffi::OsString;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::event::Event;
use crate::flow::driver::Told;
use crate::flow::handler::{self, Command, Crew, Program, Relay};
use crate::flow::lanes::Verdict;
use crate::shutdown::Stop;

/// Runs the command, with the contract that `subscribe` has with its handlers.
pub struct Hands {
    program: Program,
    args: Vec<OsString>,
    broker: String,
    /// One crew for each group: a handler is told of its group.
    crews: HashMap<Option<String>, Crew>,
}

impl Hands {
    /// Nothing is started yet.
    pub fn new(program: Program, args: Vec<OsString>, broker: String) -> Hands {
        Hands { program, args, broker, crews: HashMap::new() }
    }

    /// Handles one event. `Ok(Err)`: it failed, and how. Errors: nothing can be handled at all.
    pub async fn handle(
        &mut self,
        event: Event,
        attempt: u32,
        group: Option<&str>,
        stop: &Stop,
    ) -> anyhow::Result<Result<(), String>> {
        let group = group.map(String::from);
        if !self.crews.contains_key(&group) {
            let crew = self.crew(group.clone())?;
            self.crews.insert(group.clone(), crew);
        }
        let Some(crew) = self.crews.get_mut(&group) else { return Ok(Err("no crew".into())) };
        crew.handler.start(0, event, attempt);
        let mut stopping = false;
        loop {
            let told = tokio::select! {
                told = crew.told.recv() => told,
                () = drained(stop), if !stopping => {
                    stopping = true;
                    crew.handler.kill(0);
                    continue;
                }
            };
            return match told {
                Some(Told::Finished(_, Verdict::Ack)) => Ok(Ok(())),
                Some(Told::Finished(_, Verdict::Retry(why) | Verdict::Dead(why))) => Ok(Err(why.to_string())),
                Some(Told::Finished(_, Verdict::Halt(why))) => {
                    Err(crate::outcome::Failure::failed(format!("the handler cannot work: {why}")).into())
                }
                Some(Told::Finished(_, Verdict::Killed)) => Ok(Err("broken off".into())),
                // Its output goes nowhere; what it does still counts.
                Some(Told::ReaderLeft | Told::Passed(..)) => continue,
                Some(Told::Broken(error)) => Err(error),
                None => Ok(Err("the handler is gone".into())),
            };
        }
    }

    fn crew(&self, group: Option<String>) -> anyhow::Result<Crew> {
        let (tell, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let command = Command {
            program: self.program.clone(),
            args: self.args.clone(),
            whole_event: false,
            timeout: None,
            group,
            broker: self.broker.clone(),
            relay: Relay::open(tell.clone(), &mut tasks)?,
        };
        Ok(handler::exec(command, 1, tell, told, tasks))
    }

    /// Waits until all that the handlers said was passed on.
    pub async fn finish(self) {
        for (_, crew) in self.crews {
            let Crew { handler, told, tasks } = crew;
            drop((handler, told));
            handler::ended(tasks).await;
        }
    }
}

/// A handler may finish what it is at for so long after the first Ctrl-C.
async fn drained(stop: &Stop) {
    stop.requested().await;
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
}
