// The participant's page: nothing before consent, pause and withdrawal at once, errors in words, never a result.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { PHONE, launch, open, shot, tooWide, until, violations } from "./kit.mjs";
import { empty, participant } from "./mock/scenes.mjs";

let browser, mock, pages;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  mock = await empty(0);
  pages = [];
});
afterEach(async () => {
  const complaints = pages.flatMap((page) => page.complaints);
  for (const page of pages) await page.context().close();
  await mock.close();
  assert.deepEqual(complaints, []);
});

/** A page whose calls for camera and microphone are counted. */
async function join(scene = {}, options = {}) {
  const { one, url } = participant(mock, scene);
  const page = await open(browser, options);
  pages.push(page);
  await page.clock.install(); // so that `later` need not wait
  await page.addInitScript(() => {
    window.asked = 0;
    window.tracks = [];
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wish) => {
      window.asked++;
      if (window.refusal) throw new DOMException("no", window.refusal);
      const stream = await real(wish);
      window.tracks.push(...stream.getTracks());
      return stream;
    };
  });
  await page.goto(url);
  return { page, one };
}

/** The other end of WHIP: a second page. `received()` counts what came by kind; `drop()` is a lost connection. */
async function peer() {
  const page = await open(browser);
  pages.push(page);
  mock.answer = (sdp) => page.evaluate(async (sdp) => {
    window.pc?.close();
    const pc = (window.pc = new RTCPeerConnection());
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription();
    await new Promise((resolve) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
      if (pc.iceGatheringState === "complete") resolve();
    });
    return pc.localDescription.sdp;
  }, sdp);
  return {
    received: () => page.evaluate(async () => {
      const sums = { audio: 0, video: 0, codec: null };
      const reports = [...(await window.pc.getStats()).values()];
      for (const report of reports.filter(({ type }) => type === "inbound-rtp")) {
        sums[report.kind] += report.packetsReceived;
        if (report.kind === "video") sums.codec = reports.find(({ id }) => id === report.codecId)?.mimeType ?? null;
      }
      return sums;
    }),
    drop: () => page.evaluate(() => window.pc.close()),
  };
}

const paths = (method) => mock.log.filter((entry) => entry.method === method && !entry.path.startsWith("/join/")).map(({ path }) => path);
const state = (page) => page.locator("#state-line");
const says = (page, text) => page.getByText(text).first().waitFor();

/** Waits until nothing arrives any more, and looks that it stays so. */
async function silence(other) {
  let last = await other.received();
  await until(async () => {
    const before = last;
    last = await other.received();
    return last.audio === before.audio && last.video === before.video;
  }, "no packet between two looks");
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual(await other.received(), last);
}

/** The page's next look at the session, or its next attempt. */
const later = (page) => page.clock.fastForward(15_000);

async function agree(page) {
  await page.locator("#agree").check();
  await page.locator("#agree-button").click();
}

async function running() {
  const other = await peer();
  const joined = await join();
  await agree(joined.page);
  await joined.page.locator("#state[data-state=on]").waitFor();
  return { other, ...joined };
}

test("the text says what, who, why, how long, and that an emotion recognition system is at work", async () => {
  const { page } = await join();
  for (const text of ["Example Clinic", "privacy@clinic.example", "gpu-1.example.org", "3 computer models", "30 days", "emotion recognition system", "not a diagnosis", "health care", "You can say no"]) {
    await says(page, text);
  }
  assert.equal(await page.locator("main").innerText().then((text) => /[{}]|undefined|null/.test(text)), false);
  assert.equal(await page.locator("#controls").isHidden(), true);
});

test("with the cue index nothing is said of models, and clips that are kept are told", async () => {
  mock.keeps = { ...mock.keeps, recorded: true };
  const { page } = await join({ kind: "heuristic" });
  await says(page, "sent to no other computer");
  await says(page, "Short clips of your picture");
  const text = await page.locator("main").innerText();
  assert.doesNotMatch(text, /computer models look|are not kept by this service|your words it/);
});

test("the box is unticked, and without it nothing begins", async () => {
  const { page } = await join();
  assert.equal(await page.locator("#agree").isChecked(), false);
  await page.locator("#agree-button").click();
  await says(page, "please tick the box");
  assert.deepEqual([await page.evaluate(() => window.asked), paths("POST")], [0, []]);
  await page.locator("#decline").click();
  await says(page, "Nothing was started");
  assert.deepEqual([await page.evaluate(() => window.asked), paths("POST")], [0, []]);
});

test("the camera is asked for only once the service has accepted the consent", async () => {
  await peer();
  const { page } = await join();
  let accept;
  const held = new Promise((resolve) => (accept = resolve));
  await page.route("**/consent", async (route) => {
    await held;
    await route.continue();
  });
  await agree(page);
  await until(() => page.locator("#agree-button").isDisabled(), "the consent is under way");
  assert.equal(await page.evaluate(() => window.asked), 0);
  accept();
  await page.locator("#state[data-state=on]").waitFor();
  assert.equal(await page.evaluate(() => window.asked), 1);
  assert.deepEqual(JSON.parse(mock.log.find(({ path }) => path.endsWith("/consent")).body), { text_version: "1", language: "en" });
});

test("a consent that the service refuses starts nothing", async () => {
  mock.broken = (method, path) => (path.endsWith("/consent") ? { status: 409, title: "The text has changed" } : null);
  const { page } = await join();
  await says(page, "Before you join");
  await page.route("**/texts/en.json", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), version: "2" } });
  });
  await agree(page);
  await says(page, "has changed since you opened it");
  assert.equal(await page.locator("#agree").isChecked(), false);
  assert.deepEqual([await page.evaluate(() => window.asked), paths("POST").filter((path) => path.startsWith("/whip"))], [0, []]);
});

test("picture and sound are sent, paused, resumed, and end with the withdrawal", async () => {
  const { page, other, one } = await running();
  assert.equal(await state(page).innerText(), "Analysis is on");
  const flowing = async (from) => until(async () => {
    const now = await other.received();
    return now.audio > from.audio + 5 && now.video > from.video + 5 ? now : null;
  }, "picture and sound arrive");
  const { codec } = await flowing({ audio: 0, video: 0 });
  assert.match(codec, /^video\/(H264|VP8)$/);
  await shot(page, "join-on");

  await page.locator("#pause").click();
  assert.equal(await state(page).innerText(), "Analysis is paused");
  await until(() => one.session.state === "paused", "the service knows of the pause");
  await silence(other);
  assert.equal(await page.evaluate(() => window.tracks.some((track) => track.enabled)), false);
  await shot(page, "join-paused");

  await page.locator("#pause").click();
  await page.locator("#state[data-state=on]").waitFor();
  assert.equal(one.session.state, "live");
  await flowing({ audio: 0, video: 0 }); // of a new connection

  await page.locator("#withdraw").click();
  await page.locator("#withdraw-no").click();
  await page.locator("#state[data-state=on]").waitFor();
  await page.locator("#withdraw").click();
  await shot(page, "join-withdraw");
  await page.locator("#withdraw-yes").click();
  await says(page, "You have withdrawn");
  assert.equal(await page.locator("#receipt").innerText(), "019b0000-0000-7000-8000-0000000000aa");
  assert.deepEqual(await page.evaluate(() => window.tracks.map(({ readyState }) => readyState)), ["ended", "ended"]);
  assert.equal(await page.locator("#controls").isHidden(), true);
  assert.deepEqual(await violations(page), []);
  await shot(page, "join-withdrawn");
});

test("no result is asked for or shown", async () => {
  const { page, one } = await running();
  mock.tell([one.started(), ...one.next("present"), ...one.next("present")]);
  const polled = paths("GET").length;
  await later(page);
  await until(() => paths("GET").length > polled, "the page asks for the state");
  const asked = new Set(paths("GET").concat(paths("POST")));
  assert.deepEqual(Object.keys(await page.evaluate(() => fetch("/v1/sessions/s-join", { headers: { Authorization: "Bearer ahw_join" } }).then((r) => r.json()))).filter((key) => /label|window|alert|judge|cover/.test(key)), []);
  for (const path of asked) assert.match(path, /^\/(v1\/join|v1\/sessions\/s-join(\/consent)?|whip\/s-join|favicon\.ico)$/);
  assert.doesNotMatch(await page.locator("body").innerText(), /present|absent|alert|ambivalence/i);
});

test("withdrawing stops the camera at once, even while the service is away, and goes on asking", async () => {
  const { page } = await running();
  mock.broken = (method, path) => (path.endsWith("/withdraw") ? { status: 503, title: "away" } : null);
  await page.locator("#withdraw").click();
  await page.locator("#withdraw-yes").click();
  await says(page, "not deleted yet");
  assert.deepEqual(await page.evaluate(() => window.tracks.map(({ readyState }) => readyState)), ["ended", "ended"]);
  assert.equal(await page.locator("#withdrawn").isHidden(), true);
  mock.broken = () => null;
  await later(page);
  await says(page, "You have withdrawn");
});

test("a pause that the service has not heard of stops the sending anyway", async () => {
  const { page, one, other } = await running();
  mock.broken = (method, path) => (path.endsWith("/pause") ? { status: 503, title: "away" } : null);
  await page.locator("#pause").click();
  await says(page, "has not confirmed it yet");
  await silence(other);
  assert.equal(await page.evaluate(() => window.tracks.some((track) => track.enabled)), false);
  mock.broken = () => null;
  await later(page);
  await until(() => one.session.state === "paused", "it is told when the service is back");
  await says(page, "Nothing is sent and nothing is analysed");
});

test("a lost connection is told and comes back by itself", async () => {
  const { page, other } = await running();
  const offers = () => paths("POST").filter((path) => path.startsWith("/whip")).length;
  assert.equal(offers(), 1);
  const answer = mock.answer;
  mock.answer = async () => null;
  await other.drop();
  await page.locator("#state[data-state=away]").waitFor({ timeout: 15_000 });
  await shot(page, "join-away");
  await until(async () => (await later(page), offers() > 1), "it tries again", 15_000);
  mock.answer = answer;
  await page.locator("#state[data-state=on]").waitFor({ timeout: 15_000 });
});

test("what the operator does is seen: pause, resume, end", async () => {
  const { page, one } = await running();
  one.session.state = "paused";
  await later(page);
  await page.locator("#state[data-state=paused]").waitFor();
  assert.equal(await page.evaluate(() => window.tracks.some((track) => track.enabled)), false);
  one.session.state = "live";
  await later(page);
  await page.locator("#state[data-state=on]").waitFor();
  one.session.state = "ended";
  await later(page);
  await says(page, "The session is over");
  assert.deepEqual(await page.evaluate(() => window.tracks.map(({ readyState }) => readyState)), ["ended", "ended"]);
  await page.locator("#withdraw").click();
  await page.locator("#withdraw-yes").click();
  await says(page, "You have withdrawn");
});

test("a participant's own pause is not lifted by anybody else", async () => {
  const { page, one } = await running();
  await page.locator("#pause").click();
  await until(() => one.session.state === "paused", "paused");
  one.session.state = "live";
  const polled = paths("GET").length;
  for (let looks = 1; looks <= 2; looks++) {
    await later(page);
    await until(() => paths("GET").length >= polled + looks, "a look at the state");
  }
  assert.equal(await state(page).innerText(), "Analysis is paused");
  assert.equal(await page.evaluate(() => window.tracks.some((track) => track.enabled)), false);
});

for (const [name, words] of [["NotAllowedError", "no permission"], ["NotFoundError", "No camera or no microphone was found"], ["NotReadableError", "Perhaps another program uses it"]]) {
  test(`a camera that fails is told in words: ${name}`, async () => {
    await peer();
    const { page } = await join();
    await page.evaluate((name) => (window.refusal = name), name);
    await agree(page);
    await says(page, words);
    assert.equal(await page.locator("#state").getAttribute("data-state"), "off");
    assert.equal(await page.locator("#withdraw").isVisible(), true);
    await shot(page, `join-${name}`);
    await page.evaluate(() => (window.refusal = null));
    await page.locator("#retry").click();
    await page.locator("#state[data-state=on]").waitFor();
  });
}

test("an old link, a session that is over and a service that is away are told in words", async () => {
  const { page, one } = await join();
  await says(page, "Before you join");
  mock.broken = (method, path) => (path === "/v1/join" ? { status: 401, title: "expired" } : null);
  await page.reload();
  await says(page, "This link does not work");
  assert.equal(await page.locator("#reload").isHidden(), true);
  mock.broken = (method, path) => (path === "/v1/join" ? { status: 503, title: "away" } : null);
  await page.reload();
  await says(page, "The service has a problem");
  mock.broken = () => null;
  await page.locator("#reload").click();
  await says(page, "Before you join");
  one.session.state = "ended";
  await page.reload();
  await says(page, "The session is over");
});

test("a signal that the service refuses is told, and not sent again and again", async () => {
  await peer();
  const { page } = await join();
  mock.broken = (method, path) => (method === "POST" && path.startsWith("/whip") ? { status: 415, title: "no codec" } : null);
  await agree(page);
  await says(page, "did not accept your camera");
  const looks = paths("GET").length;
  await later(page);
  await until(() => paths("GET").length > looks, "time has passed for the page");
  assert.equal(paths("POST").filter((path) => path.startsWith("/whip")).length, 1);
});

test("a token that expires in the middle stops the camera", async () => {
  const { page } = await running();
  mock.broken = (method, path) => (path.startsWith("/v1/sessions/") ? { status: 401, title: "expired" } : null);
  await later(page);
  await says(page, "This link does not work");
  assert.deepEqual(await page.evaluate(() => window.tracks.map(({ readyState }) => readyState)), ["ended", "ended"]);
});

test("who has agreed already goes on by a click", async () => {
  await peer();
  const consent = { at: "2026-01-02T09:00:00Z", by: "participant", text_version: "1", language: "en", reference: null };
  const { page } = await join({ consent, state: "awaiting_media" });
  await says(page, "You agreed on 2 January 2026");
  assert.equal(await page.locator("#withdraw").isVisible(), true);
  assert.equal(await page.evaluate(() => window.asked), 0);
  await page.locator("#agree-button").click();
  await page.locator("#state[data-state=on]").waitFor();
  assert.equal(paths("POST").some((path) => path.endsWith("/consent")), false);
});

for (const scheme of ["light", "dark"]) {
  test(`in French, on a phone, ${scheme}: no serious violation, nothing too wide`, async () => {
    await peer();
    const { page } = await join({}, { viewport: PHONE, scheme, locale: "fr-CA" });
    await says(page, "Avant de commencer");
    assert.equal(await page.evaluate(() => document.documentElement.lang), "fr");
    assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
    await shot(page, `join-fr-${scheme}`);
    await agree(page);
    await page.locator("#state[data-state=on]").waitFor();
    assert.equal(await state(page).innerText(), "L’analyse est en marche");
    assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
    await shot(page, `join-fr-on-${scheme}`);
    const body = JSON.parse(mock.log.find(({ path }) => path.endsWith("/consent")).body);
    assert.equal(body.language, "fr");
  });
}

test("the language can be chosen by keyboard", async () => {
  const { page } = await join();
  await says(page, "Before you join");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await until(async () => {
    if ((await page.evaluate(() => document.activeElement.lang)) === "fr") return true;
    await page.keyboard.press("Shift+Tab");
    return false;
  }, "the button is reached");
  await page.keyboard.press("Enter");
  await says(page, "Avant de commencer");
});
