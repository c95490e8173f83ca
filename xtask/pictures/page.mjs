// A page in a browser without a window: a bundled source file, and what it finds in `window`.

import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const LOADERS = { '.woff': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl', '.ttf': 'dataurl', '.png': 'dataurl' };

export async function openPage(source, globals, style, width) {
  const { outputFiles } = await build({
    entryPoints: [new URL(source, import.meta.url).pathname],
    bundle: true,
    write: false,
    outdir: '/out',
    loader: LOADERS,
    jsx: 'transform',
    minify: true,
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  });
  const text = (end) => outputFiles.filter(({ path }) => path.endsWith(end)).map((file) => file.text).join('\n');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-background-networking'] });
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  page.on('pageerror', (error) => console.error(error.stack));
  page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
  // With an address, since only a page that has one may keep settings.
  const body = `<!doctype html><meta charset="utf-8"><style>${text('.css')}${style}</style><div id="root"></div>`;
  await page.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body }));
  await page.goto('http://page.invalid/');
  for (const [name, value] of Object.entries(globals)) {
    await page.evaluate(([name, value]) => { window[name] = value; }, [name, value]);
  }
  await page.addScriptTag({ content: text('.js') });
  await page.waitForTimeout(1500);
  return page;
}
