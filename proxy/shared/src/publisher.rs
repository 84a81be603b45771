//! The publisher: takes all that the queues hold and gives it to the store and the bus, in one round trip
//! where one server has both.

use std::sync::Arc;

use redis::{Pipeline, Value};

use crate::bus::{Message, Said};
use crate::client::Session;
use crate::database::{Batch, Queue};
use crate::inner::Inner;
use crate::miss::{Miss, Severity};
use crate::stats::add;

#[derive(Debug)]
pub(crate) struct Publisher {
    inner: Arc<Inner>,
    /// The number of the last invalidation that the bus is known to have.
    sequence: u64,
}

impl Publisher {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, sequence: 0 }
    }

    /// Publishes all that waits. What cannot be published goes back into its queue.
    pub(crate) async fn publish(&mut self, session: &Session) -> Result<(), Miss> {
        let queues: Vec<Arc<Queue>> = self.inner.queues().clone();
        let batches: Vec<Batch> = queues.iter().filter_map(Queue::take).collect();
        if batches.is_empty() {
            return Ok(());
        }
        let doing = self.invalidate(session, &batches);
        let done = session.within(self.inner.config.patience, doing).await;
        self.judge(session, done)?;
        // A number that was perhaps not heard is used again, for no less: nobody hears a gap, nobody misses
        // anything.
        self.sequence += batches.len() as u64;
        let stats = &self.inner.stats;
        for batch in batches {
            add(&stats.published, batch.tags.len());
            add(&stats.published_everything, usize::from(batch.everything));
            batch.done();
        }
        Ok(())
    }

    /// Deletes something that is not there: only a server that takes writes does.
    pub(crate) async fn prove(&self, session: &Session) -> Result<(), Miss> {
        let name = format!("{}proof", self.inner.names.tags);
        let delete = redis::cmd("DEL").arg(&name).clone();
        let probe = async { numbers(&[session.command(session.node(name.as_bytes()), &delete).await?]) };
        session.within(self.inner.config.patience, probe).await
    }

    /// Says that this proxy is there, and finds out whether every node is.
    pub(crate) async fn beat(&self, session: &Session) -> Result<(), Miss> {
        if !session.is_single() {
            let pinged = session.within(self.inner.config.patience, session.ping()).await;
            self.judge(session, pinged)?;
        }
        self.say(session, Said::Beat).await
    }

    /// Says that it leaves.
    pub(crate) async fn bye(&self, session: &Session) -> Result<(), Miss> {
        self.say(session, Said::Bye).await
    }

    async fn say(&self, session: &Session, said: Said) -> Result<(), Miss> {
        let mut pipeline = Pipeline::new();
        self.announce(&mut pipeline, self.sequence, said);
        let node = session.node(self.inner.names.bus.as_bytes());
        let said = session.within(self.inner.config.patience, session.pipeline(node, &pipeline)).await;
        self.judge(session, said.map(|_| ()))
    }

    /// First the store, then the bus: who hears of it and asks the store finds nothing old.
    async fn invalidate(&self, session: &Session, batches: &[Batch]) -> Result<(), Miss> {
        let names: Vec<Vec<u8>> = batches.iter().flat_map(|batch| self.names(batch)).collect();
        let mut said = Pipeline::new();
        for (batch, sequence) in batches.iter().zip(self.sequence + 1..) {
            let what = if batch.everything {
                Said::Everything(batch.id())
            } else {
                Said::Tags(batch.id(), batch.tags.clone())
            };
            self.announce(&mut said, sequence, what);
        }
        if session.is_single() {
            let mut all = Pipeline::new();
            all.cmd("DEL").arg(&names);
            for command in said.cmd_iter() {
                all.add_command(command.clone());
            }
            return numbers(&session.pipeline(0, &all).await?);
        }
        let deleted = session.scatter(&names, 1, |pipeline, name| {
            pipeline.cmd("DEL").arg(name);
        });
        numbers(&deleted.await?)?;
        numbers(&session.pipeline(session.node(self.inner.names.bus.as_bytes()), &said).await?)
    }

    fn names(&self, batch: &Batch) -> Vec<Vec<u8>> {
        let names = &self.inner.names;
        if batch.everything {
            return vec![names.tag(batch.id().everything())];
        }
        batch.tags.iter().map(|tag| names.tag(*tag)).collect()
    }

    fn announce(&self, pipeline: &mut Pipeline, sequence: u64, said: Said) {
        let message = Message { sender: self.inner.sender, sequence, said };
        pipeline.cmd("PUBLISH").arg(&self.inner.names.bus).arg(message.encode());
    }

    /// Where an invalidation is refused, others read what is no longer valid: such a store is given up.
    fn judge(&self, session: &Session, done: Result<(), Miss>) -> Result<(), Miss> {
        done.inspect_err(|miss| {
            self.inner.stats.failed_behind(*miss);
            if miss.severity() == Severity::None {
                session.breaker.failed(Miss::Down);
            }
        })
    }
}

/// How many keys were deleted and subscribers reached; what answers otherwise has done neither.
fn numbers(replies: &[Value]) -> Result<(), Miss> {
    if replies.iter().all(|reply| matches!(reply, Value::Int(_))) { Ok(()) } else { Err(Miss::Other) }
}
