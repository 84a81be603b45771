//! A message from a server, and how it is shown and compared.
use bytes::{Buf, Bytes};

/// One message: tag and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message's type byte.
    pub tag: u8,
    /// What follows the length word.
    pub body: Bytes,
}

/// Takes a NUL-terminated text off the front.
fn take_text(body: &mut &[u8]) -> String {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = String::from_utf8_lossy(&body[..end]).into_owned();
    *body = body.get(end + 1..).unwrap_or_default();
    text
}

impl Frame {
    /// The fields of an error or a notice: code and text.
    pub fn fields(&self) -> Vec<(char, String)> {
        let mut body = &self.body[..];
        let mut fields = Vec::new();
        while body.first().is_some_and(|code| *code != 0) {
            let code = char::from(body.get_u8());
            fields.push((code, take_text(&mut body)));
        }
        fields
    }

    /// One field of an error or a notice; empty when absent.
    pub fn field(&self, code: char) -> String {
        let found = self.fields().into_iter().find(|(key, _)| *key == code);
        found.map(|(_, text)| text).unwrap_or_default()
    }

    /// The SQLSTATE of an error or a notice.
    pub fn sqlstate(&self) -> String {
        self.field('C')
    }

    /// The columns of a `DataRow` as text.
    pub fn values(&self) -> Vec<Option<String>> {
        let mut body = &self.body[..];
        let count = body.get_u16();
        let mut values = Vec::new();
        for _ in 0..count {
            let length = body.get_i32();
            let value = usize::try_from(length).ok().map(|length| {
                let value = String::from_utf8_lossy(&body[..length]).into_owned();
                body.advance(length);
                value
            });
            values.push(value);
        }
        values
    }

    /// A body of one text.
    pub fn text(&self) -> String {
        take_text(&mut &self.body[..])
    }

    /// A body of two texts, as `ParameterStatus` has.
    pub fn two_texts(&self) -> (String, String) {
        let mut body = &self.body[..];
        (take_text(&mut body), take_text(&mut body))
    }

    /// A `RowDescription` with its table OIDs set to 0: they differ from database to database.
    fn without_table_oids(&self) -> Self {
        let mut body = self.body.to_vec();
        let mut at = 2;
        while at < body.len() {
            at += body[at..].iter().position(|byte| *byte == 0).map_or(body.len(), |end| end + 1);
            if at + 18 <= body.len() {
                body[at..at + 4].fill(0);
            }
            at += 18;
        }
        Self { tag: self.tag, body: body.into() }
    }

    fn rows(&self) -> String {
        let shown = self.values().into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned()));
        shown.collect::<Vec<_>>().join(" | ").chars().take(200).collect()
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tag = char::from(self.tag);
        match tag {
            'E' | 'N' => {
                let fields = self.fields();
                let shown: Vec<String> = fields.iter().map(|(code, text)| format!("{code}={text}")).collect();
                write!(f, "{tag} {}", shown.join(" "))
            }
            'D' => write!(f, "D {}", self.rows()),
            'C' => write!(f, "C {}", self.text()),
            'Z' => write!(f, "Z {}", String::from_utf8_lossy(&self.body)),
            'S' => write!(f, "S {} = {}", self.two_texts().0, self.two_texts().1),
            _ if self.body.is_empty() => write!(f, "{tag}"),
            _ => write!(f, "{tag} {:?}", self.body.slice(..self.body.len().min(120))),
        }
    }
}

/// Messages, one a line.
pub fn pretty(frames: &[Frame]) -> String {
    frames.iter().map(|frame| format!("    {frame}\n")).collect()
}

/// The tags of messages, in order, as one text.
pub fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

/// Messages without what may differ between two servers' connections: process ids, cancel keys, table OIDs.
pub fn normalise(frames: &[Frame]) -> Vec<Frame> {
    let mut out = Vec::new();
    for frame in frames {
        out.push(match frame.tag {
            b'K' => Frame { tag: b'K', body: Bytes::new() },
            b'A' => Frame { tag: b'A', body: frame.body.slice(4..) },
            b'T' => frame.without_table_oids(),
            _ => frame.clone(),
        });
    }
    out
}
