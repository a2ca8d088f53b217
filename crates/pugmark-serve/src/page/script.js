"use strict";
const find = (id) => document.getElementById(id);
const PHOTO = /\.(jpe?g|png|webp|bmp|tiff?|gif|p[bgpn]m)$/i;
// Requests under way: enough to fill the server's batches, and few enough to leave room for others.
const AT_ONCE = 6;
const rows = [];
let waiting = [];
let running = 0;
let told = 0;
let classes = [];

let token = "";
let unlocked;

// Asks the server; where it wants a token, the person is asked for it.
async function call(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = used ? { ...options.headers, authorization: `Bearer ${used}` } : options.headers;
    const reply = await fetch(path, { ...options, headers });
    if (reply.status !== 401) return reply;
    if (used === token) await unlock(used !== "");
  }
}

function unlock(wrong) {
  unlocked ??= new Promise((done) => {
    find("locked").hidden = false;
    find("wrong").textContent = wrong ? "The server does not know this token." : "";
    find("token").focus();
    find("key").onsubmit = (event) => {
      event.preventDefault();
      const given = find("token").value.trim();
      find("token").value = "";
      // No header can hold anything else.
      if (!/^[\x21-\x7e]+$/.test(given)) {
        find("wrong").textContent = "A token has letters, digits and signs of ASCII, and no spaces.";
        return;
      }
      token = given;
      find("locked").hidden = true;
      unlocked = undefined;
      done();
    };
  });
  return unlocked;
}

call("model").then((reply) => reply.json()).then(({ models, limits, pugmark }) => {
  if (models.length === 0) {
    find("model").textContent = "No model answers here: those that are loaded by request are asked at /models/NAME/invoke.";
    return;
  }
  const [{ architecture, epoch }] = models;
  classes = models[0].classes;
  find("model").textContent = `${architecture}, epoch ${epoch}, ${classes.length} classes: ${classes.slice(0, 12).join(", ")}`
    + (classes.length > 12 ? " and more" : "");
  find("foot").textContent = `pugmark ${pugmark}. A photo may have ${Math.floor(limits.photo_bytes / 2 ** 20)} MiB.`;
}).catch(() => { find("model").textContent = "The server does not answer."; });

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function element(name, attributes, text) {
  const svg = ["svg", "rect"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar({ class: name, probability }) {
  const row = element("div", { class: "bar plain" });
  const drawn = element("svg", { "aria-hidden": "true", width: "100%", height: "14" });
  drawn.append(
    element("rect", { class: "track", width: "100%", height: "14", rx: "3" }),
    element("rect", { class: "fill", width: `${(100 * probability).toFixed(2)}%`, height: "14", rx: "3" }),
  );
  row.append(element("span", { class: "name" }, name), drawn, element("span", { class: "count" }, percent(probability)));
  return row;
}

function add(files) {
  let left = 0;
  for (const file of files) {
    if (!file.type.startsWith("image/") && !PHOTO.test(file.name)) { left += 1; continue; }
    const item = find("answer").content.firstElementChild.cloneNode(true);
    const row = { file, item, id: file.path || file.webkitRelativePath || file.name, url: URL.createObjectURL(file) };
    item.querySelector("h3").textContent = row.id;
    const img = item.querySelector("img");
    img.src = row.url;
    img.alt = row.id;
    img.onerror = () => { img.alt = "This browser does not show such files."; };
    item.querySelector(".look").onclick = () => look(row);
    find("answers").append(item);
    rows.push(row);
    waiting.push(row);
  }
  find("work").hidden = rows.length === 0;
  if (left > 0) {
    find("where").textContent = `${left === 1 ? "1 file that is no photo was" : `${left} files that are no photos were`} left out.`;
  }
  say(true);
  while (running < AT_ONCE && waiting.length > 0) next();
}

async function next() {
  running += 1;
  for (let row; (row = waiting.shift());) {
    const answer = await ask("invocations", row.file);
    if (rows.includes(row)) show(row, answer);
  }
  running -= 1;
}

// The answer, or why there is none. A server that is busy is asked again.
async function ask(path, file) {
  for (let turn = 0; ; turn += 1) {
    try {
      const reply = await call(path, { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
      if (turn < 20 && (reply.status === 429 || reply.status === 503)) {
        const seconds = Number(reply.headers.get("retry-after")) || 1;
        await new Promise((done) => setTimeout(done, 1000 * seconds * (0.5 + Math.random())));
        continue;
      }
      return reply.headers.get("content-type") === "image/png" ? await reply.blob() : await reply.json();
    } catch {
      return { error: "The server does not answer." };
    }
  }
}

function show(row, answer) {
  row.answer = answer;
  const said = row.item.querySelector(".said");
  const line = said.querySelector(".class");
  if (answer.error) {
    said.classList.add("wrong");
    line.textContent = `No answer: ${answer.error}`;
  } else {
    const names = answer.class ? answer.top : best(answer);
    line.textContent = names[0].class + (answer.truncated ? " (the file is cut off)" : "");
    said.querySelector(".bars").append(...names.map(bar));
    said.querySelector(".look").hidden = false;
  }
  say(false);
}

// The most likely classes of an answer that has nothing but probabilities.
function best(answer) {
  const all = classes.map((name) => ({ class: name, probability: answer[`${name}_probability`] }));
  return all.sort((a, b) => b.probability - a.probability).slice(0, 5);
}

// The photo, or what the model sees of it with its heat map, in turn.
async function look(row) {
  const button = row.item.querySelector(".look");
  const img = row.item.querySelector("img");
  const on = button.getAttribute("aria-pressed") === "false";
  const caption = row.item.querySelector("figcaption");
  if (button.ariaBusy === "true") return;
  if (on && !row.heat) {
    // A disabled button would lose the focus.
    button.ariaBusy = "true";
    const heat = await ask("explain", row.file);
    button.ariaBusy = "false";
    if (heat.error) { caption.textContent = heat.error; return; }
    row.heat = URL.createObjectURL(heat);
  }
  button.setAttribute("aria-pressed", String(on));
  img.src = on ? row.heat : row.url;
  img.alt = on ? `${row.id}: what the model looks at` : row.id;
  caption.textContent = on ? "Bright is what speaks for the answer." : "";
}

function say(always) {
  const done = rows.filter((row) => row.answer).length;
  const failed = rows.filter((row) => row.answer?.error).length;
  find("bar").max = Math.max(rows.length, 1);
  find("bar").value = done;
  // A screen reader is told now and then, not for every photo.
  if (always || done === rows.length || Date.now() - told > 5000) {
    told = Date.now();
    find("status").textContent = `${done} of ${rows.length} photos answered`
      + (failed > 0 ? `, ${failed} without an answer` : "") + ".";
  }
}

function table() {
  const cell = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : `${value}`;
  const line = (cells) => `${cells.map((value) => cell(String(value ?? ""))).join(",")}\r\n`;
  const row = ({ id, answer = { error: "not answered yet" } }) => {
    if (answer.error) return [id, "", "", ...classes.map(() => ""), answer.error];
    const [first] = answer.class ? [answer] : best(answer);
    const all = classes.map((name) => answer.probabilities?.[name] ?? answer[`${name}_probability`]);
    return [id, first.class, first.probability, ...all, ""];
  };
  return line(["id", "class", "probability", ...classes, "error"]) + rows.map((one) => line(row(one))).join("");
}

find("save").onclick = () => {
  const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  element("a", { href: url, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};

find("clear").onclick = () => {
  for (const { url, heat } of rows) [url, heat].filter(Boolean).forEach((one) => URL.revokeObjectURL(one));
  rows.length = 0;
  waiting = [];
  find("answers").replaceChildren();
  find("work").hidden = true;
  find("photos").focus();
};

for (const id of ["photos", "folder"]) {
  find(id).onchange = ({ target }) => { add([...target.files]); target.value = ""; };
}

// All files below what was dropped.
async function below(entry) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    return [Object.assign(file, { path: entry.fullPath.replace(/^\//, "") })];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return found;
    for (const one of some) found.push(...await below(one));
  }
}

document.ondragover = (event) => { event.preventDefault(); find("drop").classList.add("over"); };
document.ondragleave = () => find("drop").classList.remove("over");
document.ondrop = async (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files];
  const found = await Promise.all(entries.map(below)).catch(() => [plain]);
  add(entries.length > 0 ? found.flat() : plain);
};
