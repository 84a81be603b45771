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
    /// After an error in the extended protocol, with no `Sync` sent yet: the server ignores what is sent now, simple
    /// queries and function calls too.
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

    /// The same, of those that the client asked for.
    pub fn readies_forwarded(&self) -> usize {
        let forwarded = |entry: &&Entry<E>| entry.ask.ends_with_ready() && entry.deal == Deal::Forward;
        self.queue.iter().filter(forwarded).count()
    }

    /// Whether the server is in COPY FROM STDIN and reads copy data.
    pub fn is_copying(&self) -> bool {
        self.copying
    }

    /// Whether the server ignores everything until the next `Sync`. What is sent now must not be pushed but the `Sync`.
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
            Ask::Sync => self.skipping = false,
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
    #[inline]
    pub fn pop_local(&mut self) -> Option<(Bytes, Option<E>)> {
        match self.queue.front()?.ask {
            Ask::Local(_) | Ask::CopyEnd => self.pop_own(),
            _ => None,
        }
    }

    fn pop_own(&mut self) -> Option<(Bytes, Option<E>)> {
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

    /// An ErrorResponse: what ends with ReadyForQuery goes on to it; after any other message, whatever was sent is skipped
    /// up to a `Sync` (`ignore_till_sync` in PostgreSQL's `postgres.c`), simple queries and function calls included.
    fn error(&mut self, deal: Deal) -> Reply<E> {
        self.copying = false;
        let mut skipped = Vec::new();
        if self.queue.front().is_some_and(|head| head.ask.ends_with_ready()) {
            return Reply { deal, settled: None, skipped };
        }
        while let Some(entry) = self.queue.pop_front_if(|entry| entry.ask != Ask::Sync) {
            skipped.push(entry);
        }
        self.skipping = self.queue.is_empty();
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
mod tests;
