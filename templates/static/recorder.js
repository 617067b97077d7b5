// Records a voice in the browser, lossless: a WAV file in the form, as if it had been chosen.
import { clock } from "./player.js";

const form = document.querySelector(".recorder");
const button = document.getElementById("record");
const label = button.querySelector("span");
const clockNote = document.getElementById("clock");
const level = document.getElementById("level");
const advice = document.getElementById("advice");
const heard = document.getElementById("heard");
const file = document.getElementById("audio");
const upload = document.getElementById("upload");
const RATE = 24000; // Hz: all that the engines make use of, in half of the bytes
const LONGEST_S = 600;
const LOUD = 0.985;
const QUIET = 0.03;

let running = null;

// The recording at RATE, by the browser's own resampler.
async function whole(pieces, rate) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const offline = new OfflineAudioContext(1, Math.ceil((count * RATE) / rate), RATE);
  const recorded = offline.createBuffer(1, count, rate);
  let at = 0;
  for (const piece of pieces) {
    recorded.copyToChannel(piece, 0, at);
    at += piece.length;
  }
  const source = new AudioBufferSourceNode(offline, { buffer: recorded });
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}

function wav(samples) {
  const count = samples.length;
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((c, index) => view.setUint8(at + index, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const sample of samples) {
    view.setInt16(at, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
    at += 2;
  }
  return new Blob([view], { type: "audio/wav" });
}

let busy = false; // beginning, or making a file of what was recorded

async function start() {
  if (busy) return;
  busy = true;
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    await listen(stream);
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    const says = { NotFoundError: advice.dataset.none, NotAllowedError: advice.dataset.denied };
    advice.textContent = says[error.name] ?? advice.dataset.failed;
  } finally {
    busy = false;
  }
}

async function listen(stream) {
  // At the microphone's own rate: not every browser takes a stream of another.
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(form.dataset.worklet);
  } catch (error) {
    context.close();
    throw error;
  }
  const tap = new AudioWorkletNode(context, "tap");
  context.createMediaStreamSource(stream).connect(tap);
  const pieces = [];
  running = { stream, context, pieces };
  label.textContent = label.dataset.stop;
  heard.hidden = true;
  let seconds = 0;
  tap.port.onmessage = ({ data }) => {
    if (!running) return;
    pieces.push(data);
    seconds += data.length / context.sampleRate;
    const peak = data.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    // The eye follows decibels: -60 dB and full scale are the ends of the meter.
    level.value = Math.max(0, 100 + (100 / 60) * 20 * Math.log10(Math.max(peak, 1e-6)));
    clockNote.textContent = clock(seconds * 1000);
    advise(peak, seconds);
    if (seconds >= LONGEST_S) stop();
  };
}

let lastWords = 0;

function advise(peak, seconds) {
  const now = performance.now();
  if (peak < LOUD && now - lastWords < 1500) return;
  lastWords = now;
  const left = Math.ceil(Number(form.dataset.shortest) - seconds);
  if (peak >= LOUD) advice.textContent = advice.dataset.loud;
  else if (left <= 0) advice.textContent = advice.dataset.enough;
  else advice.textContent = peak < QUIET ? advice.dataset.quiet : advice.dataset.good;
}

async function stop() {
  const { stream, context, pieces } = running;
  running = null;
  for (const track of stream.getTracks()) track.stop();
  const rate = context.sampleRate;
  context.close();
  level.value = 0;
  label.textContent = label.dataset.again;
  const seconds = pieces.reduce((sum, piece) => sum + piece.length, 0) / rate;
  const left = Math.ceil(Number(form.dataset.shortest) - seconds);
  advice.textContent = left > 0 ? advice.dataset.short.replace("#", left) : "";
  if (!seconds) return;
  busy = true;
  try {
    keep(wav(await whole(pieces, rate)));
  } finally {
    busy = false;
  }
}

function keep(blob) {
  if (heard.src) URL.revokeObjectURL(heard.src);
  heard.src = URL.createObjectURL(blob);
  heard.hidden = false;
  const carried = new DataTransfer();
  carried.items.add(new File([blob], "recording.wav", { type: "audio/wav" }));
  file.files = carried.files;
  document.getElementById("whole").hidden = false;
}

button.addEventListener("click", () => (running ? stop() : start()));
document.getElementById("language").addEventListener("change", (event) => {
  const texts = [...document.querySelectorAll("[data-read]")];
  const own = texts.find((one) => one.dataset.read === event.target.value) ?? texts[0];
  for (const text of texts) text.hidden = text !== own;
});
document.getElementById("read-whole").addEventListener("change", (event) => {
  const read = document.querySelector("[data-read]:not([hidden])");
  document.getElementById("transcript").value = event.target.checked ? read.textContent : "";
});
form.addEventListener("htmx:xhr:progress", (event) => {
  upload.hidden = false;
  upload.value = (100 * event.detail.loaded) / event.detail.total;
});
form.addEventListener("htmx:afterRequest", (event) => {
  upload.hidden = true;
  sent = event.detail.successful;
});
let sent = false;
addEventListener("beforeunload", (event) => {
  if (running || (file.files.length && !sent)) event.preventDefault();
});
