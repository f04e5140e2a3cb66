// Follows a job: its progress and log as they come, and the whole page anew once it has ended.
"use strict";

const EVERY_MS = 1500;
const line = document.querySelector("[data-job]");

function words(progress) {
  const far = progress.total === null ? progress.done || "" : `${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")}`;
  return `${progress.step} ${far}`;
}

function show(job) {
  const bar = line.querySelector("[data-bar]");
  if (!bar) return location.reload(); // it has just begun
  if (job.progress.total === null) bar.removeAttribute("value");
  else Object.assign(bar, { max: Math.max(1, job.progress.total), value: job.progress.done });
  line.querySelector("[data-step]").textContent = words(job.progress);
  const log = document.querySelector("[data-log]");
  if (log && job.log) log.textContent = job.log;
}

async function update() {
  if (document.hidden) return;
  const response = await fetch(`/v1/jobs/${line.dataset.job}`, { headers: { Accept: "application/json" } });
  if (!response.ok) return;
  const job = await response.json();
  if (job.state === "running") show(job);
  else if (job.state !== "waiting") location.reload();
}

setInterval(() => update().catch(() => {}), EVERY_MS);
