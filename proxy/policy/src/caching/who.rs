//! Whether a result may depend on who asks.

use pointsman_sql::Facts;

use crate::catalog::Catalog;

/// On whom a result may depend, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AsksWho {
    /// Everybody gets the same, as far as the text and the catalog say.
    #[default]
    Nothing,
    /// The role in force, or what it may see: `current_user`, privileges, row security, settings.
    Role,
    /// The user who logged in, or what is not known.
    User,
}

/// On whom a text's result may depend, through the views and policies that it reads too. What is not understood may
/// depend on the user. What a session has set is not looked at: `current_setting` counts for the role.
#[must_use]
pub fn identity_sensitive(facts: &Facts, catalog: &Catalog) -> AsksWho {
    if !facts.understood() {
        return AsksWho::User;
    }
    facts.statements.iter().map(|statement| catalog.asks_who(statement)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pointsman_sql::{Analyzer, LexRules};

    use super::*;
    use crate::catalog::tests::{function, relation, rows};
    use crate::catalog::{PolicyRow, Volatility};
    use crate::overrides::Overrides;

    fn asks(sql: &str) -> AsksWho {
        let mut rows = rows();
        let sessions = "SELECT id FROM public.agents WHERE name = SESSION_USER";
        rows.relations.extend([
            relation("public", "own", 'v', "SELECT id FROM public.agents WHERE name = CURRENT_USER"),
            relation("public", "of_session", 'v', sessions),
            relation("public", "of_own", 'v', "SELECT * FROM public.own"),
            relation("public", "over_guarded", 'v', "SELECT * FROM public.guarded"),
            relation("public", "bare", 'r', ""),
            relation("public", "by_session", 'r', ""),
            relation("a", "twice", 'r', ""),
            relation("b", "twice", 'r', ""),
        ]);
        for name in ["bare", "by_session"] {
            rows.relations.iter_mut().find(|row| &*row.name == name).expect("it is there").row_security =
                true;
        }
        rows.policies.push(PolicyRow {
            schema: "public".into(),
            relation: "by_session".into(),
            expression: "owner = SESSION_USER".into(),
        });
        rows.functions.push(function("pg_catalog", "has_table_privilege", Volatility::Stable, ""));
        rows.functions.push(function("pg_catalog", "system_user", Volatility::Stable, ""));
        let catalog = Catalog::build(&rows, &Overrides::default());
        let mut analyzer = Analyzer::<()>::new(1);
        identity_sensitive(analyzer.analyze(sql.as_bytes(), LexRules::default()).facts, &catalog)
    }

    #[test]
    fn what_everybody_gets() {
        for sql in [
            "SELECT lower(name), now(), current_timestamp FROM agents WHERE id = 1",
            "SELECT pure()",
            "SELECT * FROM plain",
            "SELECT 'current_user', \"user\" FROM agents",
            "SELECT * FROM a.twice",
            "SELECT id::text FROM agents",
            "",
        ] {
            assert_eq!(asks(sql), AsksWho::Nothing, "{sql}");
        }
    }

    #[test]
    fn what_a_role_gets() {
        for sql in [
            "SELECT current_user",
            "SELECT 1 FROM agents WHERE name IN (SELECT current_role)",
            "SELECT user",
            "SELECT current_schema",
            "SELECT has_table_privilege('agents', 'SELECT')",
            "SELECT current_setting('app.user')",
            "SELECT * FROM own",
            "SELECT * FROM of_own",
            "SELECT * FROM guarded",
            "SELECT * FROM over_guarded",
            "SELECT * FROM bare",
            "SELECT * FROM twice",
            "SELECT 'agents'::regclass",
        ] {
            assert_eq!(asks(sql), AsksWho::Role, "{sql}");
        }
    }

    #[test]
    fn what_a_user_gets() {
        for sql in [
            "SELECT session_user",
            "SELECT current_user, session_user",
            "SELECT system_user",
            "SELECT current_setting('session_authorization')",
            "SELECT current_setting(name) FROM agents",
            "SELECT * FROM of_session",
            "SELECT * FROM by_session",
            "SELECT * FROM pg_stat_activity",
            "SELECT * FROM broken",
            "SELECT log_visit()",
            "SELECT unheard_of()",
            "SELECT * FROM unheard_of",
            "SHOW application_name",
            "not SQL",
        ] {
            assert_eq!(asks(sql), AsksWho::User, "{sql}");
        }
    }
}
