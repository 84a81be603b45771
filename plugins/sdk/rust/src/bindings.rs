//! What `wit-bindgen` makes of the contract: the imports once, and each hook as a world of its own, so that a plugin exports
//! those that it implements and no others.
#![allow(missing_docs, reason = "generated: the contract has the documentation")]

wit_bindgen::generate!({
    world: "pointsman:plugin/imports@1.0.0",
    path: "wit",
    additional_derives: [PartialEq],
    generate_unused_types: true,
    generate_all,
});

/// One hook's interface, with the macro that exports it.
macro_rules! hook {
    ($module:ident, $inline:literal $(, $types:literal)?) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                inline: $inline,
                pub_export_macro: true,
                additional_derives: [PartialEq],
                with: { $($types: crate::bindings::pointsman::plugin::types)? },
            });
        }
    };
}

hook!(lifecycle, "package pointsman:sdk; world sdk-lifecycle { export pointsman:plugin/lifecycle@1.0.0; }");
hook!(needs, "package pointsman:sdk; world sdk-needs { export pointsman:plugin/needs@1.0.0; }");
hook!(
    on_query,
    "package pointsman:sdk; world sdk-on-query { export pointsman:plugin/on-query@1.0.0; }",
    "pointsman:plugin/types@1.0.0"
);
hook!(
    on_write,
    "package pointsman:sdk; world sdk-on-write { export pointsman:plugin/on-write@1.0.0; }",
    "pointsman:plugin/types@1.0.0"
);
hook!(
    on_change,
    "package pointsman:sdk; world sdk-on-change { export pointsman:plugin/on-change@1.0.0; }",
    "pointsman:plugin/types@1.0.0"
);
hook!(
    on_store,
    "package pointsman:sdk; world sdk-on-store { export pointsman:plugin/on-store@1.0.0; }",
    "pointsman:plugin/types@1.0.0"
);
hook!(
    on_connect,
    "package pointsman:sdk; world sdk-on-connect { export pointsman:plugin/on-connect@1.0.0; }",
    "pointsman:plugin/types@1.0.0"
);
