//! One instance of a plugin: made, called within its limits, and judged when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Instance as Component, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Engine, Store, Trap};

use crate::bindings::exports::pointsman::plugin::{
    needs, on_change, on_connect, on_query, on_store, on_write,
};
use crate::error::CallError;
use crate::inspect::Exports;
use crate::spec::Hook;
use crate::state::{Shared, State};

/// A hook's type and its place.
pub(crate) trait HookType {
    type Params: ComponentNamedList + Lower + Send + Sync + 'static;
    type Return: ComponentNamedList + Lift + Send + Sync + 'static;
    const HOOK: Hook;
    fn slot(slots: &mut Slots) -> &mut Option<TypedFunc<Self::Params, Self::Return>>;
}

/// Functions that were looked up, when first called.
#[derive(Default)]
pub(crate) struct Slots {
    query: Option<TypedFunc<(on_query::Query,), (on_query::Outcome,)>>,
    write: Option<TypedFunc<(on_write::Written,), (Vec<String>,)>>,
    change: Option<TypedFunc<(on_change::Batch,), (Vec<String>,)>>,
    store: Option<TypedFunc<(on_store::Entry,), (on_store::StoreVerdict,)>>,
    connect: Option<TypedFunc<(), (on_connect::ConnectVerdict,)>>,
}

/// A hook's function.
type Function<H> = TypedFunc<<H as HookType>::Params, <H as HookType>::Return>;

macro_rules! hook {
    ($name:ident, $hook:ident, $slot:ident, $params:ty, $return:ty) => {
        pub(crate) struct $name;

        impl HookType for $name {
            type Params = $params;
            type Return = ($return,);
            const HOOK: Hook = Hook::$hook;

            fn slot(slots: &mut Slots) -> &mut Option<TypedFunc<Self::Params, Self::Return>> {
                &mut slots.$slot
            }
        }
    };
}

hook!(Query, Query, query, (on_query::Query,), on_query::Outcome);
hook!(Write, Write, write, (on_write::Written,), Vec<String>);
hook!(Change, Change, change, (on_change::Batch,), Vec<String>);
hook!(Keep, Store, store, (on_store::Entry,), on_store::StoreVerdict);
hook!(Connect, Connect, connect, (), on_connect::ConnectVerdict);

/// An instance that can be called.
pub(crate) struct Instance {
    store: Store<State>,
    instance: Component,
    slots: Slots,
    waits: bool,
}

impl Instance {
    /// Makes an instance. `init` was not called yet.
    pub(crate) async fn new(
        engine: &Engine,
        pre: &InstancePre<State>,
        shared: &Arc<Shared>,
        waits: bool,
    ) -> Result<Self, CallError> {
        let mut store = Store::new(engine, State::new(Arc::clone(shared)));
        store.limiter(|state| state);
        store.epoch_deadline_callback(State::late);
        store.set_hostcall_fuel(shared.spec.limits.output_bytes_max);
        let deadline = store.data_mut().begin(Instant::now(), shared.spec.limits.init_deadline);
        store.set_epoch_deadline(deadline);
        let made = if waits {
            Box::pin(pre.instantiate_async(&mut store)).await
        } else {
            pre.instantiate(&mut store)
        };
        match made {
            Ok(instance) => Ok(Self { store, instance, slots: Slots::default(), waits }),
            Err(error) => Err(judge(&error, store.data())),
        }
    }

    /// The data that a call's imports see.
    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// The function of an export.
    fn function<P, R>(&mut self, index: &ComponentExportIndex) -> Result<TypedFunc<P, R>, CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let function = self.instance.get_typed_func(&mut self.store, index);
        function.map_err(|error| CallError::Contract(format!("{error:#}")))
    }

    async fn run<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        params: P,
        began: Instant,
        deadline: Duration,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let ticks = self.store.data_mut().begin(began, deadline);
        self.store.set_epoch_deadline(ticks);
        let result = if self.waits {
            Box::pin(function.call_async(&mut self.store, params)).await
        } else {
            function.call(&mut self.store, params)
        };
        result.map_err(|error| judge(&error, self.store.data()))
    }

    /// Calls `init`, if there is one.
    pub(crate) async fn init(&mut self, exports: &Exports) -> Result<Result<(), String>, CallError> {
        self.state().initialising = true;
        let answer = match &exports.init {
            None => Ok(()),
            Some(index) => {
                let function = self.function::<(String,), (Result<(), String>,)>(index)?;
                let config = self.state().shared.config.clone();
                let deadline = self.state().shared.spec.limits.init_deadline;
                self.run(function, (config,), Instant::now(), deadline).await?.0
            }
        };
        self.state().initialising = false;
        Ok(answer)
    }

    /// Calls `needs`, if it is there.
    pub(crate) async fn declare(&mut self, exports: &Exports) -> Result<Option<needs::Wants>, CallError> {
        let Some(index) = &exports.declare else { return Ok(None) };
        let function = self.function::<(), (needs::Wants,)>(index)?;
        let deadline = self.state().shared.spec.limits.init_deadline;
        Ok(Some(self.run(function, (), Instant::now(), deadline).await?.0))
    }

    /// Sees that every hook has the type that the contract says.
    pub(crate) fn check(&mut self, exports: &Exports) -> Result<(), CallError> {
        self.hook::<Query>(exports)?;
        self.hook::<Write>(exports)?;
        self.hook::<Change>(exports)?;
        self.hook::<Keep>(exports)?;
        self.hook::<Connect>(exports)?;
        if let Some(index) = &exports.shutdown {
            self.function::<(), ()>(index)?;
        }
        Ok(())
    }

    fn hook<H: HookType>(&mut self, exports: &Exports) -> Result<Option<Function<H>>, CallError> {
        if let Some(function) = *H::slot(&mut self.slots) {
            return Ok(Some(function));
        }
        let Some(index) = &exports.hooks[H::HOOK as usize] else { return Ok(None) };
        let function = self.function::<H::Params, H::Return>(index)?;
        Ok(Some(*H::slot(&mut self.slots).insert(function)))
    }

    /// Calls a hook. An instance that gave an error must not be called again.
    pub(crate) async fn call<H: HookType>(
        &mut self,
        exports: &Exports,
        params: H::Params,
        began: Instant,
    ) -> Result<H::Return, CallError> {
        let Some(function) = self.hook::<H>(exports)? else {
            return Err(CallError::Contract("it does not have this hook".to_owned()));
        };
        let deadline = self.store.data().shared.spec.limits.deadline;
        self.run(function, params, began, deadline).await
    }

    /// Calls `shutdown`, if there is one. That it fails changes nothing.
    pub(crate) async fn end(mut self, exports: &Exports) {
        let Some(index) = &exports.shutdown else { return };
        let Ok(function) = self.function::<(), ()>(index) else { return };
        let deadline = self.store.data().shared.spec.limits.deadline;
        if let Err(error) = self.run(function, (), Instant::now(), deadline).await {
            let plugin = &self.store.data().shared.spec.name;
            tracing::warn!(plugin, "`shutdown` failed: {error}");
        }
    }
}

/// Whose fault it was.
fn judge(error: &wasmtime::Error, state: &State) -> CallError {
    let limits = &state.shared.spec.limits;
    if state.was_denied_memory() {
        return CallError::Memory(limits.memory_bytes_max);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return CallError::Deadline(state.deadline()),
        Some(Trap::StackOverflow) => return CallError::Stack,
        Some(trap) => {
            let message = trap.to_string();
            return CallError::Trap(message.trim_start_matches("wasm trap: ").to_owned());
        }
        None => {}
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return CallError::Room(error.to_string());
    }
    let message = error.root_cause().to_string();
    if message.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::Output(limits.output_bytes_max);
    }
    CallError::Trap(message)
}
