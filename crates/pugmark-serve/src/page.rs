//! The page for people: one document that asks this server and nobody else.

use std::sync::LazyLock;

/// The document, in the look of all pages.
pub(crate) static PAGE: LazyLock<String> = LazyLock::new(|| {
    let [style, own, body, script] = [
        pugmark_page::STYLE,
        include_str!("page/style.css"),
        include_str!("page/body.html"),
        include_str!("page/script.js"),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>pugmark: what is in the photo?</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{style}{own}</style>\n</head>\n<body>\n{body}<script>\n{script}</script>\n\
         </body>\n</html>\n"
    )
});
