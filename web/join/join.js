// The participant's page: the text, consent, then the camera with pause and withdrawal always at hand.
// Results are never shown here.

import { Api, Failure } from "./api.js";
import { LANGUAGES, choose, fill, load } from "./texts.js";
import { Whip, iceServers } from "./whip.js";

const POLL_MS = 5_000;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];
const MEDIA = {
  video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { min: 10, ideal: 30, max: 30 }, facingMode: "user" },
  audio: { echoCancellation: true },
};
const OVER = ["ended", "interrupted", "withdrawn"];

const token = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1) ?? "");
const api = new Api(token);
const $ = (id) => document.getElementById(id);

/** Everything the page shows is a function of this. */
const now = {
  phase: "loading",
  language: choose([...navigator.languages]),
  texts: null,
  join: null, // what GET /v1/join said
  consentError: null,
  media: "none", // none, starting, on, or the kind of its error
  link: null, // as Whip tells
  paused: null, // null, "participant" or "operator"
  told: true, // whether the service knows of the pause
  server: null, // the session's state by the service
  receipt: null,
  actionFailed: null, // the kind of error of "Go on"
  withdrawFailed: false,
  failure: null,
};
let whip = null;
let stream = null;
let wakeLock = null;
let asked = 0; // pauses, resumes and withdrawals so far: an answer that is older than the last one is not believed

// --- Words -------------------------------------------------------------------------------------------------------------

function t(key, more = {}) {
  const { texts, join } = now;
  if (!texts) return "…";
  const controller = join?.controller?.name || texts.controller_unknown;
  return fill(texts[key] ?? key, { controller, ...more });
}

function date(text) {
  // British or American English, as the browser has it.
  const locale = navigator.languages.find((language) => language.startsWith(now.language)) ?? now.language;
  return new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "medium" }).format(new Date(text));
}

async function speak(language) {
  now.texts = await load(language);
  now.language = language;
  document.documentElement.lang = language;
  show();
}

// --- Showing -----------------------------------------------------------------------------------------------------------

function phase(next) {
  const changed = now.phase !== next;
  now.phase = next;
  show();
  if (!changed) return;
  scrollTo(0, 0);
  document.querySelector(`#${next} h1`)?.focus();
}

function show() {
  for (const section of document.querySelectorAll("[data-phase]")) section.hidden = section.id !== now.phase;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  document.title = t(now.phase === "session" ? "session_title" : "title");
  showLanguages();
  if (now.join) showAsk();
  showSession();
  $("withdrawing-failed").textContent = now.withdrawFailed ? t("withdrawing_failed") : "";
  $("withdrawn-text").textContent = t(now.receipt ? "withdrawn_text" : "withdrawn_before");
  $("receipt-box").hidden = !now.receipt;
  if (now.receipt) {
    $("receipt").textContent = now.receipt.id;
    $("receipt-time").textContent = date(now.receipt.at);
  }
  $("ended-withdraw").hidden = !consented();
  $("failed-text").textContent = now.failure ? t(`error_${now.failure}`) : "";
  $("reload").hidden = now.failure === "link";
}

function showLanguages() {
  const box = $("languages");
  box.setAttribute("aria-label", t("choose_language"));
  if (!box.children.length) {
    for (const language of LANGUAGES) {
      const button = document.createElement("button");
      button.type = "button";
      button.lang = language;
      button.textContent = new Intl.DisplayNames(language, { type: "language" }).of(language);
      button.addEventListener("click", () => speak(language).catch(() => {}));
      box.append(button);
    }
  }
  for (const button of box.children) button.setAttribute("aria-pressed", String(button.lang === now.language));
}

function consented() {
  return Boolean(now.join?.session.consent);
}

function showAsk() {
  const { session, controller, judges, endpoints, keeps } = now.join;
  $("controller").textContent = controller?.name || t("controller_unknown");
  $("contact").textContent = controller?.contact ?? "";
  $("contact-row").hidden = !controller?.contact;
  $("purpose").textContent = now.texts[`purpose_${session.purpose}`] ?? session.purpose;

  const panel = judges.length > 0; // else the embedded index judges, on the service's own machine
  $("notice-system").textContent = t("notice_system", { from: now.texts[`notice_from_${panel ? "panel" : "heuristic"}`] });
  const hosts = new Intl.ListFormat(now.language).format(endpoints);
  const count = judges.length;
  $("what-judges").textContent = panel ? t(count === 1 ? "what_panel_one" : "what_panel", { count, hosts }) : t("what_heuristic");
  $("kept-media").textContent = t(keeps.recorded ? "kept_clips" : "kept_media");
  $("kept-models").hidden = !panel;
  $("kept-results").textContent = t("kept_results", { days: keeps.events_days });
  $("kept-alerts").textContent = t("kept_alerts", { days: keeps.alerts_days });
  $("kept-record").textContent = t("kept_record", { days: keeps.audit_days });

  $("consent-known").hidden = !consented();
  $("consent-check").hidden = consented();
  $("decline").hidden = consented();
  if (consented()) $("consent-known").textContent = t("consent_known", { when: date(session.consent.at) });
  $("agree-button").textContent = t(consented() ? "start_button" : "consent_button");
  $("consent-error").textContent = now.consentError ? t(now.consentError) : "";
}

/** Which of the state's words holds. "On" is said as soon as anything may be analysed. */
function stateWord() {
  if (now.media === "starting") return "starting";
  if (now.media !== "on") return "off";
  if (now.paused) return "paused";
  if (now.link === "connected" && now.server !== "away") return "on";
  if (now.link === "refused") return "off";
  return now.link === "connecting" ? "connecting" : "away";
}

function showSession() {
  const word = stateWord();
  $("state").dataset.state = word;
  put($("state-line"), t(`state_${word}`));
  put($("state-more"), t(word === "paused" && !now.told ? "state_pausing_more" : `state_${word}_more`));
  const error = mediaError();
  $("media-error").hidden = !error;
  $("retry").hidden = Boolean(now.actionFailed);
  put($("media-error-text"), error ? t(`error_${error}`) : "");
  $("self-view").classList.toggle("paused", Boolean(now.paused));
  $("self-view").hidden = now.media !== "on";
  $("self-view").setAttribute("aria-label", t("self_view"));

  $("controls").hidden = !consented() || !["ask", "session", "ended"].includes(now.phase);
  $("pause").hidden = now.phase !== "session";
  $("pause").textContent = t(now.paused ? "resume_button" : "pause_button");
  $("pause").disabled = now.media !== "on";
}

/** Sets a text only where it differs: a live region speaks each change. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mediaError() {
  if (now.actionFailed) return now.actionFailed;
  if (now.link === "refused") return "refused";
  return ["none", "starting", "on"].includes(now.media) ? null : now.media;
}

// --- Camera and microphone ---------------------------------------------------------------------------------------------

function cameraError(error) {
  switch (error?.name) {
    case "NotAllowedError": case "SecurityError": return "camera_refused";
    case "NotFoundError": case "OverconstrainedError": return "camera_missing";
    case "NotReadableError": case "AbortError": return "camera_in_use";
    default: return "camera_other";
  }
}

/** Opens camera and microphone and connects. Called only once the service has the consent. */
async function begin() {
  release(true);
  now.link = null;
  if (!window.RTCPeerConnection) return mediaState("browser");
  if (!navigator.mediaDevices?.getUserMedia) return mediaState("insecure");
  mediaState("starting");
  const round = asked;
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia(MEDIA);
  } catch (error) {
    return mediaState(cameraError(error));
  }
  if (round !== asked || now.phase !== "session") return opened.getTracks().forEach((track) => track.stop());
  stream = opened;
  for (const track of stream.getTracks()) {
    track.addEventListener("ended", () => {
      if (!stream?.getTracks().includes(track)) return;
      release(true);
      mediaState("camera_stopped");
    });
  }
  $("self-view").srcObject = stream;
  whip = new Whip({
    url: `/whip/${encodeURIComponent(now.join.session.id)}`,
    token,
    servers: iceServers(now.join.ice_servers),
    onState: (state) => {
      now.link = state;
      // What the service last said is older than this: it may be looking again.
      if (state === "connected" && now.server === "away") now.server = null;
      show();
      if (state === "refused" || state === "connected") poll();
    },
  });
  if (now.paused) await whip.pause();
  mediaState("on");
  stayAwake();
  whip.start(stream);
}

function mediaState(state) {
  now.media = state;
  show();
}

/** Camera and microphone off, connection gone. */
function release(tell) {
  whip?.close(tell);
  whip = null;
  const tracks = stream?.getTracks() ?? [];
  stream = null;
  for (const track of tracks) track.stop();
  $("self-view").srcObject = null;
  wakeLock?.release().catch(() => {});
  wakeLock = null;
  if (now.media === "on") now.media = "none";
}

/** A phone that locks its screen stops its camera. */
async function stayAwake() {
  try {
    wakeLock = await navigator.wakeLock?.request("screen");
  } catch {}
}

// --- Pause, resume, withdraw -------------------------------------------------------------------------------------------

const path = (action) => `/v1/sessions/${encodeURIComponent(now.join.session.id)}${action}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const delay = (attempt) => sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);

/** Nothing is sent from the click on; then the service is told, until it has heard. */
async function pause() {
  const round = ++asked;
  Object.assign(now, { paused: "participant", told: false });
  const stopped = whip?.pause();
  show();
  await stopped;
  for (let attempt = 0; round === asked && now.phase === "session"; attempt++) {
    try {
      await api.post(path("/pause"));
      if (round === asked) {
        now.told = true;
        whip?.leave();
      }
      return show();
    } catch (error) {
      if (error.kind === "link") return poll();
      await delay(attempt);
    }
  }
}

/** Sends again only once the service has agreed. */
async function resume() {
  const round = ++asked;
  now.actionFailed = null;
  try {
    await api.post(path("/resume"));
  } catch (error) {
    now.actionFailed = error.kind === "link" ? null : error.kind;
    show();
    return poll();
  }
  if (round !== asked || now.phase !== "session") return;
  Object.assign(now, { paused: null, server: "live" });
  whip?.resume();
  show();
}

async function withdraw() {
  asked++;
  release(false);
  now.withdrawFailed = false;
  phase("withdrawing");
  for (let attempt = 0; ; attempt++) {
    try {
      now.receipt = await api.post(path("/withdraw"));
      return phase("withdrawn");
    } catch {
      now.withdrawFailed = true;
      show();
      await delay(attempt);
    }
  }
}

// --- What the service says of the session ------------------------------------------------------------------------------

async function over(state) {
  asked++;
  release(true);
  if (state !== "withdrawn") return phase("ended");
  now.receipt = await api.get(path("/receipt")).catch(() => null);
  phase("withdrawn");
}

async function poll() {
  if (now.phase !== "session") return;
  const round = asked;
  try {
    const session = await api.get(path(""));
    if (round !== asked || now.phase !== "session") return;
    now.server = session.state;
    if (OVER.includes(session.state)) return over(session.state);
    if (session.state === "paused" && !now.paused) {
      Object.assign(now, { paused: "operator", told: true });
      await whip?.pause();
      whip?.leave();
    } else if (session.state !== "paused" && now.paused === "operator") {
      now.paused = null;
      whip?.resume();
    }
    show();
  } catch (error) {
    if (error.kind === "link" && now.phase === "session") fail(error);
  }
}

function fail(error) {
  asked++;
  release(true);
  now.failure = error instanceof Failure ? error.kind : "server";
  phase("failed");
}

// --- Beginning ---------------------------------------------------------------------------------------------------------

async function open() {
  now.phase = "loading";
  const words = speak(now.language).catch(() => {});
  try {
    now.join = await api.get("/v1/join");
    await words;
    if (!now.texts) throw new Failure("network");
  } catch (error) {
    await words;
    if (!now.texts) return setTimeout(open, RETRY_MS[2]); // not a word to show yet: the service is away
    return fail(error);
  }
  const language = choose([now.join.language, now.language]);
  if (language !== now.language) await speak(language).catch(() => {});
  const { state } = now.join.session;
  now.server = state;
  if (state === "paused") now.paused = "participant";
  if (OVER.includes(state)) return over(state);
  phase("ask");
}

async function agree(event) {
  event.preventDefault();
  now.consentError = null;
  if (!consented()) {
    if (!$("agree").checked) {
      now.consentError = "consent_needed";
      show();
      return $("agree").focus();
    }
    $("agree-button").disabled = true;
    try {
      now.join.session = await api.post(path("/consent"), { text_version: now.texts.version, language: now.language });
    } catch (error) {
      return refusedConsent(error);
    } finally {
      $("agree-button").disabled = false;
    }
    if (!consented()) return refusedConsent(new Failure("server"));
  }
  phase("session");
  begin();
}

async function refusedConsent(error) {
  if ([409, 422].includes(error.status)) {
    // Another text, or another state of the session, than this page knows.
    const { version } = now.texts;
    await open();
    now.consentError = now.texts.version === version ? "error_server" : "error_text_changed";
    $("agree").checked = false;
    return show();
  }
  if (error.kind === "link") return fail(error);
  now.consentError = `error_${error.kind ?? "server"}`;
  show();
}

$("consent").addEventListener("submit", agree);
$("decline").addEventListener("click", () => phase("declined"));
$("back").addEventListener("click", () => phase("ask"));
$("retry").addEventListener("click", begin);
$("reload").addEventListener("click", open);
$("pause").addEventListener("click", () => (now.paused ? resume() : pause()));
$("withdraw").addEventListener("click", () => $("withdraw-dialog").showModal());
$("withdraw-yes").addEventListener("click", () => {
  $("withdraw-dialog").close();
  withdraw();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && stream) stayAwake();
});
addEventListener("pagehide", () => release(true));
addEventListener("pageshow", (event) => event.persisted && location.reload());
setInterval(poll, POLL_MS);
open();
