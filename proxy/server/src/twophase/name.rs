//! Names of prepared transactions and of their rows in the log: `pointsman_<group>_<node>_<unique>`, and on a shard
//! `_<shard>` after it.

/// What every name begins with.
pub const PREFIX: &str = "pointsman_";
/// Bytes of a group's name: PostgreSQL takes prepared transactions' names of up to 199 bytes.
pub const GROUP_BYTES_MAX: usize = 100;

/// What a transaction is called in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The group of shards. ASCII letters, digits, `_` and `-`: the same bytes under every client encoding.
    pub group: String,
    /// The proxy that began to commit it.
    pub node: u32,
    /// Random.
    pub unique: u64,
}

impl Name {
    /// A name that nothing had before.
    pub fn fresh(group: &str, node: u32) -> Self {
        Self { group: group.to_owned(), node, unique: rand::random() }
    }

    /// What it is called on a shard.
    pub fn on(&self, shard: usize) -> String {
        format!("{self}_{shard}")
    }

    /// Takes apart what it is called on a shard; `None` for what Pointsman did not name.
    pub fn parse(gid: &str) -> Option<(Self, usize)> {
        let mut parts = gid.strip_prefix(PREFIX)?.rsplitn(4, '_');
        let (shard, unique, node, group) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = Self {
            group: group.to_owned(),
            node: node.parse().ok()?,
            unique: u64::from_str_radix(unique, 16).ok()?,
        };
        let shard = shard.parse().ok()?;
        // Only what it would be called again: `+1`, `01` and the like were not made here.
        (name.on(shard) == gid).then_some((name, shard))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}_{}_{:016x}", self.group, self.node, self.unique)
    }
}

/// Whether a group may be called so.
pub fn fits(group: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !group.is_empty() && group.len() <= GROUP_BYTES_MAX && group.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_as_it_was_put_together() {
        for group in ["social", "a_b", "a_1_2", "a-b"] {
            let name = Name::fresh(group, 7);
            assert_eq!(Name::parse(&name.on(3)), Some((name, 3)));
        }
        let longest = Name { group: "g".repeat(GROUP_BYTES_MAX), node: u32::MAX, unique: u64::MAX };
        assert!(longest.on(usize::MAX).len() < 200);
    }

    #[test]
    fn what_pointsman_did_not_name_is_not_taken_apart() {
        let good = "pointsman_g_1_00000000000000ff_2";
        assert!(Name::parse(good).is_some());
        for gid in [
            "other",
            "pointsman_g",
            "pointsman_g_1_ff_2",
            "pointsman_g_01_00000000000000ff_2",
            "pointsman_g_1_00000000000000FF_2",
            "pointsman_g_1_00000000000000ff_+2",
            "pointsman_1_00000000000000ff_2",
            "xpointsman_g_1_00000000000000ff_2",
        ] {
            assert_eq!(Name::parse(gid), None, "{gid}");
        }
        assert!(fits("social") && !fits("") && !fits("sö") && !fits("a b") && !fits(&"g".repeat(101)));
    }
}
