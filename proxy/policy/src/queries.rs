//! What the server asks the primary for its catalog. Any role may ask; every name and operator is qualified, so that
//! no `search_path` changes what is asked. Every column comes as text.

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// [`FUNCTIONS`].
    Functions,
    /// [`RELATIONS`].
    Relations,
    /// [`POLICIES`].
    Policies,
    /// [`OPERATORS`].
    Operators,
    /// [`TYPES`].
    Types,
    /// [`TRIGGERS`].
    Triggers,
    /// [`FAMILIES`].
    Families,
    /// [`COLUMNS`].
    Columns,
    /// [`ROLE_SETTINGS`].
    RoleSettings,
    /// [`COLLATION`].
    Collation,
}

impl Question {
    /// All questions; together their answers are the catalog.
    pub const ALL: [Self; 10] = [
        Self::Functions,
        Self::Relations,
        Self::Policies,
        Self::Operators,
        Self::Types,
        Self::Triggers,
        Self::Families,
        Self::Columns,
        Self::RoleSettings,
        Self::Collation,
    ];

    /// The statement.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Functions => FUNCTIONS,
            Self::Relations => RELATIONS,
            Self::Policies => POLICIES,
            Self::Operators => OPERATORS,
            Self::Types => TYPES,
            Self::Triggers => TRIGGERS,
            Self::Families => FAMILIES,
            Self::Columns => COLUMNS,
            Self::RoleSettings => ROLE_SETTINGS,
            Self::Collation => COLLATION,
        }
    }
}

/// schema, name, volatility (`i`, `s`, `v`; of a user's aggregate, the worst of its parts), built in (`t`, `f`), the
/// definition of a user's function, whether `value.name` may call it (`t`, `f`), whether what it does cannot be read
/// (`t`, `f`), the defaults of a user's function's arguments, what kind of function it is (`pg_proc.prokind`, or `r` for one
/// that returns rows).
///
/// Of functions in C those may leave something in the session that are volatile and not safe in parallel: whoever says
/// of a function that it is, says that it keeps no state there. What triggers in C do is known well enough.
pub const FUNCTIONS: &str = "\
SELECT n.nspname::pg_catalog.text, p.proname::pg_catalog.text,
  CASE WHEN p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND p.prokind OPERATOR(pg_catalog.=) 'a'::pg_catalog.\"char\"
      AND EXISTS (SELECT FROM pg_catalog.pg_aggregate g
        JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[g.aggtransfn::pg_catalog.oid,
          g.aggfinalfn::pg_catalog.oid, g.aggcombinefn::pg_catalog.oid, g.aggmtransfn::pg_catalog.oid,
          g.aggminvtransfn::pg_catalog.oid, g.aggmfinalfn::pg_catalog.oid])
        WHERE g.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) p.oid
          AND f.provolatile OPERATOR(pg_catalog.=) 'v'::pg_catalog.\"char\")
    THEN 'v' ELSE p.provolatile::pg_catalog.text END,
  CASE WHEN p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid THEN 't' ELSE 'f' END,
  CASE WHEN p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND p.prokind OPERATOR(pg_catalog.=) ANY ('{f,p}'::pg_catalog.\"char\"[])
    THEN pg_catalog.pg_get_functiondef(p.oid) ELSE '' END,
  CASE WHEN p.pronargs OPERATOR(pg_catalog.>=) 1::pg_catalog.int2
      AND p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 1::pg_catalog.int2
    THEN 't' ELSE 'f' END,
  CASE WHEN p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid THEN 'f'
    WHEN l.lanname OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql}'::pg_catalog.name[]) THEN 'f'
    WHEN l.lanname OPERATOR(pg_catalog.=) ANY ('{c,internal}'::pg_catalog.name[])
      AND (p.provolatile OPERATOR(pg_catalog.<>) 'v'::pg_catalog.\"char\"
        OR p.proparallel OPERATOR(pg_catalog.=) 's'::pg_catalog.\"char\"
        OR p.prorettype OPERATOR(pg_catalog.=) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid)
    THEN 'f' ELSE 't' END,
  CASE WHEN p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    THEN pg_catalog.pg_get_expr(p.proargdefaults, 0::pg_catalog.oid) ELSE '' END,
  CASE WHEN p.proretset THEN 'r' ELSE p.prokind::pg_catalog.text END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace";

/// schema, name, kind (`pg_class.relkind`), built in (`t`, `f`), whether a standby cannot or should not read it
/// (unlogged, foreign, or a parent of such), row security (`t`, `f`), rules other than a view's own (`t`, `f`), whether
/// writing it runs users' code or changes other relations (`t`, `f`: a user's trigger, a foreign key with an action
/// that references it, a default, check, index or partition key that uses a user's function or operator, a column of a
/// type whose values may run one), a user's view's definition.
pub const RELATIONS: &str = "\
WITH RECURSIVE local(oid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  WHERE c.relkind OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\"
    OR c.relpersistence OPERATOR(pg_catalog.<>) 'p'::pg_catalog.\"char\"
  UNION
  SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN local ON local.oid OPERATOR(pg_catalog.=) i.inhrelid),
users(classid, objid) AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
  WHERE d.refclassid OPERATOR(pg_catalog.=) ANY (
      ARRAY['pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid])
    AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
checked(found) AS (
  SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint k
    JOIN users u ON u.objid OPERATOR(pg_catalog.=) k.oid
      AND u.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
    WHERE k.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)),
busy(oid) AS (
  SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
  UNION
  SELECT k.confrelid FROM pg_catalog.pg_constraint k
  WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\"
    AND (k.confdeltype OPERATOR(pg_catalog.<>) ALL ('{a,r}'::pg_catalog.\"char\"[])
      OR k.confupdtype OPERATOR(pg_catalog.<>) ALL ('{a,r}'::pg_catalog.\"char\"[]))
  UNION
  SELECT a.adrelid FROM pg_catalog.pg_attrdef a JOIN users u ON u.objid OPERATOR(pg_catalog.=) a.oid
    AND u.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
  UNION
  SELECT k.conrelid FROM pg_catalog.pg_constraint k JOIN users u ON u.objid OPERATOR(pg_catalog.=) k.oid
    AND u.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
  UNION
  SELECT x.indrelid FROM pg_catalog.pg_index x JOIN users u ON u.objid OPERATOR(pg_catalog.=) x.indexrelid
    AND u.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
  UNION
  SELECT u.objid FROM users u
  WHERE u.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
  UNION
  SELECT a.attrelid FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) t.typelem
    AND t.typlen OPERATOR(pg_catalog.=) '-1'::pg_catalog.int2
  WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
    AND t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND (t.typtype OPERATOR(pg_catalog.=) ANY ('{c,r,m}'::pg_catalog.\"char\"[])
      OR e.typtype OPERATOR(pg_catalog.=) ANY ('{c,r,m}'::pg_catalog.\"char\"[])
      OR (t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" AND (SELECT found FROM checked))
      OR (e.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" AND (SELECT found FROM checked))))
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text,
  CASE WHEN c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid THEN 't' ELSE 'f' END,
  CASE WHEN EXISTS (SELECT FROM local WHERE local.oid OPERATOR(pg_catalog.=) c.oid) THEN 't' ELSE 'f' END,
  CASE WHEN c.relrowsecurity THEN 't' ELSE 'f' END,
  CASE WHEN c.relhasrules AND EXISTS (SELECT FROM pg_catalog.pg_rewrite r
      WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid
        AND r.ev_type OPERATOR(pg_catalog.<>) '1'::pg_catalog.\"char\") THEN 't' ELSE 'f' END,
  CASE WHEN EXISTS (SELECT FROM busy WHERE busy.oid OPERATOR(pg_catalog.=) c.oid) THEN 't' ELSE 'f' END,
  CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'v'::pg_catalog.\"char\"
      AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S}'::pg_catalog.\"char\"[])
  AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog.\"char\"";

/// schema and name of a relation, an expression of one of its row security policies.
pub const POLICIES: &str = "\
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, pg_catalog.pg_get_expr(p.polqual, p.polrelid)
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE p.polqual IS NOT NULL";

/// name of an operator whose function is volatile or a user's, or that is a user's `=`, schema and name of that function,
/// whether it is volatile (`t`, `f`), whether it is a user's and one of its operands is of PostgreSQL's own types (`t`, `f`).
pub const OPERATORS: &str = "\
SELECT o.oprname::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text,
  CASE WHEN p.provolatile OPERATOR(pg_catalog.=) 'v'::pg_catalog.\"char\" THEN 't' ELSE 'f' END,
  CASE WHEN o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND (o.oprleft OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
        OR o.oprright OPERATOR(pg_catalog.<) 16384::pg_catalog.oid) THEN 't' ELSE 'f' END
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE p.provolatile OPERATOR(pg_catalog.=) 'v'::pg_catalog.\"char\"
  OR p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  OR (o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND o.oprname OPERATOR(pg_catalog.=) '='::pg_catalog.name)";

/// schema and name of a user's type, and a function that its values or casts to it call: its input and output
/// functions, a cast's function, or (as an expression) a domain's check. Functions of casts that no text shows come
/// under a type without a name.
pub const TYPES: &str = "\
SELECT n.nspname::pg_catalog.text, t.typname::pg_catalog.text,
  fn.nspname::pg_catalog.text, f.proname::pg_catalog.text, ''
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[t.typinput::pg_catalog.oid,
  t.typoutput::pg_catalog.oid, t.typreceive::pg_catalog.oid, t.typsend::pg_catalog.oid])
JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE f.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT n.nspname::pg_catalog.text, t.typname::pg_catalog.text,
  fn.nspname::pg_catalog.text, f.proname::pg_catalog.text, ''
FROM pg_catalog.pg_cast c
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.casttarget
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) c.castfunc
JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE f.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT '', '', fn.nspname::pg_catalog.text, f.proname::pg_catalog.text, ''
FROM pg_catalog.pg_cast c
JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) c.castfunc
JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE f.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND c.castcontext OPERATOR(pg_catalog.=) 'i'::pg_catalog.\"char\"
UNION ALL
SELECT n.nspname::pg_catalog.text, t.typname::pg_catalog.text, '', '',
  pg_catalog.pg_get_expr(k.conbin, 0::pg_catalog.oid)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) k.contypid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE k.contypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND k.conbin IS NOT NULL";

/// schema and name of a relation, schema and name of a user's function that one of its triggers calls.
pub const TRIGGERS: &str = "\
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, fn.nspname::pg_catalog.text, f.proname::pg_catalog.text
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) t.tgfoid
JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE NOT t.tgisinternal";

/// schema and name of a table, schema and name of one that it inherits from or is a partition of.
pub const FAMILIES: &str = "\
SELECT cn.nspname::pg_catalog.text, c.relname::pg_catalog.text, pn.nspname::pg_catalog.text, p.relname::pg_catalog.text
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) i.inhparent
JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.relnamespace
WHERE p.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f}'::pg_catalog.\"char\"[])";

/// schema and name of a user's table, a column, its type (`pg_type.oid`) or 0, its place (`pg_attribute.attnum`), its type whatever
/// it is, whether its values sort by their bytes (`t`, `f`; `d`: as the
/// database's do), whether those that are equal are so byte by byte (`t`, `f`), `attnotnull`
/// (`t`, `f`). The first type is 0 unless rows can be told apart by the column's values: integers, booleans, UUIDs, and text
/// without a length (which values are cut to) that is equal only where its bytes are; none that are computed from other columns.
pub const COLUMNS: &str = "\
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
  CASE WHEN a.atttypid OPERATOR(pg_catalog.=) ANY ('{16,20,21,23,25,1043,2950}'::pg_catalog.oid[])
      AND a.atttypmod OPERATOR(pg_catalog.<) 0
      AND a.attgenerated OPERATOR(pg_catalog.=) ''::pg_catalog.\"char\"
      AND coalesce(l.collisdeterministic, true)
    THEN a.atttypid::pg_catalog.text ELSE '0' END,
  a.attnum::pg_catalog.text, a.atttypid::pg_catalog.text,
  CASE WHEN l.oid IS NULL THEN 't'
    WHEN l.collprovider OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" THEN 'd'
    WHEN l.collprovider OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\"
      AND pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) 'collcollate'::pg_catalog.text
        OPERATOR(pg_catalog.=) ANY ('{C,POSIX,C.UTF-8,C.utf8}'::pg_catalog.text[]) THEN 't' ELSE 'f' END,
  CASE WHEN coalesce(l.collisdeterministic, true) THEN 't' ELSE 'f' END,
  CASE WHEN a.attnotnull THEN 't' ELSE 'f' END
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN pg_catalog.pg_collation l ON l.oid OPERATOR(pg_catalog.=) a.attcollation
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[])
  AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog.\"char\"
  AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
  AND NOT a.attisdropped";

/// whether the database's own collation sorts by bytes (`t`, `f`).
pub const COLLATION: &str = "\
SELECT CASE WHEN d.datcollate::pg_catalog.text OPERATOR(pg_catalog.=) ANY ('{C,POSIX,C.UTF-8,C.utf8}'::pg_catalog.text[])
    AND coalesce(pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'datlocprovider'::pg_catalog.text, 'c')
      OPERATOR(pg_catalog.=) 'c'::pg_catalog.text THEN 't' ELSE 'f' END
FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

/// name of a role, whether what follows is for this database only (`t`, `f`), the settings that its sessions begin with.
pub const ROLE_SETTINGS: &str = "\
SELECT r.rolname::pg_catalog.text,
  CASE WHEN s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'f' ELSE 't' END,
  s.setconfig::pg_catalog.text
FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
WHERE s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
  OR EXISTS (SELECT FROM pg_catalog.pg_database d
    WHERE d.oid OPERATOR(pg_catalog.=) s.setdatabase
      AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())";
