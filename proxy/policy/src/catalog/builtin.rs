//! What is known of PostgreSQL's own functions and settings beyond `pg_proc`.

use super::Volatility;

/// Functions of `pg_catalog` whose answer belongs to the server or the connection that gives it, though `pg_proc` may
/// call them stable. Sorted.
const SERVER_LOCAL: &[&str] = &[
    "currval",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "lastval",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_conf_load_time",
    "pg_config",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_logfile",
    "pg_current_snapshot",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_cursor",
    "pg_export_snapshot",
    "pg_get_replication_slots",
    "pg_get_shmem_allocations",
    "pg_get_wal_replay_pause_state",
    "pg_get_wal_resource_managers",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_is_in_recovery",
    "pg_is_other_temp_schema",
    "pg_is_wal_replay_paused",
    "pg_isolation_test_session_is_blocked",
    "pg_last_committed_xact",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_listening_channels",
    "pg_lock_status",
    "pg_my_temp_schema",
    "pg_notification_queue_usage",
    "pg_postmaster_start_time",
    "pg_prepared_statement",
    "pg_prepared_xact",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_replication_origin_session_is_setup",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_show_all_file_settings",
    "pg_show_all_settings",
    "pg_show_replication_origin_status",
    "pg_stat_file",
    "pg_trigger_depth",
    "pg_xact_commit_timestamp",
    "pg_xact_commit_timestamp_origin",
    "pg_xact_status",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "txid_status",
    "version",
];

/// Families of such functions, by how their names begin.
const SERVER_LOCAL_PREFIXES: &[&str] =
    &["pg_stat_get_", "pg_ls_", "pg_current_wal_", "pg_walfile_", "pg_logical_slot_"];

/// Whether a function of `pg_catalog` answers for its own server or connection only.
#[must_use]
pub fn is_server_local(name: &str) -> bool {
    SERVER_LOCAL.binary_search(&name).is_ok()
        || SERVER_LOCAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Volatile functions of PostgreSQL that change nothing that others can see. Sorted.
const HARMLESS: &[&str] = &[
    "clock_timestamp",
    "gen_random_uuid",
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "random",
    "timeofday",
    "uuidv4",
    "uuidv7",
];

/// Whether a volatile function is PostgreSQL's own and changes nothing.
pub(super) fn is_harmless(name: &str) -> bool {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    HARMLESS.binary_search(&name).is_ok()
}

/// PostgreSQL's methods of `TABLESAMPLE`. `pg_proc` calls them volatile, and nothing else can call them: they choose rows.
const SAMPLING: &[&str] = &["bernoulli", "system"];

/// How volatile a function of PostgreSQL's own is that `pg_proc` says this of.
pub(super) fn volatility(name: &str, said: Volatility) -> Volatility {
    if SAMPLING.contains(&name) { Volatility::Stable } else { said }
}

/// Settings that are the same on every server of a cluster, or follow the session. Sorted.
const SHARED_SETTINGS: &[&str] = &[
    "application_name",
    "array_nulls",
    "backslash_quote",
    "block_size",
    "bytea_output",
    "check_function_bodies",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_tablespace",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "escape_string_warning",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "integer_datetimes",
    "intervalstyle",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "max_identifier_length",
    "max_index_keys",
    "quote_all_identifiers",
    "role",
    "row_security",
    "search_path",
    "segment_size",
    "server_encoding",
    "session_authorization",
    "standard_conforming_strings",
    "statement_timeout",
    "temp_tablespaces",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transform_null_equals",
    "wal_block_size",
    "wal_segment_size",
    "xmlbinary",
    "xmloption",
];

/// Whether a setting (in lower case) reads the same on the primary and its replicas for one session. Settings with
/// a dot in their name belong to the session.
#[must_use]
pub fn is_shared_setting(name: &str) -> bool {
    name.contains('.') || SHARED_SETTINGS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [SERVER_LOCAL, HARMLESS, SAMPLING, SHARED_SETTINGS] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn names_are_found() {
        assert!(is_server_local("pg_backend_pid") && is_server_local("pg_stat_get_activity"));
        assert!(!is_server_local("now") && !is_server_local("lower"));
        assert!(is_shared_setting("app.tenant") && is_shared_setting("timezone"));
        assert!(!is_shared_setting("transaction_read_only") && !is_shared_setting("in_hot_standby"));
        assert!(!is_shared_setting("default_transaction_read_only") && !is_shared_setting("server_version"));
        assert!(is_harmless("random") && is_harmless("pg_catalog.random") && !is_harmless("nextval"));
    }
}
