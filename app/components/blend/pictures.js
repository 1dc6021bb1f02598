// Part 3 of 5: the strip of test images. Pixels are unpacked once and turned into ImageData per stop when first needed;
// a drag then only puts ready pixels on small canvases and rewrites a few texts.

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Unpacked pixels of one payload: planes (image, channel, row, column), deltas signed, one block per stop. */
class PixelStore {
  static async open(images) {
    const side = images.side;
    const plane = side * side;
    const block = images.count * 3 * plane;
    const stops = stopsOf(images.delta_stops);
    const pixels = await inflate(images.pixels);
    const deltas = images.deltas ? new Int8Array((await inflate(images.deltas)).buffer) : null;
    if (pixels.length !== block || (deltas && deltas.length !== block * stops.length)) throw new Error("blend: image data has the wrong size");
    return Object.assign(new PixelStore(), { side, plane, block, stops, pixels, deltas, magnify: images.magnify ?? 16, cache: new Map() });
  }

  image(kind, stop, index) {
    const key = `${kind}/${kind === "original" ? 0 : stop}/${index}`;
    if (!this.cache.has(key)) this.cache.set(key, this.render(kind, stop, index));
    return this.cache.get(key);
  }

  render(kind, stop, index) {
    const { side, plane, pixels, deltas } = this;
    const out = new ImageData(side, side);
    const base = index * 3 * plane;
    const moved = stop * this.block + base;
    for (let i = 0; i < plane; i++) {
      for (let channel = 0; channel < 3; channel++) {
        const at = channel * plane + i;
        const delta = kind === "original" ? 0 : deltas[moved + at];
        // Uint8ClampedArray does the clamping to 0..255
        out.data[4 * i + channel] = kind === "difference" ? 128 + this.magnify * delta : pixels[base + at] + delta;
      }
      out.data[4 * i + 3] = 255;
    }
    return out;
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
        store = await PixelStore.open(images);
      } catch (error) {
        message = "The images could not be read.";
        console.warn(error);
      }
      if (generation !== this.generation) return false;
    }
    [this.images, this.store] = [store ? images : null, store];
    this.strip.hidden = !store;
    this.parts.message.hidden = Boolean(store);
    write(this.parts.message, message);
    write(this.parts.title, store ? `${images.count} test images at this blend` : "Test images at this blend");
    if (store) this.build(images, store);
    this.warm(generation);
    return true;
  }

  /** Renders the remaining stops while the browser is idle, one stop at a time. */
  warm(generation, stop = 0) {
    if (!this.store?.deltas || stop >= this.store.stops.length) return;
    const idle = window.requestIdleCallback ?? ((action) => setTimeout(action, 40));
    idle(() => {
      if (generation !== this.generation) return;
      for (let i = 0; i < this.images.count; i++) for (const kind of ["adversarial", "difference"]) this.store.image(kind, stop, i);
      this.warm(generation, stop + 1);
    });
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
      this.columns = Array.from({ length: images.count }, (_, i) => this.column(i, store.side));
      scroller.append(...this.columns.map((column) => column.button));
      this.strip.replaceChildren(this.heads(), scroller);
    }
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

  column(index, side) {
    const button = make("button", "column");
    button.type = "button";
    button.onclick = () => this.pin(index);
    const column = { button, truth: make("span", "truth"), canvases: {}, verdicts: {}, drawn: {} };
    button.append(column.truth);
    for (const row of this.rows()) {
      const canvas = make("canvas", `tile ${row}`);
      canvas.width = canvas.height = side;
      column.canvases[row] = canvas.getContext("2d", { willReadFrequently: true });
      button.append(canvas);
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
        const pixels = this.store.image(row, stop, i);
        if (column.drawn[row] !== pixels) column.canvases[row].putImageData((column.drawn[row] = pixels), 0, 0);
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
    write(parts.mark, known ? `${right ? "✓ right" : "✗ wrong"} ${sure(confidence)}` : "");
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
