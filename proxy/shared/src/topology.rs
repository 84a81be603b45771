//! Which server keeps which key: one server keeps all, a Cluster's nodes have slots. Nothing is followed or
//! repaired here: when a Cluster changes, connections to it are given up and it is looked at anew.

use redis::{Client, ConnectionAddr, ConnectionInfo, Value};

use crate::miss::Miss;

/// Slots of a Redis Cluster.
pub(crate) const SLOTS: usize = 16384;
const NOBODY: u16 = u16::MAX;

/// The slot of a key (Redis Cluster specification, "Key distribution model"): what is between the first `{`
/// and the `}` after it, if that is anything, else all of it.
pub(crate) fn slot(key: &[u8]) -> usize {
    let open = key.iter().position(|byte| *byte == b'{');
    let part = open.and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(part.unwrap_or(key)) as usize % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// The nodes that keep keys, and which slot is whose.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<ConnectionInfo>,
    /// For each slot the node's place; `None` of a single server.
    slots: Option<Box<[u16]>>,
}

impl Topology {
    pub(crate) fn single(server: ConnectionInfo) -> Self {
        Self { nodes: vec![server], slots: None }
    }

    /// Asks a node for the whole. A slot that nobody has makes it useless: an invalidation could be for it.
    pub(crate) async fn ask(seed: &ConnectionInfo) -> Result<Self, Miss> {
        let client = Client::open(seed.clone()).map_err(Miss::from)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(Miss::from)?;
        let reply = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await;
        Self::read(seed, &reply.map_err(Miss::from)?).ok_or(Miss::Moved)
    }

    /// Reads the reply of `CLUSTER SLOTS`: of each range its first and last slot and its nodes, the primary
    /// first, each with host (none if it is the one that was asked), port, and more.
    fn read(seed: &ConnectionInfo, reply: &Value) -> Option<Self> {
        let mut nodes: Vec<(String, u16)> = Vec::new();
        let mut slots = vec![NOBODY; SLOTS];
        for range in array(reply)? {
            let [first, last, primary, ..] = array(range)? else { return None };
            let [host, port, ..] = array(primary)? else { return None };
            let port = u16::try_from(number(port)?).ok()?;
            let node = (host_of(host, seed)?, port);
            let place = nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
                nodes.push(node);
                nodes.len() - 1
            });
            let range = usize::try_from(number(first)?).ok()?..=usize::try_from(number(last)?).ok()?;
            slots.get_mut(range)?.fill(u16::try_from(place).ok()?);
        }
        if nodes.is_empty() || slots.contains(&NOBODY) {
            return None;
        }
        let nodes = nodes.into_iter().map(|(host, port)| at(seed, host, port)).collect();
        Some(Self { nodes, slots: Some(slots.into()) })
    }

    /// The place of the node that keeps this key.
    pub(crate) fn node(&self, key: &[u8]) -> usize {
        self.slots.as_ref().map_or(0, |slots| usize::from(slots[slot(key)]))
    }

    pub(crate) fn is_single(&self) -> bool {
        self.slots.is_none()
    }
}

/// The same login, by the same means, elsewhere.
fn at(seed: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match seed.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    seed.clone().set_addr(addr)
}

fn host_of(value: &Value, seed: &ConnectionInfo) -> Option<String> {
    let text = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        Value::Nil => "",
        _ => return None,
    };
    match (text, seed.addr()) {
        ("" | "?", ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => Some(host.clone()),
        ("" | "?", _) => None,
        _ => Some(text.to_owned()),
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::IntoConnectionInfo as _;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") as usize % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    }

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let node = Value::Array(vec![Value::BulkString(host.into()), Value::Int(port)]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node])
    }

    #[test]
    fn a_reply_is_read_or_refused() {
        let seed = "redis://:secret@seed:7000".into_connection_info().unwrap();
        let whole = Value::Array(vec![range(0, 8191, "", 1), range(8192, 16383, "other", 2)]);
        let topology = Topology::read(&seed, &whole).unwrap();
        assert_eq!(topology.nodes[0].addr(), &ConnectionAddr::Tcp("seed".to_owned(), 1));
        assert_eq!(topology.nodes[1].addr(), &ConnectionAddr::Tcp("other".to_owned(), 2));
        assert_eq!(topology.nodes[1].redis_settings().password(), Some("secret"));
        assert_eq!(topology.node(b"foo"), 1);
        let wrong = [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 16382, "a", 1)]),
            Value::Array(vec![range(0, 16384, "a", 1)]),
            Value::Array(vec![range(-1, 16383, "a", 1)]),
            Value::Array(vec![range(9, 3, "a", 1)]),
            Value::Array(vec![range(0, 16383, "a", 70_000)]),
        ];
        for reply in wrong {
            assert!(Topology::read(&seed, &reply).is_none(), "{reply:?}");
        }
    }
}
