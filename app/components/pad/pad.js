// Part 2 of 2 (after blend/parts.js): a drawing is a ground colour and a list of strokes and ready shapes, painted anew
// from its beginning whenever it changes; lifting the pen sends the picture, each pixel the mean of its block.

const pads = new WeakMap();
const CANVAS = 256;

class Pad {
  constructor(root) {
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.canvas = this.part("canvas");
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.pen.lineCap = this.pen.lineJoin = "round";
  }

  adopt(data, send) {
    this.send = send;
    if (this.data) return; // from here on the browser owns the drawing
    this.data = data;
    this.colours = Object.fromEntries(data.colours.map(({ name, value }) => [name, value]));
    this.masks = Object.fromEntries(data.shapes.map(({ name, bits }) => [name, Uint8Array.from(atob(bits), (c) => c.charCodeAt(0))]));
    this.drawing = this.recalled(data.recipe) ?? { ground: data.start.ground, acts: [{ shape: data.start.shape, colour: data.start.brush }] };
    this.brush = data.start.brush;
    this.swatches("brush", [...data.colours, { name: "eraser" }], this.brush, (name) => (this.brush = name));
    this.swatches("ground", data.colours, this.drawing.ground, (name) => {
      this.drawing.ground = name;
      this.settle(`Background ${name}`);
    });
    this.part("ready").append(...data.shapes.map(({ name }) => new Option(name, name)));
    this.listen();
    this.settle("");
  }

  /** What an earlier pad sent, or null; checked, because it comes by way of the server. */
  recalled(recipe) {
    try {
      const { ground, acts } = JSON.parse(recipe);
      const known = (act) => (act.colour === "eraser" || act.colour in this.colours) && (act.shape ? act.shape in this.masks : act.points.every(isNumber));
      return ground in this.colours && acts.every(known) ? { ground, acts } : null;
    } catch {
      return null;
    }
  }

  swatches(part, colours, chosen, choose) {
    const field = this.part(part);
    for (const { name, value } of colours) {
      const label = make("label", value ? "swatch" : "swatch eraser");
      const input = make("input");
      Object.assign(input, { type: "radio", name: part, value: name, checked: name === chosen, title: name });
      input.setAttribute("aria-label", `${part === "ground" ? "Background" : "Brush"}: ${name}`);
      if (value) input.style.setProperty("--colour", value);
      input.onchange = () => choose(name);
      label.append(input);
      field.append(label);
    }
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.round(share * CANVAS));
    };
    this.canvas.onpointerdown = (event) => {
      if (event.button !== 0 || this.stroke) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.stroke = { colour: this.brush, width: Number(this.part("thickness").value), points: at(event) };
      this.drawing.acts.push(this.stroke);
      this.paint();
    };
    this.canvas.onpointermove = (event) => {
      if (!this.stroke) return;
      this.stroke.points.push(...at(event));
      this.paint();
    };
    this.canvas.onpointerup = this.canvas.onpointercancel = () => {
      if (!this.stroke) return;
      this.stroke = null;
      this.settle("");
    };
    this.part("ready").onchange = ({ target }) => {
      if (!target.value) return;
      this.drawing.acts = [{ shape: target.value, colour: this.brush === "eraser" ? this.data.start.brush : this.brush }];
      this.settle(`A ${target.value} is on the pad`);
      target.value = "";
    };
    this.part("undo").onclick = () => {
      this.drawing.acts.pop();
      this.settle("Undone");
    };
    this.part("clear").onclick = () => {
      this.drawing.acts = [];
      this.settle("The pad is empty");
    };
  }

  paint() {
    const { ground, acts } = this.drawing;
    this.pen.fillStyle = this.colours[ground];
    this.pen.fillRect(0, 0, CANVAS, CANVAS);
    for (const act of acts) {
      const colour = act.colour === "eraser" ? this.colours[ground] : this.colours[act.colour];
      if (act.shape) this.pen.drawImage(this.filled(act.shape, colour), 0, 0, CANVAS, CANVAS);
      else this.line(act, colour);
    }
  }

  line({ points, width }, colour) {
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = width;
    this.pen.beginPath();
    this.pen.moveTo(points[0], points[1]);
    for (let i = 0; i < points.length; i += 2) this.pen.lineTo(points[i] + (points.length === 2 ? 0.01 : 0), points[i + 1]);
    this.pen.stroke();
  }

  /** A ready shape in one colour on nothing. */
  filled(name, colour) {
    const { fine } = this.data;
    const sheet = new OffscreenCanvas(fine, fine);
    const pen = sheet.getContext("2d");
    pen.fillStyle = colour;
    pen.fillRect(0, 0, fine, fine);
    const image = pen.getImageData(0, 0, fine, fine);
    for (let i = 0; i < fine * fine; i++) if (!((this.masks[name][i >> 3] >> (7 - (i & 7))) & 1)) image.data[4 * i + 3] = 0;
    pen.putImageData(image, 0, 0);
    return sheet;
  }

  /** The picture as base64 of side x side x RGB bytes. */
  picture() {
    const { side } = this.data;
    const block = CANVAS / side;
    const from = this.pen.getImageData(0, 0, CANVAS, CANVAS).data;
    const sums = new Float64Array(side * side * 3);
    for (let y = 0; y < CANVAS; y++) {
      for (let x = 0; x < CANVAS; x++) {
        const cell = 3 * (Math.floor(y / block) * side + Math.floor(x / block));
        for (let c = 0; c < 3; c++) sums[cell + c] += from[4 * (y * CANVAS + x) + c];
      }
    }
    return btoa(String.fromCharCode(...Uint8Array.from(sums, (sum) => Math.round(sum / (block * block)))));
  }

  settle(said) {
    this.paint();
    this.part("undo").disabled = this.part("clear").disabled = !this.drawing.acts.length;
    write(this.part("live"), said);
    const picture = this.picture();
    if (picture === this.told) return;
    this.told = picture;
    this.send("drawn", { picture, recipe: JSON.stringify(this.drawing) });
  }
}

export default function mount({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".pad");
  if (!root || !data) return;
  if (!pads.has(root)) pads.set(root, new Pad(root));
  pads.get(root).adopt(data, setTriggerValue);
}
