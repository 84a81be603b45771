//! From a plugin's hooks to the component's exports.

/// What [`export!`] says of a plugin, for the bench.
pub trait Exported {
    /// The hooks that it exports, as their methods are called.
    const HOOKS: &'static [&'static str];
}

/// Exports a plugin: `export!(MyPlugin: on_query, on_write);` names its type and those of its hooks that Pointsman is to call:
/// `needs`, `on_query`, `on_write`, `on_change`, `on_store`, `on_connect`. `init` and `shutdown` always are.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        impl $crate::Exported for $plugin {
            const HOOKS: &'static [&'static str] = &[$(stringify!($hook)),+];
        }

        // Built for this machine, nothing else makes one: a plugin is no dead code.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> ::std::result::Result<$plugin, ::std::string::String> = <$plugin as $crate::Plugin>::init;

        #[cfg(target_arch = "wasm32")]
        #[doc(hidden)]
        mod pointsman_plugin_exports {
            use super::*;

            struct Exports;

            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            fn with<R>(call: impl FnOnce(&mut $plugin) -> R) -> R {
                INSTANCE.with_borrow_mut(|plugin| call(plugin.as_mut().expect("`init` comes first")))
            }

            $crate::__export_hook!(lifecycle, $plugin);
            $($crate::__export_hook!($hook, $plugin);)+
        }
    };
}

/// One interface of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (lifecycle, $plugin:ty) => {
        impl $crate::bindings::lifecycle::exports::pointsman::plugin::lifecycle::Guest for Exports {
            fn init(config: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                let plugin = <$plugin as $crate::Plugin>::init(&config)?;
                INSTANCE.set(Some(plugin));
                Ok(())
            }

            fn shutdown() {
                if let Some(mut plugin) = INSTANCE.take() {
                    $crate::Plugin::shutdown(&mut plugin);
                }
            }
        }
        $crate::bindings::lifecycle::export!(Exports with_types_in $crate::bindings::lifecycle);
    };
    (needs, $plugin:ty) => {
        impl $crate::bindings::needs::exports::pointsman::plugin::needs::Guest for Exports {
            fn declare() -> $crate::Wants {
                with($crate::Plugin::needs)
            }
        }
        $crate::bindings::needs::export!(Exports with_types_in $crate::bindings::needs);
    };
    (on_query, $plugin:ty) => {
        impl $crate::bindings::on_query::exports::pointsman::plugin::on_query::Guest for Exports {
            fn handle(query: $crate::Query) -> $crate::Outcome {
                with(|plugin| $crate::Plugin::on_query(plugin, query))
            }
        }
        $crate::bindings::on_query::export!(Exports with_types_in $crate::bindings::on_query);
    };
    (on_write, $plugin:ty) => {
        impl $crate::bindings::on_write::exports::pointsman::plugin::on_write::Guest for Exports {
            fn handle(written: $crate::Written) -> ::std::vec::Vec<$crate::Tag> {
                with(|plugin| $crate::Plugin::on_write(plugin, written))
            }
        }
        $crate::bindings::on_write::export!(Exports with_types_in $crate::bindings::on_write);
    };
    (on_change, $plugin:ty) => {
        impl $crate::bindings::on_change::exports::pointsman::plugin::on_change::Guest for Exports {
            fn handle(batch: $crate::Batch) -> ::std::vec::Vec<$crate::Tag> {
                with(|plugin| $crate::Plugin::on_change(plugin, batch))
            }
        }
        $crate::bindings::on_change::export!(Exports with_types_in $crate::bindings::on_change);
    };
    (on_store, $plugin:ty) => {
        impl $crate::bindings::on_store::exports::pointsman::plugin::on_store::Guest for Exports {
            fn handle(entry: $crate::Entry) -> $crate::StoreVerdict {
                with(|plugin| $crate::Plugin::on_store(plugin, entry))
            }
        }
        $crate::bindings::on_store::export!(Exports with_types_in $crate::bindings::on_store);
    };
    (on_connect, $plugin:ty) => {
        impl $crate::bindings::on_connect::exports::pointsman::plugin::on_connect::Guest for Exports {
            fn handle() -> $crate::ConnectVerdict {
                with($crate::Plugin::on_connect)
            }
        }
        $crate::bindings::on_connect::export!(Exports with_types_in $crate::bindings::on_connect);
    };
}
