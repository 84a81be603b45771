//! The `cache` key of a rule, read. What the table of keys has complained of is left out.

use std::time::Duration;

use super::read::{count_of, texts};
use crate::caching::{Caching, KeyPart, Scope, TagTemplate};
use crate::format::leaf;
use crate::yaml::Node;

/// Reads how a rule caches; `None` without a `ttl`.
pub(super) fn read(node: &Node) -> Option<Caching> {
    let duration = |key: &str| node.get(key).and_then(Node::text).and_then(leaf::duration);
    let list = |key: &str| node.get(key).into_iter().flat_map(texts);
    Some(Caching {
        ttl: duration("ttl")?,
        stale_while_revalidate: duration("stale_while_revalidate").unwrap_or(Duration::ZERO),
        key_by: list("key_by").filter_map(KeyPart::named).collect(),
        tags: list("tags").filter_map(|text| TagTemplate::parse(text).ok()).collect(),
        tags_from: node.get("tags_from").and_then(Node::text).and_then(|text| TagTemplate::parse(text).ok()),
        invalidate_by: list("invalidate_by").map(Into::into).collect(),
        plugin_tables: list("plugin_tables").map(Into::into).collect(),
        scope: node.get("scope").and_then(Node::text).and_then(Scope::named).unwrap_or_default(),
        max_entry: node.get("max_entry").and_then(|size| match size.text() {
            Some(text) => leaf::size(text),
            None => count_of(size).and_then(|bytes| usize::try_from(bytes).ok()),
        }),
        max_staleness: duration("max_staleness"),
    })
}

#[cfg(test)]
mod tests;
