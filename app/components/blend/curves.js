// Part 2 of 6: the two accuracy curves, drawn once per payload or resize; a drag moves the rule, the dots and their labels.

const MARGIN = { top: 34, right: 20, bottom: 30, left: 60 }; // left and right must match --left and --right in blend.css
const SERIES = ["clean", "robust"];

class CurveChart {
  /** `pick(lam)` is called while the pointer is down on the chart, `release()` once it is lifted. */
  constructor(host, pick, release) {
    this.host = host;
    this.svg = draw("svg", { class: "curves", role: "img" });
    this.still = draw("g", {}, this.svg);
    this.moving = draw("g", { class: "moving" }, this.svg);
    this.rule = draw("line", { class: "rule" }, this.moving);
    this.lam = this.pill("lam");
    this.dots = {};
    this.pills = {};
    for (const name of SERIES) this.pills[name] = this.pill(name);
    for (const name of SERIES) {
      this.dots[name] =
        name === "clean"
          ? draw("circle", { class: "dot clean", r: 7 }, this.moving)
          : draw("path", { class: "dot robust" }, this.moving);
    }
    host.append(this.svg);
    this.listen(pick, release);
  }

  pill(name) {
    const group = draw("g", { class: `pill ${name}` }, this.moving);
    const box = draw("rect", { rx: 11, height: 22 }, group);
    const text = draw("text", { dy: "0.35em", "text-anchor": "middle" }, group);
    text.append("");
    return { group, box, text, width: 0 };
  }

  listen(pick, release) {
    const at = (event) => {
      const box = this.svg.getBoundingClientRect(); // in enlarged pixels where CSS zoom is at work
      const x = ((event.clientX - box.left) / box.width) * this.width - MARGIN.left;
      pick(this.low + (x / this.plotWidth) * (this.high - this.low));
    };
    this.svg.onpointerdown = (event) => {
      if (event.button !== 0 || this.locked) return;
      this.svg.setPointerCapture(event.pointerId);
      at(event);
    };
    this.svg.onpointermove = (event) => {
      if (this.svg.hasPointerCapture(event.pointerId)) at(event);
    };
    this.svg.onlostpointercapture = release;
  }

  setData(data) {
    this.stops = stopsOf(data.stops);
    this.low = this.stops[0];
    this.high = Math.max(this.stops.at(-1), this.low + 1e-9);
    this.curves = {};
    for (const name of SERIES) {
      const curve = data.curves?.[name];
      if (Array.isArray(curve?.value)) this.curves[name] = curve;
      this.dots[name].style.display = this.pills[name].group.style.display = this.curves[name] ? "" : "none";
    }
    this.digits = decimalsOf(this.stops);
    this.joined = data.joined !== false;
    this.locked = Boolean(data.locked);
    this.svg.classList.toggle("locked", this.locked);
    this.layout();
  }

  x(lam) {
    return MARGIN.left + ((lam - this.low) / (this.high - this.low)) * this.plotWidth;
  }

  y(fraction) {
    return MARGIN.top + (1 - fraction) * this.plotHeight;
  }

  /** Redraws what does not move; needed when the payload or the size changes. */
  layout() {
    const width = (this.width = Math.max(220, this.host.clientWidth));
    const height = this.host.clientHeight || 300;
    this.plotWidth = width - MARGIN.left - MARGIN.right;
    this.plotHeight = height - MARGIN.top - MARGIN.bottom;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.still.replaceChildren();
    if (!this.curves) return;
    for (const [from, to] of [[this.low, 0], [1, this.high]]) {
      if (to - from > 1e-6) this.outside(from, to);
    }
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      const y = this.y(tick);
      draw("line", { class: tick ? "grid" : "grid base", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }, this.still);
      const label = draw("text", { class: "tick", x: MARGIN.left - 12, y, dy: "0.35em" }, this.still);
      label.textContent = `${100 * tick}%`;
    }
    for (const name of SERIES) if (this.curves[name] && this.joined) this.band(name);
    for (const name of SERIES) if (this.curves[name]) this.line(name);
    draw("rect", { class: "target", x: MARGIN.left - 12, y: 0, width: this.plotWidth + 24, height }, this.still);
    for (const name of ["lam", ...SERIES]) {
      const pill = this.pills[name] ?? this.lam;
      pill.text.firstChild.data = name === "lam" ? `λ = ${(-0.5).toFixed(this.digits)}` : `${name} 88.8%`;
      pill.width = Math.ceil(pill.text.getComputedTextLength() || 84) + 18;
      pill.box.setAttribute("width", pill.width);
    }
    this.rule.setAttribute("y1", MARGIN.top - 12);
    this.rule.setAttribute("y2", height);
  }

  outside(from, to) {
    const [x, end] = [this.x(from), this.x(to)];
    draw("rect", { class: "outside", x, y: MARGIN.top, width: end - x, height: this.plotHeight }, this.still);
    const label = draw("text", { class: "tick middle", x: (x + end) / 2, y: MARGIN.top + 14 }, this.still);
    label.textContent = end - x > 84 ? "extrapolated" : "";
  }

  band(name) {
    const { low, high } = this.curves[name];
    if (!Array.isArray(low) || !Array.isArray(high)) return;
    const known = this.stops.map((_, i) => i).filter((i) => isNumber(low[i]) && isNumber(high[i]));
    const point = (values) => (i) => `${this.x(this.stops[i]).toFixed(1)} ${this.y(values[i]).toFixed(1)}`;
    const outline = [...known.map(point(high)), ...known.reverse().map(point(low))];
    if (outline.length) draw("path", { class: `band ${name}`, d: `M${outline.join("L")}Z` }, this.still);
  }

  line(name) {
    const { value } = this.curves[name];
    let path = "";
    let marks = "";
    let pen = "M";
    this.stops.forEach((stop, i) => {
      if (!isNumber(value[i])) return void (pen = "M");
      const [x, y] = [this.x(stop).toFixed(1), this.y(value[i]).toFixed(1)];
      path += `${pen}${x} ${y}`;
      marks += name === "clean" ? `M${x} ${y}m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0` : `M${x} ${y}m0-3.2l3.2 3.2l-3.2 3.2l-3.2-3.2z`;
      pen = "L";
    });
    if (this.joined) draw("path", { class: `line ${name}`, d: path }, this.still);
    draw("path", { class: `marks ${name}`, d: marks }, this.still);
  }

  /** Moves everything that depends on the stop; no element is created. */
  paint(index) {
    const x = this.x(this.stops[index]);
    set(this.rule, { x1: x, x2: x });
    this.place(this.lam, `λ = ${this.stops[index].toFixed(this.digits)}`, this.inside(x, this.lam), MARGIN.top - 22);
    const shown = SERIES.filter((name) => isNumber(this.curves[name]?.value[index]));
    const heights = this.apart(shown.map((name) => this.y(this.curves[name].value[index])));
    for (const name of SERIES) {
      const visible = shown.includes(name) ? "visible" : "hidden";
      this.dots[name].setAttribute("visibility", visible);
      this.pills[name].group.setAttribute("visibility", visible);
    }
    shown.forEach((name, i) => {
      const value = this.curves[name].value[index];
      const pill = this.pills[name];
      const side = x < MARGIN.left + this.plotWidth * 0.55 ? 1 : -1;
      this.dot(name, x, this.y(value));
      this.place(pill, `${name} ${percent(value)}`, this.inside(x + side * (pill.width / 2 + 15), pill), heights[i]);
    });
  }

  inside(x, pill) {
    return clamp(x, MARGIN.left - 8 + pill.width / 2, MARGIN.left + this.plotWidth + MARGIN.right - pill.width / 2 - 1);
  }

  // Coordinates, not transforms: a changed transform makes the browser sort the whole page into layers anew (10 ms).
  place(pill, text, x, y) {
    if (pill.text.firstChild.data !== text) pill.text.firstChild.data = text;
    set(pill.text, { x, y });
    set(pill.box, { x: x - pill.width / 2, y: y - 11 });
  }

  dot(name, x, y) {
    if (name === "clean") set(this.dots[name], { cx: x, cy: y });
    else set(this.dots[name], { d: `M${x} ${y - 8.5}l8.5 8.5l-8.5 8.5l-8.5-8.5Z` });
  }

  /** Label heights at least 26 px from each other and inside the plot. */
  apart(heights) {
    const [top, bottom] = [MARGIN.top + 11, MARGIN.top + this.plotHeight - 11];
    const placed = heights.map((y) => clamp(y, top, bottom));
    if (placed.length < 2 || Math.abs(placed[0] - placed[1]) >= 26) return placed;
    const above = heights[0] <= heights[1] ? 0 : 1;
    const middle = clamp((placed[0] + placed[1]) / 2, top + 13, bottom - 13);
    return placed.map((_, i) => (i === above ? middle - 13 : middle + 13));
  }

  /** Text alternative of the whole drawing, for screen readers. */
  describe(axis) {
    const say = (name) => {
      const values = this.curves[name].value;
      const best = values.reduce((top, v, i) => (isNumber(v) && !(values[top] >= v) ? i : top), 0);
      const at = (i) => `${percent(values[i])} at λ ${this.stops[i].toFixed(this.digits)}`;
      return `${name} accuracy goes from ${at(0)} to ${at(this.stops.length - 1)}, highest ${at(best)}`;
    };
    const parts = SERIES.filter((name) => this.curves[name]).map(say);
    this.svg.setAttribute("aria-label", `Accuracy over λ, from ${axis.at_zero} to ${axis.at_one}: ${parts.join("; ")}.`);
  }
}
