// Keeps the reader honest about age: says so when refreshing fails, shows the state in the tab, and can be paused.
// Everything on the page works without this file.
"use strict";
(() => {
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");
  const pause = document.getElementById("pause");
  let paused = false;
  let seen = new Date();

  const say = (text) => {
    if (stale.textContent !== text) stale.textContent = text;
    stale.hidden = !text;
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
  });

  live.addEventListener("htmx:before:request", (event) => {
    if (paused || document.hidden) event.preventDefault();
  });
  live.addEventListener("htmx:after:swap", () => {
    const main = document.getElementById("content");
    const icon = document.getElementById("icon");
    seen = new Date();
    say("");
    document.title = `${main.dataset.title} · everyhop`;
    if (icon.getAttribute("href") !== main.dataset.icon) icon.setAttribute("href", main.dataset.icon);
  });
  live.addEventListener("htmx:response:error", (event) => {
    const signedOut = event.detail.ctx.response?.raw?.status === 401;
    const reason = signedOut ? "You are no longer logged in." : "everyhop answered with an error.";
    say(`${reason} What you see is of ${seen.toLocaleTimeString()}.`);
  });
  live.addEventListener("htmx:error", () => {
    say(`everyhop does not answer. What you see is of ${seen.toLocaleTimeString()}.`);
  });
})();
