//! Whose session a result is for, as far as it may depend on that.

use pointsman_sql::{Kind, Statement};

use super::{Catalog, Function, FunctionRow, Volatility};
use crate::caching::AsksWho;

/// Functions of `pg_catalog` whose result depends on the role in force, or on what it may see. Sorted.
const OF_ROLE: &[&str] = &[
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "format_type",
    "getpgusername",
    "row_security_active",
];

/// Functions of `pg_catalog` whose result depends on who logged in, and from where. Sorted.
const OF_USER: &[&str] = &["inet_client_addr", "inet_client_port", "session_user", "system_user"];

/// Types whose values read or show as names that depend on `search_path`, and so on the role. Sorted.
const NAMED_BY_PATH: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regtype",
];

fn of_builtin(name: &str) -> AsksWho {
    let by_role = OF_ROLE.binary_search(&name).is_ok()
        || name.ends_with("_privilege")
        || name.ends_with("_is_visible")
        || name.starts_with("to_reg")
        || name.starts_with("pg_get_")
        || name == "pg_has_role";
    if OF_USER.binary_search(&name).is_ok() {
        AsksWho::User
    } else if by_role {
        AsksWho::Role
    } else {
        AsksWho::Nothing
    }
}

/// Whose session a function's result is for. A user's function may ask anything, unless it says that its arguments
/// decide.
pub(super) fn of_function(row: &FunctionRow) -> AsksWho {
    match row {
        FunctionRow { builtin: true, name, .. } => of_builtin(name),
        FunctionRow { volatility: Volatility::Immutable, .. } => AsksWho::Nothing,
        _ => AsksWho::User,
    }
}

impl Catalog {
    /// Whose session a statement's result is for.
    pub(crate) fn asks_who(&self, statement: &Statement) -> AsksWho {
        let words = statement.value_words.iter().map(|word| match *word {
            "session_user" => AsksWho::User,
            "current_role" | "current_schema" | "current_user" | "user" => AsksWho::Role,
            _ => AsksWho::Nothing,
        });
        let settings = statement.settings.iter().map(|name| match name.as_deref() {
            None | Some("session_authorization") => AsksWho::User,
            Some(_) => AsksWho::Role,
        });
        let types = statement.types.iter().map(|name| match NAMED_BY_PATH.binary_search(&&*name.name) {
            Ok(_) => AsksWho::Role,
            Err(_) => AsksWho::Nothing,
        });
        let functions = statement.functions.iter().map(|name| {
            let all = self.overloads(name).map(|function: &Function| function.asks).max();
            let several = name.schema.is_none() && self.overloads(name).count() > 1;
            all.unwrap_or(AsksWho::User).max(by_path(several))
        });
        let relations = statement.reads.iter().map(|name| {
            let all = self.named(name).map(|known| known.asks).max();
            let several = name.schema.is_none() && self.named(name).count() > 1;
            let unknown = if self.assumed { AsksWho::Nothing } else { AsksWho::User };
            all.unwrap_or(unknown).max(by_path(several))
        });
        let shows = if matches!(statement.kind, Kind::Show(_)) { AsksWho::User } else { AsksWho::Nothing };
        words.chain(settings).chain(types).chain(functions).chain(relations).fold(shows, AsksWho::max)
    }
}

/// A name in several schemas means what `search_path` finds first, in which `"$user"` is the role.
fn by_path(several: bool) -> AsksWho {
    if several { AsksWho::Role } else { AsksWho::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [OF_ROLE, OF_USER, NAMED_BY_PATH] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn functions_by_name() {
        for (name, asks) in [
            ("lower", AsksWho::Nothing),
            ("now", AsksWho::Nothing),
            ("has_table_privilege", AsksWho::Role),
            ("pg_has_role", AsksWho::Role),
            ("pg_table_is_visible", AsksWho::Role),
            ("current_setting", AsksWho::Role),
            ("session_user", AsksWho::User),
        ] {
            assert_eq!(of_builtin(name), asks, "{name}");
        }
    }
}
