//! Feeds that are fresh: a feed is cached under the tag `feed:READER`, and who posts invalidates the feeds of their friends.
//!
//! The friends come from a lookup and are remembered in `kv`. Whatever is not known (whose post, which friends) invalidates the
//! tag `feed`, which all feeds have. An agent whose friendships just changed counts as not known: a replica may not know either.

use std::time::Duration;

use pointsman_plugin::{
    Batch, Changes, Outcome, Plugin, Query, StatementKind, Tag, Value, Wants, Written, kv, lookup, statement,
};

/// What `config` says.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The table of posts, and its column that says who posts.
    posts: String,
    author: String,
    /// The table of friendships, and its columns that name a friend.
    friendships: String,
    friends: Vec<String>,
    /// Gives the friends of `$1` in its first column.
    lookup: String,
    /// Which parameter of a feed's query is its reader, from 0; in a text without parameters, which literal.
    reader: u32,
    /// How long friends are remembered, and how long those of a changed friendship are not known.
    memo_seconds: u64,
    settle_seconds: u64,
}

struct FeedInvalidation(Config);

/// What `kv` has for an agent whose friends are not known for now.
const UNSETTLED: &[u8] = b"?";

impl FeedInvalidation {
    /// The feeds of an agent's friends, if they are known.
    fn feeds_of_friends(&self, agent: &str) -> Option<Vec<Tag>> {
        let key = format!("friends:{agent}");
        let friends = match kv::get(&key).ok()? {
            Some(memo) if memo == UNSETTLED => return None,
            Some(memo) => String::from_utf8(memo).ok()?,
            None => {
                let rows = lookup::query(&self.0.lookup, &[Some(agent.to_owned())]).ok()?;
                let friends = rows.column(0).collect::<Vec<_>>().join(",");
                // A memo that does not fit is asked for again.
                let _ = kv::set(&key, friends.as_bytes(), Some(Duration::from_secs(self.0.memo_seconds)));
                friends
            }
        };
        Some(friends.split(',').filter(|id| !id.is_empty()).map(|id| format!("feed:{id}")).collect())
    }

    /// An agent's friendships changed: so did its feed, and its friends are to be asked for again, later.
    fn unsettle(&self, agent: &str) -> Option<Vec<Tag>> {
        let settle = Some(Duration::from_secs(self.0.settle_seconds));
        kv::set(&format!("friends:{agent}"), UNSETTLED, settle).ok()?;
        Some(vec![format!("feed:{agent}")])
    }

    /// What a change of this table invalidates; `values` gives those of a column before and after, if they are all known.
    fn tags(&self, table: &str, values: impl Fn(&str) -> Option<Vec<Value>>) -> Vec<Tag> {
        let each = |column: &str, tags: &dyn Fn(&str) -> Option<Vec<Tag>>| -> Option<Vec<Tag>> {
            let ids = values(column)?.iter().map(Value::to_id).collect::<Option<Vec<_>>>()?;
            ids.iter().map(|id| tags(id)).collect::<Option<Vec<_>>>().map(|tags| tags.concat())
        };
        let known = if table == self.0.posts {
            each(&self.0.author, &|author| self.feeds_of_friends(author))
        } else if table == self.0.friendships {
            let tags = self.0.friends.iter().map(|column| each(column, &|agent| self.unsettle(agent)));
            // All of them, before one that is not known ends it.
            tags.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>().map(|tags| tags.concat())
        } else {
            Some(Vec::new())
        };
        known.unwrap_or_else(|| vec!["feed".to_owned()])
    }
}

impl Plugin for FeedInvalidation {
    fn init(config: &str) -> Result<Self, String> {
        serde_json::from_str(config).map(Self).map_err(|error| error.to_string())
    }

    fn needs(&mut self) -> Wants {
        Wants { changes_of: Vec::new(), values: true }
    }

    fn on_query(&mut self, query: Query) -> Outcome {
        if query.kind != StatementKind::Select {
            return Outcome::pass();
        }
        let reader = match query.params {
            0 => statement::literal(self.0.reader).map(|literal| literal.text),
            _ => statement::param(self.0.reader).and_then(|param| param.value.to_id()),
        };
        Outcome::change(match reader {
            Some(reader) => Changes::new().tag("feed").tag(format!("feed:{reader}")),
            None => Changes::new().bypass_cache(),
        })
    }

    fn on_write(&mut self, _written: Written) -> Vec<Tag> {
        let written = statement::relations().into_iter().filter(|relation| relation.written);
        written.flat_map(|r| self.tags(&r.name, |column| statement::pinned(&r.name, column))).collect()
    }

    fn on_change(&mut self, batch: Batch) -> Vec<Tag> {
        let known = |values: Vec<Value>| if values.is_empty() { None } else { Some(values) };
        let changes = batch.changes.iter();
        changes
            .flat_map(|c| self.tags(&c.table, |column| known(c.values_of(column).cloned().collect())))
            .collect()
    }
}

pointsman_plugin::export!(FeedInvalidation: needs, on_query, on_write, on_change);

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_plugin::{
        Rows,
        bench::{Bench, Statement},
    };

    const CONFIG: &str = r#"{"posts": "interactions", "author": "initiator_id", "friendships": "friendships",
        "friends": ["initiator_id", "recipient_id"], "lookup": "SELECT friends", "reader": 0, "memo_seconds": 60, "settle_seconds": 10}"#;

    #[test]
    fn a_post_reaches_the_feeds_of_friends_and_no_others() {
        let mut bench = Bench::<FeedInvalidation>::new(CONFIG).expect("init");
        bench.lookup(|_, params| {
            Ok(match params {
                [Some(id)] if id == "7" => Rows::new(["id"]).row([Some("8")]).row([Some("9")]),
                _ => Rows::new(["id"]),
            })
        });
        let feed = bench.query(&Statement::new("SELECT feed").param("8"));
        assert_eq!(feed.changes().expect("tagged").tags, ["feed", "feed:8"]);
        let post = Statement::new("INSERT INTO interactions").writes("interactions").pins(
            "interactions",
            "initiator_id",
            ["7"],
        );
        assert_eq!(bench.write(&post, 1), ["feed:8", "feed:9"]);
        assert_eq!((bench.write(&post, 1).len(), bench.lookups()), (2, 1), "remembered");
        assert_eq!(
            bench.write(&Statement::new("INSERT INTO interactions").writes("interactions"), 1),
            ["feed"],
            "whose is not known"
        );
        let befriend = Statement::new("INSERT INTO friendships").writes("friendships").pins(
            "friendships",
            "initiator_id",
            ["7"],
        );
        assert_eq!(
            bench.write(&befriend.pins("friendships", "recipient_id", ["1"]), 1),
            ["feed:7", "feed:1"]
        );
        assert_eq!(bench.write(&post, 1), ["feed"], "a replica may not know the new friend");
        bench.advance(Duration::from_secs(11));
        assert_eq!((bench.write(&post, 1).len(), bench.lookups()), (2, 2), "asked again");
    }
}
