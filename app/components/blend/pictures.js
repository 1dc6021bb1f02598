// Part 3 of 6: the strip of test images. All of them are drawn on one sheet once; a drag only moves the sheet behind each
// tile and rewrites a few texts. (A canvas a tile would be a layer a tile: 12 ms a frame of sorting the page into layers.)

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const EDGE = 1; // pixels repeated around a tile, so that enlarging never shows its neighbour

/** All pictures of a payload on one sheet: originals in the first row, then two rows a stop, attacked and difference. */
class Sheet {
  static async open(images) {
    const stops = stopsOf(images.delta_stops);
    const block = images.count * 3 * images.side ** 2;
    const pixels = await inflate(images.pixels);
    const deltas = images.deltas ? new Int8Array((await inflate(images.deltas)).buffer) : null;
    if (pixels.length !== block || (deltas && deltas.length !== block * stops.length)) throw new Error("blend: image data has the wrong size");
    const magnify = images.magnify ?? 16;
    const rows = 1 + (deltas ? 2 * stops.length : 0);
    const sheet = Object.assign(new Sheet(), { side: images.side, cell: images.side + 2 * EDGE, count: images.count, rows, stops, deltas, magnify });
    const canvas = Object.assign(document.createElement("canvas"), { width: sheet.cell * sheet.count, height: sheet.cell * rows });
    const context = canvas.getContext("2d");
    for (let index = 0; index < sheet.count; index++) {
      for (let row = 0; row < rows; row++) {
        const from = index * 3 * images.side ** 2;
        const moved = from + Math.floor((row - 1) / 2) * block;
        const value = (at) => (row === 0 ? pixels[from + at] : row % 2 ? pixels[from + at] + deltas[moved + at] : 128 + magnify * deltas[moved + at]);
        context.putImageData(sheet.tile(value), index * sheet.cell, row * sheet.cell);
      }
    }
    const file = await new Promise((done) => canvas.toBlob(done));
    sheet.url = URL.createObjectURL(file);
    await Object.assign(new Image(), { src: sheet.url }).decode();
    return sheet;
  }

  /** `value(at)` is pixel `at` of (channel, row, column), any number: ImageData clamps to 0..255. */
  tile(value) {
    const { side, cell } = this;
    const out = new ImageData(cell, cell);
    for (let y = 0; y < cell; y++) {
      for (let x = 0; x < cell; x++) {
        const inside = clamp(y - EDGE, 0, side - 1) * side + clamp(x - EDGE, 0, side - 1);
        for (let channel = 0; channel < 3; channel++) out.data[4 * (y * cell + x) + channel] = value(channel * side * side + inside);
        out.data[4 * (y * cell + x) + 3] = 255;
      }
    }
    return out;
  }

  /** As CSS: the sheet's size in tiles, and where on it a picture is. */
  get size() {
    return [this.count, this.rows].map((n) => `${(100 * n * this.cell) / this.side}%`).join(" ");
  }

  place(kind, stop, index) {
    const row = kind === "original" ? 0 : 1 + 2 * stop + (kind === "difference" ? 1 : 0);
    const share = (at, n) => `${(100 * (at * this.cell + EDGE)) / (n * this.cell - this.side)}%`;
    return `${share(index, this.count)} ${share(row, this.rows)}`;
  }

  close() {
    URL.revokeObjectURL(this.url);
  }
}

/** Whole percents, rounded down so that nothing short of certain reads 100%. */
const sure = (confidence) => (isNumber(confidence) ? percent(Math.floor(100 * confidence + 1e-9) / 100, 0) : "");

class ImageStrip {
  constructor(part, pin) {
    this.strip = part("strip");
    this.parts = { title: part("pictures-title"), note: part("pictures-note"), message: part("pictures-message") };
    this.pin = pin;
    this.shape = "";
    this.columns = [];
    this.generation = 0;
    this.store = null;
    this.images = null;
  }

  /** Takes a payload. Resolves when its pixels are ready; until then the previous pictures stay. */
  async setData(data) {
    const generation = ++this.generation;
    const images = data.images ?? null;
    let store = null;
    let message = data.images_message || "No images for this setting.";
    if (images) {
      try {
        store = await Sheet.open(images);
      } catch (error) {
        message = "The images could not be read.";
        console.warn(error);
      }
      if (generation !== this.generation) {
        store?.close();
        return false;
      }
    }
    this.store?.close();
    [this.images, this.store] = [store ? images : null, store];
    this.strip.hidden = !store;
    this.parts.message.hidden = Boolean(store);
    write(this.parts.message, message);
    write(this.parts.title, store ? `${images.count} test images at this blend` : "Test images at this blend");
    if (store) this.build(images, store);
    return true;
  }

  rows() {
    const attacked = this.images.adversarial && this.store.deltas;
    return attacked ? ["original", "adversarial", "difference"] : ["original"];
  }

  build(images, store) {
    const shape = `${images.count}/${store.side}/${this.rows().join()}`;
    if (shape !== this.shape) {
      this.shape = shape;
      const scroller = make("div", "scroller");
      this.strip.style.setProperty("--count", images.count);
      this.strip.style.setProperty("--rows", this.rows().length > 1 ? 7 : 4);
      this.columns = Array.from({ length: images.count }, (_, i) => this.column(i));
      scroller.append(...this.columns.map((column) => column.button));
      this.strip.replaceChildren(this.heads(), scroller);
    }
    this.strip.style.setProperty("--sheet", `url("${store.url}")`);
    this.strip.style.setProperty("--size", store.size);
    write(this.factor, `enlarged ${store.magnify}×, grey = no change`);
    this.columns.forEach((column, i) => write(column.truth, this.name(images.labels?.[i])));
  }

  heads() {
    const heads = make("div", "heads");
    heads.append(make("span", "head truth", "True class"));
    this.counts = {};
    this.factor = make("span", "note");
    for (const row of this.rows()) {
      const head = make("span", `head ${row}`);
      const title = { original: "Original", adversarial: "Attacked", difference: "Difference" }[row];
      if (row !== "difference") this.counts[row] = make("span", "note");
      head.append(make("b", "", title), this.counts[row] ?? this.factor);
      heads.append(head);
    }
    return heads;
  }

  column(index) {
    const button = make("button", "column");
    button.type = "button";
    button.onclick = () => this.pin(index);
    const column = { button, truth: make("span", "truth"), tiles: {}, verdicts: {} };
    button.append(column.truth);
    for (const row of this.rows()) {
      column.tiles[row] = make("span", `tile ${row}`);
      button.append(column.tiles[row]);
      if (row === "difference") continue;
      const verdict = { box: make("span", `verdict ${row}`), name: make("span", "name"), mark: make("span", "mark"), bar: make("span", "bar") };
      verdict.box.append(verdict.bar, verdict.name, verdict.mark);
      column.verdicts[row] = verdict;
      button.append(verdict.box);
    }
    button.append(make("span", "pinned", "pinned"));
    return column;
  }

  name(label) {
    return this.images.classes?.[label] ?? (isNumber(label) ? `class ${label}` : "–");
  }

  verdict(row, stop, index) {
    const table = row === "original" ? this.images.clean : this.images.adversarial;
    const predicted = table?.predicted?.[stop]?.[index];
    const confidence = table?.confidence?.[stop]?.[index];
    return { name: this.name(predicted), confidence, right: predicted === this.images.labels?.[index], known: isNumber(predicted) };
  }

  paint(lam, digits) {
    if (!this.store) return write(this.parts.note, "");
    const stop = nearest(this.store.stops, lam);
    const shown = this.store.stops[stop];
    const offset = Math.abs(shown - lam) > 1e-6 ? ` Shown at the nearest computed blend, λ = ${shown.toFixed(digits)}.` : "";
    write(this.parts.note, `Bar: how sure the network is. Choose an image to pin it.${offset}`);
    if (stop === this.drawnStop && this.drawnStore === this.store) return;
    [this.drawnStop, this.drawnStore] = [stop, this.store];
    const right = {};
    this.columns.forEach((column, i) => {
      for (const row of this.rows()) {
        column.tiles[row].style.backgroundPosition = this.store.place(row, stop, i);
        if (row === "difference") continue;
        const verdict = this.verdict(row, stop, i);
        right[row] = (right[row] ?? 0) + (verdict.right ? 1 : 0);
        this.paintVerdict(column.verdicts[row], verdict);
      }
    });
    for (const row of Object.keys(this.counts)) write(this.counts[row], `${right[row] ?? 0} of ${this.images.count} right`);
  }

  paintVerdict(parts, { name, confidence, right, known }) {
    const state = known ? String(right) : "";
    if (parts.box.dataset.right !== state) parts.box.dataset.right = state;
    write(parts.name, name);
    write(parts.mark, known ? `${right ? "✓ right" : "✗ wrong"}\n${sure(confidence)}` : "");
    parts.bar.style.backgroundSize = `${isNumber(confidence) ? (100 * clamp(confidence, 0, 1)).toFixed(1) : 0}% 100%`;
  }

  setPinned(pinned) {
    this.columns.forEach(({ button }, i) => button.setAttribute("aria-pressed", String(i === pinned)));
  }

  /** Accessible names carry the current verdicts; refreshed when the drag settles, not while it runs. */
  describe() {
    if (!this.store) return;
    this.columns.forEach(({ button, truth }, i) => {
      const say = (row) => {
        const { name, confidence, right, known } = this.verdict(row, this.drawnStop ?? 0, i);
        return known ? `${row === "original" ? "original" : "attacked"}: predicted ${name}, ${sure(confidence)} sure, ${right ? "right" : "wrong"}` : "";
      };
      const verdicts = this.rows().filter((row) => row !== "difference").map(say);
      button.setAttribute("aria-label", `Image ${i + 1}, true class ${truth.textContent}. ${verdicts.join(". ")}.`);
    });
  }
}
