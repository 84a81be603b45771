//! What a server connection still owes: one entry for each message sent, oldest first, so that every reply finds
//! its question. <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use std::collections::VecDeque;

use bytes::Bytes;

/// Who a reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deal {
    /// The client asked: it gets the reply.
    Forward,
    /// The proxy asked: the reply goes no further.
    Swallow,
}

/// The question that an entry stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// `Parse`, answered by ParseComplete.
    Parse,
    /// `Bind`, answered by BindComplete.
    Bind,
    /// `Describe` of a statement: ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// `Describe` of a portal: RowDescription or NoData.
    DescribePortal,
    /// `Execute`: rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// `Close`, answered by CloseComplete.
    Close,
    /// `Sync`, answered by ReadyForQuery.
    Sync,
    /// A simple query: anything, then ReadyForQuery.
    Query,
    /// `FunctionCall`: FunctionCallResponse, then ReadyForQuery.
    FunctionCall,
    /// CopyDone or CopyFail: no reply of its own, but it ends the part of the stream in which a `Sync` is ignored.
    CopyEnd,
    /// Nobody was asked: these bytes are the reply, due when all earlier ones have been given.
    Local(Bytes),
}

impl Ask {
    fn ends_with_ready(&self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::FunctionCall)
    }
}

/// One reply owed, with what the asker wants to remember until then.
#[derive(Debug)]
pub struct Entry<E> {
    /// The question.
    pub ask: Ask,
    /// Who the reply is for.
    pub deal: Deal,
    /// The asker's own note.
    pub effect: Option<E>,
}

/// What a message from the server means to the queue.
#[derive(Debug)]
pub struct Reply<E> {
    /// Who the message is for.
    pub deal: Deal,
    /// The entry that this message settles.
    pub settled: Option<Entry<E>>,
    /// Entries that will never be answered, oldest first: an error made the server skip to the next `Sync`.
    pub skipped: Vec<Entry<E>>,
}

/// A message that answers nothing that was asked. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent message '{}' which nothing asked for", char::from(*.0))]
pub struct Unexpected(pub u8);

/// The queue. `E` is the asker's note.
#[derive(Debug)]
pub struct Owed<E> {
    queue: VecDeque<Entry<E>>,
    /// Inside COPY FROM STDIN: a `Sync` sent now is ignored by the server.
    copying: bool,
    /// After an error, with no `Sync` sent yet: the server ignores what is sent now.
    skipping: bool,
}

impl<E> Default for Owed<E> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), copying: false, skipping: false }
    }
}

impl<E> Owed<E> {
    /// Whether every reply has been given.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Replies owed.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Transactions, at most, that the replies owed belong to: each ends with a ReadyForQuery.
    pub fn readies(&self) -> usize {
        self.queue.iter().filter(|entry| entry.ask.ends_with_ready()).count()
    }

    /// Whether the server is in COPY FROM STDIN and reads copy data.
    pub fn is_copying(&self) -> bool {
        self.copying
    }

    /// Whether the server ignores everything until the next `Sync`.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The oldest question without its full answer.
    pub fn head(&self) -> Option<&Entry<E>> {
        self.queue.front()
    }

    /// The same, to write in its note.
    pub fn head_mut(&mut self) -> Option<&mut Entry<E>> {
        self.queue.front_mut()
    }

    /// Notes a message that was sent.
    pub fn push(&mut self, ask: Ask, deal: Deal, effect: Option<E>) {
        match ask {
            Ask::Sync if self.copying => return,
            Ask::Sync | Ask::Query => self.skipping = false,
            Ask::CopyEnd if self.copying => {
                self.copying = false;
                return;
            }
            // Copy data ended before the server said that it wants any; only what is still owed can be a COPY.
            Ask::CopyEnd if self.queue.is_empty() => return,
            _ => {}
        }
        self.queue.push_back(Entry { ask, deal, effect });
    }

    /// The bytes of a local reply, if one is due now.
    pub fn pop_local(&mut self) -> Option<(Bytes, Option<E>)> {
        while matches!(self.queue.front()?.ask, Ask::CopyEnd) {
            self.queue.pop_front();
        }
        if !matches!(self.queue.front()?.ask, Ask::Local(_)) {
            return None;
        }
        let entry = self.queue.pop_front()?;
        match entry.ask {
            Ask::Local(bytes) => Some((bytes, entry.effect)),
            _ => None,
        }
    }

    /// Takes one message from the server. Call `pop_local` until it is empty before and after.
    ///
    /// # Errors
    /// `Unexpected` when no question asks for such a message.
    pub fn reply(&mut self, tag: u8) -> Result<Reply<E>, Unexpected> {
        // Asynchronous messages belong to no question; a notification is always for the client that listens.
        if tag == b'A' {
            return Ok(Reply { deal: Deal::Forward, settled: None, skipped: Vec::new() });
        }
        if matches!(tag, b'N' | b'S') {
            return Ok(Reply { deal: self.deal(), settled: None, skipped: Vec::new() });
        }
        let Some(head) = self.queue.front() else { return Err(Unexpected(tag)) };
        let deal = head.deal;
        let settles = match (tag, &head.ask) {
            (b'1', Ask::Parse)
            | (b'2', Ask::Bind)
            | (b'3', Ask::Close)
            | (b'T' | b'n', Ask::DescribeStatement | Ask::DescribePortal)
            | (b'C' | b'I' | b's', Ask::Execute)
            | (b'Z', Ask::Query | Ask::Sync | Ask::FunctionCall) => true,
            (b't', Ask::DescribeStatement)
            | (b'D' | b'd' | b'c' | b'H', Ask::Execute | Ask::Query)
            | (b'T' | b'C' | b'I', Ask::Query)
            | (b'V', Ask::FunctionCall) => false,
            (b'G', Ask::Execute | Ask::Query) => {
                self.enter_copy();
                false
            }
            (b'E', _) => return Ok(self.error(deal)),
            _ => return Err(Unexpected(tag)),
        };
        let settled = if settles { self.queue.pop_front() } else { None };
        Ok(Reply { deal, settled, skipped: Vec::new() })
    }

    /// Who asynchronous messages are for now: the client, unless the proxy is asking for itself.
    fn deal(&self) -> Deal {
        self.queue.front().map_or(Deal::Forward, |entry| entry.deal)
    }

    /// The server wants copy data: each `Sync` sent before the data's end is ignored by it.
    fn enter_copy(&mut self) {
        let end = self.queue.iter().position(|entry| entry.ask == Ask::CopyEnd);
        let until = end.unwrap_or(self.queue.len());
        self.copying = end.is_none();
        let mut index = 0;
        self.queue.retain(|entry| {
            let drop = index > 0 && index <= until && matches!(entry.ask, Ask::Sync | Ask::CopyEnd);
            index += 1;
            !drop
        });
    }

    /// An ErrorResponse: a simple query goes on to its ReadyForQuery, everything else is skipped up to a `Sync`.
    fn error(&mut self, deal: Deal) -> Reply<E> {
        self.copying = false;
        let mut skipped = Vec::new();
        while let Some(head) = self.queue.front() {
            if head.ask.ends_with_ready() {
                return Reply { deal, settled: None, skipped };
            }
            skipped.extend(self.queue.pop_front());
        }
        self.skipping = true;
        Reply { deal, settled: None, skipped }
    }

    /// Takes everything still owed, oldest first: the connection is gone, nothing will be answered.
    pub fn abandon(&mut self) -> Vec<Entry<E>> {
        self.copying = false;
        self.skipping = false;
        self.queue.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(asks: &[Ask]) -> Owed<usize> {
        let mut owed = Owed::default();
        for (index, ask) in asks.iter().enumerate() {
            owed.push(ask.clone(), Deal::Forward, Some(index));
        }
        owed
    }

    #[test]
    fn an_extended_query_settles_in_order() {
        let mut owed = pushed(&[Ask::Parse, Ask::Bind, Ask::DescribePortal, Ask::Execute, Ask::Sync]);
        let mut settled = Vec::new();
        for tag in *b"12TDDCZ" {
            settled.extend(owed.reply(tag).expect("expected").settled.and_then(|entry| entry.effect));
        }
        assert_eq!(settled, [0, 1, 2, 3, 4]);
        assert!(owed.is_empty());
    }

    #[test]
    fn an_error_skips_to_the_next_sync() {
        let mut owed = pushed(&[Ask::Parse, Ask::Bind, Ask::Local(Bytes::new()), Ask::Sync, Ask::Bind]);
        let reply = owed.reply(b'E').expect("expected");
        assert_eq!(reply.skipped.len(), 3);
        assert!(!owed.is_skipping());
        assert!(owed.reply(b'Z').expect("expected").settled.is_some());
        assert_eq!(owed.reply(b'E').expect("expected").skipped.len(), 1);
        assert!(owed.is_skipping(), "no Sync was sent: the server skips what comes");
        owed.push(Ask::Sync, Deal::Forward, None);
        assert!(!owed.is_skipping());
    }

    #[test]
    fn a_sync_inside_copy_data_is_not_owed() {
        let mut owed = pushed(&[Ask::Bind, Ask::Execute, Ask::Sync]);
        owed.reply(b'2').expect("expected");
        owed.reply(b'G').expect("expected");
        assert_eq!(owed.len(), 1);
        owed.push(Ask::Sync, Deal::Forward, None);
        owed.push(Ask::CopyEnd, Deal::Forward, None);
        owed.push(Ask::Sync, Deal::Forward, None);
        assert_eq!(owed.len(), 2);
        owed.reply(b'C').expect("expected");
        owed.reply(b'Z').expect("expected");
        assert!(owed.is_empty());
    }

    #[test]
    fn copy_data_sent_ahead_of_its_invitation() {
        let mut owed = pushed(&[Ask::Execute, Ask::Sync, Ask::CopyEnd, Ask::Sync]);
        owed.reply(b'G').expect("expected");
        assert!(!owed.is_copying());
        owed.reply(b'C').expect("expected");
        owed.reply(b'Z').expect("expected");
        assert!(owed.is_empty());
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        assert_eq!(Owed::<()>::default().reply(b'Z').err(), Some(Unexpected(b'Z')));
        assert_eq!(pushed(&[Ask::Parse]).reply(b'2').err(), Some(Unexpected(b'2')));
        assert!(pushed(&[Ask::Parse]).reply(b'N').is_ok());
    }

    #[test]
    fn a_notification_reaches_the_client_whatever_is_owed() {
        let mut owed = Owed::<()>::default();
        owed.push(Ask::Query, Deal::Swallow, None);
        assert_eq!(owed.reply(b'A').expect("expected").deal, Deal::Forward);
        assert_eq!(owed.reply(b'N').expect("expected").deal, Deal::Swallow);
    }
}
