"use strict";
// Shows what changed without a reload, and leaves the page alone while somebody selects text in it.
const look = async () => {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const shown = document.querySelector("main");
    if (fresh && fresh.innerHTML !== shown.innerHTML && getSelection().isCollapsed) shown.replaceWith(fresh);
  } catch {
    // the service is restarting; the next look finds it again
  }
};
setInterval(() => document.hidden || look(), 3000);
