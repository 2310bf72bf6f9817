// The dialog that makes a session.

import { post } from "./api.js";
import { $ } from "./dom.js";

export function createDialog(onCreated) {
  const dialog = $("create");
  const form = $("create-form");
  const value = (name) => form.elements[name].value.trim();

  const parts = () => {
    const kind = value("kind");
    const shown = { url: kind === "url", webrtc: kind === "webrtc", basis: ["workplace", "education"].includes(value("purpose")) };
    for (const part of form.querySelectorAll("[data-for]")) part.hidden = !shown[part.dataset.for];
  };

  const wish = () => {
    const kind = value("kind");
    const basis = ["workplace", "education"].includes(value("purpose")) ? { kind: value("basis"), reference: value("basis_reference") } : undefined;
    return {
      source: kind === "url" ? { kind, url: value("url") } : { kind },
      panel: value("panel"), purpose: value("purpose"), rule: value("rule") || undefined, basis,
      consent: kind === "url" ? { reference: value("reference") } : undefined,
      language: kind === "webrtc" ? value("language") || undefined : undefined,
    };
  };

  const missing = () => {
    if (value("kind") === "url" && !value("url")) return ["create-url", "The address of the camera is missing."];
    if (value("kind") === "url" && !value("reference")) return ["create-reference", "Say where the consent of the person is kept: without consent nobody is analysed."];
    if (!value("purpose")) return ["create-purpose", "Choose the purpose."];
    if (["workplace", "education"].includes(value("purpose")) && !value("basis_reference")) return ["create-basis-reference", "Say where the basis is written down."];
    return null;
  };

  const open = () => {
    form.reset();
    form.hidden = false;
    $("created").hidden = true;
    $("create-error").textContent = $("copied").textContent = "";
    parts();
    dialog.showModal();
  };

  form.addEventListener("change", parts);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const lack = missing();
    $("create-error").textContent = lack?.[1] ?? "";
    if (lack) return $(lack[0]).focus();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    try {
      const session = await post("/v1/sessions", wish());
      onCreated(session);
      if (!session.join_url) return dialog.close();
      form.hidden = true;
      $("created").hidden = false;
      $("join-url").value = session.join_url;
      $("created-title").focus();
    } catch (problem) {
      $("create-error").textContent = problem.message;
    } finally {
      button.disabled = false;
    }
  });
  $("copy").addEventListener("click", async () => {
    $("join-url").select();
    try {
      await navigator.clipboard.writeText($("join-url").value);
      $("copied").textContent = "Copied.";
    } catch {
      $("copied").textContent = "It is selected: copy it with your keyboard.";
    }
  });
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  // The link is not kept on the page.
  dialog.addEventListener("close", () => ($("join-url").value = ""));
  return open;
}
