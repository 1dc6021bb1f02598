// Part 4 of 6: per layer one bar up (statistics gap, before a pale bar for the gap of the stored statistics) and one bar down
// (affine gap). Each direction has its own scale, fixed over the whole slider, so that a bar that moves means a change.

const NOTHING = 1e-9; // below it a gap is rounding

class LayerBars {
  constructor(part, select) {
    this.section = part("layers");
    this.host = part("bars");
    this.parts = { caption: part("layers-caption"), detail: part("layers-detail") };
    this.select = select;
    this.columns = [];
    this.focus = 0;
    this.looking = null;
    this.host.onkeydown = (event) => this.move(event);
  }

  setData(data) {
    const layers = data.layers ?? null;
    this.layers = Array.isArray(layers?.names) && layers.names.length ? layers : null;
    this.section.hidden = !this.layers;
    if (!this.layers) return;
    this.gaps = { statistics: this.gap(layers.statistics_gap), affine: this.gap(layers.affine_gap) };
    this.stored = Array.isArray(layers.stored_gap) ? layers.stored_gap : [];
    const top = (values) => Math.max(NOTHING, ...values.filter(isNumber));
    this.scale = {
      statistics: top([...(this.gaps.statistics?.values.flat() ?? []), ...this.stored]),
      affine: top(this.gaps.affine?.values.flat() ?? []),
    };
    write(this.parts.caption, layers.caption ?? "");
    const shape = `${layers.names.length}/${Boolean(this.gaps.statistics)}/${Boolean(this.gaps.affine)}/${this.stored.length > 0}`;
    if (shape !== this.shape) this.build(shape);
    this.columns.forEach(({ stored }, i) => {
      stored.hidden = !isNumber(this.stored[i]);
      if (!stored.hidden) stored.style.height = `${(100 * this.stored[i]) / this.scale.statistics}%`;
    });
    write(this.tops.statistics, this.gaps.statistics ? this.size(this.scale.statistics) : "");
    write(this.tops.affine, this.gaps.affine ? this.size(this.scale.affine) : "");
  }

  gap(given) {
    return Array.isArray(given?.values) && given.values.length ? { stops: stopsOf(given.stops), values: given.values } : null;
  }

  size(top) {
    return top > NOTHING ? `scale to ${this.number(top)}` : "none";
  }

  number(value) {
    return isNumber(value) ? value.toPrecision(2).replace(/e\+?/, "e") : "–";
  }

  build(shape) {
    this.shape = shape;
    this.focus = 0;
    const scale = make("div", "scale");
    this.tops = { statistics: make("span", "note"), affine: make("span", "note") };
    const title = (kind, text) => {
      const box = make("span", `half ${kind}`);
      if (this.gaps[kind]) box.append(make("b", "", text), this.tops[kind]);
      return box;
    };
    scale.append(title("statistics", "↑ Statistics gap"), title("affine", "↓ Affine gap"));
    const columns = make("div", "columns");
    this.columns = this.layers.names.map((_, i) => this.column(i));
    columns.style.setProperty("--layers", this.columns.length);
    columns.append(...this.columns.map((column) => column.button));
    // one path per kind: a drag rewrites two attributes, however deep the network
    this.paths = {};
    for (const kind of ["statistics", "affine"]) {
      const viewBox = `0 0 ${this.columns.length} 1`;
      const drawing = draw("svg", { class: kind, viewBox, preserveAspectRatio: "none", "aria-hidden": "true" }, columns);
      this.paths[kind] = draw("path", {}, drawing);
    }
    const ends = make("div", "ends");
    ends.append(make("span", "", "first layer"), make("span", "", "last layer"));
    const plot = make("div", "plot");
    plot.append(columns, ends);
    this.host.replaceChildren(scale, plot);
    this.legend(plot);
  }

  legend(plot) {
    const legend = make("div", "legend");
    const entry = (kind, text) => {
      const item = make("span", "item");
      item.append(make("i", kind), text);
      legend.append(item);
    };
    if (this.gaps.statistics) entry("statistics", "statistics gap at this λ");
    if (this.stored.length) entry("stored", "gap of the stored statistics");
    if (this.gaps.affine) entry("affine", "affine gap at this λ");
    plot.append(legend);
  }

  column(index) {
    const button = make("button", "layer");
    button.type = "button";
    button.tabIndex = index === this.focus ? 0 : -1;
    const stored = make("span", "stored");
    button.append(stored);
    button.onclick = () => this.select(this.layers.names[index]);
    button.onfocus = button.onpointerenter = () => this.look(index);
    button.onblur = button.onpointerleave = () => this.look(null);
    return { button, stored };
  }

  /** One tab stop for all bars; the arrow keys go from layer to layer. */
  move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    const last = this.columns.length - 1;
    const next = event.key === "Home" ? 0 : event.key === "End" ? last : step ? clamp(this.focus + step, 0, last) : null;
    if (next === null) return;
    event.preventDefault();
    this.tabTo(next);
    this.columns[next].button.focus();
  }

  tabTo(index) {
    this.columns[this.focus].button.tabIndex = -1;
    this.focus = index;
    this.columns[index].button.tabIndex = 0;
  }

  values(kind, lam) {
    const gap = this.gaps[kind];
    return gap?.values[nearest(gap.stops, lam)] ?? [];
  }

  paint(lam) {
    if (!this.layers) return;
    this.lam = lam;
    for (const kind of ["statistics", "affine"]) {
      const values = this.values(kind, lam);
      const bar = (_, i) => {
        const share = isNumber(values[i]) ? clamp(values[i] / this.scale[kind], 0, 1) : 0;
        return kind === "statistics" ? `M${i + 0.5} 1V${(1 - share).toFixed(4)}` : `M${i + 0.5} 0V${share.toFixed(4)}`;
      };
      this.paths[kind].setAttribute("d", this.columns.map(bar).join(""));
    }
    this.paintDetail();
  }

  setSelected(name) {
    if (!this.layers) return;
    this.selected = this.layers.names.indexOf(name);
    this.columns.forEach(({ button }, i) => button.setAttribute("aria-pressed", String(i === this.selected)));
    if (this.selected >= 0) this.tabTo(this.selected);
    this.paintDetail();
  }

  look(index) {
    this.looking = index;
    this.paintDetail();
  }

  paintDetail() {
    const index = this.looking ?? (this.selected >= 0 ? this.selected : null);
    const pinned = index !== null && index === this.selected ? "Selected: " : "";
    write(this.parts.detail, index === null ? "Choose a layer to read its numbers and to look inside it." : pinned + this.say(index));
  }

  say(index) {
    const parts = [];
    if (this.gaps.statistics) parts.push(`statistics gap ${this.number(this.values("statistics", this.lam)[index])}`);
    if (isNumber(this.stored[index])) parts.push(`stored statistics gap ${this.number(this.stored[index])}`);
    if (this.gaps.affine) parts.push(`affine gap ${this.number(this.values("affine", this.lam)[index])}`);
    return `${this.layers.names[index]} (layer ${index + 1} of ${this.columns.length}): ${parts.join(", ")}`;
  }

  describe() {
    if (this.layers) this.columns.forEach(({ button }, i) => button.setAttribute("aria-label", this.say(i)));
  }
}
