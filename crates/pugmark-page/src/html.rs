//! Text that is safe to stand in a page.

use std::fmt;

/// A piece of HTML. Only this crate makes one of anything but text.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Html(String);

impl Html {
    /// Text as it is, with what has a meaning in HTML escaped; also for the value of an attribute in double quotes.
    pub fn text(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                // Not allowed in a document, and in some file names.
                c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{FFFD}'),
                c => escaped.push(c),
            }
        }
        Self(escaped)
    }

    /// Pieces one after the other.
    pub fn join(pieces: &[Self]) -> Self {
        Self(pieces.iter().map(|piece| piece.0.as_str()).collect())
    }

    /// Markup that this crate wrote.
    pub(crate) fn markup(markup: String) -> Self {
        Self(markup)
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
