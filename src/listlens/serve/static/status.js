// Brings the status page up to date: asks for it again, and puts its part that changes in place.
"use strict";

const EVERY_MS = 5000;

async function update() {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement)) return; // nothing moves under a hand
  const response = await fetch("/", { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const now = page.getElementById("live");
  if (now && !live.contains(document.activeElement)) live.replaceWith(document.adoptNode(now));
}

setInterval(() => update().catch(() => {}), EVERY_MS);
