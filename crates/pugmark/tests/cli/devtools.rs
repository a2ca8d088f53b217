//! A Chromium that is told what to do over its debugging pipe: keys are pressed in it as a keyboard's are.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Place;
use crate::pages::browser;

/// A tab of a browser.
pub(crate) struct Tab {
    browser: Child,
    to: File,
    from: Receiver<Value>,
    session: Option<String>,
    number: u64,
    events: Vec<Value>,
}

impl Tab {
    /// Starts the browser; none where there is none.
    pub(crate) fn new(place: &Place) -> Option<Self> {
        let browser = browser(place)?;
        let [into, out] = ["devtools-in", "devtools-out"].map(|name| place.path(name));
        assert!(Command::new("mkfifo").args([&into, &out]).status().unwrap().success());
        // The browser reads its orders from file 3 and writes answers to file 4.
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 3< \"$0\" 4> \"${0%in}out\""]).arg(&into);
        shell.arg(browser.get_program()).args(browser.get_args()).arg("--remote-debugging-pipe");
        let browser = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let to = OpenOptions::new().write(true).open(into).unwrap();
        let mut out = BufReader::new(File::open(out).unwrap());
        let (say, from) = channel();
        thread::spawn(move || {
            loop {
                let mut said = Vec::new();
                out.read_until(0, &mut said).unwrap();
                // Where the browser has ended there is none.
                let Some(said) = said.strip_suffix(b"\0") else { return };
                if say.send(serde_json::from_slice(said).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut tab = Self { browser, to, from, session: None, number: 0, events: Vec::new() };
        let target = tab.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        let session = tab.call("Target.attachToTarget", attached);
        tab.session = session["sessionId"].as_str().map(str::to_owned);
        tab.call("Page.enable", json!({}));
        Some(tab)
    }

    /// Gives an order and waits for its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut order = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.to.write_all(&[order.to_string().as_bytes(), b"\0"].concat()).unwrap();
        loop {
            let said = self.read();
            if said["id"] == self.number {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
            self.events.push(said);
        }
    }

    fn read(&mut self) -> Value {
        let said = self.from.recv_timeout(Duration::from_secs(60));
        said.unwrap_or_else(|error| {
            let last = &self.events[self.events.len().saturating_sub(5)..];
            panic!("the browser says nothing more: {error}; the last it told of: {last:?}")
        })
    }

    /// What the browser told of by itself, the first of that name.
    pub(crate) fn event(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(|event| event["method"] == method) {
                return self.events.remove(at)["params"].clone();
            }
            let said = self.read();
            self.events.push(said);
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let said = self.call("Runtime.evaluate", asked);
        assert!(said["exceptionDetails"].is_null(), "{expression}: {said}");
        said["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        for _ in 0..600 {
            if self.value(expression) == true {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("waited in vain for {expression}: {}", self.value("document.body.innerText"));
    }

    /// Presses a key and lets go of it.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            _ => panic!("no key {key}"),
        };
        let event = |kind: &str| json!({"type": kind, "key": key, "code": if key == " " { "Space" } else { key }, "windowsVirtualKeyCode": code});
        let mut down = event(if text.is_empty() { "rawKeyDown" } else { "keyDown" });
        down["text"] = text.into();
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
