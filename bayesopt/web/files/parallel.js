// Every drawn trial as a line through all parameters; ranges on the axes choose among them.
import { at, el, legend, look, number, picture, scale, shape, tip, write } from "./marks.js";

const TOP = 34;
const BOTTOM = 48;
const HEIGHT = 350;
const INACTIVE = -0.1;
const AXIS_WIDTH = 92;
const MANY = 150; // lines that would hide one another if they were not fainter

const ranges = new Map(); // axis number -> [low, high], heights
let filter = "all";

export function onChoice(redraw) {
  at("lines").addEventListener("change", (event) => { filter = event.target.value; redraw(); });
  at("unbrush").addEventListener("click", () => { ranges.clear(); redraw(); });
}

export function drawParallel(study, open, redraw) {
  const box = at("parallel");
  const { axes, trials } = study.drawing;
  at("unbrush").disabled = ranges.size === 0;
  if (trials.id.length === 0) {
    box.replaceChildren(el("p", { class: "empty" }, "No trial yet."));
    legend("parallel-legend", []);
    return () => {};
  }
  const width = Math.max(box.clientWidth, axes.length * AXIS_WIDTH + 40);
  const x = axes.length > 1 ? scale(0, axes.length - 1, 66, width - 62) : () => width / 2;
  const y = scale(0, 1, HEIGHT - BOTTOM, TOP);
  const rank = ranking(study);
  const kept = keep(study, rank);
  const shown = order(study, rank).filter((i) => kept.has(i));
  const svg = picture(width, HEIGHT, `Parallel coordinates of ${shown.length} trials over ${axes.length} axes. The table below has the numbers.`);
  const colour = colours();
  const group = shape("g", { class: shown.length > MANY ? "lines many" : "lines" });
  const paths = new Map();
  for (const i of shown) {
    const heights = trials.heights[i].map((h) => (h === null ? INACTIVE : h));
    const d = axes.length > 1
      ? heights.map((h, a) => `${a === 0 ? "M" : "L"}${x(a).toFixed(1)} ${y(h).toFixed(1)}`).join("")
      : `M${width / 2 - 40} ${y(heights[0])}h80`;
    const kind = trials.kind[i];
    const path = shape("path", { d, class: rank.get(i) === 0 ? `${kind} first` : kind });
    if (kind === "feasible" && rank.get(i) !== 0) path.setAttribute("stroke", colour(rank.size > 1 ? 1 - rank.get(i) / (rank.size - 1) : 1));
    const text = `trial ${trials.id[i]}, ${trials.value[i] === null ? kind : `${study.objective} ${number(trials.value[i])}, ${kind}`}`;
    path.addEventListener("pointerenter", (event) => { look(trials.id[i]); tip(event, text); });
    path.addEventListener("pointerleave", (event) => { look(null); tip(event, null); });
    path.addEventListener("click", () => open(trials.id[i]));
    paths.set(trials.id[i], path);
    if (rank.get(i) === 0) group.append(shape("path", { d, class: "casing" })); // sets the best apart from the crowd
    group.append(path);
  }
  svg.append(group);
  axes.forEach((axis, a) => drawAxis(svg, axis, a, x(a), y, redraw));
  const scrolled = box.scrollLeft;
  box.replaceChildren(svg);
  box.scrollLeft = scrolled;
  const line = (cls, stroke) => shape("g", { class: "lines" }, shape("path", { d: "M0 8H16", class: cls, stroke }));
  const kinds = new Set(shown.map((i) => trials.kind[i]));
  legend("parallel-legend", [
    [line("first"), "best"], [line("feasible", colour(0.85)), "good"], [line("feasible", colour(0.1)), "worse"],
    ...[["infeasible", "infeasible or not measured"], ["failed", "failed"], ["pending", "pending"]]
      .filter(([kind]) => kinds.has(kind) || (kind === "infeasible" && kinds.has("unmeasured")))
      .map(([kind, text]) => [line(kind), text]),
    [null, `${shown.length} of ${study.drawing.n_candidates} trials`],
  ]);
  let lit = null;
  return (id) => {
    if (lit !== null) lit.classList.remove("lit");
    lit = paths.get(id) ?? null;
    if (lit !== null) { lit.classList.add("lit"); group.append(lit); }
  };
}

function drawAxis(svg, axis, a, x, y, redraw) {
  svg.append(shape("line", { class: "axis", x1: x, x2: x, y1: y(0), y2: y(1) }));
  const label = axis.label.length > 14 ? `${axis.label.slice(0, 8)}…${axis.label.slice(-5)}` : axis.label;
  svg.append(write(x, TOP - 16, label, { "text-anchor": "middle", class: "strong" }));
  for (const [height, text] of axis.ticks) {
    svg.append(
      shape("line", { class: "axis", x1: x - 4, x2: x, y1: y(height), y2: y(height) }),
      write(x - 7, y(height) + 4, text, { "text-anchor": "end", class: "halo" }),
    );
  }
  if (axis.conditional) svg.append(write(x, y(INACTIVE) + 4, "not there", { "text-anchor": "middle", class: "halo" }));
  const range = ranges.get(a);
  const band = shape("rect", { class: "kept", x: x - 8, width: 16, y: 0, height: 0, visibility: "hidden" });
  const place = ([low, high]) => {
    band.setAttribute("y", y(high));
    band.setAttribute("height", y(low) - y(high));
    band.setAttribute("visibility", "visible");
  };
  if (range !== undefined) place(range);
  const zone = shape("rect", { class: "axis-zone", x: x - 14, width: 28, y: TOP - 6, height: y(0) - TOP + 12 });
  zone.append(shape("title", {}, `${axis.label}: drag to keep a range`));
  const height = (event) => {
    const top = svg.getBoundingClientRect().top;
    return Math.min(1, Math.max(0, (y(0) - (event.clientY - top)) / (y(0) - y(1))));
  };
  let start = null;
  zone.addEventListener("pointerdown", (event) => { start = height(event); zone.setPointerCapture(event.pointerId); });
  zone.addEventListener("pointermove", (event) => { if (start !== null) place([Math.min(start, height(event)), Math.max(start, height(event))]); });
  zone.addEventListener("pointerup", (event) => {
    const end = height(event);
    if (start === null) return;
    if (Math.abs(end - start) < 0.015) ranges.delete(a); else ranges.set(a, [Math.min(start, end), Math.max(start, end)]);
    start = null;
    redraw();
  });
  svg.append(band, zone);
}

// Place of each drawn feasible trial among them, 0 for the best.
function ranking(study) {
  const { trials } = study.drawing;
  const sign = study.direction === "minimize" ? 1 : -1;
  const feasible = trials.id.map((_, i) => i).filter((i) => trials.kind[i] === "feasible");
  feasible.sort((a, b) => sign * (trials.value[a] - trials.value[b]) || a - b);
  return new Map(feasible.map((i, place) => [i, place]));
}

function keep(study, rank) {
  const { trials } = study.drawing;
  const latest = new Set([...trials.id].sort((a, b) => b - a).slice(0, 20));
  const passes = {
    all: () => true,
    feasible: (i) => rank.has(i),
    best: (i) => rank.has(i) && rank.get(i) < Math.max(1, rank.size / 10),
    latest: (i) => latest.has(trials.id[i]),
    pending: (i) => trials.kind[i] === "pending",
  }[filter];
  const inRanges = (i) => [...ranges].every(([a, [low, high]]) => {
    const h = trials.heights[i][a];
    return h !== null && h !== undefined && low <= h && h <= high;
  });
  return new Set(trials.id.map((_, i) => i).filter((i) => passes(i) && inRanges(i)));
}

// What matters is drawn last, on top.
function order(study, rank) {
  const depth = { failed: 0, infeasible: 1, unmeasured: 1, feasible: 2, pending: 3 };
  const kind = (i) => depth[study.drawing.trials.kind[i]];
  return study.drawing.trials.id.map((_, i) => i).sort((a, b) => kind(a) - kind(b) || (rank.get(b) ?? 0) - (rank.get(a) ?? 0));
}

// From pale to strong, in the colours of the page as it is now.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const stops = ["--worst", "--middle", "--strongest"].map((name) => {
    const hex = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16));
  });
  return (share) => {
    const [from, to, t] = share < 0.5 ? [stops[0], stops[1], 2 * share] : [stops[1], stops[2], 2 * share - 1];
    return `rgb(${from.map((channel, i) => Math.round(channel + (to[i] - channel) * t)).join(" ")})`;
  };
}
