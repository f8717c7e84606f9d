"use strict";
// Shows what changed without a reload, and leaves the page alone while somebody selects text in it.
const busy = () => document.activeElement?.closest?.("main input, main select") || document.querySelector("button:disabled");
const look = async () => {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) location.reload();
    if (!answer.ok) return;
    // Only this part: the page's own style has a nonce that this page does not know.
    const part = (await answer.text()).match(/<main>[^]*<\/main>/)?.[0] ?? "";
    const fresh = new DOMParser().parseFromString(part, "text/html").querySelector("main");
    const shown = document.querySelector("main");
    if (fresh && fresh.innerHTML !== shown.innerHTML && getSelection().isCollapsed && !busy()) shown.replaceWith(fresh);
  } catch {
    // the service is restarting; the next look finds it again
  }
};
// A button of a row: what it does is a path below `actions/`, with the row's number where it has one.
const act = async (button) => {
  if (button.dataset.ask && !confirm(button.dataset.ask)) return;
  const number = button.parentElement.querySelector("input");
  const body = button.dataset.etag ? { etag: button.dataset.etag } : {};
  if (button.dataset.do.endsWith("/grow")) body.size = `${number.value}Gi`;
  if (button.dataset.name) {
    body.snapshot = button.parentElement.querySelector("select").value;
    body.volume = prompt(button.dataset.name);
    if (!body.volume) return;
  }
  button.disabled = true;
  let said = "";
  try {
    const answer = await fetch(`actions/${button.dataset.do}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-modelyard": document.querySelector("header").dataset.token },
      body: JSON.stringify(body),
    });
    const problem = answer.ok ? {} : await answer.json();
    said = answer.ok ? "" : `${problem.detail ?? problem.title}. ${problem.remedy ?? ""}`;
  } catch {
    said = "Nothing answers. Try again in a moment.";
  }
  button.disabled = false;
  if (said) document.querySelector(".said").textContent = said;
  else {
    document.activeElement?.blur?.();
    await look();
  }
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (button) act(button);
});
setInterval(() => document.hidden || look(), 3000);
