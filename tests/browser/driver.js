// Drives one Chromium for a Rust test: one JSON command a line on stdin, one
// JSON answer a line on stdout. Ends with stdin, and takes the browser along.
//
//   {"id":1,"do":"launch","wav":"tone.wav","mdns":true}
//   {"id":2,"do":"open","url":"http://127.0.0.1:8008/phone/"}
//   → {"id":2,"ok":null}  or  {"id":2,"error":"…"}

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const COMMAND_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
/** What a microphone may be, as Chromium's arguments. */
const MICROPHONES = {
  tone: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
  denied: ['--use-fake-device-for-media-stream', '--deny-permission-prompts'],
  missing: ['--use-fake-ui-for-media-stream'],
};

let context = null;
let page = null;
let profile = null;
/** What the page logged, and requests that failed: told when a test fails. */
const said = [];

const commands = {
  async launch({ wav, mdns = false, microphone = 'tone', dark = false, width = 1000, height = 760 }) {
    profile = mkdtempSync(join(tmpdir(), 'ringwire-chromium-'));
    const args = [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-default-apps', '--disable-dev-shm-usage',
      '--autoplay-policy=no-user-gesture-required', ...MICROPHONES[microphone],
    ];
    if (wav) args.push(`--use-file-for-fake-audio-capture=${wav}`);
    if (!mdns) args.push('--disable-features=WebRtcHideLocalIpsWithMdns');
    context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      args,
      ignoreDefaultArgs: ['--mute-audio'],
      permissions: microphone !== 'denied' && !mdns ? ['microphone'] : [],
      viewport: { width, height },
      deviceScaleFactor: 2,
      colorScheme: dark ? 'dark' : 'light',
      timeout: COMMAND_TIMEOUT_MS,
    });
    context.setDefaultTimeout(COMMAND_TIMEOUT_MS);
    await context.addInitScript({ path: fileURLToPath(new URL('page.js', import.meta.url)) });
    page = context.pages()[0] ?? await context.newPage();
    page.on('console', (message) => note(message.text()));
    page.on('pageerror', (error) => note(`uncaught: ${error.stack ?? error}`));
    page.on('response', (response) => {
      if (response.status() >= 400) note(`${response.status()} ${response.request().method()} ${response.url()}`);
    });
  },
  /** Runs a script in every page from now on, before the page's own. */
  async prepare({ code }) {
    await context.addInitScript(code);
  },
  async resize({ width, height }) {
    await page.setViewportSize({ width, height });
  },
  async open({ url }) {
    await page.goto(url, { waitUntil: 'load' });
  },
  async reload() {
    await page.reload({ waitUntil: 'load' });
  },
  async evaluate({ code }) {
    return page.evaluate(code);
  },
  /** Polls until the expression is true, and answers its value. */
  async until({ code, ms = COMMAND_TIMEOUT_MS }) {
    // Not waitForFunction: the pages' own policy forbids what that does.
    let seen;
    for (const deadline = Date.now() + ms; Date.now() < deadline; ) {
      try {
        seen = await page.evaluate(code);
        if (seen) return seen;
      } catch (error) {
        // While a page is being loaded there is nothing to look at.
        seen = String(error.message ?? error);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`not within ${ms} ms; last seen: ${JSON.stringify(seen)}; the page says: ${await words()}`);
  },
  async click({ selector }) {
    await page.click(selector);
  },
  async fill({ selector, text }) {
    await page.fill(selector, text);
  },
  async press({ key }) {
    await page.keyboard.press(key);
  },
  async text({ selector }) {
    return page.textContent(selector);
  },
  /** What axe-core finds, in light and in dark, one line each. */
  async audit() {
    await page.evaluate(AXE);
    const found = [];
    for (const colorScheme of ['light', 'dark']) {
      // Colours half way of a transition are nobody's.
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const { violations } = await page.evaluate('axe.run({ resultTypes: ["violations"] })');
      for (const { id, nodes } of violations) {
        for (const node of nodes) found.push(`${colorScheme} ${id}: ${node.html} ${node.failureSummary}`);
      }
    }
    return found;
  },
  async screenshot({ path }) {
    await page.screenshot({ path, animations: 'disabled' });
  },
  async said() {
    return said;
  },
};

/** What a user reads on the page. */
async function words() {
  const text = await page.evaluate('document.body?.innerText ?? ""').catch(String);
  return text.replace(/\s+/g, ' ').slice(0, 600);
}

function note(line) {
  said.push(line);
  if (said.length > 200) said.shift();
}

async function end() {
  await context?.close().catch(() => {});
  if (profile) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

const lines = createInterface({ input: process.stdin });
let turn = Promise.resolve();
lines.on('line', (line) => {
  turn = turn.then(async () => {
    const { id, do: name, ...parameters } = JSON.parse(line);
    let answer;
    try {
      answer = { id, ok: (await commands[name](parameters)) ?? null };
    } catch (error) {
      answer = { id, error: String(error.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
});
lines.on('close', () => turn.finally(end));
process.on('SIGTERM', end);
