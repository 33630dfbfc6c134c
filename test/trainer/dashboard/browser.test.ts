/** The page in a real browser, on a real run: the curve moves, a killed worker leaves, a restarted trainer is found again. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { settingFlags } from '../../../cli/command.ts';
import { startDashboard } from '../../../trainer/dashboard/server.ts';
import { emptyHistory, observe } from '../../../trainer/metrics/history.ts';
import type { Observation } from '../../../trainer/metrics/line.ts';
import { keepPicture, launchBrowser, noBrowser, openPage } from '../../support/browser.ts';
import { RUN, roundLine, START } from '../../support/observed-run.ts';
import { type Running, runFile, startOnebyte, tinyReviews } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** The page is drawn and shows every round that it says are done. */
const showsAllRounds = (page: Page, atLeast: number) =>
  page.waitForFunction((least) => {
    const done = document.querySelector('progress')?.value ?? 0;
    return done >= least && Number(document.body.dataset.rows) === done;
  }, atLeast);

const rowOf = (page: Page, worker: string) => page.locator('#workers tbody tr', { hasText: worker });

describe('the page of a run', { skip: noBrowser }, () => {
  const directory = temporaryDirectory();
  const running: Running[] = [];
  let browser: Browser;
  let url = '';
  let trainer: Running;

  const start = (...args: string[]): Running => {
    const one = startOnebyte(args);
    running.push(one);
    return one;
  };
  const startTrainer = (...flags: string[]): Running => {
    const quick = ['leaseMs=2000', 'heartbeatMs=400', 'startWorkers=2', 'evaluateEvery=5'];
    const settings = [...quick.map((setting) => `trainer.${setting}`), 'data.shards=2', 'learning.decayRounds=0'];
    const set = settingFlags(settings);
    return start('trainer', runFile, '--rounds', '100000', '--out', join(directory, 'run'), ...set, ...flags);
  };

  before(async () => {
    browser = await launchBrowser();
    trainer = startTrainer('--dashboard', '127.0.0.1:0', '--resume');
    url = (await trainer.line(/dashboard: (http:\S+?\/)"/))[1]!;
    const address = (await trainer.line(/listening on ([\d.:]+),/))[1]!;
    for (const number of ['0', '1'])
      start('worker', '--trainer', address, '--number', number, ...ownFiles, '--threads', '1');
  });
  after(async () => {
    await browser?.close();
    for (const { process } of running) process.kill('SIGKILL');
    await Promise.all(running.map(({ finished }) => finished));
  });

  it('moves its curve while the run goes on', async () => {
    const { page, complaints } = await openPage(browser, url, { width: 1600, colorScheme: 'light' });
    await page.waitForFunction(() => /at round 5\b/.test(document.querySelector('#loss')?.ariaLabel ?? ''), undefined);
    const picture = await page.locator('#loss canvas').screenshot();
    await page.waitForFunction(() => /at round [1-9]\d/.test(document.querySelector('#loss')?.ariaLabel ?? ''));
    assert.notDeepEqual(await page.locator('#loss canvas').screenshot(), picture);
    assert.equal(await page.locator('#workers tbody tr').count(), 2);
    assert.equal(await page.locator('#state').textContent(), 'training');
    assert.deepEqual(complaints, []);
    await page.close();
  });

  for (const width of [400, 1600])
    for (const colorScheme of ['dark', 'light'] as const)
      it(`fits ${width} px in ${colorScheme} and names every drawing`, async () => {
        const { page, complaints } = await openPage(browser, url, { width, colorScheme });
        await showsAllRounds(page, 1);
        await page.waitForFunction(() =>
          [...document.querySelectorAll('[role=img]')].every((drawing) => drawing.ariaLabel),
        );
        const [content, window] = await page.evaluate(() => [document.body.scrollWidth, innerWidth]);
        assert(content! <= window!, `${content} px wide`);
        assert.deepEqual(await lowContrast(page), []);
        await keepPicture(page, `live-${width}-${colorScheme}`);
        assert.deepEqual(complaints, []);
        await page.close();
      });

  it('is used with the keyboard', async () => {
    const { page } = await openPage(browser, url, { width: 1600, colorScheme: 'dark' });
    await showsAllRounds(page, 1);
    await page.keyboard.press('Tab');
    assert.equal(await page.locator(':focus').textContent(), 'Skip to the run');
    await page.locator('#workers thead button', { hasText: 'Round trip' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('#workers th[aria-sort=ascending] >> text=Round trip');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#workers th[aria-sort=descending] >> text=Round trip');
    await page.close();
  });

  it('shows a killed worker leave, and the trainer come back after its own death, without a gap', async () => {
    const { page, complaints } = await openPage(browser, url, { width: 1600, colorScheme: 'dark' });
    running[2]!.process.kill('SIGKILL');
    await rowOf(page, 'worker-1').locator('text=left').waitFor();
    assert.equal(await rowOf(page, 'worker-0').locator('text=active').count(), 1);
    await page.locator('#events >> text=worker 1 left').first().waitFor();
    await keepPicture(page, 'worker-left');

    const address = (await trainer.line(/listening on ([\d.:]+),/))[1]!;
    const roundsBefore = await page.evaluate(() => document.querySelector('progress')?.value ?? 0);
    trainer.process.kill('SIGKILL');
    await trainer.finished;
    await page.locator('#state', { hasText: 'connection lost' }).waitFor();
    await keepPicture(page, 'trainer-gone');
    trainer = startTrainer('--resume', '--listen', address, '--dashboard', new URL(url).host);
    await page.locator('#state', { hasText: 'training' }).waitFor();
    await showsAllRounds(page, roundsBefore + 5);
    await page.locator('#events >> text=the trainer started again').waitFor();
    await keepPicture(page, 'trainer-back');
    assert.deepEqual(complaints, []);
    await page.close();
  });
});

describe('the page of a run that is over and whose rows have no options', { skip: noBrowser }, () => {
  const ROUNDS = 60;
  const history = emptyHistory();
  const [at, first] = [1_700_000_000_000, roundLine(1)];
  const lossAt = (round: number): number => 41 - round / 20;
  const seen: Observation[] = [
    {
      ...START,
      at,
      run: { ...RUN, rounds: ROUNDS, config: { ...RUN.config, adapter: { baseModel: '/models/tiny' } } },
    },
    { kind: 'joined', at, worker: 0, name: 'far-away-machine-with-a-long-name', resumed: false },
    { kind: 'digest', worker: 0, round: 0, sha256: 'ab'.repeat(32), agrees: true },
    { kind: 'evaluation', at, round: 0, rows: 10, loss: lossAt(0), lossPerToken: lossAt(0) / 16, best: true },
    ...Array.from({ length: ROUNDS }, (_, i): Observation[] => [
      {
        ...{ ...first, at: at + 1000 * i, round: i + 1, learningRate: 2e-3 * (1 - i / ROUNDS) },
        ...(i > 5 && { trainingLoss: { perRow: lossAt(i) - 1 + (i % 3) / 2, perToken: lossAt(i) / 16 } }),
      },
      ...(i % 5 === 4
        ? [
            {
              kind: 'evaluation' as const,
              at,
              round: i + 1,
              rows: 10,
              loss: lossAt(i),
              lossPerToken: lossAt(i) / 16,
              best: true,
            },
          ]
        : []),
    ]).flat(),
    { kind: 'end', at: at + 1000 * ROUNDS, exitCode: 0, text: `${ROUNDS} rounds done` },
  ];
  for (const one of seen) observe(history, one);
  let browser: Browser;
  let server: Awaited<ReturnType<typeof startDashboard>>;
  before(async () => {
    server = await startDashboard('127.0.0.1:0', history);
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  for (const [width, colorScheme] of [
    [400, 'light'],
    [1600, 'dark'],
  ] as const)
    it(`shows its loss alone, its model and nobody active at ${width} px in ${colorScheme}`, async () => {
      const { page, complaints } = await openPage(browser, server.url, { width, colorScheme });
      await page.locator('#state', { hasText: 'done' }).waitFor();
      assert.equal(await page.locator('#accuracy').isVisible(), false);
      assert.equal(await page.locator('#model').textContent(), 'tiny');
      const shown = (selector: string): Promise<string> =>
        page.locator(selector).evaluate((element) => element.textContent.replaceAll('\n', ' '));
      const text = (await shown('#figures')) + (await shown('#workers'));
      assert.doesNotMatch(text, /Dev accuracy|\bactive\b|1\.00 B/);
      assert.match(text, /saw the end/);
      assert.match(text, /On sockets.*float32 averaging/);
      const legend = await shown('#loss .u-legend');
      assert.match(legend, /round\D*60\D*dev\D*38\.0.*training\D*38\.0/, 'the last values, where no pointer is');
      assert.match(text, /Dev loss38\.0a row, 2\.378 a token.*Training loss38\.0a row, 2\.378 a token/);
      assert.deepEqual(await lowContrast(page), []);
      await keepPicture(page, `over-${width}-${colorScheme}`);
      assert.deepEqual(complaints, []);
      await page.close();
    });
});

describe('the page of a run of which the round log alone is left', { skip: noBrowser }, () => {
  it('shows what nobody noted as unknown, not as nothing', async (test) => {
    const history = emptyHistory();
    const { ms: _, wire: __, answerMs: ___, ...line } = roundLine(1, { at: 0, slowest: [] });
    const worker = { worker: 0, name: 'w', shard: 0, gradients: 16, clipped: 0, contributions: 2, late: 0, missed: 0 };
    history.run = RUN;
    observe(history, line);
    observe(history, { kind: 'workers', at: 0, workers: [{ ...worker, state: 'disconnected' }] });
    Object.assign(history, { state: 'ended' });
    const server = await startDashboard('127.0.0.1:0', history);
    const browser = await launchBrowser();
    test.after(() => Promise.all([browser.close(), server.close()]));
    const { page, complaints } = await openPage(browser, server.url, { width: 400, colorScheme: 'dark' });
    await page.waitForFunction(() =>
      [...document.querySelectorAll('[role=img]')].every((drawing) => drawing.ariaLabel),
    );
    const text = await page.locator('#main').evaluate((element) => element.textContent);
    assert.match(text, /On sockets–.*Not in time–/);
    assert.match(text, /1 saw the end/);
    assert.doesNotMatch(text, /\b0 B|\b0\.0 %|too late/);
    const labels = await page.locator('[role=img]').evaluateAll((all) => all.map(({ ariaLabel }) => ariaLabel).join());
    assert.doesNotMatch(labels, /\b0 B|\b0 ms/);
    assert.deepEqual(complaints, []);
  });
});

describe('the page of a run of weeks', { skip: noBrowser }, () => {
  it('tells of what happened on which day it did', async (test) => {
    const history = emptyHistory();
    const [first, second] = [new Date(2026, 0, 5), new Date(2026, 0, 6)];
    observe(history, { ...START, at: first.getTime() });
    for (const day of [first, second]) observe(history, { kind: 'waiting', at: day.getTime(), reason: 'for workers' });
    const server = await startDashboard('127.0.0.1:0', history);
    const browser = await launchBrowser();
    test.after(() => Promise.all([browser.close(), server.close()]));
    const { page } = await openPage(browser, server.url, { width: 400, colorScheme: 'light' });
    const times = page.locator('#events li span:first-child');
    await times.nth(1).waitFor();
    assert.deepEqual(await times.allTextContents(), ['Jan 6, 00:00:00', 'Jan 5, 00:00:00']);
  });
});

const ownFiles = [
  ...['--model', join(tinyReviews, 'model'), '--data', join(tinyReviews, 'train.jsonl')],
  ...['--dev', join(tinyReviews, 'dev.jsonl')],
];

/** Texts whose colour has less than 4.5 : 1 contrast with the ground that they stand on (WCAG 2.2, 1.4.3). */
const lowContrast = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!;
    const luminance = (colour: string): number => {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const linear = [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((c) =>
        c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
      );
      return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
    };
    const ground = (element: Element | null): string => {
      for (let at = element; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (backgroundColor !== 'rgba(0, 0, 0, 0)') return backgroundColor;
      }
      return 'white';
    };
    const texts = [...document.querySelectorAll('body *')].filter(
      (element) =>
        element.checkVisibility() &&
        [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim()),
    );
    return texts.flatMap((element) => {
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ratio < 4.5 ? [`${element.tagName} ${element.textContent?.slice(0, 30)}: ${ratio.toFixed(2)}`] : [];
    });
  });
