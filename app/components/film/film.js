// Part 2 of 2 (after blend/parts.js): frames of one attack at two settings. A change of frame moves the sheet behind each
// tile, widths of bars and the charts' markers; nothing is created. Another film of the same classes changes texts and
// sheets, and draws the charts anew.

const FRAME = 50; // milliseconds: 20 frames a second
const EDGE = 1; // as in the sheet: pixels repeated around a tile
const ROWS = [["image", "image"], ["difference", "change"], ["sign", "its sign"], ["spectrum", "frequencies"]];
const films = new WeakMap();

class Film {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.range = this.part("range");
    this.range.oninput = () => {
      this.halt();
      this.show(Number(this.range.value));
    };
    this.range.onchange = () => this.speak();
    this.part("play").onclick = () => (this.timer ? this.halt() : this.play());
    this.charts = [];
    // Called before the first paint too. Asking for the width anywhere else makes the browser lay the page out twice.
    this.resize = new ResizeObserver(() => {
      this.width = this.part("charts").clientWidth;
      this.drawCharts();
    });
    this.resize.observe(this.part("charts"));
  }

  adopt(data) {
    if (data === this.data) return;
    this.halt();
    this.data = data;
    this.last = data.frames.length - 1;
    this.range.max = this.last;
    const cell = data.side + 2 * EDGE;
    this.place = (at, n) => `${(100 * (at * cell + EDGE)) / (n * cell - data.side)}%`;
    this.root.style.setProperty("--size", [data.frames.length, ROWS.length].map((n) => `${(100 * n * cell) / data.side}%`).join(" "));
    const shape = JSON.stringify([data.panes.length, data.classes, data.label, data.magnify]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.panes = data.panes.map(() => this.pane());
      this.part("panes").replaceChildren(...this.panes.map((pane) => pane.box));
    }
    this.panes.forEach((held, at) => this.dress(held, data.panes[at]));
    if (this.width) this.drawCharts();
    this.show(this.last);
    this.playLabel();
  }

  /** An empty pane for `dress`. */
  pane() {
    const box = make("section", "pane");
    const [heading, verdict, tiles, classes] = [make("h3"), make("p", "verdict"), make("div", "tiles"), make("div", "classes")];
    const pictures = ROWS.map(([kind, title]) => {
      const figure = make("span");
      const tile = make("span", "tile");
      const note = kind === "difference" ? `${title}, ${this.data.magnify}×` : title;
      figure.append(tile, make("span", "note", note));
      tiles.append(figure);
      return tile;
    });
    const bars = this.data.classes.map((name, k) => {
      const row = make("div", k === this.data.label ? "class truth" : "class");
      const [bar, share] = [make("span", "bar"), make("span", "share")];
      row.append(make("span", "name", k === this.data.label ? `${name} (true)` : name), bar, share);
      classes.append(row);
      return { bar, share };
    });
    box.append(heading, verdict, tiles, classes);
    return { box, heading, verdict, pictures, bars };
  }

  /** A sheet is a text of 170 kB: written to a tile once, not through a variable, which is put in at every frame. */
  dress(held, pane) {
    write(held.heading, pane.name);
    if (held.pane?.sheet !== pane.sheet) {
      for (const tile of held.pictures) tile.style.backgroundImage = `url("${pane.sheet}")`;
    }
    held.pane = pane;
  }

  show(frame) {
    this.frame = clamp(frame, 0, this.last);
    if (Number(this.range.value) !== this.frame) this.range.value = this.frame;
    const name = this.data.frames[this.frame];
    this.range.setAttribute("aria-valuetext", name);
    this.root.dataset.frame = this.frame;
    write(this.part("frame"), name);
    for (const { verdict, pictures, bars, pane } of this.panes) {
      const shares = pane.confidence[this.frame];
      const best = shares.indexOf(Math.max(...shares));
      const right = best === this.data.label;
      verdict.dataset.right = right;
      const truth = right ? "" : ` · truth: ${this.data.classes[this.data.label]}`;
      write(verdict, `${right ? "✓" : "✗"} ${this.data.classes[best]}, ${percent(shares[best], 0)} sure${truth}`);
      pictures.forEach((tile, row) => {
        tile.style.backgroundPosition = `${this.place(this.frame, this.data.frames.length)} ${this.place(row, ROWS.length)}`;
      });
      bars.forEach(({ bar, share }, k) => {
        bar.style.backgroundSize = `${(100 * shares[k]).toFixed(1)}% 100%`;
        write(share, percent(shares[k], 0));
      });
    }
    for (const chart of this.charts) chart.mark(this.frame);
  }

  drawCharts() {
    const specs = [
      ["loss", "Loss (cross-entropy)"],
      ["margin", "Margin: best other class minus true class; above 0 is fooled"],
    ];
    this.charts = specs.map(([key, title]) => this.chart(key, title));
    this.part("charts").replaceChildren(...this.charts.map((chart) => chart.box));
    if (this.frame !== undefined) for (const chart of this.charts) chart.mark(clamp(this.frame, 0, this.last));
  }

  chart(key, title) {
    const box = make("figure");
    box.style.margin = 0;
    const svg = draw("svg", { class: "chart", role: "img", "aria-label": `${title}, by frame` });
    box.append(make("span", "note", title), svg);
    const columns = this.width > 680 ? 2 : 1;
    const [width, height] = [Math.max(200, (this.width - 36 * (columns - 1)) / columns), 150];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const values = this.data.panes.flatMap((pane) => pane[key]).filter(isNumber);
    const [low, high] = [Math.min(0, ...values), Math.max(0.1, ...values)];
    const x = (frame) => 44 + (frame / Math.max(1, this.last)) * (width - 56);
    const y = (value) => 10 + (1 - (value - low) / (high - low)) * (height - 24);
    for (const tick of new Set([low, 0, high])) {
      draw("line", { class: "axis", x1: 44, x2: width - 12, y1: y(tick), y2: y(tick) }, svg);
      const label = draw("text", { x: 36, y: y(tick), dy: "0.35em", "text-anchor": "end" }, svg);
      label.textContent = tick.toFixed(1);
    }
    const rule = draw("line", { class: "rule", y1: 4, y2: height - 10 }, svg);
    const dots = this.data.panes.map((pane, p) => {
      const path = pane[key].map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      draw("path", { class: `line p${p}`, d: path }, svg);
      return draw("circle", { class: `p${p}`, r: 5.5 }, svg);
    });
    const mark = (frame) => {
      set(rule, { x1: x(frame), x2: x(frame) });
      dots.forEach((dot, p) => set(dot, { cx: x(frame), cy: y(this.data.panes[p][key][frame]) }));
    };
    return { box, mark };
  }

  play() {
    let frame = this.frame >= this.last ? 0 : this.frame;
    this.show(frame);
    this.timer = setInterval(() => {
      if (frame >= this.last) return void this.halt();
      this.show(++frame);
    }, FRAME);
    this.playLabel();
  }

  halt() {
    const played = Boolean(this.timer);
    clearInterval(this.timer);
    this.timer = 0;
    this.playLabel();
    if (played) this.speak();
  }

  playLabel() {
    const button = this.part("play");
    button.dataset.playing = String(Boolean(this.timer));
    button.setAttribute("aria-label", this.timer ? "Pause the attack" : "Play the attack");
  }

  speak() {
    const said = this.panes.map(({ verdict, pane }) => `${pane.name}: ${verdict.textContent}`);
    write(this.part("live"), `${this.data.frames[this.frame]}. ${said.join("; ")}`);
  }

  destroy() {
    this.halt();
    this.resize.disconnect();
  }
}

export default function mount({ data, parentElement }) {
  const root = parentElement.querySelector(".film");
  if (!root || !data) return undefined;
  if (!films.has(root)) films.set(root, { film: new Film(root), runs: 0 });
  const held = films.get(root);
  const run = ++held.runs;
  held.film.adopt(data);
  return () => {
    if (held.runs !== run) return;
    held.film.destroy();
    films.delete(root);
  };
}
