//! Definitions and grants, compared from time to time: what no stream of rows tells of.

use std::time::Duration;

use crate::fault::Fault;
use crate::upstream::own::{self, Own};

/// The event trigger that tells of definitions and grants as they change.
pub const TRIGGER: &str = "pointsman_definitions";
/// What its messages in the stream are called.
pub const PREFIX: &str = "pointsman";

/// Roles, whom they belong to, and what they begin a session with. No event trigger fires for these.
const ROLES: &str = "\
SELECT md5(coalesce(string_agg(line, ',' ORDER BY line), '')) FROM (
  SELECT concat_ws('/', 'r', oid, rolname, rolsuper, rolinherit, rolbypassrls) AS line FROM pg_roles
  UNION ALL SELECT concat_ws('/', 'm', roleid, member, xmin) FROM pg_auth_members
  UNION ALL SELECT concat_ws('/', 's', setdatabase, setrole, xmin) FROM pg_db_role_setting) AS lines";

/// Relations, columns with grants of their own, functions, policies, rules, types, schemas: each row's `xmin` changes
/// whenever it does.
const DEFINITIONS: &str = "\
SELECT md5(coalesce(string_agg(line, ',' ORDER BY line), '')) FROM (
  SELECT concat_ws('/', 'c', oid, xmin) AS line FROM pg_class
    WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't'
  UNION ALL SELECT concat_ws('/', 'a', attrelid, attnum, xmin) FROM pg_attribute
    WHERE attrelid >= 16384 AND attacl IS NOT NULL
  UNION ALL SELECT concat_ws('/', 'f', oid, xmin) FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT concat_ws('/', 'p', oid, xmin) FROM pg_policy
  UNION ALL SELECT concat_ws('/', 'w', oid, xmin) FROM pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT concat_ws('/', 't', oid, xmin) FROM pg_type
    WHERE oid >= 16384 AND typtype IN ('d', 'e', 'r')
  UNION ALL SELECT concat_ws('/', 'n', oid, xmin) FROM pg_namespace WHERE oid >= 16384 OR nspname = 'public')
  AS lines";

/// What definitions were when they were last looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digest(Option<(String, String)>);

impl Digest {
    /// Looks again; true if something has changed since the last time. With `roles_only`, the rest is told otherwise.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn renew(&mut self, own: &Own, roles_only: bool, limit: Duration) -> Result<bool, Fault> {
        let roles: String = text(own, ROLES, limit).await?;
        let rest = if roles_only { String::new() } else { text(own, DEFINITIONS, limit).await? };
        let now = Some((roles, rest));
        let changed = self.0.is_some() && self.0 != now;
        self.0 = now;
        Ok(changed)
    }
}

/// The one text that a question is answered with.
///
/// # Errors
/// The server does not answer, or not with a text.
pub async fn text(own: &Own, sql: &str, limit: Duration) -> Result<String, Fault> {
    let row = own::ask(limit, own.query_one(sql, &[])).await?;
    row.try_get(0).map_err(|error| {
        Fault::upstream("08006", "a question of Pointsman's own had no such answer").because(own::why(&error))
    })
}
