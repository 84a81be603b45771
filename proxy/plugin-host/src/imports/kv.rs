//! `kv`: answered at once from memory, or awaited from a store that a fleet shares.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};

use crate::bindings::pointsman::plugin::kv::KvError as Told;
use crate::kv::{KvError, KvFuture, MemoryKv, SharedKv, fits};
use crate::state::{Kv, State};

const INTERFACE: &str = "pointsman:plugin/kv@1.0.0";

type Answer<T> = wasmtime::Result<(Result<T, Told>,)>;
type Cx<'a> = StoreContextMut<'a, State>;
type SetParams = (String, Vec<u8>, Option<u64>);
type IncrementParams = (String, i64, Option<u64>);

fn ttl(milliseconds: Option<u64>) -> Option<Duration> {
    milliseconds.map(Duration::from_millis)
}

fn told<T>(answer: Result<T, KvError>) -> Answer<T> {
    Ok((answer.map_err(Into::into),))
}

fn memory(state: &State) -> Result<&Arc<MemoryKv>, KvError> {
    match &state.shared.kv {
        Kv::Memory(kv) => Ok(kv),
        Kv::Shared(_) => Err(KvError::Unavailable("it is shared".to_owned())),
    }
}

/// Links it to this process's memory.
pub(super) fn link_memory(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut kv = linker.instance(INTERFACE)?;
    kv.func_wrap("get", |cx: Cx<'_>, (key,): (String,)| told(memory(cx.data()).map(|kv| kv.get(&key))))?;
    kv.func_wrap("set", |cx: Cx<'_>, (key, value, ttl_ms): SetParams| {
        told(memory(cx.data()).and_then(|kv| kv.set(key, value, ttl(ttl_ms))))
    })?;
    kv.func_wrap("delete", |cx: Cx<'_>, (key,): (String,)| {
        told(memory(cx.data()).map(|kv| kv.delete(&key)))
    })?;
    kv.func_wrap("increment", |cx: Cx<'_>, (key, by, ttl_ms): IncrementParams| {
        told(memory(cx.data()).and_then(|kv| kv.increment(key, by, ttl(ttl_ms))))
    })
}

/// Links it to the store that a fleet shares.
pub(super) fn link_shared(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut kv = linker.instance(INTERFACE)?;
    waiting(&mut kv, "get", |kv, (key,): (String,)| kv.get(key), |(key,)| (key, 0))?;
    waiting(
        &mut kv,
        "set",
        |kv, (key, value, ttl_ms): SetParams| kv.set(key, value, ttl(ttl_ms)),
        |(key, value, _)| (key, value.len()),
    )?;
    waiting(&mut kv, "delete", |kv, (key,): (String,)| kv.delete(key), |(key,)| (key, 0))?;
    waiting(
        &mut kv,
        "increment",
        |kv, (key, by, ttl_ms): IncrementParams| kv.increment(key, by, ttl(ttl_ms)),
        |(key, _, _)| (key, 0),
    )
}

/// Links a function that asks the shared store, within the time that lookups have. `parts` shows a key and a value's size.
fn waiting<P, T>(
    kv: &mut LinkerInstance<'_, State>,
    name: &str,
    ask: impl Fn(&dyn SharedKv, P) -> KvFuture<T> + Send + Sync + Copy + 'static,
    parts: impl Fn(&mut P) -> (&mut String, usize) + Send + Sync + Copy + 'static,
) -> wasmtime::Result<()>
where
    P: wasmtime::component::ComponentNamedList + wasmtime::component::Lift + Send + 'static,
    T: Send + 'static,
    (Result<T, Told>,): wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
{
    kv.func_wrap_async(name, move |mut cx: Cx<'_>, mut params: P| {
        let future = async move {
            let shared = Arc::clone(&cx.data().shared);
            let left = shared.spec.limits.lookup_deadline.saturating_sub(cx.data().waited);
            let (key, bytes) = parts(&mut params);
            if let Err(error) = fits(&shared.spec.kv, key, bytes) {
                return told(Err(error));
            }
            key.insert_str(0, &format!("{}:", shared.spec.name));
            let Kv::Shared(store) = &shared.kv else {
                return told(Err(KvError::Unavailable("it is not shared".to_owned())));
            };
            let began = Instant::now();
            let answer = tokio::time::timeout(left, ask(&**store, params)).await;
            cx.data_mut().waited += began.elapsed();
            told(answer.unwrap_or_else(|_| Err(KvError::Unavailable("it took too long".to_owned()))))
        };
        Box::new(future) as Box<dyn Future<Output = _> + Send + '_>
    })
}
