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
// What a button has to know first, or says: a form in a dialog; null where it is given up. It stands beside <main>, which changes.
const fill = (form) =>
  new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    const add = (tag, text, place = dialog) => {
      const made = place.appendChild(document.createElement(tag));
      made.textContent = text;
      return made;
    };
    dialog.setAttribute("aria-label", form.title);
    add("h3", form.title);
    add("p", form.says);
    const inputs = form.fields.map((field) => {
      const input = add("label", field.label).appendChild(document.createElement("input"));
      Object.assign(input, { name: field.name, required: !!field.required, value: field.value ?? "" });
      if (field.number) Object.assign(input, { type: "number", min: "1" });
      if (field.kept) Object.assign(input, { readOnly: true, autocomplete: "off", onfocus: () => input.select() });
      return input;
    });
    const foot = add("p", "");
    foot.className = "do";
    const end = (value) => {
      dialog.remove();
      resolve(value);
    };
    const go = () => {
      if (!inputs.every((input) => input.reportValidity())) return;
      end(Object.fromEntries(inputs.filter((i) => i.value).map((i) => [i.name, i.type === "number" ? `${i.value}Gi` : i.value])));
    };
    add("button", form.go ? "Cancel" : "Close", foot).onclick = () => end(null);
    if (form.go) add("button", form.go, foot).onclick = go;
    dialog.onkeydown = (event) => event.key === "Enter" && event.target.tagName === "INPUT" && go();
    dialog.oncancel = () => end(null);
    document.body.append(dialog);
    dialog.showModal();
  });
// What came of it as `found`, or what went wrong as `said`.
const order = async (what, body) => {
  try {
    const answer = await fetch(`actions/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-modelyard": document.querySelector("header").dataset.token },
      body: JSON.stringify(body),
    });
    const found = answer.status === 204 ? {} : await answer.json();
    return answer.ok ? { found } : { said: `${found.detail ?? found.title}. ${found.remedy ?? ""}` };
  } catch {
    return { said: "Nothing answers. Try again in a moment." };
  }
};
// A key is made, and shown this once: nothing keeps its secret.
const makeKey = async (button) => {
  button.disabled = true;
  const { found, said } = await order(`endpoints/${button.dataset.key}/key`, {});
  button.disabled = false;
  button.blur();
  await fill({
    title: found ? `A key for ${button.dataset.key}` : "No key was made",
    says: said ?? `It is shown this once, works within seconds and for a day. Its name is ${found.name}.`,
    fields: found ? [{ label: "Key", name: "key", value: found.secret, kept: true }] : [],
  });
};
// A button of a row: what it does is a path below `actions/`, with the row's number where it has one.
const act = async (button) => {
  if (button.dataset.ask && !confirm(button.dataset.ask)) return;
  const number = button.parentElement.querySelector("input");
  const body = button.dataset.etag ? { etag: button.dataset.etag } : {};
  if (button.dataset.do.endsWith("/grow")) body.size = `${number.value}Gi`;
  if (button.dataset.form) {
    const chosen = button.parentElement.querySelector("select");
    if (chosen) body.snapshot = chosen.value;
    const given = await fill(JSON.parse(button.dataset.form));
    if (!given) return;
    Object.assign(body, given);
  }
  button.disabled = true;
  const { said } = await order(button.dataset.do, body);
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
  const key = event.target.closest("button[data-key]");
  if (key) makeKey(key);
});
setInterval(() => document.hidden || look(), 3000);
