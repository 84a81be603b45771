//! A parsed statement to its kind and its effects on the session.

mod setting;

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};

use crate::facts::{NotReadOnly, SessionState, Statement};
use crate::kind::{CopyPeer, Discard, Kind};
use crate::parse::Source;
use crate::walk::{Walk, push_once};
use crate::{keys, light};

/// The facts of one statement, and whether all its nodes are known.
pub(crate) fn statement(raw: &pb::RawStmt, source: &Source<'_>) -> (Statement, bool) {
    let node = raw.stmt.as_ref().and_then(|node| node.node.as_ref());
    let Some(node) = node else {
        return (command(Kind::Other, "the statement"), false);
    };
    let text = source.statement_text(raw);
    query(node, source)
        .or_else(|| transaction(node).map(|statement| (statement, true)))
        .or_else(|| setting::statement(node, text).map(|statement| (statement, true)))
        .or_else(|| session(node, source))
        .unwrap_or_else(|| (definition(node, text, source), true))
}

fn command(kind: Kind, name: &'static str) -> Statement {
    Statement::new(kind, Err(NotReadOnly::Command(name)))
}

fn boxed(text: &str) -> Box<str> {
    text.into()
}

/// Queries and what wraps them: everything that is walked.
fn query(node: &NodeEnum, source: &Source<'_>) -> Option<(Statement, bool)> {
    let mut statement = match node {
        NodeEnum::SelectStmt(n) => {
            let kind = if is_values(n) { Kind::Values } else { Kind::Select };
            Statement::new(kind, Ok(()))
        }
        NodeEnum::InsertStmt(_) => command(Kind::Insert, "INSERT"),
        NodeEnum::UpdateStmt(_) => command(Kind::Update, "UPDATE"),
        NodeEnum::DeleteStmt(_) => command(Kind::Delete, "DELETE"),
        NodeEnum::MergeStmt(_) => command(Kind::Merge, "MERGE"),
        NodeEnum::ExplainStmt(n) => return Some(explain(n, source)),
        NodeEnum::CopyStmt(n) => return Some(copy(n, source)),
        NodeEnum::DeclareCursorStmt(n) => return Some(declare(n, source)),
        NodeEnum::CreateTableAsStmt(n) => return Some(create_as(n, source)),
        NodeEnum::ViewStmt(n) => return Some(view(n, source)),
        NodeEnum::CallStmt(n) => return Some(call(n, source)),
        NodeEnum::ExecuteStmt(n) => return Some(execute(n, source)),
        _ => return None,
    };
    let known = walk(&mut statement, source, |walk| walk.node_enum(node));
    statement.keys = keys::of(node, source);
    Some((statement, known))
}

fn walk<'a>(statement: &'a mut Statement, source: &'a Source<'a>, visit: impl FnOnce(&mut Walk<'a>)) -> bool {
    let mut walk = Walk::new(source, statement);
    visit(&mut walk);
    walk.known
}

/// A `VALUES` at the top, and no list of constants in a set operation.
fn is_values(select: &pb::SelectStmt) -> bool {
    !select.values_lists.is_empty()
}

fn walk_inner<'a>(statement: &'a mut Statement, source: &'a Source<'a>, inner: Option<&'a pb::Node>) -> bool {
    walk(statement, source, |walk| {
        if let Some(inner) = inner {
            walk.node(inner);
        }
    })
}

fn explain(n: &pb::ExplainStmt, source: &Source<'_>) -> (Statement, bool) {
    let analyze = n.options.iter().any(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) => option.defname == "analyze" && setting::is_on(option),
        _ => false,
    });
    let inner = n.query.as_deref().and_then(|node| node.node.as_ref());
    let (mut statement, known) = match inner {
        Some(inner) => query(inner, source).unwrap_or_else(|| (command(Kind::Other, "EXPLAIN"), true)),
        None => (command(Kind::Other, "EXPLAIN"), false),
    };
    if analyze {
        statement.read_only = Err(NotReadOnly::ExplainAnalyze);
    } else {
        // Nothing runs, so nothing stays in the session.
        statement.state.clear();
    }
    statement.kind = Kind::Explain { analyze };
    (statement, known)
}

fn copy(n: &pb::CopyStmt, source: &Source<'_>) -> (Statement, bool) {
    let peer = match (n.is_program, n.filename.is_empty()) {
        (true, _) => CopyPeer::Program,
        (false, true) => CopyPeer::Client,
        (false, false) => CopyPeer::File,
    };
    let (kind, read_only) = match (n.is_from, peer) {
        (true, _) => (Kind::CopyFrom(peer), Err(NotReadOnly::Command("COPY FROM"))),
        (false, CopyPeer::Client) => (Kind::CopyTo(peer), Ok(())),
        (false, _) => (Kind::CopyTo(peer), Err(NotReadOnly::Command("COPY to the server's files"))),
    };
    let mut statement = Statement::new(kind, read_only);
    let inner = n.query.as_deref().and_then(|query| query.node.as_ref());
    let writes = matches!(
        inner,
        Some(
            NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_)
        )
    );
    let known = walk(&mut statement, source, |walk| {
        match (&n.relation, n.is_from) {
            (Some(_), true) => walk.writes(n.relation.as_ref()),
            (Some(relation), false) => walk.reads(relation),
            (None, _) => {}
        }
        for node in [&n.query, &n.where_clause].into_iter().flatten() {
            walk.node(node);
        }
        if writes {
            walk.deny(NotReadOnly::Command("COPY of a data-modifying statement"));
        }
    });
    (statement, known)
}

/// `nodes/parsenodes.h`, `CURSOR_OPT_HOLD`.
const CURSOR_OPT_HOLD: i32 = 0x0020;

fn declare(n: &pb::DeclareCursorStmt, source: &Source<'_>) -> (Statement, bool) {
    let hold = n.options & CURSOR_OPT_HOLD != 0;
    let kind = Kind::DeclareCursor { name: boxed(&n.portalname), hold };
    let mut statement = command(kind, "DECLARE CURSOR");
    let known = walk_inner(&mut statement, source, n.query.as_deref());
    if hold {
        statement.state.push(SessionState::HoldCursor);
    }
    (statement, known)
}

fn create_as(n: &pb::CreateTableAsStmt, source: &Source<'_>) -> (Statement, bool) {
    let mut statement = command(Kind::Ddl, "CREATE TABLE AS");
    let known = walk(&mut statement, source, |walk| {
        walk.creates(n.into.as_ref().and_then(|into| into.rel.as_ref()));
        if let Some(query) = &n.query {
            walk.node(query);
        }
    });
    (statement, known)
}

fn view(n: &pb::ViewStmt, source: &Source<'_>) -> (Statement, bool) {
    let mut statement = command(Kind::Ddl, "CREATE VIEW");
    let known = walk(&mut statement, source, |walk| {
        walk.creates(n.view.as_ref());
        if let Some(query) = &n.query {
            walk.node(query);
        }
    });
    // The view's query does not run now; a view over a temporary relation is temporary itself.
    let temporary =
        statement.state.iter().any(|s| matches!(s, SessionState::TempTable | SessionState::TempReference));
    statement.state = if temporary { vec![SessionState::TempTable] } else { Vec::new() };
    (statement, known)
}

fn call(n: &pb::CallStmt, source: &Source<'_>) -> (Statement, bool) {
    let mut statement = command(Kind::Call, "CALL");
    let known = walk(&mut statement, source, |walk| {
        if let Some(call) = &n.funccall {
            walk.call(call);
        }
    });
    statement.state.push(SessionState::Opaque);
    (statement, known)
}

fn execute(n: &pb::ExecuteStmt, source: &Source<'_>) -> (Statement, bool) {
    let mut statement = Statement::new(Kind::Execute(boxed(&n.name)), Err(NotReadOnly::Execute));
    let known = walk(&mut statement, source, |walk| walk.nodes(&n.params));
    (statement, known)
}

fn transaction(node: &NodeEnum) -> Option<Statement> {
    use pb::TransactionStmtKind as T;
    let NodeEnum::TransactionStmt(n) = node else { return None };
    let name = || boxed(&n.savepoint_name);
    Some(match n.kind() {
        T::TransStmtBegin | T::TransStmtStart => command(Kind::Begin(setting::modes(&n.options)), "BEGIN"),
        T::TransStmtCommit => command(Kind::Commit { chain: n.chain }, "COMMIT"),
        T::TransStmtRollback => command(Kind::Rollback { chain: n.chain }, "ROLLBACK"),
        T::TransStmtSavepoint => command(Kind::Savepoint(name()), "SAVEPOINT"),
        T::TransStmtRelease => command(Kind::Release(name()), "RELEASE"),
        T::TransStmtRollbackTo => command(Kind::RollbackTo(name()), "ROLLBACK TO"),
        T::TransStmtPrepare => command(Kind::PrepareTransaction, "PREPARE TRANSACTION"),
        T::TransStmtCommitPrepared => command(Kind::CommitPrepared, "COMMIT PREPARED"),
        T::TransStmtRollbackPrepared => command(Kind::RollbackPrepared, "ROLLBACK PREPARED"),
        T::Undefined => return None,
    })
}

/// Statements about the session's own objects.
fn session(node: &NodeEnum, source: &Source<'_>) -> Option<(Statement, bool)> {
    let mut statement = match node {
        NodeEnum::DiscardStmt(n) => {
            let target = match n.target() {
                pb::DiscardMode::DiscardPlans => Discard::Plans,
                pb::DiscardMode::DiscardSequences => Discard::Sequences,
                pb::DiscardMode::DiscardTemp => Discard::Temp,
                pb::DiscardMode::DiscardAll | pb::DiscardMode::Undefined => Discard::All,
            };
            command(Kind::Discard(target), "DISCARD")
        }
        NodeEnum::PrepareStmt(n) => command(Kind::Prepare(boxed(&n.name)), "PREPARE"),
        NodeEnum::DeallocateStmt(n) => {
            command(Kind::Deallocate((!n.isall).then(|| boxed(&n.name))), "DEALLOCATE")
        }
        NodeEnum::ListenStmt(n) => command(Kind::Listen(boxed(&n.conditionname)), "LISTEN"),
        NodeEnum::UnlistenStmt(n) => {
            let all = n.conditionname.is_empty();
            command(Kind::Unlisten((!all).then(|| boxed(&n.conditionname))), "UNLISTEN")
        }
        NodeEnum::NotifyStmt(_) => command(Kind::Notify, "NOTIFY"),
        NodeEnum::FetchStmt(n) if n.ismove => command(Kind::Move, "MOVE"),
        NodeEnum::FetchStmt(_) => command(Kind::Fetch, "FETCH"),
        NodeEnum::ClosePortalStmt(n) => {
            let all = n.portalname.is_empty();
            command(Kind::CloseCursor((!all).then(|| boxed(&n.portalname))), "CLOSE")
        }
        NodeEnum::LockStmt(n) => return Some(lock(n, source)),
        NodeEnum::LoadStmt(_) => command(Kind::Other, "LOAD"),
        NodeEnum::DoStmt(n) => do_block(n),
        _ => return None,
    };
    let state = match &statement.kind {
        Kind::Prepare(_) => Some(SessionState::PreparedStatement),
        Kind::Listen(_) => Some(SessionState::Listen),
        Kind::Unlisten(name) => Some(SessionState::Unlisten { all: name.is_none() }),
        Kind::Do => Some(SessionState::Opaque),
        Kind::Other => Some(SessionState::Load),
        _ => None,
    };
    statement.state.extend(state);
    Some((statement, true))
}

fn lock(n: &pb::LockStmt, source: &Source<'_>) -> (Statement, bool) {
    let mut statement = command(Kind::Lock, "LOCK");
    let known = walk(&mut statement, source, |walk| walk.nodes(&n.relations));
    (statement, known)
}

fn do_block(n: &pb::DoStmt) -> Statement {
    let mut statement = command(Kind::Do, "DO");
    statement.opaque = n.args.iter().find_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "as" => match &option.arg.as_ref()?.node {
            Some(NodeEnum::String(code)) => Some(boxed(&code.sval)),
            _ => None,
        },
        _ => None,
    });
    statement
}

/// Every other statement: it goes to the primary. Functions are what looks like a call in its text.
fn definition(node: &NodeEnum, text: &str, source: &Source<'_>) -> Statement {
    let kind = if is_maintenance(node) { Kind::Other } else { Kind::Ddl };
    let mut statement = command(kind, name_of(node));
    statement.functions = light::calls(text.as_bytes(), source.rules).unwrap_or_default();
    if text.to_ascii_lowercase().contains("pg_temp") {
        statement.state.push(SessionState::TempReference);
    }
    walk(&mut statement, source, |walk| defined(walk, node));
    statement
}

/// The relations that a definition creates, changes or drops, where it names them simply.
fn defined(walk: &mut Walk<'_>, node: &NodeEnum) {
    match node {
        NodeEnum::CreateStmt(n) => walk.creates(n.relation.as_ref()),
        NodeEnum::CreateSeqStmt(n) => walk.creates(n.sequence.as_ref()),
        NodeEnum::CreateForeignTableStmt(n) => {
            walk.creates(n.base_stmt.as_ref().and_then(|base| base.relation.as_ref()));
        }
        NodeEnum::AlterTableStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::IndexStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::RefreshMatViewStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::RenameStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::ClusterStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::CreateTrigStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::RuleStmt(n) => walk.writes(n.relation.as_ref()),
        NodeEnum::TruncateStmt(n) => {
            for node in &n.relations {
                if let Some(NodeEnum::RangeVar(var)) = &node.node {
                    walk.writes(Some(var));
                }
            }
        }
        NodeEnum::DropStmt(_) | NodeEnum::DropOwnedStmt(_) => {
            push_once(&mut walk.statement.state, SessionState::DropObject);
        }
        _ => {}
    }
}

/// Statements that leave every definition as it is.
fn is_maintenance(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::TruncateStmt(_)
            | NodeEnum::VacuumStmt(_)
            | NodeEnum::CheckPointStmt(_)
            | NodeEnum::ClusterStmt(_)
            | NodeEnum::ReindexStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::CommentStmt(_)
    )
}

fn name_of(node: &NodeEnum) -> &'static str {
    match node {
        NodeEnum::TruncateStmt(_) => "TRUNCATE",
        NodeEnum::VacuumStmt(_) => "VACUUM or ANALYZE",
        NodeEnum::CheckPointStmt(_) => "CHECKPOINT",
        NodeEnum::GrantStmt(_) | NodeEnum::GrantRoleStmt(_) => "GRANT or REVOKE",
        NodeEnum::DropStmt(_) => "DROP",
        _ => "a definition",
    }
}
