//! Pages that people read: one self-contained HTML document each, with SVG plots and tables.
//!
//! A page asks for nothing over the network, needs no script, follows the reader's light or dark colours, fits a phone and
//! prints. Whatever is shown is text until a piece of this crate makes it HTML, so that no file name can break a page.

mod bars;
mod columns;
mod heat;
mod html;
mod line;
mod pieces;
mod scatter;

pub use bars::{Bar, bars};
pub use columns::{Column, columns};
pub use heat::{HeatTable, heat_table};
pub use html::Html;
pub use line::{Line, lines};
pub use pieces::{
    Align, Figure, Tile, Tone, block, fold, gallery, paragraph, section, side_by_side, strip, table, tiles,
    verdict,
};
pub use scatter::{Axis, Point, Strand, parallel, scatter};

/// The look of every page (CSS), for those that are made elsewhere.
pub const STYLE: &str = include_str!("style.css");

/// A whole document. `subtitle` says what the page is about and when it was made; `footer` what made it.
pub fn page(title: &str, subtitle: &str, pieces: &[Html], footer: &str) -> String {
    let [title, subtitle, footer] = [title, subtitle, footer].map(Html::text);
    let body = Html::join(pieces);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<header>\n<h1>{title}</h1>\n<p>{subtitle}</p>\n</header>\n<main>\n{body}</main>\n\
         <footer>{footer}</footer>\n</body>\n</html>\n"
    )
}
