// Plots as SVG: `plot` with axes and two lines, `spark` without axes. Points are [time, value]; null is a gap.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function path(points, x, y) {
  let drawn = "", isBroken = true;
  for (const [time, value] of points) {
    if (value === null) { isBroken = true; continue; }
    drawn += `${isBroken ? "M" : "L"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    isBroken = false;
  }
  return drawn;
}

function plot(title, unit, lines) {
  const width = 480, height = 144, left = 52, bottom = 20, top = 22;
  const times = lines.flatMap((line) => line.points.map((point) => point[0]));
  const values = lines.flatMap((line) => line.points.map((point) => point[1])).filter((value) => value !== null);
  const first = Math.min(...times), last = Math.max(...times), most = (Math.max(...values, 0) || 1) * 1.1;
  const x = (time) => left + (width - left - 8) * (last > first ? (time - first) / (last - first) : 1);
  const y = (value) => height - bottom - (height - bottom - top) * value / most;
  const now = lines.map((line) => {
    const value = line.points.length ? line.points[line.points.length - 1][1] : null;
    return `${line.name} ${value === null ? "none" : rounded(value) + " " + unit}`;
  });
  const drawn = shape("svg", {class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: now ${now.join(", ")}`});
  drawn.append(shape("text", {x: 8, y: 14}, `${title}, ${unit}: ${now.join(", ")}`));
  for (const share of [0, 0.5, 1]) {
    const value = most / 1.1 * share;
    drawn.append(shape("line", {class: "grid", x1: left, x2: width - 8, y1: y(value), y2: y(value)}));
    drawn.append(shape("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, rounded(value)));
  }
  if (times.length) {
    drawn.append(shape("text", {x: left, y: height - 5}, clock(first)));
    drawn.append(shape("text", {x: width - 8, y: height - 5, "text-anchor": "end"}, clock(last)));
  }
  for (const line of lines) drawn.append(shape("path", {class: line.look, d: path(line.points, x, y)}));
  return drawn;
}

function spark(points, most, label) {
  const width = 144, height = 26;
  const times = points.map((point) => point[0]);
  const first = Math.min(...times), last = Math.max(...times);
  const x = (time) => 2 + (width - 4) * (last > first ? (time - first) / (last - first) : 1);
  const y = (value) => height - 3 - (height - 6) * value / Math.max(most, 1);
  const drawn = shape("svg", {class: "spark", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
  drawn.append(shape("path", {class: "one", d: path(points, x, y)}));
  return drawn;
}

function rounded(value) {
  if (value === 0) return "0";
  return value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(2)).toString();
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
