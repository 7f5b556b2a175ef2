// What every drawing is made of. All text goes in as text: nothing here, or elsewhere, turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Puts these in the place of what an element of the page holds; null stands for nothing.
export const put = (id, ...children) => document.getElementById(id).replaceChildren(...children.filter((child) => child !== null));

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const shape = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const at = (id) => document.getElementById(id);

// A picture with words for those who do not see it.
export function picture(width, height, words) {
  return shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
}

export const write = (x, y, text, attributes = {}) => shape("text", { x, y, ...attributes }, text);

// So many round numbers between two bounds that they can be read beside one another.
export function ticks(low, high, most = 5) {
  const rough = (high - low) / most;
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999) ?? 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step && found.length < 12; i += 1) found.push(i * step);
  return found;
}

// A number beside others that lie `step` apart.
export function number(value, step = 0) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace(/\.?0+e/, "e");
  const digits = step > 0 ? Math.min(10, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) : 4;
  return step > 0 ? value.toFixed(digits) : String(Number(value.toPrecision(5)));
}

export function scale(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

// The shapes differ as well as the colours: nobody has to tell colours apart.
export function mark(kind, x, y) {
  const place = { class: `mark ${kind}` };
  if (kind === "feasible") return shape("circle", { ...place, cx: x, cy: y, r: 4 });
  if (kind === "infeasible") return shape("path", { ...place, d: `M${x} ${y - 4.6}l4.6 4.6l-4.6 4.6l-4.6-4.6z` });
  if (kind === "unmeasured") return shape("rect", { ...place, x: x - 3.5, y: y - 3.5, width: 7, height: 7 });
  if (kind === "failed") return shape("path", { ...place, d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8` });
  return shape("circle", { ...place, cx: x, cy: y, r: 4, "stroke-dasharray": "2.5 2" });
}

// What the shapes and lines of a picture mean; null stands for words alone.
export function legend(id, entries) {
  const icon = (drawn) => shape("svg", { width: 16, height: 16, "aria-hidden": "true" }, drawn);
  put(id, ...entries.map(([drawn, text]) => el("li", {}, drawn === null ? null : icon(drawn), text)));
}

// One trial is looked at in every panel at once.
const watchers = [];
export const onLook = (watcher) => watchers.push(watcher);
export const look = (id) => watchers.forEach((watcher) => watcher(id));

// Words beside the pointer.
export function tip(event, text) {
  const box = at("tip");
  box.hidden = text === null;
  if (text === null) return;
  box.textContent = text;
  const x = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
  const y = event.clientY + 18 + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 10 : event.clientY + 18;
  box.style.transform = `translate(${Math.max(4, x)}px, ${y}px)`;
}

// The drawn point nearest the pointer, if one is near.
export function nearest(points, event, svg) {
  const box = svg.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null;
  let least = 18 ** 2;
  for (const point of points) {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) [found, least] = [point, distance];
  }
  return found;
}

// Makes a picture answer to the pointer: what is near is named and lit everywhere, a click opens it.
export function listen(svg, points, open) {
  const ring = shape("circle", { class: "ring", r: 7, visibility: "hidden" });
  svg.append(ring);
  svg.addEventListener("pointermove", (event) => {
    const point = nearest(points, event, svg);
    look(point === null ? null : point.id);
    tip(event, point === null ? null : point.text);
  });
  svg.addEventListener("pointerleave", (event) => { look(null); tip(event, null); });
  svg.addEventListener("click", (event) => { const point = nearest(points, event, svg); if (point !== null) open(point.id); });
  const byId = new Map(points.map((point) => [point.id, point]));
  return (id) => {
    const point = byId.get(id);
    ring.setAttribute("visibility", point === undefined ? "hidden" : "visible");
    if (point !== undefined) { ring.setAttribute("cx", point.x); ring.setAttribute("cy", point.y); }
  };
}
