// The browser of the page tests: Debian's Chromium, driven by Playwright.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import axe from "axe-core";
import { chromium } from "playwright-core";

/** `SHOTS=1` writes what the tests see to `shots/`. */
const SHOTS = process.env.SHOTS ? fileURLToPath(new URL("shots/", import.meta.url)) : null;
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

export const PHONE = { width: 360, height: 740 };
export const DESKTOP = { width: 1280, height: 900 };

export function launch(...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--use-fake-device-for-media-stream", "--disable-features=WebRtcHideLocalIpsWithMdns", ...more,
    ],
  });
}

/** A page that fails the test at its end where the browser complained: an error, a breach of the Content-Security-Policy. */
export async function open(browser, { viewport = DESKTOP, scheme = "light", permissions = ["camera", "microphone"], locale = "en-GB", token, origin, ...rest } = {}) {
  const context = await browser.newContext({ viewport, colorScheme: scheme, permissions, locale, timezoneId: "UTC", ...rest });
  if (token) await context.addCookies([{ name: "ahwatch", value: token, url: origin, httpOnly: true, sameSite: "Strict" }]);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // That a request failed is what some tests are about; what the page made of it is looked at there.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.complaints.push(message.text());
  });
  return page;
}

export async function shot(page, name) {
  if (SHOTS) await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true });
}

/** Violations that axe-core calls serious or critical. */
export async function violations(page) {
  // By the debugger's protocol, because the page's own policy forbids foreign scripts.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target} (${failureSummary})`).join(" | ")}`);
}

/** What is wider than the screen. */
export function tooWide(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** Waits until `condition` holds; fails with its last value. */
export async function until(condition, what, ms = 30_000) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    last = await condition();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within ${ms} ms: ${what}; last: ${JSON.stringify(last)}`);
}
