// Keeps the page true: asks for the study again and again, and draws what changed.
import { at, onLook } from "./marks.js";
import { drawConstraints } from "./constraints.js";
import { drawPanels, openDetails } from "./panels.js";
import { drawParallel, onChoice } from "./parallel.js";
import { drawProgress } from "./progress.js";
import { connectTable, drawTable } from "./table.js";

const PAUSE = 2000; // milliseconds between two questions

let study = null;
let version = null;
let lights = [];

async function ask(url, headers = {}) {
  const answer = await fetch(url, { headers, cache: "no-store" });
  const content = answer.status === 304 ? null : await answer.json();
  if (content !== null && !answer.ok) throw new Error(content.error);
  return [content, answer.headers.get("ETag")];
}

const fetchJson = async (url) => (await ask(url))[0];
const open = (id) => attempt(() => openDetails(id, fetchJson));
const across = () => document.querySelector("input[name=across]:checked").value;

function draw() {
  if (study === null) return;
  at("across").hidden = !study.drawing.cost_told;
  drawPanels(study, open);
  lights = [drawProgress(study, across(), open), drawParallel(study, open, draw), drawConstraints(study, open)];
}

async function refresh() {
  const [content, seen] = await ask("study.json", version === null ? {} : { "If-None-Match": version });
  if (content !== null) {
    study = content;
    draw();
    await drawTable(fetchJson, open);
    version = seen; // only now: what could not be drawn to the end is asked for again
    document.body.dataset.drawn = version;
    at("pulse").classList.remove("beat");
    void at("pulse").offsetWidth; // starts the beat anew
    at("pulse").classList.add("beat");
  }
  at("seen-text").textContent = `live, last look ${new Date().toLocaleTimeString()}`;
}

// What goes wrong is said on the page, and passes when the next attempt succeeds.
async function attempt(work) {
  try {
    await work();
    at("trouble").hidden = true;
    at("pulse").classList.remove("off");
  } catch (error) {
    at("trouble").textContent = error instanceof TypeError
      ? "The server does not answer. Once `bayesopt serve` runs again, this page goes on by itself."
      : `The study cannot be read: ${error.message}`;
    at("trouble").hidden = false;
    at("pulse").classList.add("off");
    at("seen-text").textContent = "not live";
  }
}

async function watch() {
  if (!document.hidden) await attempt(refresh);
  setTimeout(watch, PAUSE);
}

onLook((id) => lights.forEach((light) => light(id)));
onChoice(draw);
connectTable(() => attempt(() => drawTable(fetchJson, open)));
document.querySelectorAll("input[name=across]").forEach((input) => input.addEventListener("change", draw));
document.addEventListener("visibilitychange", () => { if (!document.hidden) attempt(refresh); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let drawnWidth = window.innerWidth;
new ResizeObserver(() => {
  if (window.innerWidth !== drawnWidth) { drawnWidth = window.innerWidth; draw(); }
}).observe(document.body);
watch();
