// node render.mjs PROMETHEUS FROM TO DASHBOARDS FOLDER: asks Prometheus at this URL what the dashboards ask, from and to these
// seconds since 1970, and puts a picture of each into the folder; and one of the messages in its slack.json.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openPage } from './page.mjs';

const BOARDS = ['alerts', 'router', 'sensor'];
const POINTS = 400;

const KINDS = [/^🔴 Critical: Drop and execute/, /Terminal shell in container \(\d+ more/, /held back by/];

const LOGO =
  'data:image/svg+xml,' +
  encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36"><rect width="36" height="36" rx="4" fill="#243b53"/><path d="M8 12c8 0 14 4 20 14-6-4-12-4-16-2 2-3 2-8-4-12z" fill="#f0b429"/></svg>');

const [prometheus, from, to, dashboards, folder] = process.argv.slice(2);
const seconds = Number(to) - Number(from);
const step = Math.max(1, Math.round(seconds / POINTS));

async function ask(target) {
  const range = `${seconds}s`;
  const query = target.expr
    .replaceAll('$__rate_interval', '30s')
    .replaceAll('$__range', range)
    .replaceAll('$__interval', '5s')
    .replace(/\$\w+/g, '.*');
  const parameters = target.instant ? { query, time: to } : { query, start: from, end: to, step };
  const method = target.instant ? 'query' : 'query_range';
  const answer = await (await fetch(`${prometheus}/api/v1/${method}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(`${query}: ${answer.error}`);
  return answer.data.result;
}

async function drawBoard(name) {
  const json = JSON.parse(await readFile(join(dashboards, `${name}.json`)));
  const results = {};
  for (const panel of json.panels) {
    for (const target of panel.targets ?? []) results[`${panel.id}${target.refId}`] = await ask(target);
  }
  const style = `
    body { background: #111217; color: #ccccdc; font: 14px Inter, sans-serif; margin: 16px; }
    header { display: flex; align-items: center; gap: 12px; margin-bottom: 12px; }
    h1 { font-size: 20px; font-weight: 500; margin: 0 12px 0 0; }
    .variable { background: #181b1f; border: 1px solid #2e3036; padding: 4px 8px; }
    button { color: inherit; background: none; border: 0; padding: 0; font: inherit; }
    .empty { color: #8e8e99; text-align: center; padding-top: 60px; }
    section { background: #181b1f; border: 1px solid #24262b; box-sizing: border-box; overflow: hidden; }`;
  const page = await openPage('board.jsx', { board: { json, results, from: Number(from), to: Number(to), step } }, style, 1568);
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  await page.context().browser().close();
}

// The first of each kind: an alert, the summary of its repeats, and a digest.
async function drawMessages() {
  const all = JSON.parse(await readFile(join(folder, 'slack.json')));
  const messages = KINDS.map((kind) => all.find(({ text }) => kind.test(text))).filter(Boolean);
  const style = 'body { margin: 0; } #root { padding: 16px; } #root, #root * { font-family: Lato, "Noto Color Emoji", sans-serif; } #root { display: flex; flex-direction: column; gap: 16px; } #root :is(code, pre), #root :is(code, pre) * { font-family: monospace; }';
  const page = await openPage('slack.jsx', { messages, logo: LOGO }, style, 760);
  await page.locator('#root').screenshot({ path: join(folder, 'slack.png') });
  await page.context().browser().close();
}

for (const name of BOARDS) await drawBoard(name);
await drawMessages();
