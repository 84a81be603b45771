//! What keeps a session on its server connection between transactions, and the question that finds out.

use pointsman_policy::Pin;

/// Reasons to keep a connection, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u8);

impl Pins {
    /// Session mode.
    pub const SESSION_MODE: Self = Self(1);
    /// `LISTEN`.
    pub const LISTEN: Self = Self(1 << 1);
    /// Session-level advisory locks.
    pub const ADVISORY_LOCK: Self = Self(1 << 2);
    /// Temporary objects.
    pub const TEMPORARY: Self = Self(1 << 3);
    /// `WITH HOLD` cursors.
    pub const HOLD_CURSOR: Self = Self(1 << 4);
    /// Something that cannot be asked for: given up by `DISCARD ALL` alone.
    pub const UNKNOWN: Self = Self(1 << 5);

    /// The ones that the probe asks for, in its column order.
    const ASKED: [Self; 4] = [Self::LISTEN, Self::ADVISORY_LOCK, Self::TEMPORARY, Self::HOLD_CURSOR];

    /// Each reason, with its name.
    const NAMES: [(Self, &'static str); 6] = [
        (Self::SESSION_MODE, "session mode"),
        (Self::LISTEN, "listen"),
        (Self::ADVISORY_LOCK, "advisory lock"),
        (Self::TEMPORARY, "temporary relation"),
        (Self::HOLD_CURSOR, "hold cursor"),
        (Self::UNKNOWN, "unknown"),
    ];

    /// The set as a number.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that the number stands for.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The reasons by name.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(pin, _)| self.has(*pin)).map(|(_, name)| *name).collect()
    }

    /// Whether there is no reason.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first reason, as plans name it.
    pub fn first(self) -> Option<Pin> {
        let named = [
            (Self::SESSION_MODE, Pin::SessionMode),
            (Self::LISTEN, Pin::Listen),
            (Self::ADVISORY_LOCK, Pin::AdvisoryLock),
            (Self::TEMPORARY, Pin::TempTable),
            (Self::HOLD_CURSOR, Pin::HoldCursor),
            (Self::UNKNOWN, Pin::Unknown),
        ];
        named.into_iter().find(|(reason, _)| self.has(*reason)).map(|(_, pin)| pin)
    }

    /// Whether all of these reasons are there.
    pub fn has(self, pins: Self) -> bool {
        self.0 & pins.0 == pins.0
    }

    /// Adds reasons.
    pub fn add(&mut self, pins: Self) {
        self.0 |= pins.0;
    }

    /// Whether the session may hold one of the kinds that the probe asks for.
    pub fn any_asked(self) -> bool {
        Self::ASKED.iter().any(|pin| self.0 & pin.0 != 0)
    }

    /// Takes the probe's answer: one `t` or `f` for each kind.
    pub fn answer<'a>(&mut self, columns: impl Iterator<Item = Option<&'a [u8]>>) {
        for (pin, column) in Self::ASKED.into_iter().zip(columns) {
            if column == Some(b"t") {
                self.0 |= pin.0;
            } else {
                self.0 &= !pin.0;
            }
        }
    }

    /// Takes reasons away.
    pub fn clear(&mut self, pins: Self) {
        self.0 &= !pins.0;
    }

    /// After `DISCARD ALL`.
    pub fn discard(&mut self) {
        self.0 &= Self::SESSION_MODE.0;
    }
}

/// Asked at the end of a transaction that may have changed what the session holds. Only session-level advisory locks
/// outlive a transaction. Whatever is in the temporary schema, of any kind, depends on it: 2615 is `pg_namespace`.
pub const PROBE: &[u8] = b"SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), \
EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), \
EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid \
AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_replaces_what_was_believed() {
        let mut pins = Pins::LISTEN;
        pins.add(Pins::UNKNOWN);
        pins.answer([Some(b"f".as_slice()), Some(b"t"), Some(b"f"), Some(b"f")].into_iter());
        assert!(pins.any_asked());
        pins.answer([Some(b"f".as_slice()); 4].into_iter());
        assert_eq!(pins, Pins::UNKNOWN);
        pins.discard();
        assert!(pins.is_empty());
    }
}
