// The dashboard: which view is shown, who looks, and whether events arrive.

import { ask, post } from "./api.js";
import { createDialog } from "./create.js";
import { $, fill, h, put } from "./dom.js";
import { ListView } from "./list.js";
import { SessionView } from "./session.js";

const ACTS = ["operator", "admin"];
let view = null;
let me = null;

function onLink(there) {
  put($("link"), there ? "live" : "connection lost; trying again");
  $("link").classList.toggle("away", !there);
}

function route() {
  view?.close();
  const main = $("main");
  document.title = "ahwatch";
  put($("link"), "connecting");
  const id = /^#\/session\/(.+)$/.exec(location.hash)?.[1];
  const acts = ACTS.includes(me.role);
  view = id ? new SessionView({ main, id: decodeURIComponent(id), acts, onLink }) : new ListView({ main, onLink });
  main.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function start() {
  try {
    me = await ask("/v1/me");
  } catch (problem) {
    fill($("main"), h("h1", {}, "The dashboard could not start"), h("p", { class: "error", role: "alert" }, problem.message),
      h("button", { type: "button", onclick: start }, "Try again"));
    return;
  }
  put($("me"), `${me.name}, ${me.role}`);
  $("new-session").hidden = !ACTS.includes(me.role);
  $("new-session").addEventListener("click", createDialog(() => view?.refresh()));
  $("sign-out").hidden = false;
  $("sign-out").addEventListener("click", async () => {
    await post("/logout").catch(() => {});
    location.assign("/");
  });
  addEventListener("hashchange", route);
  route();
}

start();
