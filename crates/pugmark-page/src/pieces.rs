//! Headings, tiles, tables, pictures.

use std::fmt::Write as _;

use crate::Html;

/// What a person should feel about something.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warning => "warning",
        }
    }
}

/// What a person must not miss, above everything else; the first sentence is the largest.
pub fn verdict(tone: Tone, sentences: &[String]) -> Html {
    let mut text = format!("<div class=\"verdict {}\">\n", tone.class());
    for (at, sentence) in sentences.iter().enumerate() {
        let class = if at == 0 { " class=\"first\"" } else { "" };
        let _ = writeln!(text, "<p{class}>{}</p>", Html::text(sentence));
    }
    Html::markup(text + "</div>\n")
}

/// A number in large type.
#[derive(Clone, Default, Debug)]
pub struct Tile {
    /// What it counts.
    pub label: String,
    /// The number.
    pub value: String,
    /// What else there is to say, in small type.
    pub note: String,
    /// How it looks.
    pub tone: Tone,
}

/// Numbers side by side.
pub fn tiles(tiles: &[Tile]) -> Html {
    let mut text = "<div class=\"tiles\">\n".to_owned();
    for Tile { label, value, note, tone } in tiles {
        let [label, value, note] = [label, value, note].map(|text| Html::text(text));
        let _ = writeln!(
            text,
            "<div class=\"tile {}\"><div class=\"label\">{label}</div><div class=\"value\">{value}</div>\
             <div class=\"note\">{note}</div></div>",
            tone.class()
        );
    }
    Html::markup(text + "</div>\n")
}

/// A heading and what belongs to it.
pub fn section(title: &str, content: &[Html]) -> Html {
    let (title, content) = (Html::text(title), Html::join(content));
    Html::markup(format!("<section>\n<h2>{title}</h2>\n{content}</section>\n"))
}

/// Sections or blocks beside each other where there is room.
pub fn side_by_side(sections: &[Html]) -> Html {
    Html::markup(format!("<div class=\"beside\">\n{}</div>\n", Html::join(sections)))
}

/// Pieces that stay together, as in [`side_by_side`].
pub fn block(content: &[Html]) -> Html {
    Html::markup(format!("<div>\n{}</div>\n", Html::join(content)))
}

/// A paragraph of text.
pub fn paragraph(text: &str) -> Html {
    Html::markup(format!("<p>{}</p>\n", Html::text(text)))
}

/// Something that is folded up until it is asked for.
pub fn fold(summary: &str, content: &[Html]) -> Html {
    let (summary, content) = (Html::text(summary), Html::join(content));
    Html::markup(format!("<details>\n<summary>{summary}</summary>\n{content}</details>\n"))
}

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What is moved sideways where the page is narrow, up to its `</div>`; by keyboard too.
pub(crate) const WIDE: &str = "<div class=\"wide\" tabindex=\"0\">";

/// A cell that names a column or the rows; one without a name is no heading.
pub(crate) fn heading(class: &str, name: &str) -> String {
    let tag = if name.is_empty() { "td" } else { "th" };
    format!("<{tag}{class}>{}</{tag}>", Html::text(name))
}

/// A table; rows that are shorter than the header end in empty cells. Columns that all have no name have no header.
pub fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> Html {
    let class = |align: Align| if align == Align::Right { " class=\"number\"" } else { "" };
    let mut text = format!("{WIDE}<table>\n");
    if header.iter().any(|(name, _)| !name.is_empty()) {
        let names: String = header.iter().map(|&(name, align)| heading(class(align), name)).collect();
        let _ = writeln!(text, "<thead><tr>{names}</tr></thead>");
    }
    text.push_str("<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for (at, &(_, align)) in header.iter().enumerate() {
            let cell = row.get(at).map_or("", String::as_str);
            let _ = write!(text, "<td{}>{}</td>", class(align), Html::text(cell));
        }
        text.push_str("</tr>\n");
    }
    Html::markup(text + "</tbody>\n</table></div>\n")
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The bytes of a JPEG.
    pub jpeg: Vec<u8>,
    /// What it shows.
    pub caption: String,
}

/// Small pictures side by side, all of one shape, cut where they have another; their bytes are part of the page.
pub fn gallery(figures: &[Figure]) -> Html {
    pictures("gallery", figures)
}

/// Whole pictures side by side, eight in a row where there is room; their bytes are part of the page.
pub fn strip(figures: &[Figure]) -> Html {
    pictures("strip", figures)
}

fn pictures(class: &str, figures: &[Figure]) -> Html {
    let mut text = format!("<div class=\"{class}\">\n");
    for Figure { jpeg, caption } in figures {
        let caption = Html::text(caption);
        let _ = writeln!(
            text,
            "<figure><img alt=\"{caption}\" src=\"data:image/jpeg;base64,{}\"><figcaption>{caption}</figcaption></figure>",
            base64(jpeg)
        );
    }
    Html::markup(text + "</div>\n")
}

/// Base64 (RFC 4648) with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_as_the_rfc_has_it() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, expected) in cases.into_iter().chain([("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]) {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xFB, 0xFF]), "+/8=");
    }
}
