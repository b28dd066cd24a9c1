//! What only a call that blocks can ask for: the names of all topics, and who the brokers are by now.

use std::ffi::c_int;
use std::time::Duration;

use super::client::Client;
use super::error::{About, Trouble};
use super::sys::{self, Code};
use crate::broker::Result;

/// How long somebody who answers is looked for.
const SOON: Duration = Duration::from_secs(1);

/// Frees an answer.
struct Answer(*const sys::rd_kafka_metadata);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_metadata_destroy(self.0) }
    }
}

impl Client {
    /// The names of all topics that we may see, in order, the broker's own among them. On a thread of its own, which goes
    /// on to its end where nobody waits for it any more.
    pub async fn topic_names(&self, about: &About) -> Result<Vec<String>> {
        let client = self.clone();
        let asked = tokio::task::spawn_blocking(move || client.topic_names_blocking());
        tokio::select! {
            names = asked => match names {
                Ok(Ok(names)) => Ok(names),
                Ok(Err(code)) => Err(Trouble::of(code).error(about, self)),
                Err(_) => Err(Trouble::of(Code::LOCAL_DESTROY).error(about, self)),
            },
            trouble = self.refused() => Err(trouble.error(about, self)),
        }
    }

    /// The number of some broker that answers, if one does soon. The library knows by then who they all are.
    pub async fn who_answers(&self) -> Option<i32> {
        let client = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // SAFETY: the client is live.
            let answer = unsafe { sys::metadata(client.raw(), false, SOON.as_millis() as c_int) }.map(Answer);
            // SAFETY: the answer lives.
            answer.ok().map(|answer| unsafe { (*answer.0).orig_broker_id })
        });
        asked.await.ok().flatten().filter(|node| *node >= 0)
    }

    /// The numbers of all brokers that are up; none where nobody says soon.
    pub async fn nodes(&self) -> Vec<i32> {
        let client = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // SAFETY: the client is live.
            let answer = unsafe { sys::metadata(client.raw(), false, SOON.as_millis() as c_int) }.map(Answer);
            // SAFETY: the answer lives, and has as many brokers as it says.
            let number = |answer: &Answer, i| unsafe { (*(*answer.0).brokers.add(i)).id };
            // SAFETY: as above.
            let count = |answer: &Answer| unsafe { (*answer.0).broker_cnt as usize };
            answer.map(|answer| (0..count(&answer)).map(|i| number(&answer, i)).collect())
        });
        asked.await.ok().and_then(std::result::Result::ok).unwrap_or_default()
    }

    fn topic_names_blocking(&self) -> std::result::Result<Vec<String>, Code> {
        // -1 waits for ever.
        let patience =
            self.timeout().map_or(-1, |timeout| c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX));
        // SAFETY: the client is live, and all topics are asked for.
        let answer = Answer(unsafe { sys::metadata(self.raw(), true, patience)? });
        // SAFETY: the answer lives until the end of this function, and has as many topics as it says.
        let mut names: Vec<String> = unsafe {
            let topics = (0..(*answer.0).topic_cnt as usize).map(|i| (*answer.0).topics.add(i));
            topics.map(|topic| sys::text((*topic).topic)).collect()
        };
        names.sort_unstable();
        Ok(names)
    }
}
