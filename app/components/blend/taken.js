// Part 5 of 6: the picture of the moment as a file: curves, images and verdicts as they stand, with caption and source.

const SHEET = { width: 980, margin: 30, tile: 92, head: 100, step: 104 };
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-weight", "text-anchor", "display", "visibility"];

/** The typeface as CSS with the files in it: the page's own, or fetched from the app once. None where that fails. */
async function typeface() {
  const own = document.querySelector("style[data-typeface]");
  if (own) return own.textContent;
  const face = async ([name, weight]) => {
    const answer = await fetch(new URL(`app/static/figure/InterFigure-${name}.woff2`, document.baseURI));
    if (!answer.ok) throw new Error(String(answer.status));
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    return `@font-face{font-family:'Inter Figure';font-weight:${weight};src:url(data:font/woff2;base64,${text})}`;
  };
  try {
    return (await Promise.all(Object.entries({ Regular: 400, SemiBold: 600 }).map(face))).join("");
  } catch {
    return "";
  }
}

/** A copy of a drawing with the look that the page's style gives it, which a file does not have. */
function dressed(svg) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map((node) => [node, ...node.querySelectorAll("*")]);
  from.forEach((node, i) => {
    const look = getComputedStyle(node);
    to[i].setAttribute("style", STYLES.map((name) => `${name}:${look.getPropertyValue(name)}`).join(";"));
  });
  copy.querySelector(".target")?.remove();
  return copy;
}

class Picture {
  constructor(blend) {
    this.blend = blend;
    this.ink = getComputedStyle(blend.root).color;
    this.paper = getComputedStyle(blend.chart.pills.clean.box).fill;
    this.svg = draw("svg", { xmlns: SVG, "font-family": "'Inter Figure', Inter, sans-serif", fill: this.ink });
    this.pen = document.createElement("canvas").getContext("2d");
    this.y = SHEET.margin;
  }

  text(words, x, y, options = {}) {
    draw("text", { x, y, "font-size": 13, ...options }, this.svg).textContent = words;
  }

  /** Lines no wider than the sheet, from `this.y` on. */
  lines(words, size, options = {}) {
    this.pen.font = `${options["font-weight"] ?? 400} ${size}px ${getComputedStyle(this.blend.root).fontFamily}`;
    let line = "";
    const flush = () => {
      this.y += size * 1.4;
      this.text(line, SHEET.margin, this.y, { "font-size": size, ...options });
    };
    for (const word of words.split(" ")) {
      const longer = line ? `${line} ${word}` : word;
      if (line && this.pen.measureText(longer).width > 0.97 * (SHEET.width - 2 * SHEET.margin)) {
        flush();
        line = word;
      } else line = longer;
    }
    flush();
  }

  curves() {
    const { chart, axis } = this.blend;
    const copy = dressed(chart.svg);
    const [, , width, height] = chart.svg.getAttribute("viewBox").split(" ").map(Number);
    const scale = Math.min(1.25, (SHEET.width - 2 * SHEET.margin) / width);
    const left = (SHEET.width - scale * width) / 2;
    set(copy, { x: left, y: this.y, width: scale * width, height: scale * height });
    this.svg.append(copy);
    this.y += scale * height + 4;
    for (const [lam, words] of [[0, `0 · ${axis.at_zero}`], [0.5, "λ"], [1, `1 · ${axis.at_one}`]]) {
      const anchor = lam === 0.5 ? "middle" : lam ? "end" : "start";
      this.text(words, left + scale * chart.x(lam), this.y + 12, { "text-anchor": anchor, "font-weight": 600 });
    }
    this.y += 30;
  }

  async pictures() {
    const { strip, lam } = this.blend;
    if (!strip.store) return;
    const { store, images } = strip;
    const sheet = Object.assign(new Image(), { src: store.url });
    await sheet.decode();
    const stop = nearest(store.stops, lam);
    const rows = strip.rows();
    const left = (index) => SHEET.margin + SHEET.head + index * SHEET.step * Math.min(1, 8 / images.count);
    const centred = { "text-anchor": "middle", "font-size": 12 };
    const note = Math.abs(store.stops[stop] - lam) > 1e-6 ? ` (at λ = ${store.stops[stop]})` : "";
    this.text(`Images${note}`, SHEET.margin, this.y + 10, { "font-weight": 600 });
    for (let i = 0; i < images.count; i++) this.text(strip.name(images.labels[i]), left(i) + SHEET.tile / 2, this.y + 10, centred);
    this.y += 20;
    for (const [number, row] of rows.entries()) {
      const title = { original: "Original", adversarial: "Attacked", difference: `Difference × ${store.magnify}` }[row];
      this.text(title, SHEET.margin, this.y + SHEET.tile / 2, { "font-weight": 600 });
      for (let i = 0; i < images.count; i++) {
        this.tile(sheet, store, i, number && 2 * stop + number, left(i));
        if (row === "difference") continue;
        const { name, right, confidence } = strip.verdict(row, stop, i);
        const middle = left(i) + SHEET.tile / 2;
        this.text(name, middle, this.y + SHEET.tile + 16, { ...centred, "font-weight": 600 });
        this.text(`${right ? "✓ right" : "✗ wrong"} ${sure(confidence)}`, middle, this.y + SHEET.tile + 31, centred);
      }
      this.y += SHEET.tile + (row === "difference" ? 14 : 44);
    }
  }

  tile(sheet, { cell, side }, index, row, x) {
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    canvas.getContext("2d").drawImage(sheet, index * cell + EDGE, row * cell + EDGE, side, side, 0, 0, side, side);
    draw("image", { x, y: this.y, width: SHEET.tile, height: SHEET.tile, href: canvas.toDataURL(), style: "image-rendering:pixelated" }, this.svg);
  }

  /** The whole sheet as SVG text, and its height. */
  async finished() {
    const { data, lam, digits } = this.blend;
    draw("style", {}, this.svg).textContent = await typeface();
    const paper = draw("rect", { width: "100%", height: "100%", fill: this.paper }, this.svg);
    this.y -= 12;
    this.lines(`${this.blend.strip.store ? "Accuracy and test images" : "Accuracy"} at λ = ${lam.toFixed(digits)}`, 20, { "font-weight": 600 });
    this.curves();
    await this.pictures();
    this.lines(`Moved: ${this.blend.axis.name}. In use: ${data.statistics}. Attack: ${data.attack}.`, 13);
    this.lines(data.provenance ?? "", 13);
    this.lines(data.source ?? "", 12, { opacity: 0.75 });
    const height = Math.ceil(this.y + SHEET.margin / 2);
    set(this.svg, { width: SHEET.width, height, viewBox: `0 0 ${SHEET.width} ${height}` });
    paper.setAttribute("height", height);
    return { text: new XMLSerializer().serializeToString(this.svg), height };
  }
}

async function take(blend, kind) {
  const { text, height } = await new Picture(blend).finished();
  let file = new Blob([text], { type: "image/svg+xml" });
  if (kind === "png") {
    const image = Object.assign(new Image(), { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}` });
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * SHEET.width, height: 2 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    file = await new Promise((done) => canvas.toBlob(done));
  }
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: url, download: `dual-bn-lambda-${blend.lam.toFixed(blend.digits)}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
