//! The page of the endpoint by keyboard alone.

use std::fs;

use serde_json::{Value, json};

use crate::devtools::Tab;
use crate::harness::Place;
use crate::serve::{Process, place};

/// What has the focus, as a screen reader names it, and whether it can be seen that it has.
const FOCUSED: &str = "(() => {
    const at = document.activeElement;
    const shown = at.closest('.button') ?? at;
    const style = getComputedStyle(shown);
    const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    return [at.labels?.[0]?.textContent ?? at.textContent, seen];
})()";

/// Goes on by Tab until something of that name has the focus.
fn tab_to(tab: &mut Tab, name: &str) {
    let mut passed = Vec::new();
    while passed.len() < 20 {
        tab.press("Tab");
        let focused = tab.value(FOCUSED);
        let found = focused[0].as_str().unwrap_or_default().trim().to_owned();
        assert!(focused[1] == true || found.is_empty(), "nobody sees that `{found}` has the focus");
        if found == name {
            return;
        }
        passed.push(found);
    }
    panic!("no Tab leads to `{name}`, only to {passed:?}");
}

#[test]
fn photos_are_asked_about_without_a_mouse() {
    let browsers = Place::new();
    let Some(mut tab) = Tab::new(&browsers) else { return };
    let place = place();
    let mut command = place.command(&["serve", "run", "--port", "0"]);
    command.env("PUGMARK_TOKEN", "0123456789abcdefghij");
    let server = Process::new(command);
    place.write("broken.jpg", "no photo");
    tab.call("Page.navigate", json!({"url": format!("http://{}/", server.address)}));

    // The question for the token takes the focus itself.
    tab.wait("document.activeElement?.id === 'token'");
    tab.call("Input.insertText", json!({"text": "0123456789abcdefghij"}));
    tab.press("Enter");
    tab.wait("document.getElementById('model').textContent.includes('3 classes')");

    tab.call("Page.setInterceptFileChooserDialog", json!({"enabled": true}));
    tab_to(&mut tab, "Choose photos");
    tab.press("Enter");
    let node = tab.event("Page.fileChooserOpened")["backendNodeId"].clone();
    let files = [place.path("photos/night/00.png"), place.path("broken.jpg")];
    tab.call("DOM.setFileInputFiles", json!({"files": files, "backendNodeId": node}));
    tab.wait("document.getElementById('status').textContent.startsWith('2 of 2 photos answered, 1 without')");
    // The photos that were chosen do not take the focus away.
    assert_eq!(tab.value(FOCUSED)[0], "Choose photos");

    tab_to(&mut tab, "Download the table");
    let folder = browsers.path("downloads");
    let to = json!({"behavior": "allow", "downloadPath": folder, "eventsEnabled": true});
    tab.call("Browser.setDownloadBehavior", to);
    tab.press("Enter");
    loop {
        let progress = tab.event("Browser.downloadProgress");
        match progress["state"].as_str() {
            Some("completed") => break,
            Some("inProgress") => {}
            _ => panic!("no download: {progress}"),
        }
    }
    let csv = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    assert!(csv.starts_with("id,class,probability,day,dusk,night,error\r\n00.png,night,0."), "{csv}");

    tab_to(&mut tab, "Where it looks");
    tab.press(" ");
    tab.wait("document.activeElement.getAttribute('aria-pressed') === 'true'");
    assert_eq!(tab.value(FOCUSED)[0], "Where it looks");
    tab.press(" ");
    tab.wait("document.activeElement.getAttribute('aria-pressed') === 'false'");

    tab.value("document.getElementById('photos').focus()");
    tab_to(&mut tab, "Start again");
    tab.press("Enter");
    tab.wait("document.getElementById('work').hidden");
    assert_eq!(tab.value(FOCUSED), json!(["Choose photos", true]));
    assert_eq!(tab.value("document.querySelectorAll('#answers li').length"), Value::from(0));
}
