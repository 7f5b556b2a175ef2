// What is said in words and single numbers.
import { at, el, number, put } from "./marks.js";

const SHOWN = 10; // outcomes and parameters of the best trial beside the other panels

export function trialButton(id, open, text = `trial ${id}`) {
  const button = el("button", { type: "button", class: "link" }, text);
  button.addEventListener("click", () => open(id));
  return button;
}

const list = (pairs) => el("dl", {}, ...pairs.flatMap(([name, ...values]) => [el("dt", {}, name), el("dd", {}, values.filter(Boolean).join(" "))]));
export const pill = (kind) => el("span", { class: `pill ${kind}` }, kind);

export function drawPanels(study, open) {
  document.title = `${study.name} – ${study.best === null ? "no best yet" : `${study.objective} ${study.best.value}`}`;
  at("name").textContent = study.name;
  at("goal").textContent = `${study.direction} ${study.objective}`
    + (study.constraints.length > 0 ? `, subject to ${study.constraints.map((c) => `${c.name} ${c.symbol} ${number(c.bound)}`).join(" and ")}` : "");
  const state = `${study.state.is_over ? "Over" : "Going on"}: ${study.state.text}`;
  if (at("state").textContent !== state) at("state").textContent = state; // a status is read out when it changes
  drawBest(study, open);
  drawProposal(study, open);
  drawBudget(study);
  drawVerdict(study);
  drawBeliefs(study);
  drawFailures(study, open);
}

function drawBest(study, open) {
  const { best } = study;
  if (best === null) {
    put("best", el("p", { class: "empty" }, study.drawing.n_ended === 0 ? "No trial has ended yet." : "Nothing feasible has been found yet."));
    return;
  }
  const others = best.values.filter(([name]) => name !== study.objective);
  const facts = [...others.map(([name, value, bound]) => [name, value, bound && `(${bound})`]), ...best.params];
  put("best",
    el("p", { class: "big" }, best.value),
    el("p", { class: "note" }, `${study.objective}, `, trialButton(best.id, open), best.note === null ? null : ` ${best.note}`),
    list(facts.slice(0, SHOWN)),
    facts.length > SHOWN ? el("p", { class: "note" }, trialButton(best.id, open, `and ${facts.length - SHOWN} more`)) : null,
  );
}

function drawProposal(study, open) {
  const { proposal } = study;
  put("proposal", ...(proposal === null
    ? [el("p", { class: "empty" }, "Nothing has been proposed yet.")]
    : [el("p", {}, trialButton(proposal.id, open), " ", pill(proposal.kind)), el("p", { class: "sentence" }, proposal.why)]));
}

function bar(parts, words) {
  const box = el("div", { class: "bar", role: "img", "aria-label": words });
  for (const [share, kind] of parts) {
    const part = el("i", { class: kind });
    part.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    box.append(part);
  }
  return box;
}

function drawBudget(study) {
  const { trials, cost, is_known: isKnown } = study.budget;
  const measures = [];
  const pending = trials.pending > 0 ? `, ${trials.pending} pending` : "";
  if (trials.limit !== null) {
    measures.push(measure(`${trials.left} of ${trials.limit}`, "trials left", `${trials.spent} ended${pending}`,
      [[trials.spent / trials.limit, ""], [trials.pending / trials.limit, "pending"]]));
  } else {
    measures.push(measure(String(trials.spent), "trials ended", `no limit${pending}`, null));
  }
  if (cost.limit !== null) {
    const held = cost.limit - (cost.spent ?? Infinity) - cost.left;
    const holds = held > 1e-9 * cost.limit ? `, ${number(held)} held for what is pending` : "";
    measures.push(measure(`${number(cost.left)} of ${number(cost.limit)}`, "cost left", `${cost.spent === null ? "∞" : number(cost.spent)} spent${holds}`,
      [[(cost.spent ?? cost.limit) / cost.limit, ""], [held / cost.limit, "pending"]]));
  } else if (cost.is_told) {
    measures.push(measure(cost.spent === null ? "∞" : number(cost.spent), "cost spent", "no limit", null));
  }
  if (!isKnown) measures.push(el("p", { class: "note" }, "If there is a limit, it is not known here: a storage does not keep it, the YAML file does."));
  put("budget", ...measures);
}

function measure(value, name, note, parts) {
  return el("div", { class: "measure" }, el("p", {}, el("strong", {}, value), ` ${name}`),
    parts === null ? null : bar(parts, `${value} ${name}`), el("p", { class: "note" }, note));
}

function drawVerdict(study) {
  const { status, evidence, is_current: isCurrent } = study.verdict;
  const counts = study.counts.map(([kind, n]) => `${n} ${kind}`).join(", ");
  at("verdict").className = "verdict";
  put("verdict",
    pill(status),
    el("p", { class: "sentence" }, `${evidence.charAt(0).toUpperCase()}${evidence.slice(1)}.`),
    el("p", { class: "note" }, counts === "" ? "No trials yet" : `Trials: ${counts}`),
    isCurrent ? null : el("p", { class: "note" }, "A model is judging the latest trials."),
  );
}

function drawBeliefs(study) {
  const { beliefs } = study;
  at("beliefs-card").hidden = beliefs === null;
  if (beliefs === null) return;
  const parts = beliefs.each.map((belief) => standing(belief, belief.text));
  if (beliefs.all !== null) parts.push(standing(beliefs.all, "All of them together."));
  const waits = beliefs.error ?? (beliefs.is_current ? null : "A model is judging the latest trials.");
  put("beliefs",
    ...parts,
    beliefs.n_told === null ? null : el("p", { class: "note" }, `After ${beliefs.n_told} told trials.`),
    waits === null ? null : el("p", { class: "note" }, waits),
  );
}

function standing(belief, text) {
  if (belief.probability === null) return el("div", { class: "belief" }, el("p", {}, text), el("p", { class: "note" }, "Not judged yet."));
  const percent = `${Math.round(100 * belief.probability)} %`;
  const factor = `${belief.log_bayes_factor > 0 ? "+" : ""}${belief.log_bayes_factor}`;
  return el("div", { class: "belief" }, el("p", {}, text),
    bar([[belief.probability, belief.is_at_odds ? "odd" : ""]], `right with probability ${percent}`),
    el("p", { class: "note" }, `Right with probability ${percent} (log Bayes factor ${factor})${belief.is_at_odds ? ": at odds with the data" : ""}`));
}

function drawFailures(study, open) {
  at("failures-card").hidden = study.failures.length === 0;
  put("failures", ...study.failures.map(({ id, reason }) => el("li", {}, trialButton(id, open), el("span", {}, reason))).reverse());
}

export async function openDetails(id, fetchJson) {
  const trial = await fetchJson(`trial.json?id=${id}`);
  at("details-title").textContent = `Trial ${trial.id}`;
  const when = (seconds) => new Date(1000 * seconds).toLocaleString();
  const facts = [
    ...(trial.cost === null ? [] : [["cost", trial.cost]]),
    ...(trial.asked_at === null ? [] : [["asked", when(trial.asked_at)]]),
    ...(trial.told_at === null ? [] : [["ended", when(trial.told_at)]]),
  ];
  put("details-body",
    el("p", {}, pill(trial.kind)),
    el("p", { class: "sentence" }, trial.why),
    ...(trial.values.length === 0 ? [] : [el("h3", {}, "Outcomes"), list(trial.values.map(([name, value, bound]) => [name, value, bound && `(${bound})`]))]),
    el("h3", {}, "Parameters"), list(trial.params),
    ...(facts.length === 0 ? [] : [el("h3", {}, "Facts"), list(facts)]),
    ...(trial.reason === null ? [] : [el("h3", {}, "What happened"), el("pre", { tabindex: "0" }, trial.reason)]),
  );
  at("details").showModal();
}
