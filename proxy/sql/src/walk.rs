//! Walks a query's whole tree and notes what it reads, writes and calls. A node that the walk does not know makes
//! the statement doubtful; a field that it does not know does not compile.

mod children;

use pg_query::protobuf::{self, Node, node::Node as NodeEnum};

use crate::facts::{Arg, FunctionName, NotReadOnly, Relation, SessionState, Statement, TypeName};
use crate::parse::Source;

/// One statement's walk.
pub(crate) struct Walk<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) statement: &'a mut Statement,
    /// CTE names in sight, innermost scope last.
    scopes: Vec<Vec<&'a str>>,
    /// The CTE being walked.
    cte: Option<&'a str>,
    /// False once a node was met that the walk does not know.
    pub(crate) known: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(source: &'a Source<'a>, statement: &'a mut Statement) -> Self {
        Self { source, statement, scopes: Vec::new(), cte: None, known: true }
    }

    /// Walks a node and all below it.
    pub(crate) fn node(&mut self, node: &'a Node) {
        if let Some(inner) = &node.node {
            children::visit(self, inner);
        }
    }

    pub(crate) fn node_enum(&mut self, node: &'a NodeEnum) {
        children::visit(self, node);
    }

    /// Walks the function call of `CALL`.
    pub(crate) fn call(&mut self, call: &'a protobuf::FuncCall) {
        children::call(self, call);
    }

    pub(crate) fn nodes(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    pub(crate) fn deny(&mut self, reason: NotReadOnly) {
        if self.statement.read_only.is_ok() {
            self.statement.read_only = Err(reason);
        }
    }

    /// A relation that is read, unless the name is a CTE's.
    pub(crate) fn reads(&mut self, var: &protobuf::RangeVar) {
        let name = var.relname.as_str();
        let is_cte = var.schemaname.is_empty() && self.scopes.iter().any(|scope| scope.contains(&name));
        if !is_cte {
            self.temporary(var);
            push_or_repeat(&mut self.statement.reads, &mut self.statement.repeated, relation(var));
        }
    }

    /// A relation that is written.
    pub(crate) fn writes(&mut self, var: Option<&protobuf::RangeVar>) {
        let Some(var) = var else { return };
        self.temporary(var);
        push_or_repeat(&mut self.statement.writes, &mut self.statement.repeated, relation(var));
    }

    fn temporary(&mut self, var: &protobuf::RangeVar) {
        if var.schemaname.starts_with("pg_temp") {
            push_once(&mut self.statement.state, SessionState::TempReference);
        }
    }

    /// A relation that the statement creates.
    pub(crate) fn creates(&mut self, var: Option<&protobuf::RangeVar>) {
        self.writes(var);
        if var.is_some_and(|var| var.relpersistence == "t" || var.schemaname.starts_with("pg_temp")) {
            push_once(&mut self.statement.state, SessionState::TempTable);
        }
    }

    /// Walks a statement with its `WITH` clause in sight.
    fn scoped(&mut self, with: Option<&'a protobuf::WithClause>, body: impl FnOnce(&mut Self)) {
        let Some(with) = with else { return body(self) };
        let names = with.ctes.iter().filter_map(|n| match &n.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some((n, cte.ctename.as_str())),
            _ => None,
        });
        self.scopes.push(Vec::new());
        if with.recursive {
            let all = names.clone().map(|(_, name)| name).collect();
            self.scopes.pop();
            self.scopes.push(all);
        }
        for (node, name) in names {
            let outer = self.cte.replace(name);
            self.node(node);
            self.cte = outer;
            if let Some(scope) = self.scopes.last_mut() {
                scope.push(name);
            }
        }
        let outer = self.cte.take();
        body(self);
        self.cte = outer;
        self.scopes.pop();
    }

    /// A data-modifying statement below the top.
    fn modifies(&mut self) {
        if let Some(name) = self.cte {
            self.deny(NotReadOnly::CteWrites(name.into()));
        }
    }

    fn operator(&mut self, name: &[Node]) {
        if let Some(last) = strings(name).last() {
            push_once(&mut self.statement.operators, last.into());
        }
    }

    fn type_name(&mut self, name: Option<&'a protobuf::TypeName>) {
        let Some(name) = name else { return };
        let parts: Vec<&str> = strings(&name.names).collect();
        if let [.., last] = parts.as_slice() {
            let schema = parts.len().checked_sub(2).map(|at| parts[at].into());
            push_once(&mut self.statement.types, TypeName { schema, name: (*last).into() });
        }
        self.nodes(&name.typmods);
    }

    fn column(&mut self, column: &protobuf::ColumnRef) {
        if column.fields.len() > 1
            && let Some(last) = strings(&column.fields).last()
        {
            push_once(&mut self.statement.attributes, last.into());
        }
    }

    fn value_word(&mut self, value: &protobuf::SqlValueFunction) {
        use protobuf::SqlValueFunctionOp as Op;
        let word = match value.op() {
            Op::SvfopCurrentDate => "current_date",
            Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
            Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
            Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
            Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
            Op::SvfopCurrentRole => "current_role",
            Op::SvfopCurrentUser => "current_user",
            Op::SvfopUser => "user",
            Op::SvfopSessionUser => "session_user",
            Op::SvfopCurrentCatalog => "current_catalog",
            Op::SvfopCurrentSchema => "current_schema",
            Op::SqlvalueFunctionOpUndefined => {
                self.known = false;
                return;
            }
        };
        push_once(&mut self.statement.value_words, word);
    }

    fn function(&mut self, call: &protobuf::FuncCall) {
        let Some((schema, name)) = self.names_function(&call.funcname) else { return };
        if schema.is_none_or(|schema| schema == "pg_catalog") {
            self.session_function(name, call);
        }
    }

    /// A function is called by this name, which may be qualified.
    fn names_function<'n>(&mut self, name: &'n [Node]) -> Option<(Option<&'n str>, &'n str)> {
        let parts: Vec<&str> = strings(name).collect();
        let name = *parts.last()?;
        let schema = parts.len().checked_sub(2).map(|at| parts[at]);
        push_once(
            &mut self.statement.functions,
            FunctionName { schema: schema.map(Into::into), name: name.into() },
        );
        Some((schema, name))
    }

    fn session_function(&mut self, name: &str, call: &protobuf::FuncCall) {
        let state = match name {
            "set_config" => {
                let mut args = call.args.iter().map(|node| self.arg(node));
                let mut next = || args.next().unwrap_or(Arg::Other);
                SessionState::SetConfig { name: next(), value: next(), is_local: next() }
            }
            "pg_advisory_lock"
            | "pg_advisory_lock_shared"
            | "pg_try_advisory_lock"
            | "pg_try_advisory_lock_shared" => SessionState::SessionAdvisoryLock,
            "pg_advisory_unlock" | "pg_advisory_unlock_shared" => SessionState::AdvisoryUnlock { all: false },
            "pg_advisory_unlock_all" => SessionState::AdvisoryUnlock { all: true },
            "currval" | "lastval" => SessionState::Sequence,
            "current_setting" => {
                let name =
                    call.args.first().and_then(constant_string).map(|name| name.to_ascii_lowercase().into());
                push_once(&mut self.statement.settings, name);
                return;
            }
            _ => return,
        };
        self.statement.state.push(state);
    }

    /// An argument's value, through casts to text, varchar or bool, which do not change it.
    fn arg(&self, node: &Node) -> Arg {
        match &node.node {
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                _ if constant.isnull => Arg::Null,
                Some(protobuf::a_const::Val::Boolval(value)) => Arg::Bool(value.boolval),
                _ => self.source.literal_at(constant.location).map_or(Arg::Other, Arg::Literal),
            },
            Some(NodeEnum::ParamRef(param)) => u32::try_from(param.number).map_or(Arg::Other, Arg::Param),
            Some(NodeEnum::TypeCast(cast)) => {
                let name = cast.type_name.as_ref().and_then(|name| strings(&name.names).last());
                match (name, &cast.arg) {
                    (Some("text" | "varchar" | "bool"), Some(arg)) => self.arg(arg),
                    _ => Arg::Other,
                }
            }
            _ => Arg::Other,
        }
    }

    fn locking(&mut self, clause: &protobuf::LockingClause) {
        use protobuf::LockClauseStrength as Strength;
        let strength = match clause.strength() {
            Strength::LcsForkeyshare => "FOR KEY SHARE",
            Strength::LcsForshare => "FOR SHARE",
            Strength::LcsFornokeyupdate => "FOR NO KEY UPDATE",
            Strength::LcsForupdate | Strength::LcsNone | Strength::Undefined => "FOR UPDATE",
        };
        self.deny(NotReadOnly::Locks(strength));
    }

    fn into(&mut self, into: &protobuf::IntoClause) {
        self.creates(into.rel.as_ref());
        self.deny(NotReadOnly::SelectInto);
    }
}

/// A string constant, through a cast to text.
fn constant_string(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(protobuf::a_const::Val::Sval(value)) => Some(&value.sval),
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => constant_string(cast.arg.as_deref()?),
        _ => None,
    }
}

pub(crate) fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Notes a relation, or that it was noted before.
fn push_or_repeat(list: &mut Vec<Relation>, repeated: &mut Vec<Relation>, relation: Relation) {
    if list.contains(&relation) {
        push_once(repeated, relation);
    } else {
        list.push(relation);
    }
}

pub(crate) fn relation(var: &protobuf::RangeVar) -> Relation {
    let schema = (!var.schemaname.is_empty()).then(|| var.schemaname.as_str().into());
    Relation { schema, name: var.relname.as_str().into() }
}

/// The strings of a list of names.
pub(crate) fn strings(nodes: &[Node]) -> impl Iterator<Item = &str> {
    nodes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
        _ => None,
    })
}
