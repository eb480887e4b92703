import { Chart, element } from "/status/charts.js";

const EVERY_MS = 5000;
const at = (id) => document.getElementById(id);

const number = (value) => value >= 100 ? Math.round(value).toLocaleString() : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const perSecond = (value) => `${number(value)}/s`;
const share = (value) => `${(value * 100).toFixed(1)} %`;
const milliseconds = (value) => value >= 1000 ? `${(value / 1000).toFixed(2)} s` : value >= 1 ? `${value.toFixed(1)} ms` : `${value.toFixed(3)} ms`;
const bytes = (value) => value >= 1 << 20 ? `${(value / (1 << 20)).toFixed(1)} MiB` : value >= 1024 ? `${(value / 1024).toFixed(1)} KiB` : `${value} B`;
const known = (value, shown) => value === null || value === undefined ? "–" : shown(value);

const CHARTS = [
  new Chart("Answers", [["requests", "all"], ["client_errors", "4xx"], ["refused", "refused by the limiter"], ["server_errors", "5xx"]], perSecond),
  new Chart("Latency", [["p50", "p50"], ["p95", "p95"], ["p99", "p99"]], milliseconds),
  new Chart("Reads of items by what answered", [["by_near", "near"], ["by_redis", "redis"], ["by_replica", "replica"], ["by_primary", "primary"]], share),
];
at("charts").append(...CHARTS.map((chart) => chart.figure));

function table(id, columns, rows, none) {
  const place = at(id);
  if (!rows.length) {
    place.replaceChildren(element("p", { class: "empty" }, none));
    return;
  }
  const head = element("tr", {}, ...columns.map(([name]) => element("th", { scope: "col" }, name)));
  const body = rows.map((row) => element("tr", {}, ...columns.map(([, shown, bad]) => {
    const cell = element("td", bad?.(row) ? { class: "bad" } : {});
    cell.textContent = shown(row);
    return cell;
  })));
  place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function figures(data) {
  const gauges = data.gauges, last = (name) => data.history[name]?.at(-1);
  const shown = [
    ["answers", known(last("requests"), perSecond)],
    ["p99", known(last("p99"), milliseconds)],
    ["5xx", known(last("server_errors"), perSecond)],
    ["near hits", known(last("by_near"), share)],
    ["workers", known(gauges.workers, String)],
    ["connections", known(gauges.connections, String)],
    ["near cache", known(gauges.near_bytes, bytes)],
    ["limiter", gauges.limiter_local ? "each worker's share" : "shared"],
  ];
  at("figures").replaceChildren(...shown.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function show(data) {
  const build = data.build;
  at("build").textContent = `${build.version} · Python ${build.python} · Granian ${build.granian}`;
  figures(data);
  for (const chart of CHARTS) chart.update(data.history);
  table("percentiles", Object.keys(data.history.percentiles).map((name) => [name, (row) => known(row[name], milliseconds)]),
    [data.history.percentiles], "");
  table("nodes", [
    ["node", (row) => row.node],
    ["role", (row) => row.role, (row) => row.role === "no answer"],
    ["timeline", (row) => known(row.timeline, String)],
    ["lag", (row) => known(row.lag_bytes, bytes)],
    ["behind", (row) => known(row.lag_s, (value) => `${value.toFixed(1)} s`), (row) => row.lag_s > 1],
  ], data.nodes, "No node has been asked yet.");
  table("shards", [
    ["shard", (row) => String(row.shard)],
    ["buckets", (row) => row.buckets || "none"],
    ["outbox rows", (row) => known(row.outbox_rows, String), (row) => row.outbox_rows > 1000],
    ["oldest", (row) => known(row.outbox_oldest_s, (value) => `${value.toFixed(1)} s`), (row) => row.outbox_oldest_s > 5],
  ], data.shards, "The shard map was not read yet.");
  table("breakers", [
    ["of", (row) => row.node],
    ["worker", (row) => String(row.worker)],
    ["state", (row) => row.state, (row) => row.state !== "closed"],
  ], data.breakers, "Nothing has been asked yet.");
  table("busiest", [
    ["key", (row) => row.caller],
    ["passed", (row) => perSecond(row.per_s)],
    ["level", (row) => number(row.level)],
  ], data.busiest, "No key has spent anything lately.");
}

let paused = false, seen = 0;

async function update() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch("/status/data", { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const data = await answer.json();
    show(data);
    seen = data.now;
    at("updated").textContent = `Updated ${new Date(seen * 1000).toLocaleTimeString()}`;
    at("updated").className = "";
  } catch (error) {
    at("updated").textContent = seen ? `No answer since ${new Date(seen * 1000).toLocaleTimeString()}` : "No answer";
    at("updated").className = "late";
  }
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
  update();
});
document.addEventListener("visibilitychange", update);
setInterval(update, EVERY_MS);
update();
