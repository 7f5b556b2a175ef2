// What anybody needs to use the page by eye, by ear and by keyboard; returns sentences, one a fault.
(() => {
  const faults = [];
  const seen = (node) => node.checkVisibility?.({ visibilityProperty: true, opacityProperty: true }) ?? true;
  const hidden = (node) => node.closest("[aria-hidden=true]") !== null;
  const all = (selector) => [...document.querySelectorAll(selector)].filter((node) => seen(node) && !hidden(node));
  const show = (node) => `<${node.tagName.toLowerCase()} id=${node.id} class=${node.getAttribute("class")}> ${node.textContent.slice(0, 40)}`;
  const named = (node) => {
    const by = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join("");
    return (node.getAttribute("aria-label") || by || labels || (["BUTTON", "A", "SUMMARY"].includes(node.tagName) ? node.textContent : "")).trim() !== "";
  };

  if (!document.documentElement.lang) faults.push("the page does not say its language");
  if (!document.title.trim()) faults.push("the page has no title");
  for (const landmark of ["main", "header"]) if (all(landmark).length !== 1) faults.push(`there is not one ${landmark}`);

  const levels = all("h1, h2, h3, h4, h5, h6").map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push("there is not one h1");
  levels.forEach((level, i) => { if (i > 0 && level > levels[i - 1] + 1) faults.push(`a heading jumps from h${levels[i - 1]} to h${level}`); });

  for (const node of all("button, a[href], input, select, textarea, dialog[open], [role=region], [role=img], nav")) {
    if (!named(node)) faults.push(`nameless: ${show(node)}`);
  }
  for (const node of document.querySelectorAll("img")) if (node.getAttribute("alt") === null) faults.push(`no alt: ${show(node)}`);
  for (const node of all("svg")) if (node.getAttribute("role") !== "img") faults.push(`a picture without words: ${show(node)}`);
  for (const node of all("th")) if (!node.getAttribute("scope")) faults.push(`a th without scope: ${show(node)}`);
  for (const node of all("table")) if (!node.caption?.textContent) faults.push("a table without caption");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} stands twice`);

  const parts = (colour) => {
    const numbers = colour.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return [...numbers.slice(0, 3), numbers[3] ?? 1];
  };
  const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3]));
  const ground = (node) => {
    const layers = [];
    for (let at = node; at instanceof Element; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  let checked = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(node) || ["SCRIPT", "NOSCRIPT", "TITLE", "title", "OPTION"].includes(node.tagName)) continue;
    if (node.closest("button:disabled") || node.getBoundingClientRect().right < 0) continue;
    const style = getComputedStyle(node);
    const back = ground(node);
    const ink = over(parts(node instanceof SVGElement ? style.fill : style.color), back);
    const [bright, dim] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (bright + 0.05) / (dim + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    checked += 1;
    const fault = `contrast ${ratio.toFixed(2)}, of ${least} needed: ${show(node)}`;
    if (ratio < least && !told.has(fault)) { told.add(fault); faults.push(fault); }
  }
  if (checked < 20) faults.push(`only ${checked} texts were looked at`);
  return faults;
})()
