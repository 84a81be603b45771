//! From the server to the client: frames are told apart by their headers, rows are passed on without being looked at.

use pointsman_cache::stats::NotStored;
use pointsman_wire::backend::{ParameterStatus, TransactionStatus};
use pointsman_wire::fields::ErrorHead;
use pointsman_wire::frame::Header;
use pointsman_wire::owed::Deal;

use super::Session;
use super::notes::Note;
use super::shards::without_added;
use super::statements::{GLOBAL_PREFIX, looks_global};
use crate::fault::Fault;

/// Bytes of an ErrorResponse that are waited for: a longer one is passed on in pieces.
const ERROR_BYTES_MAX: usize = 32 * 1024;
/// Longest message that is waited for as a whole, in bytes.
const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Session {
    /// Looks at all that has come from the server.
    pub(super) fn relay(&mut self) -> Result<(), Fault> {
        let mut visible = false;
        loop {
            self.relay_rest();
            if self.flow.relaying > 0 {
                break;
            }
            self.give_local_replies();
            let Some(header) = Header::peek(self.io.unscanned()).map_err(|error| desync(&error))? else {
                break;
            };
            let needed = self.needed(header)?;
            if self.io.unscanned().len() < needed {
                break;
            }
            let heard = std::mem::take(&mut self.flow.heard);
            if !heard && matches!(header.tag, b'C' | b'Z') && self.waits_for_plugins(header) {
                self.flow.unheard = true;
                break;
            }
            visible |= self.makes_visible(header);
            self.frame(header)?;
            if self.flow.forsaken {
                break;
            }
        }
        if visible {
            self.note_committed();
            self.note_visible();
        }
        if std::mem::take(&mut self.flow.forsaken) {
            self.drop_held();
        }
        if self.owed.is_empty() {
            self.flow.stalled = false;
            self.flow.names_pending = false;
            self.flow.settings_pending = false;
        }
        self.release_if_free();
        Ok(())
    }

    /// Whether this message may tell the client that what it wrote is there for all to see: the end of a transaction,
    /// or of a statement outside of one.
    pub(super) fn makes_visible(&self, header: Header) -> bool {
        let body = self.io.unscanned().get(5..header.frame_len()).unwrap_or_default();
        match header.tag {
            b'C' => self.status == TransactionStatus::Idle || body.starts_with(b"COMMIT"),
            b'Z' => body == [TransactionStatus::Idle.byte()],
            _ => false,
        }
    }

    /// Passes on, or drops, what has come of the message under way.
    fn relay_rest(&mut self) {
        let count = self.flow.relaying.min(self.io.unscanned().len());
        self.flow.relaying -= count;
        if self.flow.filling.is_some() && !self.flow.swallowing {
            self.copy_part(count);
        }
        if self.flow.swallowing {
            self.io.drop_unscanned(count);
        } else {
            self.io.approved += count;
        }
    }

    fn deal(&mut self, header: Header, deal: Deal) {
        self.flow.relaying = header.frame_len();
        self.flow.swallowing = deal == Deal::Swallow;
        self.relay_rest();
    }

    /// Gives the replies of our own that are due; not into the middle of a message of the server's.
    pub(super) fn give_local_replies(&mut self) {
        if self.flow.relaying > 0 {
            return;
        }
        while let Some((bytes, note)) = self.owed.pop_local() {
            if let Some(refusal) = note.as_ref().and_then(refusal) {
                self.flow.refusal = Some(refusal);
            }
            if !bytes.is_empty() {
                self.retry_is_over(Deal::Forward);
            }
            self.io.settle_approved();
            self.io.to_client.extend(&bytes);
        }
    }

    fn frame(&mut self, header: Header) -> Result<(), Fault> {
        match header.tag {
            b'S' => return self.parameter_status(header),
            b'E' => return self.error_response(header),
            _ => {}
        }
        let reply = self.owed.reply(header.tag).map_err(|error| desync(&error))?;
        match header.tag {
            b'C' | b'I' | b's' => return self.completed(header, reply),
            b'Z' => return self.ready(header, reply),
            b'D' if reply.deal == Deal::Swallow => self.probe_answer(header),
            b't' => return self.parameter_description(header, reply.deal),
            _ => {}
        }
        self.retry_is_over(reply.deal);
        if self.flow.filling.is_some() && reply.deal == Deal::Forward {
            self.note_part(header);
        }
        self.deal(header, reply.deal);
        Ok(())
    }

    /// The server tells of a statement's parameters.
    fn parameter_description(&mut self, header: Header, deal: Deal) -> Result<(), Fault> {
        let note = self.owed.head().and_then(|head| head.effect.as_ref());
        let body = self.io.unscanned().get(5..header.frame_len()).unwrap_or_default();
        if let Some(Note::Described(prepared, _)) = note.map(inner) {
            prepared.note_types(body);
        }
        let own = match note {
            Some(Note::OwnParameters(own, _)) if deal == Deal::Forward => without_added(body, *own),
            _ => None,
        };
        self.retry_is_over(deal);
        if let Some(own) = own {
            self.spoil(NotStored::NotPlain);
            self.deal(header, Deal::Swallow);
            self.io.settle_approved();
            self.io.to_client.extend(&own);
            return Ok(());
        }
        if self.flow.filling.is_some() && deal == Deal::Forward {
            self.note_part(header);
        }
        self.deal(header, deal);
        Ok(())
    }

    /// Bytes of a message that must be there before it is looked at.
    fn needed(&self, header: Header) -> Result<usize, Fault> {
        let whole = match header.tag {
            b'E' => return Ok(header.frame_len().min(ERROR_BYTES_MAX)),
            b'C' | b'Z' | b'S' | b'I' | b's' | b't' => true,
            // A row of an answer that is ours.
            b'D' => self.owed.head().is_some_and(|head| head.deal == Deal::Swallow),
            _ => false,
        };
        match whole {
            false => Ok(pointsman_wire::frame::HEADER_LEN),
            true if header.frame_len() <= WHOLE_BYTES_MAX => Ok(header.frame_len()),
            true => Err(desync(&"a message of absurd length")),
        }
    }

    /// A reported setting: the client hears of it if it does not know.
    fn parameter_status(&mut self, header: Header) -> Result<(), Fault> {
        let frame = &self.io.unscanned()[..header.frame_len()];
        let status = ParameterStatus::decode(&frame[5..]).map_err(|error| desync(&error))?;
        if let Some(held) = &mut self.held {
            held.lease.connection().note_reported(status.name, status.value);
        }
        let is_date_style = status.name.eq_ignore_ascii_case(b"DateStyle");
        let known = self.told.iter().any(|(name, value)| *name == status.name && *value == status.value);
        if !known {
            let name = bytes::Bytes::copy_from_slice(status.name);
            let value = bytes::Bytes::copy_from_slice(status.value);
            let told = std::sync::Arc::make_mut(&mut self.told);
            match told.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => told.push((name, value)),
            }
        }
        if is_date_style {
            self.settle_report();
        }
        self.deal(header, if known { Deal::Swallow } else { Deal::Forward });
        Ok(())
    }

    fn error_response(&mut self, header: Header) -> Result<(), Fault> {
        let head = self.io.unscanned();
        let body = &head[5..head.len().min(header.frame_len())];
        let error = ErrorHead::read(body);
        if error.fatal && self.is_free() && self.pins.is_empty() && !self.flow.probe_due {
            // The server ends a connection on which nothing is asked: that is nobody's error.
            self.io.settle_approved();
            self.io.from_server.consume(self.io.from_server.len());
            self.flow.forsaken = true;
            return Ok(());
        }
        if error.fatal {
            // The server speaks to whoever is connected, asked or not; then it closes the connection.
            let retry = self.can_retry();
            self.flow.fatal = !retry;
            if !retry {
                self.shared.counters.error(error.sqlstate.as_bytes());
            }
            self.deal(header, if retry { Deal::Swallow } else { Deal::Forward });
            return Ok(());
        }
        if error.sqlstate == "0A000" {
            // "cached plan must not change result type": definitions were changed elsewhere. Whoever prepares the same
            // text from now on gets a statement of the new ones.
            self.shared.account.database.definitions_changed();
        }
        let reply = self.owed.reply(b'E').map_err(|error| desync(&error))?;
        let at_fault = reply.skipped.first().or_else(|| self.owed.head());
        let catching_up = matches!(at_fault.and_then(|entry| entry.effect.as_ref()), Some(Note::CatchUp));
        if !(catching_up || self.asks_for_tags()) && self.retry_instead(&error.sqlstate) {
            self.undo(reply.skipped);
            self.deal(header, Deal::Swallow);
            return Ok(());
        }
        let named = match reply.skipped.first().and_then(|entry| entry.effect.as_ref()).map(inner) {
            Some(Note::Named(name)) => Some(name.clone()),
            Some(Note::Described(_, named)) => named.clone(),
            _ => None,
        };
        let ours = reply.skipped.first().and_then(|entry| entry.effect.as_ref()).and_then(refusal);
        let ours = ours.or_else(|| self.overrun_told(&error.sqlstate));
        let of_a_query = self.ends_own_pipeline();
        let deal = self.failed(reply)?;
        if deal == Deal::Forward {
            self.spoil(NotStored::NotPlain);
        }
        let mut told = ours.or_else(|| self.with_client_names(header, named.as_deref()));
        if deal == Deal::Forward {
            told = self.flow.refusal.take().or(told);
        } else if of_a_query {
            let frame =
                told.take().or_else(|| self.io.unscanned().get(..header.frame_len()).map(<[u8]>::to_vec));
            self.flow.refusal = frame.map(|frame| without_position(&frame));
        }
        let told = told.filter(|_| deal == Deal::Forward);
        if deal == Deal::Forward {
            let told = told.as_ref().and_then(|frame| Some(ErrorHead::read(frame.get(5..)?).sqlstate));
            self.shared.counters.error(told.unwrap_or(error.sqlstate).as_bytes());
        }
        match told {
            Some(frame) => {
                self.deal(header, Deal::Swallow);
                self.io.settle_approved();
                self.io.to_client.extend(&frame);
            }
            None => self.deal(header, deal),
        }
        Ok(())
    }
}

impl Session {
    /// An ErrorResponse that names a statement by its global name, with the client's own name instead.
    fn with_client_names(&self, header: Header, named: Option<&[u8]>) -> Option<Vec<u8>> {
        let frame = self.io.unscanned().get(..header.frame_len())?;
        let at = find(frame, GLOBAL_PREFIX.as_bytes())?;
        let digits = &frame[at + GLOBAL_PREFIX.len()..];
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = std::str::from_utf8(&digits[..count]).ok()?.parse().ok()?;
        let name = named.or_else(|| self.statements.name_of(id)).filter(|name| !looks_global(name))?;
        let body = [&frame[5..at], name, &digits[count..]].concat();
        let length = u32::try_from(body.len() + 4).ok()?;
        Some([b"E".as_slice(), &length.to_be_bytes(), &body].concat())
    }
}

/// The note beside the one that says which parameters the client knows.
fn inner(note: &Note) -> &Note {
    match note {
        Note::OwnParameters(_, Some(inner)) => inner,
        note => note,
    }
}

/// What the client is told instead of an error that we made the server give.
fn refusal(note: &Note) -> Option<Vec<u8>> {
    match note {
        Note::ChangedResult => Some(changed_result()),
        Note::Refused(frame) => Some(frame.to_vec()),
        _ => None,
    }
}

/// PostgreSQL's words, with the routine that they come from: drivers know by it that they may prepare again.
fn changed_result() -> Vec<u8> {
    let body: &[u8] =
        b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0Fplancache.c\0L722\0\
        RRevalidateCachedQuery\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [b"E".as_slice(), &length.to_be_bytes(), body].concat()
}

/// An ErrorResponse frame without the place of the error, which would be one in another text.
fn without_position(frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(frame.len());
    let fields = frame.get(5..).unwrap_or_default().split_inclusive(|byte| *byte == 0);
    fields.filter(|field| field.first() != Some(&b'P')).for_each(|field| body.extend_from_slice(field));
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [b"E".as_slice(), &length.to_be_bytes(), &body].concat()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The server and we disagree on what was asked: the connection is of no more use.
pub(super) fn desync(error: &impl std::fmt::Display) -> Fault {
    Fault::upstream("08P01", "the server connection lost its order").because(error)
}
