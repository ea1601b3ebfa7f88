"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.onclick = () => {
    const now = root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.style.colorScheme = now === "dark" ? "light" : "dark";
  };

  const digits = (n) => {
    if (n === 0) return "0";
    if (n >= 100) return Math.round(n).toLocaleString("en");
    return String(+n.toPrecision(3));
  };
  const scaled = (n, base, units) => {
    let unit = 0;
    while (n >= 999.5 && unit < units.length - 1) { n /= base; unit++; }
    return digits(n) + " " + units[unit];
  };
  const write = {
    Moment: (s) => {
      s = Math.round(s);
      const two = (n) => String(n).padStart(2, "0");
      const minutes = Math.floor(s / 60);
      return minutes < 60 ? minutes + ":" + two(s % 60)
        : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + two(s % 60);
    },
    Micros: (n) => scaled(n, 1000, ["µs", "ms", "s"]),
    Number: digits,
    Bytes: (n) => scaled(n, 1024, ["B", "KiB", "MiB", "GiB"]),
    Nines: (n) => +(100 - 100 * 10 ** -n).toFixed(Math.max(1, Math.ceil(n))) + " %",
  };

  // The index whose x is nearest; x rises.
  const nearest = (at, x) => {
    let low = 0, high = at.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (at[middle] <= x) low = middle; else high = middle;
    }
    return x - at[low] <= at[high] - x ? low : high;
  };

  const readout = document.getElementById("readout");
  const line = (kind, left, right) => {
    const row = document.createElement(kind);
    if (right === undefined) row.textContent = left;
    else {
      const name = document.createElement("span");
      name.textContent = left;
      row.append(name, right);
    }
    readout.append(row);
  };

  for (const figure of document.querySelectorAll("figure")) {
    const plot = JSON.parse(figure.querySelector("script").textContent);
    const svg = figure.querySelector(".plot svg");
    const cursor = svg.querySelector(".cursor");
    const hide = () => { readout.hidden = true; cursor.setAttribute("hidden", ""); };
    const show = (event) => {
      const box = svg.getBoundingClientRect();
      const pixel = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      if (pixel < plot.left || pixel > plot.right) return hide();
      const x = plot.low + (pixel - plot.left) / (plot.right - plot.left) * (plot.high - plot.low);
      readout.replaceChildren();
      line("b", write[plot.x](x));
      for (const series of plot.series) {
        const at = series.at || plot.series[0].at;
        if (!at.length) continue;
        const value = series.values[nearest(at, x)];
        line("div", series.name, value === null ? "–" : write[plot.y](value));
      }
      cursor.setAttribute("d", `M${pixel} ${plot.top}V${plot.bottom}`);
      cursor.removeAttribute("hidden");
      readout.hidden = false;
      const right = event.pageX + 18 + readout.offsetWidth > scrollX + root.clientWidth;
      readout.style.left = event.pageX + (right ? -18 - readout.offsetWidth : 18) + "px";
      readout.style.top = event.pageY - 12 + "px";
    };
    svg.addEventListener("pointermove", show);
    svg.addEventListener("pointerdown", show);
    svg.addEventListener("pointerleave", hide);
  }
})();
