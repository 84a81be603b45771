//! A session with the store: one connection to a single server, or to each of a Cluster's nodes. It never
//! reconnects: a server that restarted may have gone back to an older state, so what is read over a new
//! connection is believed only after everything was invalidated over that connection. Whatever ends one of
//! its connections ends the session.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisError, Value};

use crate::breaker::Breaker;
use crate::config::SharedConfig;
use crate::miss::Miss;
use crate::topology::Topology;

#[derive(Debug)]
pub(crate) struct Session {
    connections: Vec<MultiplexedConnection>,
    topology: Topology,
    pub(crate) breaker: Breaker,
}

impl Session {
    /// A session with the server at this address, or with the Cluster that it is a node of.
    pub(crate) async fn open(config: &SharedConfig, seed: &ConnectionInfo) -> Result<Self, Miss> {
        let topology =
            if config.cluster { Topology::ask(seed).await? } else { Topology::single(seed.clone()) };
        Self::connect(topology, config.failures_max).await
    }

    async fn connect(topology: Topology, failures_max: u32) -> Result<Self, Miss> {
        let connections = topology.nodes.iter().map(connect);
        let connections = futures_util::future::try_join_all(connections).await?;
        Ok(Self { connections, topology, breaker: Breaker::new(failures_max) })
    }

    pub(crate) fn is_single(&self) -> bool {
        self.topology.is_single()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn node(&self, key: &[u8]) -> usize {
        self.topology.node(key)
    }

    /// The server that keeps this key.
    pub(crate) fn server(&self, key: &[u8]) -> &ConnectionInfo {
        &self.topology.nodes[self.node(key)]
    }

    /// Runs `work` for at most `limit`, and tells the breaker how it ended.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Miss>>,
    ) -> Result<T, Miss> {
        let result = tokio::time::timeout(limit, work).await.unwrap_or(Err(Miss::Deadline));
        match &result {
            Ok(_) => self.breaker.succeeded(),
            Err(miss) => self.breaker.failed(*miss),
        }
        result
    }

    pub(crate) async fn command(&self, node: usize, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = self.connections[node].clone();
        connection.send_packed_command(command).await?.extract_error()
    }

    /// The replies to all, or the first error.
    pub(crate) async fn pipeline(&self, node: usize, pipeline: &Pipeline) -> Result<Vec<Value>, Miss> {
        let mut connection = self.connections[node].clone();
        Ok(pipeline.query_async(&mut connection).await?)
    }

    /// One pipeline for each node that keeps some of `keys`, all at once. `write` writes as many commands for
    /// a key as `replies` says; the result has for each key its last reply.
    pub(crate) async fn scatter(
        &self,
        keys: &[Vec<u8>],
        replies: usize,
        write: impl Fn(&mut Pipeline, &[u8]),
    ) -> Result<Vec<Value>, Miss> {
        let mut parts: Vec<(Pipeline, Vec<usize>)> = vec![Default::default(); self.nodes()];
        for (place, key) in keys.iter().enumerate() {
            let (pipeline, places) = &mut parts[self.node(key)];
            write(pipeline, key);
            places.push(place);
        }
        let asked = parts.iter().enumerate().filter(|(_, (pipeline, _))| !pipeline.is_empty());
        let asked = asked.map(|(node, (pipeline, places))| async move {
            let values = self.pipeline(node, pipeline).await?;
            let whole = values.len() == places.len() * replies;
            if whole { Ok((places, values)) } else { Err(Miss::Down) }
        });
        let mut gathered = vec![Value::Nil; keys.len()];
        for (places, values) in futures_util::future::try_join_all(asked).await? {
            let last_of_each = values.into_iter().skip(replies - 1).step_by(replies);
            for (place, value) in places.iter().zip(last_of_each) {
                gathered[*place] = value;
            }
        }
        Ok(gathered)
    }

    /// Asks every node whether it is there.
    pub(crate) async fn ping(&self) -> Result<(), Miss> {
        let ping = redis::cmd("PING");
        let asked = (0..self.nodes()).map(|node| self.command(node, &ping));
        futures_util::future::try_join_all(asked).await?;
        Ok(())
    }
}

/// Without time limits of its own: each use has one.
async fn connect(server: &ConnectionInfo) -> Result<MultiplexedConnection, Miss> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let client = Client::open(server.clone())?;
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}
