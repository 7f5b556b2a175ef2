// The trials as a table, a page at a time.
import { at, el, look, onLook } from "./marks.js";
import { pill, trialButton } from "./panels.js";

let page = 1;
let rows = new Map();

export function connectTable(refresh) {
  for (const id of ["order", "show"]) at(id).addEventListener("change", () => { page = 1; refresh(); });
  at("previous").addEventListener("click", () => { page -= 1; refresh(); });
  at("next").addEventListener("click", () => { page += 1; refresh(); });
  onLook((id) => rows.forEach((row, own) => row.classList.toggle("lit", own === id)));
}

export async function drawTable(fetchJson, open) {
  const content = await fetchJson(`trials.json?${new URLSearchParams({ page, order: at("order").value, show: at("show").value })}`);
  page = content.page;
  const focused = document.activeElement?.closest("#rows tr")?.dataset.trial;
  at("columns").replaceChildren(...["trial", "state", ...content.columns].map((name) => el("th", { scope: "col", title: name }, name)));
  rows = new Map();
  at("rows").replaceChildren(...content.rows.map((trial) => {
    const cells = trial.cells.map((text) => el("td", { title: text }, text));
    const row = el("tr", { "data-trial": trial.id },
      el("th", { scope: "row" }, trialButton(trial.id, open, String(trial.id))),
      el("td", {}, pill(trial.kind)), ...cells);
    row.addEventListener("pointerenter", () => look(trial.id));
    row.addEventListener("pointerleave", () => look(null));
    row.addEventListener("focusin", () => look(trial.id));
    row.addEventListener("focusout", () => look(null));
    rows.set(trial.id, row);
    return row;
  }));
  if (focused !== undefined) rows.get(Number(focused))?.querySelector("button").focus(); // an update takes nobody's place away
  const last = content.first + content.rows.length - 1;
  at("caption").textContent = content.total === 0 ? "No such trials" : `Trials ${content.first} to ${last} of ${content.total}`;
  at("page").textContent = `Page ${content.page} of ${content.pages}`;
  at("previous").disabled = content.page <= 1;
  at("next").disabled = content.page >= content.pages;
}
