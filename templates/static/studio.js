// The editor: lines by keyboard, saved as they are written, rendered and heard.
import { clock, playerIn } from "./player.js";

const studio = document.getElementById("studio");
const list = document.getElementById("lines");
const savedNote = document.getElementById("saved");
const conflict = document.getElementById("conflict");
const renderButton = document.getElementById("render");
const listen = document.getElementById("listen");
const single = document.getElementById("single"); // a line that was changed, by itself
const words = studio.dataset;
const mayWrite = Boolean(renderButton);
const SAVE_AFTER_MS = 600;
const AGAIN_AFTER_MS = 5000;
const LARGEST_KEPT_ALIVE = 60000; // bytes that browsers send for a page that is gone

const options = document.getElementById("speaker-options");
// By their ids: how fast each speaks where a line does not say.
const speakers = new Map([...options.content.querySelectorAll("option")].map((one) => [one.value, Number(one.dataset.speed)]));
const HEADERS = "data-hx-headers";
let token = JSON.parse(document.body.getAttribute(HEADERS))["X-CSRFToken"];

let version = Number(words.version);
let dirty = false;
let stopped = false; // the draft is another by now
let timer = null;
let saving = null;
let justRendered = false; // and not heard yet
let ready = Boolean(renderButton) && !renderButton.disabled; // by the last estimate
let asked = false; // a render, and not answered yet

const all = () => [...list.querySelectorAll(".line")];
const field = (line, name) => line.querySelector(`[data-field=${name}]`);
const textOf = (line) => line.querySelector("textarea");
const voiceOf = (line) => line.querySelector("select");

function newId() {
  const taken = new Set(all().map((line) => line.dataset.id));
  let number = taken.size + 1;
  while (taken.has(`l${number}`)) number += 1;
  return `l${number}`;
}

// All voices, once somebody wants to choose: a book's lines times a hundred voices are too many.
function offer(select) {
  if (select.dataset.offered) return;
  select.dataset.offered = "yes";
  const chosen = select.value;
  while (select.options.length > 1) select.remove(1);
  select.append(options.content.cloneNode(true));
  select.value = chosen;
}

function choose(line, speakerId) {
  const select = voiceOf(line);
  offer(select);
  select.value = speakerId;
}

function grow(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

function add(after, given = {}) {
  const line = document.getElementById("line-template").content.firstElementChild.cloneNode(true);
  line.dataset.id = newId();
  line.dataset.name = given.name ?? "";
  line.dataset.language = given.language ?? "";
  if (line.dataset.name) voiceOf(line).options[0].textContent = line.dataset.name;
  textOf(line).value = given.text ?? "";
  field(line, "speed").value = given.speed ?? "";
  field(line, "pause_after_ms").value = given.pause_after_ms ?? "";
  if (after) after.after(line);
  else list.append(line);
  if (given.speaker_id) choose(line, given.speaker_id);
  grow(textOf(line));
  return line;
}

// Who speaks after a line: whoever spoke before it, as people take turns.
function next(line) {
  const lines = all();
  const at = lines.indexOf(line);
  const own = voiceOf(line).value;
  for (let back = at - 1; back >= 0; back -= 1) {
    const other = voiceOf(lines[back]).value;
    if (other && other !== own) return other;
  }
  return own;
}

function colourLines() {
  const order = new Map();
  for (const line of all()) {
    const speaker = voiceOf(line).value;
    for (const name of [...line.classList]) if (/^c\d$/.test(name)) line.classList.remove(name);
    if (!speaker) continue;
    if (!order.has(speaker)) order.set(speaker, order.size % 8);
    line.classList.add(`c${order.get(speaker)}`);
  }
}

// What a copied job had of its format stays, as long as the format does.
function output() {
  const chosen = {
    format: document.getElementById("format").value,
    sample_rate: Number(document.getElementById("rate").value),
  };
  if (chosen.format === words.format && words.bitrate) chosen.bitrate_kbps = Number(words.bitrate);
  if (chosen.format === words.format && words.depth) chosen.bit_depth = Number(words.depth);
  return chosen;
}

function content() {
  return {
    version,
    title: document.getElementById("title").value,
    output: output(),
    lines: all().map((line) => ({
      id: line.dataset.id,
      speaker_id: voiceOf(line).value,
      name: line.dataset.name,
      text: textOf(line).value,
      language: line.dataset.language ?? "",
      speed: Number(field(line, "speed").value) || null,
      pause_after_ms: field(line, "pause_after_ms").value === "" ? null : Number(field(line, "pause_after_ms").value),
    })),
  };
}

function changed() {
  if (!mayWrite || stopped) return;
  dirty = true;
  savedNote.textContent = words.unsaved;
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_AFTER_MS);
  colourLines();
  askWhoIsWho();
  compare();
}

// One save at a time, each with what is there when it begins. Returns whether all is saved.
async function save() {
  clearTimeout(timer);
  while (saving) await saving;
  if (!dirty || stopped) return !stopped;
  saving = send();
  try {
    return await saving;
  } finally {
    saving = null;
  }
}

// Whether it is saved; never throws. What fails is tried again.
async function send() {
  dirty = false;
  savedNote.textContent = words.saving;
  let reply;
  let body;
  try {
    reply = await post(words.save, content());
    if (reply.type === "opaqueredirect" || reply.status === 401) return again(words.ended);
    if (!reply.headers.get("Content-Type")?.includes("json")) {
      if (reply.status !== 403) return again(words.offline);
      // Whoever logged in again in another window has another token.
      return again((await renewToken()) ? words.unsaved : words.ended);
    }
    body = await reply.json();
  } catch {
    return again(words.offline);
  }
  if (reply.ok) {
    version = body.version;
    showEstimate(body.estimate);
    if (!dirty) savedNote.textContent = words.saved;
    return true;
  }
  if (reply.status >= 500 || reply.status === 429) return again(body.detail);
  dirty = true;
  if (reply.status === 409) stopped = true;
  conflict.textContent = body.detail;
  conflict.hidden = false;
  savedNote.textContent = words.unsaved;
  return false;
}

function post(path, sent) {
  const body = JSON.stringify(sent);
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body,
    redirect: "manual",
    keepalive: body.length < LARGEST_KEPT_ALIVE,
  });
}

// The token of the session as it is now, from the page as it would be loaded. False: there is none.
async function renewToken() {
  const reply = await fetch(location.href, { redirect: "manual" });
  if (!reply.ok) return false;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const headers = page.body.getAttribute(HEADERS);
  if (!headers) return false;
  document.body.setAttribute(HEADERS, headers);
  token = JSON.parse(headers)["X-CSRFToken"];
  return true;
}

function again(why) {
  dirty = true;
  savedNote.textContent = why;
  clearTimeout(timer);
  timer = setTimeout(save, AGAIN_AFTER_MS);
  return false;
}

let asking = null;

// A voice that is still being prepared is ready within seconds, whether anybody types or not.
function askAgain(waits) {
  clearTimeout(asking);
  if (!waits || !mayWrite || stopped) return;
  asking = setTimeout(async () => {
    const reply = await fetch(words.estimate).catch(() => null);
    if (reply?.ok && !dirty && !saving) showEstimate(await reply.json());
    else askAgain(true);
  }, 1500);
}

function showEstimate(estimate) {
  askAgain(estimate.waits);
  conflict.hidden = true;
  const length = (ms) => (ms === null ? "–" : clock(ms + 500));
  document.getElementById("expected").textContent = length(estimate.expected_ms);
  document.getElementById("longest").textContent = length(estimate.longest_ms);
  document.getElementById("price").textContent = estimate.price ?? "–";
  document.getElementById("why").textContent = estimate.detail;
  ready = estimate.ready;
  refreshButton();
  for (const line of all()) {
    const trouble = line.querySelector(".trouble");
    const detail = textOf(line).value.trim() ? estimate.lines[line.dataset.id] : "";
    trouble.textContent = detail ?? "";
    trouble.hidden = !detail;
    voiceOf(line).setAttribute("aria-invalid", String(Boolean(detail)));
  }
}

// One render at a time: a second one would cost as much and say the same.
function isRendering() {
  return asked || ["queued", "processing"].includes(listen.querySelector("[data-job]")?.dataset.status);
}

function refreshButton() {
  if (renderButton) renderButton.disabled = !ready || isRendering();
}

// Names of an imported script that are no speakers: each gets a voice once, for all its lines.
function askWhoIsWho() {
  const box = document.getElementById("voices");
  if (!box) return;
  const names = [...new Set(all().filter((line) => line.dataset.name && !voiceOf(line).value).map((line) => line.dataset.name))];
  box.hidden = !names.length;
  const place = box.querySelector("[data-names]");
  if (place.dataset.shown === names.join("\n")) return;
  place.dataset.shown = names.join("\n");
  place.replaceChildren(
    ...names.map((name, index) => {
      const row = document.getElementById("name-template").content.firstElementChild.cloneNode(true);
      const select = row.querySelector("select");
      select.id = `who-${index}`;
      row.querySelector("label").htmlFor = select.id;
      row.querySelector("label").textContent = name;
      select.append(options.content.cloneNode(true));
      select.addEventListener("change", () => {
        for (const line of all()) if (line.dataset.name === name && !voiceOf(line).value) choose(line, select.value);
        changed();
      });
      return row;
    }),
  );
}

// Which lines are not as they were rendered.
function compare() {
  const note = document.getElementById("changed");
  const player = playerIn(listen);
  if (!note || !player?.data) return;
  const written = all().filter((line) => textOf(line).value.trim());
  const others = written.filter((line) => !asSpoken(line, player)).length;
  const gone = player.data.lines.length > written.length - others ? player.data.lines.length - (written.length - others) : 0;
  const count = Math.max(others, gone);
  note.hidden = !count;
  note.textContent = count === 1 ? words.changedOne : words.changedMany.replace("#", count);
}

// A text as it is spoken: without what cannot be seen, composed as keyboards of other systems do.
function spokenText(text) {
  return text.normalize("NFC").replace(/[\u200b-\u200f\u2060\ufeff]/g, "").trim();
}

function saying(line) {
  const speaker = voiceOf(line).value;
  const speed = Number(field(line, "speed").value) || (speakers.get(speaker) ?? 1);
  return [speaker, spokenText(textOf(line).value), speed];
}

const same = (one, other) => Boolean(one) && one.every((part, at) => part === other[at]);

function asSpoken(line, player) {
  return same(player?.asked(line.dataset.id), saying(line));
}

// Single lines that were heard: by their ids, what they said and where that is.
const heard = new Map();

async function hear(line) {
  const player = playerIn(listen);
  if (asSpoken(line, player) && player.playLine(line.dataset.id)) return;
  const before = heard.get(line.dataset.id);
  if (before && same(before.said, saying(line))) {
    single.replaceChildren(before.part);
    before.part.querySelector("audio").play();
    return;
  }
  if (!mayWrite || asked || single.querySelector("[data-status=queued], [data-status=processing]")) return;
  // What was heard before is not to be taken for this line.
  single.replaceChildren();
  single.dataset.line = line.dataset.id;
  await begin({ line: line.dataset.id }, "#single", () => (single.said = saying(line)));
}

async function renderAll() {
  if (isRendering() || !(await save()) || !ready || isRendering()) return;
  justRendered = true;
  await begin({}, "#listen");
  listen.scrollIntoView({ block: "nearest" });
}

// saved: called when what is to be spoken is what is kept.
async function begin(values, target, saved = () => {}) {
  asked = true;
  refreshButton();
  try {
    if (!(await save())) return;
    saved();
    if (target === "#listen") listen.hidden = false;
    await htmx.ajax("POST", words.render, { target, swap: "innerHTML", values });
  } finally {
    asked = false;
    refreshButton();
  }
}

function move(line, step) {
  const lines = all();
  const other = lines[lines.indexOf(line) + step];
  if (!other) return;
  if (step < 0) other.before(line);
  else other.after(line);
  changed();
}

function remove(line) {
  const lines = all();
  const at = lines.indexOf(line);
  line.remove();
  if (lines.length === 1) add(null);
  const near = textOf(all()[Math.max(0, at - 1)]);
  near.focus();
  near.setSelectionRange(near.value.length, near.value.length);
  changed();
}

async function paste(line, text) {
  let reply;
  let body;
  try {
    reply = await post(words.parse, { text });
    body = await reply.json();
  } catch {
    // No connection, or no session: nothing that somebody copied is lost.
    reply = null;
  }
  if (!reply?.ok) {
    textOf(line).setRangeText(text.replace(/\s*\n\s*/g, " ").slice(0, textOf(line).maxLength));
    grow(textOf(line));
    conflict.textContent = body?.detail ?? words.offline;
    conflict.hidden = false;
    changed();
    return;
  }
  let at = line;
  body.lines.forEach((given, index) => {
    if (!index && !textOf(line).value.trim()) {
      textOf(line).value = given.text;
      line.dataset.name = given.name;
      if (given.name) voiceOf(line).options[0].textContent = given.name;
      if (given.speaker_id || given.name) choose(line, given.speaker_id);
      field(line, "pause_after_ms").value = given.pause_after_ms ?? "";
    } else {
      at = add(at, given);
    }
  });
  textOf(at).focus();
  changed();
}

// The rest of a line, in one of its own: as fast, by the same, and with the pause that came after it.
function split(line, text) {
  const pause = field(line, "pause_after_ms");
  const made = add(line, {
    speaker_id: voiceOf(line).value,
    language: line.dataset.language,
    name: line.dataset.name,
    text,
    speed: field(line, "speed").value,
    pause_after_ms: pause.value,
  });
  pause.value = "";
  return made;
}

function act(line, what, button) {
  if (what === "hear") hear(line);
  else if (what === "up" || what === "down") {
    move(line, what === "up" ? -1 : 1);
    button.focus();
  }
  else if (what === "delete") remove(line);
  else if (what === "more") {
    const more = line.querySelector(".more");
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
    if (!more.hidden) field(line, "speed").focus();
  }
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) act(button.closest(".line"), button.dataset.do, button);
});
for (const kind of ["focusin", "pointerdown"]) {
  list.addEventListener(kind, (event) => event.target.matches(".line select") && offer(event.target));
}
studio.addEventListener("submit", (event) => event.preventDefault());

if (mayWrite) {
  studio.addEventListener("input", (event) => {
    if (event.target.matches("textarea")) grow(event.target);
    if (!event.target.closest("#listen, #voices")) changed();
  });
  studio.querySelector("[data-do=add]").addEventListener("click", () => {
    const last = all().at(-1);
    textOf(add(last, { speaker_id: last ? next(last) : "" })).focus();
    changed();
  });
  renderButton.addEventListener("click", renderAll);
  list.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!event.target.matches("textarea") || !text.trim().includes("\n")) return;
    event.preventDefault();
    paste(event.target.closest(".line"), text);
  });
  list.addEventListener("keydown", (event) => {
    // The Enter that ends a Korean syllable is no wish for a new line.
    if (event.isComposing || event.keyCode === 229) return;
    const line = event.target.closest(".line");
    if (event.altKey && event.target.matches("textarea") && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      move(line, event.key === "ArrowUp" ? -1 : 1);
      event.target.focus();
    } else if (event.altKey && /^Digit[1-9]$/.test(event.code)) {
      const chosen = [...speakers.keys()][Number(event.code.slice(5)) - 1];
      if (!chosen) return;
      choose(line, chosen);
      changed();
    } else if (!event.target.matches("textarea")) {
      return;
    } else if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
      const area = event.target;
      const rest = area.value.slice(area.selectionEnd);
      area.value = area.value.slice(0, area.selectionStart);
      grow(area);
      const made = rest.trim() ? split(line, rest.trimStart()) : add(line, { speaker_id: next(line) });
      textOf(made).focus();
      textOf(made).setSelectionRange(0, 0);
      changed();
    } else if (event.key === "Backspace" && !event.target.value && all().length > 1) {
      remove(line);
    } else if (event.key === "ArrowUp" && !event.target.selectionEnd) {
      const before = line.previousElementSibling;
      if (!before) return;
      textOf(before).focus();
    } else if (event.key === "ArrowDown" && event.target.selectionStart === event.target.value.length) {
      const after = line.nextElementSibling;
      if (!after) return;
      textOf(after).focus();
    } else {
      return;
    }
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      if (!event.repeat) renderAll();
    }
  });
  // Telephones close pages without asking.
  document.addEventListener("visibilitychange", () => document.hidden && dirty && save());
  addEventListener("beforeunload", (event) => {
    if (dirty || saving) event.preventDefault();
  });
}

// What comes of a job, line by line.
document.addEventListener("htmx:afterSettle", () => {
  refreshButton();
  const alone = single.querySelector("[data-status=succeeded]");
  if (alone && single.said) {
    heard.set(single.dataset.line, { said: single.said, part: alone });
    single.said = null;
  }
  const shown = listen.querySelector("[data-job]");
  if (!shown) return;
  const spoken = new Set(shown.dataset.spoken.split(","));
  const active = shown.dataset.status === "processing";
  for (const line of all()) {
    const done = spoken.has(line.dataset.id);
    line.classList.toggle("is-spoken", active && done);
    line.classList.toggle("is-speaking", active && !done && Boolean(textOf(line).value.trim()));
  }
});
listen.addEventListener("player-ready", () => {
  compare();
  if (!justRendered) return;
  justRendered = false;
  playerIn(listen).audio.play().catch(() => {}); // where a browser wants to be asked first
});

for (const area of list.querySelectorAll("textarea")) grow(area);
colourLines();
askWhoIsWho();
askAgain(words.waits === "yes");
