// The whole way, with the real service: sign in, join by a browser with a fake camera, windows, an alert, its confirmation, pause,
// withdrawal. The camera plays the hesitant part of the sample recording; the embedded cue index judges.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { PHONE, launch, open, shot, tooWide, until, violations } from "./kit.mjs";

const run = promisify(execFile);
const AHWATCH = process.env.AHWATCH;
const SAMPLE = fileURLToPath(new URL("../../examples/media/interview.mp4", import.meta.url));
const SLOW = 30_000; // windows are five seconds, and machines are busy

let dir, service, url, token, browser;

async function begin() {
  dir = await mkdtemp(join(tmpdir(), "ahwatch-pages-"));
  const from = ["-hide_banner", "-loglevel", "error", "-ss", "14", "-t", "17", "-i", SAMPLE];
  await run("ffmpeg", [...from, "-vf", "fps=15", "-q:v", "6", "-an", "-f", "mjpeg", join(dir, "camera.mjpeg")]);
  await run("ffmpeg", [...from, "-vn", "-ac", "1", "-ar", "48000", join(dir, "microphone.wav")]);
  const config = join(dir, "ahwatch.toml");
  await writeFile(config, '[server]\nlisten = "127.0.0.1:0"\n\n[controller]\nname = "Example Clinic"\ncontact = "privacy@clinic.example"\n\n[journal]\npath = "journal.db"\n');
  service = spawn(AHWATCH, ["serve", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  service.stderr.on("data", (text) => (said += text));
  url = await until(() => /dashboard +(http\S+?)\/?\n/.exec(said)?.[1], "the service tells its address", SLOW).catch((error) => {
    throw new Error(`${error.message}\n${said}`);
  });
  token = (await run(AHWATCH, ["token", "create", "Ada", "--role", "operator", "--config", config])).stdout.trim();
  browser = await launch(`--use-file-for-fake-video-capture=${join(dir, "camera.mjpeg")}`, `--use-file-for-fake-audio-capture=${join(dir, "microphone.wav")}`);
}

async function end() {
  await browser?.close();
  if (service && service.exitCode === null) {
    const gone = new Promise((resolve) => service.once("exit", resolve));
    service.kill("SIGTERM");
    const late = setTimeout(() => service.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(late);
  }
  if (dir) await rm(dir, { recursive: true, force: true });
}

const ask = async (path, options = {}) => {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  return fetch(url + path, { ...options, headers });
};

test("a participant joins, is judged, an alert is confirmed, and the withdrawal leaves nothing", { skip: AHWATCH ? false : "AHWATCH names no program" }, async (t) => {
  t.after(end);
  await begin();

  const desk = await open(browser);
  await desk.goto(url);
  await desk.getByLabel("Token").fill(token);
  await desk.keyboard.press("Enter");
  await desk.getByRole("button", { name: "New session" }).click();
  await desk.getByLabel("Purpose").selectOption("health_care");
  await desk.getByRole("button", { name: "Create" }).click();
  await desk.getByText("The session is ready").waitFor();
  const link = await desk.getByLabel("Link", { exact: true }).inputValue();
  await desk.getByRole("button", { name: "Close" }).click();

  const phone = await open(browser, { viewport: PHONE });
  await phone.goto(link);
  await phone.getByText("Example Clinic asks for your permission").waitFor();
  assert.doesNotMatch(await phone.locator("main").innerText(), /[{}]|undefined|null/);
  assert.deepEqual(await violations(phone), []);
  await shot(phone, "serve-join");
  const { sessions: [{ id }] } = await (await ask("/v1/sessions")).json();
  const refused = await fetch(`${url}/whip/${id}`, { method: "POST", headers: { Authorization: `Bearer ${link.split("/").at(-1)}`, "Content-Type": "application/sdp" }, body: "v=0" });
  assert.equal(refused.status, 403, "no media before consent");
  await phone.locator("#agree").check();
  await phone.locator("#agree-button").click();
  await phone.locator("#state[data-state=on]").waitFor({ timeout: SLOW });
  await shot(phone, "serve-on");

  await desk.getByRole("link", { name: /^join-/ }).click();
  const windows = async (outcome) => (await (await ask(`/v1/sessions/${id}/windows`)).json()).windows.filter(({ type }) => type === `ah.window.${outcome}.v1`).length;
  await desk.locator(".alert").first().waitFor({ timeout: 2 * SLOW });
  await desk.locator(".alert").first().getByRole("button", { name: "Confirm" }).click();
  await desk.getByText("Confirmed by Ada").first().waitFor();
  const slider = desk.getByRole("slider");
  await slider.focus();
  await desk.keyboard.press("Home");
  assert.match(await slider.getAttribute("aria-valuetext"), /0:00 to 0:05, (present|absent); cues/);
  assert.deepEqual([await violations(desk), await tooWide(desk)], [[], 0]);
  await shot(desk, "serve-session");

  await phone.locator("#pause").click();
  await desk.locator(".head .state.paused").waitFor({ timeout: SLOW });
  const judged = await windows("judged");
  await phone.locator("#pause").click();
  await phone.locator("#state[data-state=on]").waitFor({ timeout: SLOW });
  await until(async () => (await windows("judged")) > judged + 1, "windows are judged after the pause", 2 * SLOW);
  await until(async () => (await windows("skipped")) >= 1, "the pause is skipped time");
  await shot(desk, "serve-resumed");

  await phone.locator("#withdraw").click();
  await phone.locator("#withdraw-yes").click();
  await phone.locator("#receipt").waitFor();
  const receipt = await phone.locator("#receipt").innerText();
  assert.match(receipt, /^[0-9a-f-]{36}$/);
  await shot(phone, "serve-withdrawn");
  await desk.getByText("Everything of this session is deleted").waitFor();
  await shot(desk, "serve-deleted");
  assert.deepEqual([await windows("judged"), (await (await ask(`/v1/sessions/${id}/alerts`)).json()).alerts], [0, []]);
  assert.equal((await readFile(join(dir, "journal.db"))).includes("long_pause"), false, "nothing of it is left in the file");
  await phone.reload();
  await phone.getByText("You have withdrawn").waitFor();
  assert.equal(await phone.locator("#receipt").innerText(), receipt);
  assert.deepEqual([...desk.complaints, ...phone.complaints], []);
});
