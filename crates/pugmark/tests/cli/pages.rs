//! Pages in a real browser: nothing cut off, everything legible, nothing fetched, no rule of accessibility broken.
//! `PUGMARK_BROWSER` names a Chromium, which `.ci/run` looks for; without it these tests say that they were skipped. `PUGMARK_AXE`
//! names an `axe.min.js` (axe-core, MPL), which `.ci/run` fetches; without it that part is skipped, and said.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, ended};

/// A phone and a desktop, in CSS pixels.
const WIDTHS: [u32; 2] = [360, 1280];

pub(crate) fn browser(place: &Place) -> Option<Command> {
    let Some(program) = std::env::var_os("PUGMARK_BROWSER").filter(|program| !program.is_empty()) else {
        println!("skipped: PUGMARK_BROWSER names no Chromium");
        return None;
    };
    let mut command = Command::new(program);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", place.path("browser").display()));
    Some(command)
}

fn axe() -> Option<OsString> {
    std::env::var_os("PUGMARK_AXE").filter(|path| !path.is_empty())
}

/// The script that looks at a page, with what it needs.
pub(crate) fn looker() -> String {
    let axe = match axe() {
        // As text in a script, which such an end tag would end.
        Some(path) => Value::from(fs::read_to_string(path).unwrap()).to_string().replace("</", "<\\/"),
        None => {
            println!("skipped: PUGMARK_AXE names no axe.min.js to hold pages against WCAG");
            "null".to_owned()
        }
    };
    let audit = include_str!("axe.js").replace("const AXE = null;", &format!("const AXE = {axe};"));
    audit + include_str!("look.js")
}

/// What a reader would complain about; `scheme` is light or dark.
pub(crate) fn look(place: &Place, page: &str, width: u32, scheme: &str) -> Option<Value> {
    let text = fs::read_to_string(place.path(page)).unwrap();
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<!doctype html><iframe id=page style='width:{width}px;height:20000px;border:0;color-scheme:{scheme}' \
         srcdoc=\"{text}\"></iframe><pre id=said></pre><script>{}</script>",
        looker()
    );
    place.write("frame.html", frame);
    let mut browser = browser(place)?;
    browser.args(["--virtual-time-budget=10000", "--window-size=1400,1000", "--dump-dom"]);
    let said = ended(browser.arg(place.path("frame.html")));
    let (_, json) = said.stdout.split_once("<pre id=\"said\">").unwrap_or_else(|| panic!("{}", said.stderr));
    let json =
        json.split_once("</pre>").unwrap().0.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    Some(serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}")))
}

/// Colours in a picture of the page as wide as that.
fn colours(place: &Place, page: &str, width: u32) -> Option<usize> {
    let mut browser = browser(place)?;
    let shot = place.path("shot.png");
    browser.args([format!("--window-size={width},1600"), format!("--screenshot={}", shot.display())]);
    let said = ended(browser.arg(place.path(page)));
    let picture = image::open(&shot).unwrap_or_else(|error| panic!("{error}: {}", said.stderr)).into_rgb8();
    keep(&shot, page, width);
    let mut colours: Vec<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
    colours.sort_unstable();
    colours.dedup();
    Some(colours.len())
}

/// Pictures to look at, where `PUGMARK_SHOTS` names a folder for them.
pub(crate) fn keep(shot: &Path, page: &str, width: u32) {
    if let Some(folder) = std::env::var_os("PUGMARK_SHOTS") {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(shot, Path::new(&folder).join(format!("{}-{width}.png", page.replace(['/', '.'], "-"))))
            .unwrap();
    }
}

#[test]
fn pages_are_whole_and_legible() {
    let place = Place::new();
    if browser(&place).is_none() {
        return;
    }
    place.photos(10);
    let train =
        ["train", "photos", "--model", "simple_cnn", "--image-size", "32", "--epochs", "3", "--test", "0.2"];
    place.done(&[&train[..], &["--out", "one", "--profile"]].concat());
    place.done(&[&train[..], &["--out", "two", "--seed", "1"]].concat());
    place.done(&["report", "one", "two", "--out", "compare.html"]);
    place.write("photos/day/broken.png", "no photo");
    place.done(&["check", "photos", "--html", "check.html"]);
    place.done(&["check", "photos", "--preview", "one/config.toml", "--preview-out", "preview.html"]);
    place.done(&[&train[..], &["--out", "rates", "--find-learning-rate"]].concat());
    let tune =
        ["tune", "photos", "--model", "simple_cnn", "--image-size", "32", "--out", "study", "--trials", "8"];
    let search = [
        "--search",
        "lr=log(1e-6,1e-2)",
        "batch=4,8,16",
        "epochs=1..3",
        "optimiser=sgd,adamw",
        "flip=false,true",
    ];
    place.done(&[&tune[..], &search, &["--pruner", "median", "--test", "0.2", "--retrain-best"]].concat());
    let pages =
        ["compare.html", "check.html", "preview.html", "rates/learning-rate.html", "study/study.html"];
    for page in ["one/report.html"].iter().chain(&pages) {
        for width in WIDTHS {
            for scheme in ["light", "dark"] {
                let Some(said) = look(&place, page, width, scheme) else { return };
                assert_eq!(said["findings"], Value::Array(Vec::new()), "{page}, {width} px, {scheme}");
                assert!(said["texts"].as_u64() > Some(10), "{page}: {said}");
                let is_dark = said["ground"].as_f64() < Some(0.2);
                assert_eq!(is_dark, scheme == "dark", "{page}: {said}");
            }
            // A window is 500 px wide at least.
            assert!(colours(&place, page, width.max(500)) > Some(50), "{page} at {width} px is empty");
        }
    }
}

/// The test above would see what it is there for.
#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let place = Place::new();
    place.write(
        "bad.html",
        "<!doctype html><body style='background:#fff'><main><p style='width:900px'>wide</p>\
         <p style='color:#bbb'>pale</p><img src='https://example.org/a.png'><p style='color:#222'>good",
    );
    let Some(said) = look(&place, "bad.html", 360, "light") else { return };
    let findings = said["findings"].to_string();
    for part in ["the page is", "wide", "pale", "contrast", "fetches https://example.org/a.png"] {
        assert!(findings.contains(part), "{part}: {findings}");
    }
    assert!(!findings.contains("good"), "{findings}");
    if axe().is_some() {
        assert!(findings.contains("image-alt") && findings.contains("html-has-lang"), "{findings}");
    }
}
