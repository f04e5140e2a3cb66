// Brings the figures of the status page up to date; without it the page shows them as of loading.
"use strict";

const EVERY_MS = 3000;

function at(document_, path) {
  return path.split(".").reduce((value, key) => (value == null ? value : value[key]), document_);
}

function shown(key, value) {
  if (value === null || value === undefined) return "–";
  return key === "cache_hit_share" ? (100 * value).toFixed(1) : String(value);
}

function showFailed(failed) {
  const rows = Object.entries(failed).map(([reason, n]) => {
    const row = document.createElement("tr");
    for (const text of [reason, n]) row.insertCell().textContent = text;
    row.lastChild.className = "number";
    return row;
  });
  if (rows.length) document.getElementById("failed").replaceChildren(...rows);
}

async function update() {
  if (document.hidden) return;
  const response = await fetch("/v1/status", { headers: { Accept: "application/json" } });
  if (!response.ok) return;
  const status = await response.json();
  for (const element of document.querySelectorAll("[data-key]"))
    element.textContent = shown(element.dataset.key, at(status, element.dataset.key));
  showFailed(status.failed);
}

setInterval(() => update().catch(() => {}), EVERY_MS);
