//! The children of every node that a query can hold. Each list names all fields of its node, so that a field that a
//! new grammar adds stops the build here until it is walked or passed over on purpose.

use pg_query::protobuf::{self as pb, node::Node as NodeEnum};

use super::Walk;

/// Takes a node apart: `many` and `one` are walked as they stand, `then` names a function for an inner struct, and
/// what follows the semicolon holds nothing to walk.
macro_rules! walk {
    ($walk:ident, $node:expr, $name:ident {
        $(many $($many:ident)+;)? $(one $($one:ident)+;)? $(then $($then:ident: $with:expr),+;)? rest $($rest:ident)*
    }) => {{
        let pb::$name { $($($many,)+)? $($($one,)+)? $($($then,)+)? $($rest: _,)* } = $node;
        $($($walk.nodes($many);)+)?
        $($(if let Some(child) = $one { $walk.node(child); })+)?
        $($(if let Some(child) = $then { $with($walk, child); })+)?
    }};
}

/// Walks one node's children and notes what the node itself says.
pub(super) fn visit<'a>(walk: &mut Walk<'a>, node: &'a NodeEnum) {
    match node {
        NodeEnum::SelectStmt(n) => select(walk, n),
        NodeEnum::InsertStmt(n) => insert(walk, n),
        NodeEnum::UpdateStmt(n) => update(walk, n),
        NodeEnum::DeleteStmt(n) => delete(walk, n),
        NodeEnum::MergeStmt(n) => merge(walk, n),
        NodeEnum::CommonTableExpr(n) => cte(walk, n),
        NodeEnum::RangeVar(n) => walk.reads(n),
        NodeEnum::FuncCall(n) => func_call(walk, n),
        NodeEnum::SqlvalueFunction(n) => walk.value_word(n),
        NodeEnum::WindowDef(n) => window(walk, n),
        NodeEnum::JsonValueExpr(n) => json_value(walk, n),
        NodeEnum::List(n) => walk.nodes(&n.items),
        NodeEnum::AConst(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::AStar(_)
        | NodeEnum::SetToDefault(_)
        | NodeEnum::MergeSupportFunc(_)
        | NodeEnum::ReturningOption(_)
        | NodeEnum::String(_)
        | NodeEnum::Integer(_)
        | NodeEnum::Float(_)
        | NodeEnum::Boolean(_)
        | NodeEnum::BitString(_) => {}
        _ => expression(walk, node),
    }
}

fn expression<'a>(walk: &mut Walk<'a>, node: &'a NodeEnum) {
    match node {
        NodeEnum::ColumnRef(n) => walk.column(n),
        NodeEnum::AExpr(n) => {
            walk.operator(&n.name);
            walk!(walk, &**n, AExpr { one lexpr rexpr; rest kind name rexpr_list_start rexpr_list_end location });
        }
        NodeEnum::SubLink(n) => {
            walk.operator(&n.oper_name);
            walk!(walk, &**n, SubLink { one testexpr subselect; rest xpr sub_link_type sub_link_id oper_name location });
        }
        NodeEnum::TypeCast(n) => {
            walk!(walk, &**n, TypeCast { one arg; then type_name: typed; rest location });
        }
        NodeEnum::AIndirection(n) => {
            for name in super::strings(&n.indirection) {
                super::push_once(&mut walk.statement.attributes, name.into());
            }
            walk!(walk, &**n, AIndirection { many indirection; one arg; rest });
        }
        NodeEnum::SortBy(n) => {
            walk.operator(&n.use_op);
            walk!(walk, &**n, SortBy { one node; rest sortby_dir sortby_nulls use_op location });
        }
        NodeEnum::BoolExpr(n) => walk!(walk, &**n, BoolExpr { many args; rest xpr boolop location }),
        NodeEnum::CollateClause(n) => walk!(walk, &**n, CollateClause { one arg; rest collname location }),
        NodeEnum::AIndices(n) => walk!(walk, &**n, AIndices { one lidx uidx; rest is_slice }),
        NodeEnum::AArrayExpr(n) => {
            walk!(walk, n, AArrayExpr { many elements; rest list_start list_end location })
        }
        NodeEnum::ResTarget(n) => {
            walk!(walk, &**n, ResTarget { many indirection; one val; rest name location })
        }
        NodeEnum::MultiAssignRef(n) => walk!(walk, &**n, MultiAssignRef { one source; rest colno ncolumns }),
        NodeEnum::CaseExpr(n) => {
            walk!(walk, &**n, CaseExpr { many args; one arg defresult; rest xpr casetype casecollid location });
        }
        NodeEnum::CaseWhen(n) => walk!(walk, &**n, CaseWhen { one expr result; rest xpr location }),
        NodeEnum::RowExpr(n) => {
            walk!(walk, &**n, RowExpr { many args; rest xpr row_typeid row_format colnames location })
        }
        NodeEnum::CoalesceExpr(n) => {
            walk!(walk, &**n, CoalesceExpr { many args; rest xpr coalescetype coalescecollid location });
        }
        NodeEnum::MinMaxExpr(n) => {
            walk!(walk, &**n, MinMaxExpr { many args; rest xpr minmaxtype minmaxcollid inputcollid op location });
        }
        NodeEnum::NullTest(n) => {
            walk!(walk, &**n, NullTest { one arg; rest xpr nulltesttype argisrow location })
        }
        NodeEnum::BooleanTest(n) => {
            walk!(walk, &**n, BooleanTest { one arg; rest xpr booltesttype location })
        }
        NodeEnum::NamedArgExpr(n) => {
            walk!(walk, &**n, NamedArgExpr { one arg; rest xpr name argnumber location })
        }
        NodeEnum::GroupingFunc(n) => {
            walk!(walk, &**n, GroupingFunc { many args; rest xpr refs agglevelsup location })
        }
        NodeEnum::GroupingSet(n) => walk!(walk, n, GroupingSet { many content; rest kind location }),
        NodeEnum::XmlExpr(n) => {
            walk!(walk, &**n, XmlExpr { many named_args args;
                rest xpr op name arg_names xmloption indent r#type typmod location });
        }
        NodeEnum::XmlSerialize(n) => {
            walk!(walk, &**n, XmlSerialize { one expr; then type_name: typed; rest xmloption indent location });
        }
        NodeEnum::CurrentOfExpr(_) => walk.deny(crate::facts::NotReadOnly::CurrentOf),
        _ => from_item(walk, node),
    }
}

fn from_item<'a>(walk: &mut Walk<'a>, node: &'a NodeEnum) {
    match node {
        NodeEnum::JoinExpr(n) => {
            walk!(walk, &**n, JoinExpr { one larg rarg quals;
                rest jointype is_natural using_clause join_using_alias alias rtindex });
            if n.is_natural || !n.using_clause.is_empty() {
                super::push_once(&mut walk.statement.operators, "=".into());
            }
        }
        NodeEnum::RangeSubselect(n) => walk!(walk, &**n, RangeSubselect { one subquery; rest lateral alias }),
        NodeEnum::RangeFunction(n) => {
            walk!(walk, n, RangeFunction { many functions coldeflist; rest lateral ordinality is_rowsfrom alias });
        }
        NodeEnum::RangeTableFunc(n) => {
            walk!(walk, &**n, RangeTableFunc { many namespaces columns; one docexpr rowexpr; rest lateral alias location });
        }
        NodeEnum::RangeTableFuncCol(n) => {
            walk!(walk, &**n, RangeTableFuncCol { one colexpr coldefexpr; then type_name: typed;
                rest colname for_ordinality is_not_null location });
        }
        NodeEnum::RangeTableSample(n) => {
            walk.names_function(&n.method);
            walk!(walk, &**n, RangeTableSample { many args; one relation repeatable; rest method location });
        }
        NodeEnum::ColumnDef(n) => {
            walk!(walk, &**n, ColumnDef { many constraints; one raw_default; then type_name: typed;
                rest colname compression inhcount is_local is_not_null is_from_type storage storage_name cooked_default
                identity identity_sequence generated coll_clause coll_oid fdwoptions location });
        }
        NodeEnum::LockingClause(n) => walk.locking(n),
        NodeEnum::IndexElem(n) => {
            walk!(walk, &**n, IndexElem { one expr; rest name indexcolname collation opclass opclassopts ordering nulls_ordering });
        }
        NodeEnum::MergeWhenClause(n) => {
            walk!(walk, &**n, MergeWhenClause { many target_list values; one condition; rest match_kind command_type r#override });
        }
        _ => json(walk, node),
    }
}

fn json<'a>(walk: &mut Walk<'a>, node: &'a NodeEnum) {
    match node {
        NodeEnum::JsonFuncExpr(n) => {
            walk!(walk, &**n, JsonFuncExpr { many passing; one pathspec;
                then context_item: json_value, output: json_output, on_empty: json_behavior, on_error: json_behavior;
                rest op column_name wrapper quotes location });
        }
        NodeEnum::JsonArgument(n) => walk!(walk, &**n, JsonArgument { then val: json_value; rest name }),
        NodeEnum::JsonIsPredicate(n) => {
            walk!(walk, &**n, JsonIsPredicate { one expr; rest format item_type unique_keys location });
        }
        NodeEnum::JsonParseExpr(n) => {
            walk!(walk, &**n, JsonParseExpr { then expr: json_value, output: json_output; rest unique_keys location });
        }
        NodeEnum::JsonScalarExpr(n) => {
            walk!(walk, &**n, JsonScalarExpr { one expr; then output: json_output; rest location });
        }
        NodeEnum::JsonSerializeExpr(n) => {
            walk!(walk, &**n, JsonSerializeExpr { then expr: json_value, output: json_output; rest location });
        }
        NodeEnum::JsonObjectConstructor(n) => {
            walk!(walk, n, JsonObjectConstructor { many exprs; then output: json_output; rest absent_on_null unique location });
        }
        NodeEnum::JsonArrayConstructor(n) => {
            walk!(walk, n, JsonArrayConstructor { many exprs; then output: json_output; rest absent_on_null location });
        }
        NodeEnum::JsonArrayQueryConstructor(n) => {
            walk!(walk, &**n, JsonArrayQueryConstructor { one query; then output: json_output;
                rest format absent_on_null location });
        }
        NodeEnum::JsonObjectAgg(n) => {
            walk!(walk, &**n, JsonObjectAgg { then constructor: json_agg, arg: json_key; rest absent_on_null unique });
        }
        NodeEnum::JsonArrayAgg(n) => {
            walk!(walk, &**n, JsonArrayAgg { then constructor: json_agg, arg: json_value; rest absent_on_null });
        }
        NodeEnum::JsonKeyValue(n) => json_key(walk, n),
        NodeEnum::JsonTable(n) => {
            walk!(walk, &**n, JsonTable { many passing columns;
                then context_item: json_value, pathspec: json_path, on_error: json_behavior; rest alias lateral location });
        }
        NodeEnum::JsonTableColumn(n) => {
            walk!(walk, &**n, JsonTableColumn { many columns;
                then type_name: typed, pathspec: json_path, on_empty: json_behavior, on_error: json_behavior;
                rest coltype name format wrapper quotes location });
        }
        NodeEnum::JsonTablePathSpec(n) => json_path(walk, n),
        NodeEnum::JsonBehavior(n) => json_behavior(walk, n),
        NodeEnum::JsonOutput(n) => json_output(walk, n),
        NodeEnum::TypeName(n) => walk.type_name(Some(n)),
        _ => walk.known = false,
    }
}

fn typed<'a>(walk: &mut Walk<'a>, name: &'a pb::TypeName) {
    walk.type_name(Some(name));
}

fn json_value<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonValueExpr) {
    walk!(walk, n, JsonValueExpr { one raw_expr formatted_expr; rest format });
}

fn json_output<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonOutput) {
    walk!(walk, n, JsonOutput { then type_name: typed; rest returning });
}

fn json_behavior<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonBehavior) {
    walk!(walk, n, JsonBehavior { one expr; rest btype coerce location });
}

fn json_path<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonTablePathSpec) {
    walk!(walk, n, JsonTablePathSpec { one string; rest name name_location location });
}

fn json_key<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonKeyValue) {
    walk!(walk, n, JsonKeyValue { one key; then value: json_value; rest });
}

fn json_agg<'a>(walk: &mut Walk<'a>, n: &'a pb::JsonAggConstructor) {
    walk!(walk, n, JsonAggConstructor { many agg_order; one agg_filter; then output: json_output, over: window; rest location });
}

fn func_call<'a>(walk: &mut Walk<'a>, n: &'a pb::FuncCall) {
    walk.function(n);
    walk!(walk, n, FuncCall { many args agg_order; one agg_filter; then over: window;
        rest funcname agg_within_group agg_star agg_distinct func_variadic funcformat location });
}

/// The function call of `CALL`.
pub(crate) fn call<'a>(walk: &mut Walk<'a>, n: &'a pb::FuncCall) {
    func_call(walk, n);
}

fn window<'a>(walk: &mut Walk<'a>, n: &'a pb::WindowDef) {
    walk!(walk, n, WindowDef { many partition_clause order_clause; one start_offset end_offset;
        rest name refname frame_options location });
}

fn cte<'a>(walk: &mut Walk<'a>, n: &'a pb::CommonTableExpr) {
    walk!(walk, n, CommonTableExpr { one ctequery; then cycle_clause: cycle;
        rest ctename aliascolnames ctematerialized search_clause location cterecursive cterefcount ctecolnames
        ctecoltypes ctecoltypmods ctecolcollations });
}

fn cycle<'a>(walk: &mut Walk<'a>, n: &'a pb::CteCycleClause) {
    walk!(walk, n, CteCycleClause { one cycle_mark_value cycle_mark_default;
        rest cycle_col_list cycle_mark_column cycle_path_column location cycle_mark_type cycle_mark_typmod
        cycle_mark_collation cycle_mark_neop });
}

fn select<'a>(walk: &mut Walk<'a>, n: &'a pb::SelectStmt) {
    walk.scoped(n.with_clause.as_ref(), |walk| {
        walk!(walk, n, SelectStmt {
            many distinct_clause target_list from_clause group_clause window_clause values_lists sort_clause locking_clause;
            one where_clause having_clause limit_offset limit_count;
            then into_clause: into, larg: select, rarg: select;
            rest group_distinct limit_option with_clause op all });
    });
}

fn into<'a>(walk: &mut Walk<'a>, n: &'a pb::IntoClause) {
    walk.into(n);
}

fn insert<'a>(walk: &mut Walk<'a>, n: &'a pb::InsertStmt) {
    walk.modifies();
    walk.scoped(n.with_clause.as_ref(), |walk| {
        walk.writes(n.relation.as_ref());
        walk!(walk, n, InsertStmt { many cols; one select_stmt;
            then on_conflict_clause: on_conflict, returning_clause: returning;
            rest relation with_clause r#override });
    });
}

fn on_conflict<'a>(walk: &mut Walk<'a>, n: &'a pb::OnConflictClause) {
    walk!(walk, n, OnConflictClause { many target_list; one where_clause; then infer: inference; rest action location });
}

fn inference<'a>(walk: &mut Walk<'a>, n: &'a pb::InferClause) {
    walk!(walk, n, InferClause { many index_elems; one where_clause; rest conname location });
}

fn returning<'a>(walk: &mut Walk<'a>, n: &'a pb::ReturningClause) {
    walk!(walk, n, ReturningClause { many options exprs; rest });
}

fn update<'a>(walk: &mut Walk<'a>, n: &'a pb::UpdateStmt) {
    walk.modifies();
    walk.scoped(n.with_clause.as_ref(), |walk| {
        walk.writes(n.relation.as_ref());
        walk!(walk, n, UpdateStmt { many target_list from_clause; one where_clause; then returning_clause: returning;
            rest relation with_clause });
    });
}

fn delete<'a>(walk: &mut Walk<'a>, n: &'a pb::DeleteStmt) {
    walk.modifies();
    walk.scoped(n.with_clause.as_ref(), |walk| {
        walk.writes(n.relation.as_ref());
        walk!(walk, n, DeleteStmt { many using_clause; one where_clause; then returning_clause: returning;
            rest relation with_clause });
    });
}

fn merge<'a>(walk: &mut Walk<'a>, n: &'a pb::MergeStmt) {
    walk.modifies();
    walk.scoped(n.with_clause.as_ref(), |walk| {
        walk.writes(n.relation.as_ref());
        walk!(walk, n, MergeStmt { many merge_when_clauses; one source_relation join_condition;
            then returning_clause: returning; rest relation with_clause });
    });
}
