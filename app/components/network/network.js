// Part 2 of 2 (after blend/parts.js): the diagram of norm layers and the bars of the picked layer's channels.

const diagrams = new WeakMap();
const short = (value) => (isNumber(value) ? String(Number(value.toPrecision(3))) : "–");

class Network {
  constructor(root) {
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.layers = new Roving(this.part("diagram"), (layer) => this.pick({ layer }));
    this.channels = new Roving(this.part("channels"), (channel) => this.pick({ channel }), (c) => this.detail(c));
  }

  adopt(data, send) {
    this.send = send;
    if (data === this.data) return;
    const before = this.data;
    this.data = data;
    const shape = JSON.stringify(data.stages);
    if (shape !== this.shape) this.diagram(shape);
    this.paintNodes();
    this.scale();
    this.legend();
    [this.layer, this.channel] = [data.layer, data.channel];
    this.layers.press(this.layer);
    this.bars(Boolean(before));
  }

  /** Shows the choice, then tells Python; bars of another layer are drawn anew, without moving. */
  pick(choice) {
    if (choice.layer !== undefined && choice.layer !== this.layer) {
      this.layer = choice.layer;
      this.layers.press(this.layer);
      this.bars(false);
    }
    if (choice.channel !== undefined) {
      this.channel = choice.channel;
      this.channels.press(this.channel);
      this.detail(null);
    }
    this.send("picked", choice);
  }

  diagram(shape) {
    this.shape = shape;
    const nodes = [];
    const node = (depth, kind = "") => {
      const button = make("button", `node ${kind}`);
      button.type = "button";
      button.append(make("i"), make("span", "", String(depth)));
      nodes[depth] = button;
      return button;
    };
    const stages = this.data.stages.map((stage) => {
      const box = make("div", "stage");
      const row = make("div", "row");
      for (const block of stage.blocks) {
        const frame = make("div", block.residual ? "block residual" : "block");
        if (block.residual) frame.append(make("div", "arc"));
        frame.append(...block.layers.map((depth) => node(depth)));
        if (block.skip !== null) frame.append(node(block.skip, "skip"));
        row.append(frame);
      }
      box.append(row, make("div", "title", stage.title));
      return box;
    });
    this.part("diagram").replaceChildren(...stages);
    this.layers.adopt(nodes);
  }

  paintNodes() {
    this.data.layers.forEach((layer, depth) => {
      const node = this.layers.buttons[depth];
      node.style.setProperty("--share", layer.share);
      node.setAttribute("aria-label", `layer ${depth}, ${layer.name}: ${layer.said}`);
      node.title = `${depth} · ${layer.name}\n${layer.said}`;
    });
  }

  scale() {
    const [meaning, end] = this.data.colour;
    this.part("scale").replaceChildren(make("span", "", `${meaning}: 0`), make("i", "ramp"), make("span", "", end));
  }

  legend() {
    write(this.part("heading"), this.data.heading);
    const entries = this.data.legend.map(([below, above, words], i) => {
      const entry = make("span", i ? "robust" : "clean");
      const symbol = make("b", "", "NS");
      const two = make("span", "two");
      two.append(make("sup", "", above), make("sub", "", below));
      symbol.append(two);
      entry.append(make("i"), symbol, make("span", "", words));
      return entry;
    });
    this.part("legend").replaceChildren(...entries);
  }

  bars(moving) {
    const layer = this.data.layers[this.layer];
    const host = this.part("channels");
    const n = layer.mean[0].length;
    const stays = moving && this.drawn === this.layer && this.columns?.length === n;
    host.classList.toggle("moving", stays);
    if (this.columns?.length !== n) {
      this.columns = Array.from({ length: n }, () => this.column());
      host.replaceChildren(...this.columns.map((column) => column.button));
      this.channels.adopt(this.columns.map((column) => column.button));
    }
    this.drawn = this.layer;
    const axes = [["mean", "mean μ"], ["sigma", "deviation σ"]].map(([kind, title], row) => {
      const [low, high] = layer[`${kind}_range`];
      const span = Math.max(high - low, 1e-12);
      const zero = clamp(-low / span, 0, 1);
      this.columns.forEach(({ cells, button }, c) => {
        cells[row].box.style.setProperty("--zero", `${100 * zero}%`);
        cells[row].bars.forEach((bar, i) => {
          const value = layer[kind][i][c];
          const share = clamp(Math.abs(value) / span, 0, 1);
          bar.style.height = `${100 * share}%`;
          bar.style.bottom = `${100 * (value < 0 ? zero - share : zero)}%`;
        });
        if (row) button.setAttribute("aria-label", this.say(c));
      });
      const axis = make("div");
      axis.append(make("span", "", short(high)), make("b", "", title), make("span", "", short(low)));
      return axis;
    });
    this.part("axes").replaceChildren(...axes);
    this.channels.press(this.channel);
    this.detail(null);
  }

  column() {
    const button = make("button", "channel");
    button.type = "button";
    const cells = [0, 1].map(() => {
      const box = make("span", "cell");
      const bars = ["clean", "robust"].map((kind) => make("span", `bar ${kind}`));
      box.append(...bars);
      button.append(box);
      return { box, bars };
    });
    return { button, cells };
  }

  detail(looking) {
    const c = looking ?? this.channel;
    write(this.part("detail"), c < this.columns.length ? this.say(c) : "");
  }

  say(c) {
    const { mean, sigma } = this.data.layers[this.layer];
    const pair = ([a, b]) => `${short(a[c])} clean, ${short(b[c])} adversarial`;
    return `Channel ${c}: μ ${pair(mean)}; σ ${pair(sigma)}`;
  }
}

/** Buttons of which one is the tab stop; arrows, Home and End go from one to the next. */
class Roving {
  constructor(host, choose, look = () => {}) {
    this.buttons = [];
    this.choose = choose;
    this.look = look;
    host.onkeydown = (event) => this.key(event);
  }

  adopt(buttons) {
    this.buttons = buttons;
    buttons.forEach((button, i) => {
      button.onclick = () => this.choose(i);
      button.onfocus = button.onpointerenter = () => this.look(i);
      button.onblur = button.onpointerleave = () => this.look(null);
    });
    this.stop(0);
  }

  key(event) {
    const at = this.buttons.indexOf(event.target.closest("button"));
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    const last = this.buttons.length - 1;
    const next = event.key === "Home" ? 0 : event.key === "End" ? last : step ? clamp(at + step, 0, last) : null;
    if (at < 0 || next === null) return;
    event.preventDefault();
    this.stop(next);
    this.buttons[next].focus();
  }

  stop(index) {
    this.buttons.forEach((button, i) => (button.tabIndex = i === index ? 0 : -1));
  }

  press(index) {
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    this.stop(clamp(index, 0, this.buttons.length - 1));
  }
}

export default function mount({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".net");
  if (!root || !data) return;
  if (!diagrams.has(root)) diagrams.set(root, new Network(root));
  diagrams.get(root).adopt(data, setTriggerValue);
}
