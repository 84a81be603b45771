//! A text to its template in one pass into a reused buffer: literals become one byte each, white space and comments
//! one space, letters outside quotes lower case. A template is never longer than its text.
//!
//! A literal stays in the template where its value is part of the statement's meaning: everywhere in a statement
//! whose first keyword is not in [`is_templated`], and in the few places of the grammar that `Context` knows.

use crate::lexer::{LexError, LexRules, Lexer, Literal, LiteralKind, Token, TokenKind};

/// Parentheses nested deeper than this are not given to the parser.
pub const NESTING_MAX: u32 = 200;

/// What one pass over a text leaves behind. The buffers are reused from text to text.
#[derive(Default)]
pub(crate) struct Template {
    pub(crate) bytes: Vec<u8>,
    pub(crate) literals: Vec<Literal>,
    /// Deepest nesting of parentheses.
    pub(crate) nesting: u32,
    /// Whether a literal was kept verbatim.
    pub(crate) verbatim: bool,
    /// Whether the text has a comment.
    pub(crate) commented: bool,
}

/// Whether literals of a statement that starts with this keyword (lower case) are replaced.
fn is_templated(keyword: &[u8]) -> bool {
    matches!(
        keyword,
        b"select"
            | b"insert"
            | b"update"
            | b"delete"
            | b"merge"
            | b"values"
            | b"with"
            | b"table"
            | b"execute"
            | b"call"
    )
}

impl Template {
    /// Fills the buffers from `sql`.
    pub(crate) fn fill(&mut self, sql: &[u8], rules: LexRules) -> Result<(), LexError> {
        self.literals.clear();
        // Long enough at once: then nothing grows byte by byte.
        self.bytes.resize(sql.len(), 0);
        let mut lexer = Lexer::new(sql, rules);
        let mut pass = Pass {
            out: Out { bytes: &mut self.bytes, len: 0 },
            literals: &mut self.literals,
            verbatim: false,
            context: Context::default(),
        };
        while let Some(token) = lexer.next_token()? {
            pass.take(sql, token);
        }
        if pass.out.written().last() == Some(&b' ') {
            pass.out.len -= 1;
        }
        (self.nesting, self.verbatim) = (pass.context.shape.nesting, pass.verbatim);
        let length = pass.out.len;
        self.bytes.truncate(length);
        self.commented = lexer.commented;
        Ok(())
    }
}

/// The template as it is written: `bytes` is as long as the text, which no template exceeds.
struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn extend(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    /// A word, in lower case. Most are too short for a call of `memcpy` to be worth it.
    #[inline]
    fn word(&mut self, word: &[u8]) {
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(word) {
            *place = byte.to_ascii_lowercase();
        }
        self.len += word.len();
    }
}

/// One pass over a text.
struct Pass<'a> {
    out: Out<'a>,
    literals: &'a mut Vec<Literal>,
    verbatim: bool,
    context: Context,
}

impl Pass<'_> {
    #[inline]
    fn take(&mut self, sql: &[u8], token: Token) {
        let text = &sql[token.start..token.end];
        match token.kind {
            TokenKind::Space => {
                if self.out.len > 0 {
                    self.out.push(b' ');
                }
            }
            TokenKind::Word => {
                let from = self.out.len;
                self.out.word(text);
                self.context.word(&self.out.bytes[from..self.out.len], from);
            }
            TokenKind::Literal(kind) => self.literal(token, text, kind),
            TokenKind::Operator => {
                self.out.push(text[0]);
                self.context.other();
            }
            TokenKind::Punct => {
                self.out.push(text[0]);
                self.context.punct(text[0], self.out.written());
            }
            TokenKind::Quoted | TokenKind::Param => {
                self.out.extend(text);
                self.context.name(token.kind);
            }
        }
    }

    #[inline]
    fn literal(&mut self, token: Token, text: &[u8], kind: LiteralKind) {
        #[expect(clippy::cast_possible_truncation, reason = "texts are at most TEMPLATE_BYTES_MAX long")]
        self.literals.push(Literal { start: token.start as u32, end: token.end as u32, kind });
        if self.context.keeps(kind, self.out.written()) {
            self.verbatim = true;
            self.out.extend(text);
        } else {
            self.out.push(kind as u8);
        }
        self.context.other();
    }
}

/// Where one statement ends and the next begins, and whether its literals are replaced.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// No word of the statement seen yet.
    #[default]
    Start,
    Replace,
    Keep,
    /// `CREATE ...`: kept, and its body may hold semicolons.
    Create,
}

/// Statement boundaries, as `psql` finds them: a semicolon outside parentheses and outside the
/// `BEGIN ATOMIC ... END` of a routine.
#[derive(Default)]
pub(crate) struct Shape {
    mode: Mode,
    depth: u32,
    /// Deepest `depth` seen.
    pub(crate) nesting: u32,
    /// First letters of the words after `CREATE`, four at most.
    created: [u8; 4],
    words: usize,
    bodies: u32,
}

impl Shape {
    /// Whether the next word says something about the statement's shape.
    pub(crate) fn wants_words(&self) -> bool {
        matches!(self.mode, Mode::Start | Mode::Create)
    }

    /// A word, in lower case.
    #[inline]
    pub(crate) fn word(&mut self, word: &[u8]) {
        match self.mode {
            Mode::Replace | Mode::Keep => {}
            Mode::Start => {
                self.mode = match word {
                    b"create" => Mode::Create,
                    _ if is_templated(word) => Mode::Replace,
                    _ => Mode::Keep,
                };
            }
            Mode::Create => self.create(word),
        }
    }

    fn create(&mut self, word: &[u8]) {
        if let Some(slot) = self.created.get_mut(self.words) {
            *slot = word[0];
            self.words += 1;
        }
        let routine = matches!(self.created, [b'f' | b'p', ..] | [b'o', b'r', b'f' | b'p', _]);
        if !routine || self.depth > 0 {
            return;
        }
        match word {
            b"begin" => self.bodies += 1,
            b"case" if self.bodies > 0 => self.bodies += 1,
            b"end" => self.bodies = self.bodies.saturating_sub(1),
            _ => {}
        }
    }

    /// A byte of punctuation; true if it ends the statement.
    #[inline]
    pub(crate) fn punct(&mut self, byte: u8) -> bool {
        match byte {
            b'(' => {
                self.depth += 1;
                self.nesting = self.nesting.max(self.depth);
            }
            b')' => self.depth = self.depth.saturating_sub(1),
            b';' if self.depth == 0 && self.bodies == 0 => {
                (self.mode, self.words, self.created) = (Mode::Start, 0, [0; 4]);
                return true;
            }
            _ => {}
        }
        false
    }

    /// A token that is neither word nor punctuation.
    #[inline]
    pub(crate) fn other(&mut self) {
        if self.mode == Mode::Start {
            self.mode = Mode::Keep;
        }
    }
}

/// What the last tokens were, for the literals whose value the grammar itself looks at.
#[derive(Default)]
struct Context {
    shape: Shape,
    last: Last,
    /// In the arbiter list of `ON CONFLICT (...)`: its depth, whose operator class options are kept.
    conflict: Option<u32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    /// A word, by its place in the template.
    Word(usize, usize),
    /// A name in quotes.
    Name,
    Close,
    /// `(` after this word.
    OpenAfter(usize, usize),
    /// `[` after a name, `]` or `)`: an array bound or a subscript.
    Bound,
}

impl Context {
    #[inline]
    fn word(&mut self, word: &[u8], at: usize) {
        self.shape.word(word);
        self.last = Last::Word(at, at + word.len());
    }

    #[inline]
    fn name(&mut self, kind: TokenKind) {
        self.shape.other();
        self.last = if kind == TokenKind::Quoted { Last::Name } else { Last::Other };
    }

    #[inline]
    fn other(&mut self) {
        self.shape.other();
        self.last = Last::Other;
    }

    #[inline]
    fn punct(&mut self, byte: u8, template: &[u8]) {
        let ended = self.shape.punct(byte);
        self.last = match (byte, self.last) {
            (b'(', Last::Word(from, to)) => {
                if &template[from..to] == b"conflict" && self.conflict.is_none() {
                    self.conflict = Some(self.shape.depth);
                }
                Last::OpenAfter(from, to)
            }
            (b')', _) => {
                if self.conflict.is_some_and(|depth| self.shape.depth < depth) {
                    self.conflict = None;
                }
                Last::Close
            }
            (b']', _) => Last::Close,
            (b'[', Last::Word(..) | Last::Name | Last::Close) => Last::Bound,
            _ => Last::Other,
        };
        if ended {
            self.conflict = None;
        }
    }

    /// Whether a literal that stands here must stay as written.
    #[inline]
    fn keeps(&self, kind: LiteralKind, template: &[u8]) -> bool {
        if self.shape.mode != Mode::Replace || self.conflict.is_some() {
            return true;
        }
        match self.last {
            Last::Other | Last::Name | Last::Close => false,
            Last::Bound => kind == LiteralKind::Integer || kind == LiteralKind::Number,
            Last::Word(from, to) => &template[from..to] == b"uescape",
            Last::OpenAfter(from, to) => matches!(
                &template[from..to],
                b"float"
                    | b"current_time"
                    | b"current_timestamp"
                    | b"localtime"
                    | b"localtimestamp"
                    | b"current_setting"
            ),
        }
    }
}
