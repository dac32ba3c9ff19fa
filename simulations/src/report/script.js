"use strict";
// Tool-tips, hiding of lines, filters. The page says everything without this.
const element = (tag, name, text) => {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
};
const digits = (v, n) => (v === 0 ? "0" : Math.abs(v) >= 10 ** n ? Math.round(v).toLocaleString("en-US") : String(+v.toPrecision(n)));
const written = {
  n: (v) => (Number.isInteger(v) ? v.toLocaleString("en-US") : digits(v, 3)),
  $: (v) => "$" + (v >= 1000 ? Math.round(v).toLocaleString("en-US") : v.toFixed(2)),
  ms: (v) => (v < 1000 ? digits(v, 3) + " ms" : v < 120000 ? digits(v / 1000, 3) + " s" : digits(v / 60000, 3) + " min"),
};
const two = (n) => String(n).padStart(2, "0");
const clock = (s) => {
  const day = Math.floor(s / 86400), hour = Math.floor(s / 3600) % 24, minute = Math.floor(s / 60) % 60, second = Math.floor(s) % 60;
  return (day ? `day ${day + 1} ` : "") + two(hour) + ":" + two(minute) + (second ? ":" + two(second) : "");
};

for (const group of document.querySelectorAll(".group-of-charts")) {
  const source = group.querySelector("script.hover");
  if (!source) continue;
  const data = JSON.parse(source.textContent);
  const charts = [...group.querySelectorAll("figure.chart")].map((figure, i) => ({ figure, series: data.charts[i], field: figure.querySelector(".field") }));
  const span = data.end[data.end.length - 1];
  const crosses = charts.map((c) => c.field && c.field.appendChild(element("div", "cross")));
  const tip = group.appendChild(element("div", "tip"));
  group.style.position = "relative";
  let at = -1;

  const hide = () => {
    at = -1;
    tip.hidden = true;
    crosses.forEach((c) => c && (c.hidden = true));
  };
  const show = (chart, index) => {
    at = Math.max(0, Math.min(data.end.length - 1, index));
    const from = at ? data.end[at - 1] : 0;
    const share = (from + data.end[at]) / 2 / span;
    crosses.forEach((c) => c && ((c.hidden = false), (c.style.left = 100 * share + "%")));
    tip.replaceChildren(element("b", "", `${clock(from)} – ${clock(data.end[at])}`));
    for (const s of chart.series) {
      const value = s.v[at];
      if (value === null || value === undefined || (!s.z && value === 0)) continue;
      const row = element("div"), key = element("span", "key");
      key.append(element("i", s.c), s.n);
      row.append(key, element("span", "", written[s.u](value)));
      tip.append(row);
    }
    tip.hidden = false;
    const field = chart.field.getBoundingClientRect(), home = group.getBoundingClientRect();
    const x = field.left - home.left + share * field.width, w = tip.offsetWidth;
    const left = x + 14 + w > home.width ? x - 14 - w : x + 14;
    tip.style.left = Math.max(0, Math.min(left, home.width - w)) + "px";
    tip.style.top = field.top - home.top + 8 + "px";
  };
  hide();
  for (const chart of charts) {
    if (!chart.field || !chart.series.length || !span) continue;
    chart.field.addEventListener("pointermove", (e) => {
      const box = chart.field.getBoundingClientRect();
      const time = ((e.clientX - box.left) / box.width) * span;
      const index = data.end.findIndex((end) => end >= time);
      show(chart, index < 0 ? data.end.length - 1 : index);
    });
    chart.field.addEventListener("pointerleave", hide);
    chart.field.addEventListener("blur", hide);
    chart.field.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[e.key];
      if (!step) return;
      e.preventDefault();
      show(chart, at < 0 ? 0 : at + step);
    });
    // A click on a line's key hides it.
    for (const key of chart.figure.querySelectorAll(".legend .key")) {
      const swatch = key.querySelector("i");
      const shapes = [...chart.figure.querySelectorAll("svg > path")].filter((p) => p.getAttribute("class") === swatch.className);
      if (!shapes.length || !/\b(line|thin|dotted|limit)\b/.test(swatch.className)) continue;
      const button = element("button", "key");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...key.childNodes);
      key.replaceWith(button);
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        shapes.forEach((p) => p.classList.toggle("hidden", !shown));
      });
    }
  }
}

for (const card of document.querySelectorAll(".decisions")) {
  const rows = [...card.querySelectorAll("tbody tr")], tools = card.querySelector(".tools");
  const text = element("input"), choice = element("select");
  text.type = "search";
  text.placeholder = "filter: variant, reason, time";
  text.setAttribute("aria-label", "filter decisions");
  choice.setAttribute("aria-label", "direction");
  for (const [value, words] of [["", "up and down"], ["up", "up"], ["down", "down"]]) {
    const option = element("option", "", words);
    option.value = value;
    choice.append(option);
  }
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = !(row.textContent.toLowerCase().includes(wanted) && (!choice.value || row.querySelector("." + choice.value)));
    }
  };
  text.addEventListener("input", filter);
  choice.addEventListener("change", filter);
  tools.prepend(text, choice);
}

const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
