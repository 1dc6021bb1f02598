// Part 1 of 6 of one ES module (see __init__.py): small helpers that every part uses.

const SVG = "http://www.w3.org/2000/svg";

/** A new element; text goes in as a text node, never as markup. */
function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

function draw(tag, attributes = {}, parent = null) {
  const node = document.createElementNS(SVG, tag);
  set(node, attributes);
  parent?.append(node);
  return node;
}

/** Writes only what changed, so that a drag costs no layout for texts that stay. */
function write(node, text) {
  if (node.firstChild?.nodeType === Node.TEXT_NODE && node.childNodes.length === 1) {
    if (node.firstChild.data !== text) node.firstChild.data = text;
  } else if (node.textContent !== text) {
    node.textContent = text;
  }
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** The numbers of a stops array, or the two ends when the payload has none. */
function stopsOf(values) {
  const stops = Array.isArray(values) ? values.filter(isNumber) : [];
  return stops.length ? stops : [0, 1];
}

function nearest(stops, value) {
  let best = 0;
  for (let i = 1; i < stops.length; i++) {
    if (Math.abs(stops[i] - value) < Math.abs(stops[best] - value)) best = i;
  }
  return best;
}

/** Decimals needed to write every stop exactly: two at least, three at most. */
const decimalsOf = (stops) => (stops.every((s) => Math.abs(s * 100 - Math.round(s * 100)) < 1e-6) ? 2 : 3);

const percent = (value, digits = 1) => (isNumber(value) ? `${(100 * value).toFixed(digits)}%` : "–");

function later(action, milliseconds) {
  let timer = 0;
  const run = () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}
