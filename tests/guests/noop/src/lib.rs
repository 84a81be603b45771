//! A plugin that passes every statement: for benchmarks. `config` is `true` if its verdict is to be remembered.

use pointsman_plugin::{Memo, Outcome, Plugin, Query};

struct Noop {
    remembered: bool,
}

impl Plugin for Noop {
    fn init(config: &str) -> Result<Self, String> {
        Ok(Self { remembered: config == "true" })
    }

    fn on_query(&mut self, _query: Query) -> Outcome {
        if self.remembered { Outcome::pass().for_all(Memo::Template) } else { Outcome::pass() }
    }
}

pointsman_plugin::export!(Noop: on_query);
