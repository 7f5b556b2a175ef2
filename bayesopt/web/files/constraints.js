// Each constrained outcome against its bound, over the trials that ended.
import { at, el, legend, listen, mark, number, picture, scale, shape, ticks, write } from "./marks.js";

const LEFT = 60;
const RIGHT = 14;
const HEIGHT = 150;
const TOP = 10;
const BOTTOM = 24;

export function drawConstraints(study, open) {
  at("constraints-card").hidden = study.constraints.length === 0;
  const box = at("constraints");
  if (study.constraints.length === 0) return () => {};
  const width = Math.max(260, box.clientWidth || 0);
  const lights = [];
  box.replaceChildren(...study.constraints.map((constraint, k) => {
    const [svg, light] = drawOne(study, constraint, k, width, open);
    lights.push(light);
    return el("div", { class: "small" }, el("h3", {}, `${constraint.name} ${constraint.symbol} ${number(constraint.bound)}`), svg);
  }));
  const kinds = new Set(study.drawing.trials.kind);
  legend("constraints-legend", [
    [mark("feasible", 8, 8), "holds"], [mark("infeasible", 8, 8), "is broken"],
    ...(kinds.has("failed") ? [[mark("failed", 8, 8), "failed, not measured"]] : []),
    ...(kinds.has("unmeasured") ? [[mark("unmeasured", 8, 8), "told, not measured"]] : []),
  ]);
  return (id) => lights.forEach((light) => light(id));
}

function drawOne(study, constraint, k, width, open) {
  const { trials, n_ended: n } = study.drawing;
  const told = trials.constraints[k];
  const measured = told.filter((value) => value !== null);
  const [low, high] = bounds(measured, constraint.bound);
  const margin = 0.1 * (high - low) || Math.abs(high) * 0.1 || 1;
  const y = scale(low - margin, high + margin, HEIGHT - BOTTOM, TOP);
  const x = scale(0, Math.max(2, n * 1.03), LEFT, width - RIGHT);
  const holds = (value) => (constraint.symbol === "≤" ? value <= constraint.bound : value >= constraint.bound);
  const nHeld = measured.filter(holds).length;
  const svg = picture(width, HEIGHT,
    `${constraint.name} over trials, bound ${number(constraint.bound)}: ${nHeld} of ${measured.length} drawn values hold it.`);
  const steps = ticks(low - margin, high + margin, 3);
  const apart = steps.length > 1 ? steps[1] - steps[0] : 0;
  for (const value of steps) {
    svg.append(
      shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      write(LEFT - 7, y(value) + 4, number(value, apart), { "text-anchor": "end" }),
    );
  }
  const edge = y(constraint.bound);
  const above = constraint.symbol === "≤";
  svg.append(
    shape("rect", { class: "outside", x: LEFT, width: width - RIGHT - LEFT, y: above ? TOP : edge, height: Math.max(0, above ? edge - TOP : HEIGHT - BOTTOM - edge) }),
    shape("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: edge, y2: edge }),
  );
  for (const value of ticks(0, Math.max(2, n), 5).filter(Number.isInteger)) {
    svg.append(write(x(value), HEIGHT - 6, number(value), { "text-anchor": "middle" }));
  }
  const points = [];
  trials.id.forEach((id, i) => {
    if (trials.order[i] === null) return;
    const value = told[i];
    const kind = value === null ? (trials.kind[i] === "failed" ? "failed" : "unmeasured") : holds(value) ? "feasible" : "infeasible";
    const shown = value === null ? HEIGHT - BOTTOM - 6 : y(Math.min(high + margin, Math.max(low - margin, value)));
    const point = { id, x: x(trials.order[i]), y: shown };
    point.text = `trial ${id}, ${constraint.name} ${value === null ? "not measured" : number(value)}`;
    points.push(point);
    svg.append(mark(kind, point.x, point.y));
  });
  return [svg, listen(svg, points, open)];
}

// What is drawn to scale: the values without far outliers, and the bound.
function bounds(values, bound) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return [bound - (Math.abs(bound) || 1) * 0.1, bound + (Math.abs(bound) || 1) * 0.1];
  const quarter = sorted[Math.floor((sorted.length - 1) / 4)];
  const threeQuarters = sorted[Math.ceil((3 * (sorted.length - 1)) / 4)];
  const reach = threeQuarters > quarter ? 4 * (threeQuarters - quarter) : sorted[sorted.length - 1] - sorted[0];
  return [Math.min(bound, Math.max(sorted[0], quarter - reach)), Math.max(bound, Math.min(sorted[sorted.length - 1], threeQuarters + reach))];
}
