"use strict";
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumSignificantDigits: 12 });

// a column is sorted by its numbers where it has them, else by its text; a second click turns it round
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const key = (row) => {
      const cell = row.children[column];
      return "number" in cell.dataset ? Number(cell.dataset.number) : cell.textContent;
    };
    const before = (a, b) => {
      if (typeof a === "number" && typeof b === "number") return a - b;
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      return a.localeCompare(b, "en", { numeric: true });
    };
    const rows = [...body.rows].sort((a, b) => before(key(a), key(b)));
    body.append(...(down ? rows.reverse() : rows));
  });
}

// whoever points at a chart reads the numbers of the points nearest to that place
const tip = document.getElementById("tip");
const svg = (name, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
for (const figure of document.querySelectorAll(".chart")) {
  const picture = figure.querySelector("svg");
  const { lines } = JSON.parse(figure.querySelector("script").textContent);
  const drawn = [...picture.querySelectorAll("polyline")].map((line) =>
    line.getAttribute("points").split(" ").map((point) => point.split(",").map(Number)));
  const marks = svg("g", {});
  picture.append(marks);
  const leave = () => { tip.hidden = true; marks.replaceChildren(); };
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const scale = picture.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const all = drawn.flatMap((points, line) => {
      let best = 0;
      points.forEach((point, index) => { if (Math.abs(point[0] - x) < Math.abs(points[best][0] - x)) best = index; });
      return [{ line, index: best, at: points[best] }];
    });
    const near = Math.min(...all.map(({ at }) => Math.abs(at[0] - x)));
    const found = all.filter(({ at }) => Math.abs(at[0] - x) <= near + 1)
      .sort((a, b) => Math.abs(a.at[1] - y) - Math.abs(b.at[1] - y)).slice(0, 10)
      .sort((a, b) => a.at[1] - b.at[1]);
    if (!found.length) return leave();
    const { top, bottom } = picture.dataset;
    marks.replaceChildren(svg("line", { class: "at", x1: found[0].at[0], x2: found[0].at[0], y1: top, y2: bottom }));
    const head = document.createElement("b");
    head.textContent = whole.format(lines[found[0].line].x[found[0].index]);
    tip.replaceChildren(head);
    for (const { line, index, at } of found) {
      const { name, colour, y: values, low, high } = lines[line];
      marks.append(svg("circle", { class: `c${colour}`, cx: at[0], cy: at[1], r: 4 }));
      const row = document.createElement("div");
      const range = low ? ` (${number.format(low[index])} to ${number.format(high[index])})` : "";
      row.className = `c${colour}`;
      row.textContent = `${name}: ${number.format(values[index])}${range}`;
      tip.append(row);
    }
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, event.clientY - height - 12)}px`;
  });
}
