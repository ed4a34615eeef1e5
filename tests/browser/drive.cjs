// Drives a browser for the tests: a request per line of standard input, an answer per line.
// A request opens a page and takes steps on it; the answer has what they gave, and every word of the
// console, every error and every address that was asked for.
const fs = require("node:fs");
const readline = require("node:readline");
const [modules, executablePath] = process.argv.slice(2);
const { chromium } = require(`${modules}/playwright-core`);
const axe = `${modules}/axe-core/axe.min.js`;

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// When the second frame after the load event is due, in milliseconds since the page was asked for.
const watch = `addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(
  () => { globalThis.drawnAt = performance.now(); })))`;

const STEPS = {
  fill: (page, selector, value) => page.fill(selector, value),
  click: (page, selector) => page.click(selector),
  hover: (page, selector) => page.hover(selector),
  pick: (page, selector, index) => page.selectOption(selector, { index }),
  press: (page, key) => page.keyboard.press(key),
  read: (page, expression) => page.evaluate(expression),
  until: async (page, expression) => { // the page's rules forbid what waitForFunction does
    for (let i = 0; i < 200 && !(await page.evaluate(expression)); i += 1) {
      await page.waitForTimeout(25);
    }
  },
  download: async (page, selector) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    return { name: file.suggestedFilename(), text: fs.readFileSync(await file.path(), "utf8") };
  },
  axe: async (page) => {
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate("axe.run()");
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  },
};

const tabs = new Map(); // one for each look: a tab is dear, another page in it is not

async function tab(browser, scheme, width) {
  const look = `${scheme} ${width}`;
  if (!tabs.has(look)) {
    const viewport = { width, height: 900 };
    const page = await (await browser.newContext({ colorScheme: scheme, viewport })).newPage();
    await page.addInitScript(watch);
    const found = { page, heard: null };
    page.on("console", (message) => found.heard.said.push(message.text()));
    page.on("pageerror", (error) => found.heard.said.push(error.message));
    page.on("request", (request) => found.heard.asked.push(request.url()));
    tabs.set(look, found);
  }
  return tabs.get(look);
}

async function answer(browser, { path, scheme = "light", width = 1280, steps }) {
  const own = await tab(browser, scheme, width);
  const found = { results: [], said: [], asked: [] };
  own.heard = found;
  await own.page.goto(`file://${path}`);
  for (const [name, ...rest] of steps) {
    const result = await STEPS[name](own.page, ...rest);
    if (["read", "axe", "download"].includes(name)) found.results.push(result);
  }
  await own.page.mouse.move(0, 0);
  return found;
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: quiet });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const found = await answer(browser, JSON.parse(line)).catch((error) => ({ error: error.message }));
    process.stdout.write(`${JSON.stringify(found)}\n`);
  }
  await browser.close();
})();
