//! Pages hold what they are given, escaped, and nothing that leads elsewhere.

use pugmark_page::{
    Align, Axis, Bar, Column, Figure, HeatTable, Html, Line, Point, Strand, Tile, Tone, bars, block, columns,
    fold, gallery, heat_table, lines, page, paragraph, parallel, scatter, section, side_by_side, strip,
    table, tiles, verdict,
};

const HOSTILE: &str = "<script>alert(\"1\")</script> & 'x'\u{7}";

/// A page with every piece, each with a text that would break it were it not escaped.
fn everything() -> String {
    let text = HOSTILE.to_owned();
    let bar = Bar { label: text.clone(), value: 3.0, text: text.clone(), tone: Tone::Warning };
    let column = Column { label: text.clone(), parts: vec![3.0, 4.0] };
    let heat = HeatTable {
        corner: text.clone(),
        columns: vec![text.clone()],
        rows: vec![(text.clone(), vec![(0.7, text.clone()), (f64::NAN, text.clone())])],
    };
    let curve = Line { name: HOSTILE, points: &[(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.25)] };
    let axis = Axis { name: text.clone(), ticks: vec![(0.0, text.clone()), (1.0, text.clone())] };
    let point = Point { x: 0.5, y: f64::NAN, heat: f64::NAN, best: false, hollow: true };
    let strand = Strand { values: vec![Some(0.5), Some(1.0)], heat: f64::NAN, best: true };
    let pieces = [
        section(
            "d",
            &[
                scatter(HOSTILE, [&axis, &axis], &[point], &[(0.0, 1.0)]),
                parallel(HOSTILE, &[axis.clone(), axis.clone()], &[strand]),
            ],
        ),
        verdict(Tone::Warning, &[text.clone(), text.clone()]),
        tiles(&[Tile { label: text.clone(), value: text.clone(), note: text.clone(), tone: Tone::Good }]),
        section(HOSTILE, &[paragraph(HOSTILE), bars(&[bar], None, Some(1.5))]),
        side_by_side(&[
            section("a", &[columns(HOSTILE, &[HOSTILE, "night"], &[column])]),
            section("b", &[lines(HOSTILE, &[curve.clone(), curve])]),
        ]),
        section(
            "c",
            &[
                heat_table(&heat),
                table(&[(HOSTILE, Align::Right), ("b", Align::Left)], &[vec![text.clone()]]),
            ],
        ),
        fold(
            HOSTILE,
            &[
                block(&[paragraph(HOSTILE)]),
                gallery(&[Figure { jpeg: vec![0xFF, 0xD8, 0xFF], caption: text.clone() }]),
                strip(&[Figure { jpeg: vec![0xFF, 0xD8, 0xFF], caption: text }]),
            ],
        ),
    ];
    page(HOSTILE, HOSTILE, &pieces, HOSTILE)
}

#[test]
fn whatever_is_shown_is_escaped() {
    let page = everything();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;\u{FFFD}"));
    assert_eq!(page.matches("&lt;script&gt;").count(), page.matches("&lt;/script&gt;").count());
}

#[test]
fn nothing_leads_out_of_the_page() {
    let page = everything();
    for word in ["http", "//", "url(", "@import", "<link", "<script", "href", "srcset"] {
        // Base64 may hold two slashes; the one here does not.
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("src=\"data:image/jpeg;base64,/9j/\""));
}

/// Elements without an end tag.
const VOID: [&str; 2] = ["meta", "img"];

#[test]
fn every_element_is_closed_in_order() {
    let page = everything();
    let mut open: Vec<&str> = Vec::new();
    let mut elements = 0;
    for piece in page.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        if tag.starts_with('!') {
            continue;
        }
        elements += 1;
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty() && elements > 80, "{elements} elements, {open:?} open");
}

#[test]
fn bars_are_as_long_as_their_values() {
    let bar = |value: f64| Bar { label: "x".to_owned(), value, text: format!("{value}"), tone: Tone::Plain };
    let html = bars(&[bar(4.0), bar(1.0), bar(0.0)], None, Some(2.0)).to_string();
    for part in ["width=\"100.00%\"", "width=\"25.00%\"", "width=\"0.00%\"", "x1=\"50.00%\""] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let all_zero = bars(&[bar(0.0)], None, None).to_string();
    assert!(all_zero.contains("width=\"0.00%\"") && !all_zero.contains("NaN"));
}

#[test]
fn points_and_strands_stand_where_their_values_are() {
    let axis = Axis { name: "x".to_owned(), ticks: vec![(0.5, "half".to_owned())] };
    let point = |x, y| Point { x, y, heat: 1.0, best: x > 0.9, hollow: x < 0.1 };
    let html =
        scatter("s", [&axis, &axis], &[point(0.0, 0.0), point(1.0, 1.0), point(7.0, 0.5)], &[]).to_string();
    // From 86 to 620 across, from 210 up to 18.
    for part in [
        "dot hollow\" style=\"--heat:1.000\" cx=\"86.0\" cy=\"210.0\"",
        "dot best\" style=\"--heat:1.000\" cx=\"620.0\" cy=\"18.0\"",
        "cx=\"620.0\" cy=\"114.0\"",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let strand = |values: [Option<f64>; 4]| Strand { values: values.into(), heat: 0.5, best: false };
    let axes = [axis.clone(), axis.clone(), axis.clone(), axis];
    let whole = parallel("p", &axes, &[strand([Some(0.0), Some(1.0), Some(0.0), Some(1.0)])]).to_string();
    assert!(whole.contains("points=\"66.0,240.0 196.0,34.0 326.0,240.0 456.0,34.0\""), "{whole}");
    // A gap leaves two pieces, and of a single point no line.
    let gap = parallel("p", &axes, &[strand([Some(0.0), None, Some(0.0), Some(1.0)])]).to_string();
    assert_eq!(gap.matches("<polyline").count(), 1);
    assert!(gap.contains("points=\"326.0,240.0 456.0,34.0\""), "{gap}");
}

#[test]
fn columns_stand_on_each_other() {
    let column = Column { label: "6".to_owned(), parts: vec![50.0, 50.0] };
    let html = columns("by hour", &["day", "night"], &[column]).to_string();
    // From 200 (the ground) to 105 and on to 10 (the top of a scale that ends at 100).
    assert!(html.contains("y=\"105.0\" width=\"476.8\" height=\"95.0\""), "{html}");
    assert!(html.contains("y=\"10.0\" width=\"476.8\" height=\"95.0\""), "{html}");
    assert!(!columns("none", &["a"], &[]).to_string().contains("NaN"));
    assert!(!lines("none", &[]).to_string().contains("NaN"));
}

#[test]
fn text_stays_text() {
    assert_eq!(Html::text("a < b").to_string(), "a &lt; b");
    assert_eq!(Html::join(&[Html::text("a"), Html::text("&")]).to_string(), "a&amp;");
}
