// Line charts as SVG. A chart takes the focus; arrow keys, Home and End move its cursor, whose
// values stand in the legend and are read out.
const WIDTH = 600, HEIGHT = 140, SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Chart {
  constructor(title, series, shown) {
    this.series = series;
    this.shown = shown;
    this.title = title;
    this.at = [];
    this.cursor = null;
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0" });
    this.legend = element("ul", { class: "legend" });
    this.top = element("span");
    this.when = element("span");
    this.figure = element("figure", {}, element("figcaption", {}, title), this.legend, this.svg,
      element("div", { class: "axis" }, this.top, this.when));
    this.svg.addEventListener("keydown", (event) => this.moved(event));
    this.svg.addEventListener("pointermove", (event) => this.pointed(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
  }

  update(history) {
    const followed = this.cursor !== null && this.at[this.cursor];
    this.at = history.at ?? [];
    this.values = this.series.map(([key]) => history[key] ?? []);
    this.cursor = followed ? this.at.indexOf(followed) : null;
    if (this.cursor === -1) this.cursor = null;
    this.draw();
  }

  draw() {
    const all = this.values.flat().filter((value) => value !== null);
    this.most = Math.max(...all, 0) || 1;
    this.svg.replaceChildren(...[0, 0.5, 1].map((share) =>
      drawn("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share })));
    this.values.forEach((values, number) => {
      const path = drawn("path", { class: `series s${number}`, d: this.path(values) });
      this.svg.append(path);
    });
    if (this.cursor !== null) {
      const x = this.x(this.cursor);
      this.svg.append(drawn("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: HEIGHT }));
    }
    this.top.textContent = `0 to ${this.shown(this.most)}`;
    this.told();
  }

  path(values) {
    let path = "", pen = "M";
    values.forEach((value, index) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${this.x(index).toFixed(1)} ${(HEIGHT - (value / this.most) * HEIGHT).toFixed(1)}`;
      pen = "L";
    });
    return path;
  }

  x(index) {
    return this.at.length < 2 ? WIDTH : (index / (this.at.length - 1)) * WIDTH;
  }

  told() {
    const index = this.cursor ?? this.at.length - 1;
    const time = this.at[index];
    this.when.textContent = time ? new Date(time * 1000).toLocaleTimeString() : "no data yet";
    const texts = this.series.map(([, name], number) => [name, this.text(this.values[number][index])]);
    this.legend.replaceChildren(...texts.map(([name, text], number) => element("li", {},
      element("span", { class: `swatch f${number}` }), `${name} `, element("b", {}, text))));
    const read = texts.map(([name, text]) => `${name} ${text}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}: ${read}, ${this.when.textContent}`);
  }

  text(value) {
    return value === null || value === undefined ? "–" : this.shown(value);
  }

  point(index) {
    this.cursor = index;
    this.draw();
  }

  moved(event) {
    const last = this.at.length - 1;
    const here = this.cursor ?? last;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.point(to === null ? null : Math.min(Math.max(to, 0), last));
  }

  pointed(event) {
    const box = this.svg.getBoundingClientRect();
    if (this.at.length < 2) return;
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    this.point(Math.round(share * (this.at.length - 1)));
  }
}
