// The dashboard: what it shows, live and by keyboard; what its buttons do; what is never confused.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { DESKTOP, PHONE, launch, open, shot, tooWide, until, violations } from "./kit.mjs";
import { busy, empty, long } from "./mock/scenes.mjs";

let browser, mock, pages;
before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(() => {
  mock = null;
  pages = [];
});
afterEach(async () => {
  const complaints = pages.flatMap((page) => page.complaints);
  for (const page of pages) await page.context().close();
  await mock?.close();
  assert.deepEqual(complaints, []);
});

async function look(scene, path = "/", options = {}) {
  mock ??= await scene(0);
  const page = await open(browser, { token: "ahw_operator", origin: mock.url, ...options });
  pages.push(page);
  await page.clock.install(); // so that `later` need not wait
  await page.goto(mock.url + path);
  await page.locator("main h1").first().waitFor();
  return page;
}

/** The page's next look at the service. */
const later = (page) => page.clock.fastForward(60_000);

/** What appears once the page has looked again. */
async function saysLater(page, text) {
  await until(async () => (await later(page), page.getByText(text).first().isVisible()), `${text}`);
}

const ROOM = "/#/session/s-1";
const slider = (page) => page.getByRole("slider", { name: "Windows of the session" });
const says = (page, text) => page.getByText(text).first().waitFor();
const windows = async (page) => Number(await slider(page).getAttribute("aria-valuemax")) + 1;
const told = () => mock.told.filter(({ event }) => event.subject === "s-1" && event.type.startsWith("ah.window.")).length;

async function session(options = {}) {
  const page = await look(busy, ROOM, options);
  await until(async () => (await windows(page)) === told(), "all windows are there");
  await says(page, "Advisory, not a diagnosis");
  return page;
}

for (const [size, viewport] of [["phone", PHONE], ["desktop", DESKTOP]]) {
  for (const scheme of ["light", "dark"]) {
    test(`no serious violation, nothing too wide: ${size}, ${scheme}`, async () => {
      const page = await session({ viewport, scheme });
      await slider(page).focus();
      await page.getByText("Windows as a table").click();
      assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
      await shot(page, `session-${size}-${scheme}`);
      await page.goto(`${mock.url}/#/`);
      await page.getByRole("link", { name: "room-1" }).waitFor();
      assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
      await shot(page, `list-${size}-${scheme}`);
      await page.getByRole("button", { name: "New session" }).click();
      await page.getByLabel("A camera, by its RTSP address").check();
      await page.getByLabel("Purpose").selectOption("workplace");
      assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
      await shot(page, `create-${size}-${scheme}`);
    });
  }
}

test("a service without sessions says what to do", async () => {
  const page = await look(empty);
  await says(page, "There is no session yet");
  assert.deepEqual(await violations(page), []);
  await shot(page, "empty");
});

test("the list tells state, coverage, last window and open episode", async () => {
  const page = await look(busy);
  const card = (name) => page.locator(".session-card", { hasText: name });
  await card("room-1").waitFor();
  assert.match(await card("browser-77c1").innerText(), /paused[\s\S]*Judged\s+85 %[\s\S]*Last window[\s\S]*(Present|Absent)[\s\S]*Episode\s+open/);
  assert.match(await card("cam-7").innerText(), /camera away/);
  assert.match(await card("browser-3f2a").innerText(), /waiting for consent/);
  await says(page, "unproven: it could not be checked");
  mock.reasons = ["2 of 3 judges failed: no window can be called present or absent"];
  await saysLater(page, "Not ready: 2 of 3 judges failed");
  await says(page, "1 message given up");
});

test("windows appear as they are judged, and once each after a lost connection", async () => {
  const page = await session();
  const one = mock.sessions.get("s-1");
  mock.tell(one.next("present"));
  await until(async () => (await windows(page)) === told(), "the new window");
  mock.cut();
  await page.locator("#link.away").waitFor();
  mock.tell(one.next("absent"));
  mock.tell(one.next("lost"));
  await until(async () => (await windows(page)) === told(), "what happened meanwhile", 30_000);
  await page.locator("#link:not(.away)").waitFor();
  await slider(page).focus();
  assert.match(await slider(page).getAttribute("aria-valuetext"), /lost: every judge abstained/);
});

test("a service that refuses the stream is asked again, from where it broke off", async () => {
  const page = await session();
  mock.streamsRefused = true;
  mock.cut();
  await page.locator("#link.away").waitFor();
  await until(async () => (await later(page), mock.log.filter(({ path }) => path === "/v1/sessions/s-1/events").length > 1), "it asks again", 30_000);
  await shot(page, "connection-lost");
  mock.streamsRefused = false;
  mock.tell(mock.sessions.get("s-1").next("present"));
  await until(async () => (await later(page), (await windows(page)) === told()), "the window that came meanwhile", 30_000);
  const streams = mock.log.filter(({ path }) => path === "/v1/sessions/s-1/events");
  assert.deepEqual([streams[0].query.get("after"), Number(streams.at(-1).query.get("after")) > 100], ["0", true]);
});

test("the timeline goes by keyboard and tells each window", async () => {
  const page = await session();
  await slider(page).focus();
  const value = async () => [Number(await slider(page).getAttribute("aria-valuenow")), await slider(page).getAttribute("aria-valuetext")];
  const [last] = await value();
  assert.equal(last, told() - 1);
  await page.keyboard.press("ArrowLeft");
  assert.equal((await value())[0], last - 1);
  await page.keyboard.press("p");
  const [at, text] = await value();
  assert.ok(at < last - 1);
  assert.match(text, /present; v1 present 0\.\d\d, v2 present 0\.\d\d, v3 present/);
  assert.match(await page.locator(".details").innerText(), /Present[\s\S]*v1[\s\S]*unproven/);
  await page.keyboard.press("Home");
  assert.equal((await value())[0], 0);
  await page.keyboard.press("n");
  assert.match((await value())[1], /: 3:22 to 3:27, absent|present/);
});

/** Whether the canvas is painted at the top and at the bottom of the panel's row, at the middle of a window. */
function painted(page, secs) {
  return page.evaluate((secs) => {
    const canvas = document.querySelector("canvas.canvas");
    const x = (secs + 1.2) * 3.2 - canvas.parentElement.scrollLeft; // beside the letter
    const alpha = (y) => canvas.getContext("2d").getImageData(Math.round(x), y, 1, 1).data[3];
    return { top: alpha(22 + 6) > 0, bottom: [40, 41, 42, 43, 44, 45].some((y) => alpha(22 + y - 3) > 0) };
  }, secs);
}

test("what was not judged never looks like Absent", async () => {
  const page = await session();
  const one = mock.sessions.get("s-1");
  for (const outcome of ["absent", "present", "undecided", "skipped", "dropped", "lost"]) {
    const start = one.at;
    mock.tell(one.next(outcome));
    await until(async () => (await windows(page)) === told(), outcome);
    await slider(page).focus();
    await page.keyboard.press("End");
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    const judged = ["absent", "present", "undecided"].includes(outcome);
    assert.deepEqual(await painted(page, start), { top: judged, bottom: true }, outcome);
  }
});

test("pointing at a window tells its votes, scores and times", async () => {
  const page = await session();
  await slider(page).hover({ position: { x: 500, y: 40 } });
  assert.match(await page.locator(".details").innerText(), /Window \d+[\s\S]*P\(Yes\)[\s\S]*(ms|\d s)/);
});

test("with the cue index the cues are told, and A/H is not spoken of", async () => {
  const page = await look(busy, "/#/session/s-cues");
  await says(page, "an uncalibrated index of hesitation cues");
  await slider(page).focus();
  await page.keyboard.press("p");
  await says(page, "longest pause");
  assert.match(await page.locator(".labels").innerText(), /Cues[\s\S]*Index/);
  assert.doesNotMatch(await page.locator("main").innerText(), /A\/H/);
});

test("a day of windows: only what is visible is drawn", async () => {
  const page = await look(long, "/#/session/s-day");
  await until(async () => (await windows(page)) >= 17_280, "the whole day", 30_000);
  const drawn = (scroll) => page.evaluate(async (scroll) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    await frame();
    const canvas = document.querySelector("canvas.canvas");
    let count = 0;
    const real = CanvasRenderingContext2D.prototype.fillRect;
    CanvasRenderingContext2D.prototype.fillRect = function (...where) {
      count++;
      return real.apply(this, where);
    };
    canvas.parentElement.scrollLeft = scroll;
    // A busy machine tells of the scrolling some frames later.
    for (let frames = 0; frames < 300 && count === 0; frames++) await frame();
    await frame();
    CanvasRenderingContext2D.prototype.fillRect = real;
    return count;
  }, scroll);
  for (const scroll of [0, 100_000, 276_000]) {
    const count = await drawn(scroll);
    assert.ok(count > 50 && count < 2_500, `${count} rectangles at ${scroll}`);
  }
  const canvas = await page.locator("canvas.canvas").boundingBox();
  assert.ok(canvas.width < 1_280, "the canvas is as wide as the screen, not as the day");
  await page.getByRole("button", { name: "All of the session" }).click();
  const count = await drawn(0);
  assert.ok(count < 12_000, `${count} rectangles for the whole day`);
  await shot(page, "day");
  assert.equal(await page.locator("table tbody tr").count() < 300, true);
});

test("alerts are confirmed, dismissed and noted by a person, and the word stays", async () => {
  const page = await session();
  const alert = page.locator(".alert", { hasText: "episode 1" });
  await alert.getByRole("button", { name: "Confirm" }).click();
  await alert.getByText("Confirmed by Ada").waitFor();
  await alert.getByRole("button", { name: "Dismiss" }).click();
  await alert.getByText("Dismissed by Ada").waitFor();
  await alert.getByRole("button", { name: "Add note" }).click();
  await alert.getByLabel("Note").fill("Laughed at a joke.");
  await alert.getByRole("button", { name: "Save note" }).click();
  await alert.getByText("Note: Laughed at a joke.").waitFor();
  const id = mock.sessions.get("s-1").alerts[1].id;
  assert.deepEqual([mock.feedback.get(id).verdict, mock.feedback.get(id).note], ["dismissed", "Laughed at a joke."]);
  await shot(page, "alerts");
});

test("a note that is being written is not lost to what arrives", async () => {
  const page = await session();
  const alert = page.locator(".alert", { hasText: "episode 1" });
  await alert.getByRole("button", { name: "Add note" }).click();
  await alert.getByLabel("Note").fill("half a");
  const asked = mock.log.filter(({ path }) => path.endsWith("/alerts")).length;
  mock.tell(mock.sessions.get("s-1").next("present"));
  await until(async () => (await later(page), mock.log.filter(({ path }) => path.endsWith("/alerts")).length > asked), "the alerts are asked for");
  await page.keyboard.type(" sentence");
  assert.equal(await alert.getByLabel("Note").inputValue(), "half a sentence");
});

test("alerts are exported as JSON lines", async () => {
  const page = await session();
  const lines = async (button) => {
    const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
    return (await readFile(await download.path(), "utf8")).trim().split("\n").map(JSON.parse);
  };
  const own = await lines(page.getByRole("button", { name: "Download these alerts" }));
  assert.deepEqual(own.map(({ event }) => event.id), mock.sessions.get("s-1").alerts.map(({ id }) => id));
  assert.equal(own[0].feedback.verdict, "confirmed");
  await page.goto(`${mock.url}/#/`);
  const all = await lines(page.getByRole("link", { name: "Download all alerts" }));
  assert.ok(all.length > own.length);
});

test("a session that has ended tells its summary under both rules, and why a long one says little", async () => {
  const page = await session();
  await says(page, "So far: A/H present");
  mock.tell(mock.sessions.get("s-1").ended());
  await until(async () => (await later(page), page.getByText(/^A\/H present .* nothing is said of the other/).isVisible()), "the verdict");
  await says(page, "Long session: were only 3 %");
  const facts = await page.locator(".wide-facts").innerText();
  assert.match(facts, /Session by vote_of_max \(in force\)[\s\S]*Present[\s\S]*Session by max_of_vote[\s\S]*Alarms per hour\s+\d+\.\d/);
  await until(async () => (await later(page), page.locator(".head .state.ended").isVisible()), "the state");
  assert.equal(await page.getByRole("button", { name: "Pause" }).count(), 0);
});

for (const how of ["event", "answer"]) test(`of a withdrawn session nothing stays on the screen: told by an ${how}`, async () => {
  const page = await session();
  const events = mock.sessions.get("s-1").withdrawn();
  if (how === "event") mock.tell(events);
  await saysLater(page, "Everything of this session is deleted");
  const text = await page.locator("main").innerText();
  assert.doesNotMatch(text, /A\/H|Present|appointment|P\(Yes\)/);
  assert.equal(await page.locator("canvas").isHidden(), true);
  assert.equal(await page.locator("canvas").getAttribute("aria-valuetext"), "0 windows");
});

test("an operator pauses, resumes and ends; a viewer only looks", async () => {
  const page = await session();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator(".head .state.paused").waitFor();
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".head .state.live").waitFor();
  await page.getByRole("button", { name: "End", exact: true }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(mock.sessions.get("s-1").session.state, "live");
  await page.getByRole("button", { name: "End", exact: true }).click();
  await page.getByRole("button", { name: "End session" }).click();
  await page.locator(".head .state.ended").waitFor();

  const viewer = await look(busy, "/#/session/s-paused", { token: "ahw_viewer" });
  await says(viewer, "Advisory, not a diagnosis");
  await viewer.locator(".alert").first().waitFor();
  for (const name of ["Go on", "End", "Withdraw for the participant", "Confirm", "Add note", "New session"]) {
    assert.equal(await viewer.getByRole("button", { name, exact: true }).count(), 0, name);
  }
});

test("a new session gives its join link once", async () => {
  const page = await look(busy);
  const create = () => page.getByRole("button", { name: "New session" }).click();
  await create();
  const dialog = page.getByRole("dialog", { name: "New session" });
  await dialog.getByRole("button", { name: "Create" }).click();
  await says(page, "Choose the purpose");
  await dialog.getByLabel("Purpose").selectOption("education");
  await dialog.getByRole("button", { name: "Create" }).click();
  await says(page, "Say where the basis is written down");
  await dialog.getByLabel("Where that is written down").fill("protocol 7");
  await dialog.getByRole("button", { name: "Create" }).click();
  await says(page, "The session is ready");
  const link = await page.getByLabel("Link", { exact: true }).inputValue();
  assert.match(link, /\/join\/ahw_join_/);
  const wish = JSON.parse(mock.log.find(({ method, path }) => method === "POST" && path === "/v1/sessions").body);
  assert.deepEqual(wish, { source: { kind: "webrtc" }, panel: "default", purpose: "education", basis: { kind: "medical", reference: "protocol 7" } });
  assert.deepEqual(await violations(page), []);
  await shot(page, "created");
  await page.getByRole("button", { name: "Close" }).click();
  await create();
  assert.equal(await page.locator("#join-url").inputValue(), "");
});

test("a camera is added by its address, with where the consent is kept; what the service refuses is told", async () => {
  const page = await look(busy);
  await page.getByRole("button", { name: "New session" }).click();
  await page.getByLabel("A camera, by its RTSP address").check();
  await page.getByLabel("Address", { exact: true }).fill("http://cam.example/");
  await page.getByLabel("Purpose").selectOption("research");
  await page.getByRole("button", { name: "Create" }).click();
  await says(page, "without consent nobody is analysed");
  await page.getByLabel("consent is kept").fill("form 12");
  await page.getByRole("button", { name: "Create" }).click();
  await says(page, "The address is no rtsp:// address");
  await page.getByLabel("Address", { exact: true }).fill("rtsp://u:p@cam.example/one");
  await page.getByRole("button", { name: "Create" }).click();
  await until(async () => (await later(page), page.getByRole("link", { name: "rtsp://cam.example/one" }).isVisible()), "its card");
  const wish = JSON.parse(mock.log.findLast(({ method, path }) => method === "POST" && path === "/v1/sessions").body);
  assert.deepEqual([wish.consent, wish.source.url], [{ reference: "form 12" }, "rtsp://u:p@cam.example/one"]);
});

test("signing in: a wrong token is told in words, a right one opens the dashboard", async () => {
  const page = await look(busy, "/", { token: undefined });
  await page.getByLabel("Token").fill("nonsense");
  await page.getByRole("button", { name: "Sign in" }).click();
  await says(page, "This token is not known");
  assert.deepEqual([await tooWide(page), await violations(page)], [0, []]);
  await shot(page, "signin");
  await page.getByLabel("Token").fill(" ahw_operator ");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "room-1" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
});

test("a service that is away is told, and a token that expires leads to the sign-in page", async () => {
  const page = await session();
  mock.broken = (method, path) => (path.startsWith("/v1/sessions/s-1/") ? null : { status: 500, title: "The journal is broken" });
  await saysLater(page, "The journal is broken");
  await shot(page, "error");
  mock.broken = () => null;
  mock.tokens.clear();
  await later(page);
  await page.getByLabel("Token").waitFor({ timeout: 30_000 });
});

test("a service that is away from the start: nothing is said of who judges", async () => {
  mock = await busy(0);
  mock.broken = (method, path) => (path.startsWith("/v1/sessions") ? { status: 503, title: "The service is away" } : null);
  const page = await look(busy, "/");
  await saysLater(page, "The service is away");
  assert.equal(await page.getByText("No panel is configured").count(), 0);
  mock.broken = () => null;
  await until(async () => (await later(page), page.getByRole("heading", { name: "Judges" }).isVisible()), "the judges");
});

test("an action that failed stays told, and a withdrawal that left something is not called complete", async () => {
  const page = await session();
  mock.broken = (method, path) => (path.endsWith("/pause") ? { status: 500, title: "The pause failed" } : null);
  await page.getByRole("button", { name: "Pause" }).click();
  await says(page, "The pause failed");
  await later(page);
  await later(page);
  assert.ok(await page.getByText("The pause failed").first().isVisible(), "after the page has looked again");
  // As the service does it where clips cannot be deleted: it withdraws, and answers 500.
  mock.broken = (method, path) => (path.endsWith("/withdraw") ? { status: 500, title: "The clips could not be deleted" } : null);
  const withdraw = async () => {
    await page.getByRole("button", { name: "Withdraw for the participant" }).click();
    await page.getByRole("button", { name: "Withdraw and delete" }).click();
  };
  await withdraw();
  await says(page, "The clips could not be deleted");
  mock.tell(mock.sessions.get("s-1").withdrawn());
  await says(page, "Not everything could be deleted");
  assert.equal(await page.getByText("Everything of this session is deleted").count(), 0);
  mock.broken = () => null;
  await withdraw();
  await saysLater(page, "Everything of this session is deleted");
});
