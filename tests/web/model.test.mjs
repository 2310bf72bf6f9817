// What needs no browser: the model of a session, the texts, the parts of WHIP.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

import { SessionModel } from "../../web/dashboard/model.js";
import { clock, coverage, percent, sentence } from "../../web/dashboard/words.js";
import { LANGUAGES, choose, fill } from "../../web/join/texts.js";
import { fragment, iceServers, preferred } from "../../web/join/whip.js";
import { Invented } from "./mock/data.mjs";

const WEB = new URL("../../web/", import.meta.url);
const texts = async (language) => JSON.parse(await readFile(new URL(`texts/${language}.json`, WEB), "utf8"));

function modelOf(events) {
  const model = new SessionModel();
  for (const event of events) model.apply(event);
  return model;
}

test("the order and the repetition of events change nothing", () => {
  const one = new Invented({ id: "s", source: "x", seed: 8 });
  const events = [one.started()];
  for (let i = 0; i < 60; i++) events.push(...one.next());
  const straight = modelOf(events);
  const crooked = modelOf([...events].reverse().concat(events));
  const seen = ({ entries, judges, episodes, alerts }) => ({
    entries, answers: judges.map(({ judge, answers, max, last }) => [judge, answers, max, last]).sort(), alerts: alerts.map(({ id }) => id).sort(),
    episodes: [...episodes.keys()].sort(),
  });
  assert.deepEqual(seen(crooked), seen(straight));
  assert.equal(straight.entries.length, 60);
});

test("an episode that has closed stays closed, whatever comes late", () => {
  const one = new Invented({ id: "s", source: "x" });
  const events = ["present", "absent", "absent"].flatMap((outcome) => one.next(outcome));
  for (const order of [events, [...events].reverse()]) {
    const episode = modelOf(order).episodes.get(1);
    assert.deepEqual([episode.open, episode.start, episode.end], [false, 0, 5]);
  }
});

test("every instant belongs to the window that is drawn there, also where windows overlap", () => {
  const event = (i, start, end, outcome) => ({ id: `s.${i}`, type: `ah.window.${outcome}.v1`, data: { span: { start_secs: start, end_secs: end }, window: null, reason: "gate", quality: null } });
  const model = modelOf([event(0, 0, 5, "skipped"), event(1, 2.5, 7.5, "dropped"), event(2, 5, 10, "skipped"), event(3, 30, 35, "lost")]);
  assert.deepEqual([0, 2.4, 2.5, 4.9, 5, 9.9, 10, 29, 30, 36].map((secs) => model.at(secs)), [0, 0, 1, 1, 2, 2, -1, -1, 3, -1]);
  assert.deepEqual([0, 1, 2, 3].map((i) => model.shownEnd(i)), [2.5, 5, 10, 35]);
});

test("a withdrawal leaves nothing in the model", () => {
  const one = new Invented({ id: "s", source: "x" });
  const model = modelOf([one.started(), ...one.next("present"), ...one.withdrawn()]);
  assert.deepEqual([model.entries, model.judges, model.alerts, model.episodes.size, model.withdrawn], [[], [], [], 0, true]);
});

test("tail and lost time are told apart from Absent in words", () => {
  const one = new Invented({ id: "s", source: "x" });
  const [lost] = modelOf(one.next("lost")).entries;
  assert.match(sentence(lost), /^0:00 to 0:05, lost: every judge abstained; v1 abstained/);
  const tail = modelOf([one.event("ah.window.lost.v1", [5, 6], { window: null, reason: "tail", votes: [], quality: null })]).entries[0];
  assert.equal(tail.outcome, "tail");
  assert.match(sentence(tail), /not judged: too short/);
});

test("times and shares are never rounded up", () => {
  assert.deepEqual([0, 59.99, 60, 3599, 3600, 86399].map(clock), ["0:00", "0:59", "1:00", "59:59", "1:00:00", "23:59:59"]);
  assert.deepEqual([0.799, 0.8, 1, null, NaN].map(percent), ["79 %", "80 %", "100 %", "–", "–"]);
  assert.equal(coverage({ elapsed_secs: 11, coverage: { judged: { total_secs: 5 }, tail_secs: 1 } }), 0.5);
  assert.equal(coverage({ elapsed_secs: 0, coverage: { judged: { total_secs: 0 }, tail_secs: 0 } }), null);
});

test("all languages say the same things, with the same values in them, and share a version", async () => {
  const names = (text) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort();
  const english = await texts("en");
  for (const language of LANGUAGES) {
    const other = await texts(language);
    assert.equal(other.language, language);
    assert.equal(other.version, english.version);
    assert.deepEqual(Object.keys(other), Object.keys(english));
    for (const [key, text] of Object.entries(other)) {
      assert.deepEqual(names(text), names(english[key]), `${language} ${key}`);
      assert.ok(text.trim().length > 0, `${language} ${key}`);
    }
  }
});

test("every text that the page names is there, and every text is named", async () => {
  const files = ["join.js", "index.html", "api.js", "texts.js"];
  const code = (await Promise.all(files.map((file) => readFile(new URL(`join/${file}`, WEB), "utf8")))).join("\n");
  const words = await texts("en");
  const families = ["purpose_", "error_", "state_", "notice_from_"]; // named by a prefix and a value
  const unnamed = Object.keys(words).filter((key) => !["version", "language", "name"].includes(key) && !code.includes(`"${key}"`) && !families.some((family) => key.startsWith(family)));
  assert.deepEqual(unnamed, []);
  const named = [...code.matchAll(/data-t="(\w+)"|\bt\("(\w+)"/g)].map(([, a, b]) => a ?? b);
  assert.deepEqual(named.filter((key) => !(key in words)), []);
  for (const purpose of ["health_care", "research", "wellbeing", "workplace", "education"]) assert.ok(words[`purpose_${purpose}`]);
  for (const kind of ["network", "server", "busy", "link", "refused", ...[...code.matchAll(/"(camera_\w+)"/g)].map(([, kind]) => kind)]) assert.ok(words[`error_${kind}`], kind);
});

test("a language is chosen from what the browser wants", () => {
  assert.deepEqual([["fr-CA", "en"], ["de", "fr"], ["de"], [undefined, "en-GB"]].map(choose), ["fr", "fr", "en", "en"]);
  assert.equal(fill("{a} and {b}", { a: "one" }), "One and {b}");
});

test("H.264 comes first, then VP8; what would be declined is not offered", () => {
  const codec = (mimeType, sdpFmtpLine) => ({ mimeType, sdpFmtpLine });
  const offered = preferred([
    codec("video/VP8"), codec("video/rtx"), codec("video/VP9", "profile-id=0"), codec("video/H264", "packetization-mode=0;profile-level-id=42001f"),
    codec("video/H264", "packetization-mode=1;profile-level-id=42e01f"), codec("video/AV1"), codec("video/ulpfec"),
  ]);
  assert.deepEqual(offered.map(({ mimeType }) => mimeType), ["video/H264", "video/VP8", "video/rtx", "video/ulpfec"]);
  assert.match(offered[0].sdpFmtpLine, /packetization-mode=1/);
});

test("a TURN server without a credential is left out, and breaks nothing", () => {
  const turn = { urls: "turn:turn.example.org", username: "u", credential: "c" };
  assert.deepEqual(iceServers(["stun:stun.example.org", "turn:turn.example.org", "turns:turn.example.org", turn]), [{ urls: "stun:stun.example.org" }, turn]);
});

test("late candidates are a fragment of SDP", () => {
  const sdp = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n";
  const candidate = (sdpMid, n) => ({ sdpMid, candidate: `candidate:${n} 1 udp 1 192.0.2.1 9 typ host` });
  assert.equal(
    fragment(sdp, [candidate("0", 1), candidate("0", 2)]),
    "a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=candidate:2 1 udp 1 192.0.2.1 9 typ host\r\n",
  );
});

test("no page asks another host, and none has script or style in itself", async () => {
  for (const entry of await readdir(WEB, { recursive: true })) {
    if (!/\.(html|css|js)$/.test(entry)) continue;
    const text = await readFile(new URL(entry, WEB), "utf8");
    assert.deepEqual(text.match(/\b(?:https?|wss?):\/\/(?!$)[\w.]+/g) ?? [], [], entry);
    if (!entry.endsWith(".html")) continue;
    assert.doesNotMatch(text, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/, entry);
  }
});
