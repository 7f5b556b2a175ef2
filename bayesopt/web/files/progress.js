// How the best feasible objective moved, over trials or over cost.
import { at, el, legend, listen, mark, number, picture, scale, shape, ticks, write } from "./marks.js";

const LEFT = 66;
const RIGHT = 18;
const TOP = 14;
const BOTTOM = 40;

export function drawProgress(study, across, open) {
  const { drawing, budget } = study;
  const box = at("progress");
  if (drawing.n_ended === 0) {
    box.replaceChildren(el("p", { class: "empty" }, "No trial has ended yet."));
    legend("progress-legend", []);
    return () => {};
  }
  const width = Math.max(280, box.clientWidth);
  const height = Math.round(Math.min(320, Math.max(220, width * 0.34)));
  const { trials, best } = drawing;
  const [low, high] = drawing.range ?? [0, 1];
  const margin = 0.07 * (high - low) || 0.05 * Math.abs(high) || 1;
  const minimizes = study.direction === "minimize";
  const y = scale(low - margin, high + margin, height - BOTTOM, TOP);
  const limit = across === "order" ? budget.trials.limit : budget.cost.limit;
  const last = across === "order" ? drawing.n_ended : drawing.spent;
  const right = Math.max(last, limit ?? 0) * 1.03 || 1;
  const x = scale(0, right, LEFT, width - RIGHT);
  const svg = picture(width, height, words(study));

  const steps = ticks(low - margin, high + margin, 5);
  const apart = steps.length > 1 ? steps[1] - steps[0] : 0;
  for (const value of steps) {
    svg.append(
      shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      write(LEFT - 8, y(value) + 4, number(value, apart), { "text-anchor": "end" }),
    );
  }
  const along = ticks(0, right, Math.max(3, Math.floor(width / 110)));
  const gap = along.length > 1 ? along[1] - along[0] : 0;
  for (const value of along.filter((v) => across === "spent" || Number.isInteger(v))) {
    svg.append(write(x(value), height - BOTTOM + 17, number(value, gap), { "text-anchor": "middle" }));
  }
  svg.append(
    shape("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }),
    write((LEFT + width - RIGHT) / 2, height - 5, across === "order" ? "trials that ended" : "cost spent", { "text-anchor": "middle" }),
  );
  if (limit !== null && x(limit) <= width - RIGHT) {
    svg.append(
      shape("rect", { class: "spent-out", x: x(limit), y: TOP, width: width - RIGHT - x(limit), height: height - BOTTOM - TOP }),
      shape("line", { class: "limit", x1: x(limit), x2: x(limit), y1: TOP, y2: height - BOTTOM }),
      write(x(limit) - 6, TOP + 10, `budget ${number(limit)}`, { "text-anchor": "end", class: "halo" }),
    );
  }

  const points = [];
  for (let i = 0; i < trials.id.length; i += 1) {
    if (trials[across][i] === null) continue;
    const kind = trials.kind[i];
    const value = trials.value[i];
    const shown = value === null ? (minimizes ? high + margin : low - margin) : Math.min(high + margin, Math.max(low - margin, value));
    const point = { id: trials.id[i], x: x(trials[across][i]), y: y(shown) + (value === null ? (minimizes ? 6 : -6) : 0) };
    point.text = `trial ${point.id}, ${value === null ? kind : `${study.objective} ${number(value)}, ${kind}`}`;
    points.push(point);
    svg.append(mark(kind, point.x, point.y));
  }
  if (best.value.length > 0) {
    const places = best[across].map((place, i) => [x(place), y(Math.min(high + margin, Math.max(low - margin, best.value[i])))]);
    const path = places.map(([px, py], i) => (i === 0 ? `M${px} ${py}` : `H${px}V${py}`)).join("") + `H${x(last)}`;
    const [bx, by] = places[places.length - 1];
    svg.append(shape("path", { class: "best-line", d: path }), shape("circle", { class: "best-mark", cx: bx, cy: by, r: 6.5 }));
  }
  box.replaceChildren(svg);
  const names = { feasible: "feasible", infeasible: "infeasible", unmeasured: "a constraint not measured", failed: "failed" };
  const kinds = Object.keys(names).filter((kind) => trials.kind.includes(kind));
  const part = `${trials.id.length} of ${drawing.n_candidates} trials are drawn: the best, the latest, and a spread of the others`;
  legend("progress-legend", [
    ...kinds.map((kind) => [mark(kind, 8, 8), names[kind]]),
    [shape("line", { class: "best-line", x1: 0, x2: 16, y1: 8, y2: 8 }), "best so far"],
    ...(trials.id.length < drawing.n_candidates ? [[null, part]] : []),
  ]);
  return listen(svg, points, open);
}

function words(study) {
  const { best, n_ended: n } = study.drawing;
  const trials = `${n} trial${n === 1 ? "" : "s"} ended`;
  if (best.value.length === 0) return `${study.objective} over trials. ${trials}, none of them feasible.`;
  const [first, latest] = [best.value[0], best.value[best.value.length - 1]];
  return `Best ${study.objective} so far. ${trials}; it went from ${number(first)} to ${number(latest)}.`;
}
