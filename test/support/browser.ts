/** The system's Chromium, headless, for tests of the page as a user sees it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const found = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));

/** Why no browser test can run here; false when it can. */
export const noBrowser: string | false =
  found === undefined
    ? `no Chromium in ${PLACES.join(', ')}: run scripts/install-test-tools.sh or set CHROMIUM`
    : false;

export const launchBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: found, args: FLAGS, timeout: 60_000 });

/** Opens `url`; whatever the page complains about is collected, violations of its policy too. */
export async function openPage(
  browser: Browser,
  url: string,
  { width, colorScheme }: { width: number; colorScheme: 'dark' | 'light' },
): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  // As long as a busy machine may take; a page that hangs is seen all the same.
  page.setDefaultTimeout(180_000);
  const complaints: string[] = [];
  // tsx names functions by this; those that are evaluated in the page need it there.
  await page.addInitScript('globalThis.__name ??= (named) => named');
  // A refused connection is what a page meets while the trainer is gone.
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('net::ERR_')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints };
}

/** With SCREENSHOTS=<dir>: keeps a picture for a person to look at. */
export async function keepPicture(page: Page, name: string): Promise<void> {
  const directory = process.env.SCREENSHOTS;
  if (directory !== undefined) await page.screenshot({ path: join(directory, `${name}.png`), fullPage: true });
}
