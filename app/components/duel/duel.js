// One Duel per mounted component. It owns λ; the browser paints each change, Python hears of it once it rests.

const EDGE = { left: 46, right: 8, top: 8, plot: 190, gap: 26, strip: 74 };
const SIDES = ["first", "second"];
const duels = new WeakMap();

class Panel {
  constructor(row, stops, pick, release) {
    Object.assign(this, { row, stops });
    this.node = make("section", `panel ${row.kind}`);
    this.node.append(make("h3", "", row.title));
    const readouts = make("div", "readouts");
    this.values = ["first", "second", "delta"].map((side, i) => {
      const box = make("div", `readout ${side}`);
      const label = make("span", "", ["A", "B", "B − A"][i]);
      if (i < 2) label.prepend(make("i", "key"));
      const [value, range] = [make("b"), make("span")];
      box.append(label, value, range);
      readouts.append(box);
      return { value, range };
    });
    this.svg = draw("svg", { role: "img", "aria-label": row.title });
    this.node.append(readouts, this.svg);
    const at = (event) => {
      const box = this.svg.getBoundingClientRect(); // in enlarged pixels where CSS zoom is at work
      const x = ((event.clientX - box.left) / box.width) * this.whole - EDGE.left;
      pick(stops[0] + (x / this.width) * (stops.at(-1) - stops[0]));
    };
    this.svg.onpointerdown = (event) => {
      if (event.button !== 0) return;
      this.svg.setPointerCapture(event.pointerId);
      at(event);
    };
    this.svg.onpointermove = (event) => this.svg.hasPointerCapture(event.pointerId) && at(event);
    this.svg.onlostpointercapture = release;
  }

  x(lam) {
    return EDGE.left + ((lam - this.stops[0]) / (this.stops.at(-1) - this.stops[0] || 1)) * this.width;
  }

  y(fraction) {
    return EDGE.top + (1 - fraction) * EDGE.plot;
  }

  /** Height in the strip of a difference of fractions. */
  z(difference) {
    return EDGE.top + EDGE.plot + EDGE.gap + EDGE.strip * (0.5 - difference / (2 * this.reach));
  }

  layout() {
    const height = EDGE.top + EDGE.plot + EDGE.gap + EDGE.strip + 6;
    const whole = (this.whole = Math.max(240, this.svg.clientWidth));
    this.width = whole - EDGE.left - EDGE.right;
    set(this.svg, { viewBox: `0 0 ${whole} ${height}`, height });
    this.svg.replaceChildren();
    const { first, second, delta } = this.row;
    const widest = Math.max(0.02, ...delta.low.map(Math.abs), ...delta.high.map(Math.abs));
    this.reach = Math.min(1, Math.ceil(widest * 20) / 20);
    const say = (x, y, text) => (draw("text", { class: "end-tick", x, y, dy: "0.35em" }, this.svg).textContent = text);
    for (const tick of [0, 0.5, 1]) {
      draw("line", { class: tick ? "grid" : "zero", x1: EDGE.left, x2: whole - EDGE.right, y1: this.y(tick), y2: this.y(tick) }, this.svg);
      say(EDGE.left - 8, this.y(tick), `${100 * tick}%`);
    }
    [first, second].forEach((curve, i) => {
      const point = (values) => (stop, k) => `${this.x(stop).toFixed(1)} ${this.y(values[k]).toFixed(1)}`;
      const back = this.stops.map(point(curve.low)).reverse();
      draw("path", { class: `band ${SIDES[i]}`, d: `M${[...this.stops.map(point(curve.high)), ...back].join("L")}Z` }, this.svg);
      draw("path", { class: `line ${SIDES[i]}`, d: `M${this.stops.map(point(curve.value)).join("L")}` }, this.svg);
    });
    const zero = this.z(0);
    draw("line", { class: "zero", x1: EDGE.left, x2: whole - EDGE.right, y1: zero, y2: zero }, this.svg);
    for (const end of [this.reach, -this.reach]) say(EDGE.left - 8, this.z(end) + (end > 0 ? 6 : -6), `${end > 0 ? "+" : "−"}${Math.round(100 * this.reach)}`);
    draw("text", { x: EDGE.left, y: this.z(this.reach) - 8 }, this.svg).textContent = "B − A, points, 95 % interval";
    const thick = Math.min(14, (0.6 * this.width) / this.stops.length);
    this.bars = this.stops.map((stop, i) => {
      const [top, bottom] = [this.z(Math.max(0, delta.value[i])), this.z(Math.min(0, delta.value[i]))];
      const sure = delta.low[i] > 0 || delta.high[i] < 0;
      const bar = draw("rect", { class: `bar${sure ? " sure" : ""}`, x: this.x(stop) - thick / 2, width: thick, y: top, height: Math.max(1, bottom - top) }, this.svg);
      draw("line", { class: "whisker", x1: this.x(stop), x2: this.x(stop), y1: this.z(delta.low[i]), y2: this.z(delta.high[i]) }, this.svg);
      return bar;
    });
    this.rule = draw("line", { class: "rule", y1: 0, y2: height }, this.svg);
    this.dots = [draw("circle", { class: "dot first", r: 7 }, this.svg), draw("path", { class: "dot second" }, this.svg)];
    draw("rect", { class: "target", x: 0, y: 0, width: whole, height }, this.svg);
    const said = ["first", "second"].map((side, i) => `${"AB"[i]} from ${percent(this.row[side].value[0])} to ${percent(this.row[side].value.at(-1))}`);
    this.svg.setAttribute("aria-label", `${this.row.title} over λ: ${said.join(", ")}.`);
  }

  paint(index) {
    const { first, second, delta } = this.row;
    const x = this.x(this.stops[index]);
    set(this.rule, { x1: x, x2: x });
    set(this.dots[0], { cx: x, cy: this.y(first.value[index]) });
    set(this.dots[1], { d: `M${x} ${this.y(second.value[index]) - 8}l8 8l-8 8l-8-8Z` });
    this.bars.forEach((bar, i) => bar.classList.toggle("now", i === index));
    [first, second].forEach((curve, i) => {
      write(this.values[i].value, percent(curve.value[index]));
      write(this.values[i].range, `${(100 * curve.low[index]).toFixed(1)}–${percent(curve.high[index])}, n = ${curve.n}`);
    });
    const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;
    write(this.values[2].value, points(delta.value[index]));
    write(this.values[2].range, `${points(delta.low[index])} to ${points(delta.high[index])} points`);
  }
}

class Duel {
  constructor(root) {
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.root = root;
    this.input = this.part("range");
    this.settleSoon = later(() => this.settle(), 250);
    this.input.oninput = () => {
      this.show(nearest(this.stops, Number(this.input.value)));
      this.settleSoon();
    };
    this.resize = new ResizeObserver(() => this.data && this.layout());
    this.resize.observe(root);
  }

  adopt(data, send) {
    this.send = send;
    if (data === this.data) return;
    if (!this.data || data.start.token !== this.token) [this.token, this.wanted, this.told] = [data.start.token, data.start.lam, data.start.lam];
    this.data = data;
    this.stops = stopsOf(data.stops);
    set(this.input, { min: this.stops[0], max: this.stops.at(-1), step: (this.stops[1] - this.stops[0]).toFixed(6) * 1 });
    this.input.setAttribute("aria-label", `λ, from ${data.at_zero} to ${data.at_one}, both networks`);
    write(this.part("zero"), data.at_zero);
    write(this.part("one"), data.at_one);
    write(this.part("provenance"), data.provenance);
    const pick = (lam) => this.show(nearest(this.stops, lam));
    this.panels = data.rows.map((row) => new Panel(row, this.stops, pick, () => this.settle()));
    this.part("panels").replaceChildren(...this.panels.map((panel) => panel.node));
    this.layout();
  }

  layout() {
    for (const panel of this.panels) panel.layout();
    this.show(nearest(this.stops, this.wanted));
  }

  show(index) {
    this.wanted = this.stops[index];
    if (Number(this.input.value) !== this.wanted) this.input.value = this.wanted;
    const text = `λ = ${this.wanted.toFixed(decimalsOf(this.stops))}`;
    this.input.setAttribute("aria-valuetext", text);
    write(this.part("lam"), text);
    for (const panel of this.panels) panel.paint(index);
    this.root.dataset.lam = this.wanted;
  }

  settle() {
    this.settleSoon.cancel();
    const said = this.panels.map(({ row, values }) => `${row.title}: A ${values[0].value.textContent}, B ${values[1].value.textContent}`);
    write(this.part("live"), `${this.part("lam").textContent}. ${said.join("; ")}`);
    if (this.wanted === this.told) return;
    this.told = this.wanted;
    this.send("choice", { lam: this.wanted, token: this.token });
  }

  destroy() {
    this.settleSoon.cancel();
    this.resize.disconnect();
  }
}

export default function mount({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".duel");
  if (!root || !data) return undefined;
  if (!duels.has(root)) duels.set(root, Object.assign(new Duel(root), { runs: 0 }));
  const duel = duels.get(root);
  const run = ++duel.runs;
  duel.adopt(data, setStateValue);
  return () => {
    if (duel.runs !== run) return;
    duel.destroy();
    duels.delete(root);
  };
}
