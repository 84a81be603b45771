//! What a session's settings change about its texts.

/// What the session's settings change about reading a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRules {
    /// `standard_conforming_strings`: whether a backslash in `'...'` is an ordinary character.
    pub standard_conforming_strings: bool,
    /// What `client_encoding` means for bytes of 0x80 and above.
    pub encoding: ClientEncoding,
}

impl Default for LexRules {
    fn default() -> Self {
        Self { standard_conforming_strings: true, encoding: ClientEncoding::Utf8 }
    }
}

/// `client_encoding`, as far as the lexer must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientEncoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// Another encoding whose multi-byte characters hold no byte below 0x80 (LATIN1, EUC_JP, SQL_ASCII, ...).
    AsciiSuperset,
    /// A client-only encoding whose characters may end in an ASCII byte (SJIS, BIG5, GBK, UHC, GB18030, JOHAB,
    /// SHIFT_JIS_2004): texts with bytes of 0x80 and above are not understood.
    EmbeddedAscii,
}

impl ClientEncoding {
    /// From the value of `client_encoding`, in any of the spellings PostgreSQL takes.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        match plain.as_str() {
            "utf8" | "unicode" => Self::Utf8,
            "sjis" | "mskanji" | "shiftjis" | "win932" | "windows932" | "big5" | "win950" | "windows950"
            | "gbk" | "win936" | "windows936" | "uhc" | "win949" | "windows949" | "gb18030" | "johab"
            | "shiftjis2004" => Self::EmbeddedAscii,
            _ => Self::AsciiSuperset,
        }
    }
}
