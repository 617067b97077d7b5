// Plays a finished job: its outline, its captions as on video, its words as they are said.

const STEP_MS = 5000;

export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

// The last of some rows, sorted by row[at], that begins at or before a moment; -1: none.
function last(rows, at, ms) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle][at] <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

class Player {
  constructor(root) {
    this.root = root;
    this.audio = root.querySelector("audio");
    this.canvas = root.querySelector("canvas");
    this.screen = root.querySelector("[data-screen]");
    this.transcript = root.querySelector("[data-transcript]");
    this.output = root.querySelector("[data-clock]");
    this.button = root.querySelector("[data-play]");
    this.duration = Number(root.dataset.duration);
    this.line = this.word = this.cue = -1;
    this.until = null;
    this.load();
  }

  async load() {
    const reply = await fetch(this.root.dataset.player);
    if (!reply.ok) return this.fail();
    this.data = await reply.json();
    this.places = new Map(this.data.lines.map((line, at) => [line[0], at]));
    this.duration = this.data.duration_ms;
    this.writeTranscript();
    this.listen();
    this.draw();
    this.follow();
    this.root.dataset.ready = "yes";
    this.root.dispatchEvent(new Event("player-ready", { bubbles: true }));
  }

  fail() {
    const problem = document.createElement("p");
    problem.className = "problem";
    problem.setAttribute("role", "alert");
    problem.textContent = this.root.dataset.failed;
    this.root.replaceChildren(problem);
  }

  writeTranscript() {
    const items = this.data.lines.map(([id, speaker, colour, start, , words]) => {
      const item = document.createElement("li");
      item.className = `c${colour % 8}`;
      item.dataset.line = id;
      const who = document.createElement("button");
      who.type = "button";
      who.className = "who";
      who.textContent = speaker;
      const text = document.createElement("span");
      text.textContent = words.map(([word, , , space], at) => (space && at ? " " : "") + word).join("");
      item.append(who, text);
      item.addEventListener("click", (event) => {
        const word = event.target.closest(".word");
        this.seek(word ? Number(word.dataset.start) : start);
        if (!word) this.audio.play();
      });
      return item;
    });
    this.transcript.replaceChildren(...items);
  }

  // Words of a line get elements of their own only while it is spoken: a book has too many.
  spell(at) {
    const item = this.transcript.children[at];
    const text = item.lastElementChild;
    if (text.firstElementChild) return;
    const parts = [];
    this.data.lines[at][5].forEach(([word, start, , space], index) => {
      if (space && index) parts.push(" ");
      const part = document.createElement("span");
      part.className = "word";
      part.dataset.start = start;
      part.textContent = word;
      parts.push(part);
    });
    text.replaceChildren(...parts);
  }

  listen() {
    const { audio, canvas } = this;
    this.button.addEventListener("click", () => (audio.paused ? audio.play() : audio.pause()));
    audio.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
      this.showPlaying(true);
      this.run();
    });
    audio.addEventListener("pause", () => {
      this.showPlaying(false);
      this.follow();
    });
    // Where nothing is drawn, in a hidden tab, a line ends all the same.
    audio.addEventListener("timeupdate", () => this.until !== null && this.follow());
    audio.addEventListener("seeked", () => this.follow());
    audio.addEventListener("error", () => this.fail());
    this.root.querySelector("[data-rate]").addEventListener("change", (event) => {
      audio.playbackRate = Number(event.target.value);
    });
    const seekTo = (event) => {
      const box = canvas.getBoundingClientRect();
      this.seek(((event.clientX - box.left) / box.width) * this.duration);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      seekTo(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && seekTo(event));
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -STEP_MS, ArrowDown: -STEP_MS, ArrowRight: STEP_MS, ArrowUp: STEP_MS };
      if (event.key in moves) this.seek(audio.currentTime * 1000 + moves[event.key]);
      else if (event.key === "Home") this.seek(0);
      else if (event.key === "End") this.seek(this.duration);
      else if (event.key === " ") this.button.click();
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    const repaint = () => {
      if (!this.root.isConnected) return document.removeEventListener("theme-changed", repaint);
      this.colours = null;
      this.draw();
    };
    document.addEventListener("theme-changed", repaint);
  }

  showPlaying(playing) {
    for (const part of this.button.querySelectorAll("[data-when]")) {
      part.hidden = (part.dataset.when === "playing") !== playing;
    }
  }

  run() {
    cancelAnimationFrame(this.frame);
    this.follow();
    if (!this.audio.paused && this.root.isConnected) this.frame = requestAnimationFrame(() => this.run());
  }

  seek(ms) {
    this.until = null;
    this.audio.currentTime = Math.min(Math.max(0, ms), this.duration) / 1000;
    this.follow();
  }

  // Play one line by its id. False: it is not in this audio.
  playLine(id) {
    const line = this.data?.lines[this.places.get(id)];
    if (!line) return false;
    this.seek(line[3]);
    this.until = line[4];
    this.audio.play();
    return true;
  }

  // What was asked for of a line: [speaker, text, speed]; undefined: it is not in this audio.
  asked(id) {
    return this.data?.asked[this.places.get(id)];
  }

  follow() {
    const ms = this.audio.currentTime * 1000;
    if (this.until !== null && ms >= this.until) {
      this.until = null;
      this.audio.pause();
    }
    this.light(ms);
    const shown = `${clock(ms)} / ${clock(this.duration)}`;
    if (shown !== this.shown) {
      this.shown = shown;
      this.output.textContent = shown;
    }
    if (this.audio.paused) {
      // While it plays a screen reader has something better to listen to.
      this.canvas.setAttribute("aria-valuenow", Math.round(ms));
      this.canvas.setAttribute("aria-valuetext", clock(ms));
    }
    this.draw();
  }

  light(ms) {
    const { lines, cues } = this.data;
    let line = last(lines, 3, ms);
    if (line >= 0 && ms >= lines[line][4]) line = -1; // in the pause after it
    if (line !== this.line) {
      this.transcript.querySelector(".now")?.classList.remove("now");
      this.transcript.querySelector(".lit")?.classList.remove("lit");
      this.word = -1;
      this.line = line;
      if (line >= 0) {
        this.spell(line);
        const item = this.transcript.children[line];
        item.classList.add("now");
        const { offsetTop, offsetHeight } = item;
        const list = this.transcript;
        const top = offsetTop - list.offsetTop;
        if (top < list.scrollTop || top + offsetHeight > list.scrollTop + list.clientHeight) {
          list.scrollTop = Math.max(0, top - list.clientHeight / 3);
        }
      }
    }
    if (line >= 0) {
      const words = lines[line][5];
      let word = last(words, 1, ms);
      if (word >= 0 && ms >= words[word][2]) word = -1;
      if (word !== this.word) {
        const spelt = this.transcript.children[line].querySelectorAll(".word");
        spelt[this.word]?.classList.remove("lit");
        spelt[word]?.classList.add("lit");
        this.word = word;
      }
    }
    let cue = last(cues, 0, ms);
    if (cue >= 0 && ms >= cues[cue][1]) cue = -1;
    if (cue !== this.cue) {
      this.cue = cue;
      const shown = [];
      if (cue >= 0) {
        const text = document.createElement("span");
        const name = document.createElement("b");
        name.textContent = `${cues[cue][2]}: `;
        text.append(name, cues[cue][3].join("\n"));
        shown.push(text);
      }
      this.screen.replaceChildren(...shown);
    }
  }

  draw() {
    const { canvas, data } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!data || !width) return;
    const dots = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dots)) canvas.width = Math.round(width * dots);
    if (canvas.height !== Math.round(height * dots)) canvas.height = Math.round(height * dots);
    const pen = canvas.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    const peaks = data.outline;
    this.loudest ??= Math.max(1, ...peaks);
    this.colours ??= new Map();
    const played = (this.audio.currentTime * 1000 / this.duration) * width;
    const bar = 3;
    let line = 0;
    for (let x = 0; x < width; x += bar) {
      const ms = (x / width) * this.duration;
      while (line + 1 < data.lines.length && data.lines[line + 1][3] <= ms) line += 1;
      const first = Math.floor((x / width) * peaks.length);
      const end = Math.max(first + 1, Math.floor(((x + bar) / width) * peaks.length));
      let peak = 0;
      for (let at = first; at < end && at < peaks.length; at += 1) peak = Math.max(peak, peaks[at]);
      // Speech is near its loudest in each of its syllables: squared, they can be told apart.
      const tall = Math.max(2, (peak / this.loudest) ** 2 * (height - 8));
      pen.globalAlpha = x < played ? 1 : 0.4;
      pen.fillStyle = this.colourOf(data.lines[line]?.[2] ?? 0);
      pen.fillRect(x, (height - tall) / 2, bar - 1, tall);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = this.colourOf("text");
    pen.fillRect(Math.min(width - 2, played), 0, 2, height);
  }

  colourOf(speaker) {
    if (!this.colours.has(speaker)) {
      const sample = document.createElement("span");
      if (speaker !== "text") sample.className = `c${speaker % 8} voice-sample`;
      this.root.append(sample);
      this.colours.set(speaker, getComputedStyle(sample).color);
      sample.remove();
    }
    return this.colours.get(speaker);
  }
}

const players = new WeakMap();

export function playerIn(root) {
  const found = root.querySelector("[data-player]");
  return found && players.get(found);
}

function begin(root) {
  const found = root.matches?.("[data-player]") ? [root] : root.querySelectorAll("[data-player]");
  for (const one of found) if (!players.has(one)) players.set(one, new Player(one));
}

begin(document);
document.addEventListener("htmx:load", (event) => begin(event.detail.elt));
