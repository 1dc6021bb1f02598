// Part 6 of 6, the entry: one Blend per mounted component. It owns λ; the browser paints every change by itself and
// Python hears of a choice only once it is made (pointer up, keys at rest, sweep over).

const SETTLE = { keys: 250, speech: 400 }; // milliseconds
const SWEEP = { smooth: 140, jump: 900 }; // milliseconds a stop; jumps when reduced motion is asked for
const instances = new WeakMap();
const told = new Map(); // Python key → the choice it holds; outlives a mount, as the choice may

class Blend {
  constructor(root) {
    const part = (name, within = root) => within.querySelector(`[data-part="${name}"]`);
    this.root = root;
    this.part = part;
    this.data = null;
    this.runs = 0;
    this.index = 0;
    this.input = part("range-input");
    this.readouts = ["clean", "robust"].map((name) => {
      const box = part(name);
      return { name, box, value: part("value", box), range: part("range", box), meaning: part("meaning", box) };
    });
    this.chart = new CurveChart(part("chart"), (lam) => this.drag(lam), () => this.settle());
    this.strip = new ImageStrip(part, (pinned) => this.choose({ pinned }));
    this.bars = new LayerBars(part, (layer) => this.choose({ layer: this.layer === layer ? null : layer }));
    this.settleSoon = later(() => this.settle(), SETTLE.keys);
    this.speakSoon = later(() => this.speak(), SETTLE.speech);
    this.listen();
  }

  listen() {
    this.input.oninput = () => {
      this.drag(Number(this.input.value));
      if (!this.held) this.settleSoon();
    };
    this.input.onpointerdown = () => (this.held = true);
    this.input.onpointerup = this.input.onpointercancel = this.input.onchange = () => {
      this.held = false;
      this.settle();
    };
    this.input.onkeydown = (event) => this.key(event);
    for (const kind of ["png", "svg"]) this.part(`take-${kind}`).onclick = () => take(this, kind);
    this.part("play").onclick = () => (this.playing ? this.pause() : this.play());
    this.resize = new ResizeObserver(() => this.relayout());
    this.resize.observe(this.part("chart"));
  }

  /** Takes the payload of a run. The same object means nothing changed (Streamlit keeps it while the JSON is equal). */
  adopt(data, send) {
    this.send = send;
    if (data === this.data) return;
    const start = data.start ?? {};
    if (!this.data || (start.token ?? 0) !== this.token) {
      this.token = start.token ?? 0;
      [this.wanted, this.pinned, this.layer] = [start.lam ?? 0, start.pinned ?? 0, start.layer ?? null];
      // A new token resets Python as well. A remount may find Python with an older choice, which settle() then corrects.
      if (this.data || !told.has(data.key)) told.set(data.key, JSON.stringify(this.state()));
    }
    this.halt();
    this.data = data;
    this.stops = stopsOf(data.stops);
    this.digits = decimalsOf(this.stops);
    this.axis = { name: "parameters", at_zero: "clean", at_one: "adversarial", ...data.axis };
    this.words();
    this.chart.setData(data);
    this.chart.describe(this.axis);
    this.bars.setData(data);
    this.bars.setSelected(this.layer);
    this.range();
    this.show(nearest(this.stops, this.wanted));
    this.settle();
    this.strip.setData(data).then((current) => {
      if (!current) return;
      this.strip.setPinned(this.pinned);
      this.strip.paint(this.lam, this.digits);
      this.strip.describe();
    });
  }

  get lam() {
    return this.stops[this.index];
  }

  words() {
    const { name, at_zero, at_one } = this.axis;
    const strong = (text, kind = "") => make("b", kind, text);
    const lead = ["Drag the handle to move the network’s ", strong(name), " from ", strong(at_zero, "clean"), " to ", strong(at_one, "robust"), "."];
    if (this.data.statistics) lead.push(" In use: ", strong(this.data.statistics), ".");
    this.part("lead").replaceChildren(...(this.data.locked ? [this.data.locked] : lead));
    write(this.part("provenance"), this.data.provenance ?? "");
    const [, robust] = this.readouts;
    const attack = this.data.attack && this.data.attack !== "none" ? this.data.attack : "the attack";
    robust.box.hidden = !this.data.curves?.robust;
    write(robust.meaning, `still right under ${attack}`);
    this.input.setAttribute("aria-label", `λ, ${name} from ${at_zero} to ${at_one}`);
  }

  /** The slider spans the same pixels as the chart above it, so its thumb is the foot of the rule. */
  range() {
    const [low, high] = [this.stops[0], this.stops.at(-1)];
    const gaps = this.stops.slice(1).map((stop, i) => stop - this.stops[i]);
    this.input.disabled = this.part("play").hidden = Boolean(this.data.locked);
    Object.assign(this.input, { min: low, max: high, step: gaps.length ? Math.min(...gaps).toFixed(6) * 1 : "any" });
    const place = (lam) => (lam - low) / Math.max(high - low, 1e-9);
    this.part("control").style.setProperty("--zero", `${100 * clamp(place(0), 0, 1)}%`);
    this.part("control").style.setProperty("--one", `${100 * clamp(place(1), 0, 1)}%`);
    const ticks = [[0, "0", this.axis.at_zero, "clean"], [0.5, "½", "halfway", ""], [1, "1", this.axis.at_one, "robust"]];
    const inside = ticks.filter(([lam]) => lam >= low - 1e-9 && lam <= high + 1e-9);
    this.part("ticks").replaceChildren(
      ...inside.map(([lam, number, label, kind]) => {
        const at = place(lam);
        const tick = make("span", `tick-mark ${kind} ${at < 0.12 ? "first" : at > 0.88 ? "last" : "middle"}`);
        tick.style.left = `${100 * at}%`;
        tick.append(make("i"), make("b", "", number), make("span", "", label));
        return tick;
      }),
    );
  }

  /** Paints one stop everywhere, at once. */
  show(index) {
    this.index = index;
    const lam = this.stops[index];
    if (Math.abs(Number(this.input.value) - lam) > 1e-9) this.input.value = lam;
    this.input.setAttribute("aria-valuetext", `λ ${lam.toFixed(this.digits)}`);
    for (const { name, value, range } of this.readouts) {
      const curve = this.data.curves?.[name];
      write(value, percent(curve?.value?.[index]));
      const [low, high] = [curve?.low?.[index], curve?.high?.[index]];
      const interval = isNumber(low) && isNumber(high) ? `${(100 * low).toFixed(1)}–${percent(high)}` : "";
      write(range, [interval && `95%\u00a0interval\u00a0${interval}`, isNumber(curve?.n) && `(n\u00a0=\u00a0${curve.n.toLocaleString("en")})`].filter(Boolean).join(" "));
    }
    this.chart.paint(index);
    this.strip.paint(lam, this.digits);
    this.bars.paint(lam);
    this.root.dataset.lam = lam;
  }

  drag(lam) {
    this.halt();
    this.go(nearest(this.stops, lam));
  }

  go(index) {
    if (index !== this.index) this.show(index);
    else if (Math.abs(Number(this.input.value) - this.lam) > 1e-9) this.input.value = this.lam;
    this.wanted = this.lam;
    this.speakSoon();
  }

  key(event) {
    const last = this.stops.length - 1;
    const leap = (way) => {
      const target = nearest(this.stops, this.lam + way * 0.1);
      return target === this.index ? this.index + way : target;
    };
    const moves = {
      ArrowRight: () => this.index + 1,
      ArrowUp: () => this.index + 1,
      ArrowLeft: () => this.index - 1,
      ArrowDown: () => this.index - 1,
      PageUp: () => leap(1),
      PageDown: () => leap(-1),
      Home: () => 0,
      End: () => last,
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.halt();
    this.go(clamp(moves[event.key](), 0, last));
    this.settleSoon();
  }

  /** Sweeps from 0 to 1, or goes on from where it was paused. */
  play() {
    const smooth = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const [from, to] = [nearest(this.stops, 0), nearest(this.stops, 1)];
    let path = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    if (!smooth) path = [...new Set([0, 0.25, 0.5, 0.75, 1].map((lam) => nearest(this.stops, lam)))];
    if (this.paused === this.index && this.index < to) path = path.filter((index) => index >= this.index);
    const step = () => {
      if (!path.length) return this.pause();
      this.go(path.shift());
      this.timer = setTimeout(step, smooth ? SWEEP.smooth : SWEEP.jump);
    };
    this.playing = true;
    this.playLabel();
    step();
  }

  pause() {
    this.halt();
    this.paused = this.index;
    this.settle();
  }

  halt() {
    clearTimeout(this.timer);
    this.playing = false;
    this.paused = null;
    this.playLabel();
  }

  playLabel() {
    const button = this.part("play");
    button.dataset.playing = String(this.playing);
    button.setAttribute("aria-label", this.playing ? "Pause the sweep" : "Play: sweep λ from 0 to 1");
  }

  choose(change) {
    Object.assign(this, change);
    this.strip.setPinned(this.pinned);
    this.bars.setSelected(this.layer);
    this.settle();
  }

  state() {
    return { lam: this.wanted, pinned: this.pinned, layer: this.layer, token: this.token };
  }

  /** Tells Python, once per change. One value holds everything, so that no run sees a half-updated state. */
  settle() {
    this.settleSoon.cancel();
    this.describe();
    const text = JSON.stringify(this.state());
    if (text === told.get(this.data.key)) return;
    told.set(this.data.key, text);
    this.send("choice", this.state());
  }

  describe() {
    this.strip.describe();
    this.bars.describe();
  }

  speak() {
    const said = this.readouts
      .filter(({ name }) => isNumber(this.data.curves?.[name]?.value?.[this.index]))
      .map(({ name, value }) => `${name} accuracy ${value.textContent}`);
    write(this.part("live"), `λ ${this.lam.toFixed(this.digits)}: ${said.join(", ")}`);
  }

  relayout() {
    if (!this.data) return;
    this.chart.layout();
    this.chart.paint(this.index);
  }

  destroy() {
    this.halt();
    this.settleSoon.cancel();
    this.speakSoon.cancel();
    this.resize.disconnect();
  }
}

export default function mount({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".blend");
  if (!root || !data) return undefined;
  if (!instances.has(root)) instances.set(root, new Blend(root));
  const blend = instances.get(root);
  const run = ++blend.runs;
  try {
    blend.adopt(data, setStateValue);
  } finally {
    if (run === 1) requestAnimationFrame(() => setTimeout(() => setStateValue("painted", true)));
  }
  // Streamlit may call the cleanup of an overtaken run; only the last one means the component is gone.
  return () => {
    if (blend.runs !== run) return;
    blend.destroy();
    instances.delete(root);
  };
}
