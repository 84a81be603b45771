//! The contract's types, generated from `plugins/wit`: they stop at this crate's border, where `convert` turns them into ours.

wasmtime::component::bindgen!({
    path: "../../plugins/wit",
    world: "everything",
    imports: {
        "pointsman:plugin/lookup.query": async | trappable,
        default: trappable,
    },
});
