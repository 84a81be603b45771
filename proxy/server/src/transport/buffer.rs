//! Byte buffers between a socket and its reader or writer: fixed blocks that are borrowed while bytes are in them
//! and given back to the thread when they are empty, so that an idle client holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a block in bytes: what one `read` takes at the most.
pub const BLOCK_BYTES: usize = 32 * 1024;
/// Blocks that a thread keeps for the next reader.
const SPARE_BLOCKS_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A queue of bytes. Empty, it holds no memory after `release`.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Initialised to its whole length; `start..end` are the bytes in the queue.
    block: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes in the queue, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    /// Number of bytes in the queue.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Removes the oldest `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.block[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Gives the memory back when the queue is empty.
    pub fn release(&mut self) {
        if !self.is_empty() || self.block.is_empty() {
            return;
        }
        let block = std::mem::take(&mut self.block);
        if block.len() != BLOCK_BYTES {
            return;
        }
        // A thread that is being torn down has no spare list any more: the block is simply freed.
        let _gone = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_BLOCKS_MAX {
                spare.push(block);
            }
        });
    }

    /// Makes room for `count` more bytes, by moving what is there to the front or by growing.
    pub fn make_room(&mut self, count: usize) {
        if self.block.is_empty() {
            let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
            self.block = spare.unwrap_or_else(|| vec![0; BLOCK_BYTES]);
        }
        if self.block.len() - self.end >= count {
            return;
        }
        if self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed = self.end + count;
        if needed > self.block.len() {
            // Never more than twice what has come: a length that a peer only claims costs nothing.
            let grown = needed.checked_next_power_of_two().unwrap_or(needed);
            self.block.resize(grown, 0);
        }
    }

    /// Reads once from `stream`. `Ready(Ok(0))` is the end of the stream.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(1);
        let mut free = ReadBuf::new(&mut self.block[self.end..]);
        let read = Pin::new(stream).poll_read(cx, &mut free)?;
        let count = free.filled().len();
        self.end += count;
        read.map(|()| Ok(count))
    }

    /// Writes once to `stream`, and removes what was written.
    pub fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(stream).poll_write(cx, self.bytes())?;
        written.map(|count| {
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.consume(count);
            Ok(count)
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.consume(self.len());
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buffer = Buffer::default();
        buffer.extend(b"abc");
        buffer.extend(b"def");
        buffer.consume(2);
        assert_eq!(buffer.bytes(), b"cdef");
        buffer.extend(&vec![b'x'; BLOCK_BYTES]);
        assert_eq!(buffer.len(), 4 + BLOCK_BYTES);
        assert!(buffer.bytes().starts_with(b"cdefxx"));
    }

    #[test]
    fn an_empty_buffer_gives_its_block_back() {
        let mut buffer = Buffer::default();
        buffer.extend(b"abc");
        buffer.release();
        assert!(!buffer.block.is_empty(), "a buffer with bytes in it keeps them");
        buffer.consume(3);
        buffer.release();
        assert!(buffer.block.is_empty());
    }
}
