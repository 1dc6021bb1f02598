// Part 2 of 2 (after blend/parts.js): a slider a norm layer. The browser owns the values until Python sends a new token.

const SETTLE = 150; // milliseconds after the last key
const desks = new WeakMap();

class Desk {
  constructor(root) {
    this.host = root.querySelector("[data-part=desk]");
    this.settleSoon = later(() => this.settle(), SETTLE);
  }

  adopt(data, send) {
    this.send = send;
    if (data === this.data) return;
    const shape = JSON.stringify([data.stages, data.names]);
    this.data = data;
    if (shape !== this.shape) this.build(shape);
    if (data.token !== this.token) {
      this.token = data.token;
      this.values = [...data.values];
      this.told = this.mix();
    }
    this.values.forEach((_, depth) => this.paint(depth));
  }

  build(shape) {
    this.shape = shape;
    this.rows = [];
    // the stem stands with the first stage, whose width it has
    const groups = [];
    for (const stage of this.data.stages) {
      const depths = stage.blocks.flatMap((block) => [...block.layers, ...(block.skip === null ? [] : [block.skip])]);
      const [single, previous] = [depths.length === 1, groups.at(-1)];
      if (previous && (single || previous.depths.length === 1)) {
        previous.depths.push(...depths);
        previous.title = single ? previous.title : `${previous.title}, ${stage.title}`;
      } else groups.push({ title: stage.title, depths });
    }
    this.host.replaceChildren(
      ...groups.map(({ title, depths }) => {
        const group = make("fieldset");
        group.append(make("legend", "", title), ...depths.sort((a, b) => a - b).map((depth) => this.row(depth)));
        return group;
      }),
    );
  }

  row(depth) {
    const row = make("label", "fader");
    const input = make("input");
    const value = make("output");
    Object.assign(input, { type: "range", min: 0, max: 1, step: 0.05 });
    input.setAttribute("aria-label", `λ of the AP of layer ${depth}, ${this.data.names[depth]}`);
    input.oninput = () => {
      this.values[depth] = Number(input.value);
      this.paint(depth);
      if (!this.held) this.settleSoon();
    };
    input.onpointerdown = () => (this.held = true);
    input.onpointerup = input.onpointercancel = input.onchange = () => {
      this.held = false;
      this.settleSoon();
    };
    row.append(make("b", "", String(depth)), make("span", "name", this.data.names[depth].replace(/^blocks\./, "")), input, value);
    this.rows[depth] = { row, input, value };
    return row;
  }

  paint(depth) {
    const { row, input, value } = this.rows[depth];
    const lam = this.values[depth];
    if (Number(input.value) !== lam) input.value = lam;
    input.style.setProperty("--at", `${100 * lam}%`);
    write(value, lam.toFixed(2));
    row.classList.toggle("apart", Math.abs(lam - this.data.base) > 1e-6);
    row.classList.toggle("picked", depth === this.data.picked);
  }

  mix() {
    return JSON.stringify(this.values.map((lam) => Math.round(100 * lam) / 100));
  }

  settle() {
    const mix = this.mix();
    if (mix === this.told) return;
    this.told = mix;
    this.send("mix", JSON.parse(mix));
  }
}

export default function mount({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mix");
  if (!root || !data) return;
  if (!desks.has(root)) desks.set(root, new Desk(root));
  desks.get(root).adopt(data, setTriggerValue);
}
