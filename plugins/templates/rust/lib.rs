//! A plugin for Pointsman: users whose name begins with `ro_` only read.

use pointsman_plugin::{Outcome, Plugin, Query, Refusal, session};

struct ReadOnly;

impl Plugin for ReadOnly {
    fn init(_config: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn on_query(&mut self, query: Query) -> Outcome {
        if query.read_only || !session::who().user.starts_with("ro_") {
            return Outcome::pass();
        }
        Outcome::refuse(Refusal::new("42501", "this user only reads").hint("ask for another role"))
    }
}

// The hooks that Pointsman is to call: on_query, on_write, on_change, on_store, on_connect, needs.
pointsman_plugin::export!(ReadOnly: on_query);

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_plugin::bench::{Bench, Statement};

    #[test]
    fn who_only_reads_does_not_write() {
        let mut bench = Bench::<ReadOnly>::new("null").expect("init");
        let delete = Statement::new("DELETE FROM agents").writes("agents");
        assert!(bench.query(&delete).is_pass());
        bench.user("ro_report");
        assert!(bench.query(&Statement::new("SELECT 1")).is_pass());
        assert_eq!(bench.query(&delete).refusal().expect("refused").sqlstate, "42501");
    }
}
