// Small help with the document. Texts are always set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** An element: `h("a", { href: "#/", class: "x", onclick: f }, "text", child, null)`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets a text only where it differs: a live region speaks each change. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces the children of `element`, but keeps the focus on what has the same `data-key`. */
export function fill(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  element.replaceChildren(...children.flat().filter(Boolean));
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** `f`, at most once in `ms`, and once more after the last call. */
export function throttled(f, ms) {
  let timer = null;
  let again = false;
  const run = () => {
    if (timer) return (again = true);
    f();
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, ms);
  };
  return run;
}

/** Asks before something that cannot be undone. */
export async function confirmed(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

/** Says something to a screen reader, once. */
export function say(text) {
  $("said").textContent = text;
}
