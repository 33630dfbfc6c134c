/** A run with 1,000 workers: what its page costs the trainer, and that it stays of use. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { updateFor } from '../../../trainer/dashboard/page-update.ts';
import { startDashboard } from '../../../trainer/dashboard/server.ts';
import { emptyHistory, observe } from '../../../trainer/metrics/history.ts';
import { keepPicture, launchBrowser, noBrowser, openPage } from '../../support/browser.ts';
import { roundLine, START } from '../../support/observed-run.ts';

const WORKERS = 1000;
const ROUNDS = 3000;

/** A long run in which every worker answers every round. */
function largeRun() {
  const history = emptyHistory();
  observe(history, START);
  const workers = Array.from({ length: WORKERS }, (_, worker) => worker);
  for (const worker of workers)
    observe(history, { kind: 'joined', at: 1, worker, name: `machine-${worker}.example`, resumed: false });
  const shares = new Map(workers.map((worker) => [worker, { contributions: 1, gradients: 8, clipped: 0 }]));
  const answeredMs = new Map(workers.map((worker) => [worker, 20 + (worker % 97)]));
  const playRound = (round: number): void => {
    observe(history, { kind: 'answers', shares, answeredMs, missing: [] });
    observe(history, roundLine(round, { contributions: WORKERS, gradients: 8 * WORKERS, members: WORKERS }));
  };
  for (let round = 1; round <= ROUNDS; round++) playRound(round);
  for (const worker of workers)
    observe(history, { kind: 'digest', worker, round: 16, sha256: '0123456789abcdef'.repeat(4), agrees: true });
  return { history, playRound };
}

it('sends little of a run with 1,000 workers: what changed, and the workers once a second', (test) => {
  const { history } = largeRun();
  const { cursor } = updateFor(history, undefined, true);
  const bytes = (withWorkers: boolean): number => JSON.stringify(updateFor(history, cursor, withWorkers).update).length;
  const started = performance.now();
  const [brief, whole] = [bytes(false), bytes(true)];
  test.diagnostic(`${brief} B four times a second, ${whole} B once; ${(performance.now() - started).toFixed(1)} ms`);
  assert(brief < 40_000, `${brief} B`);
  assert(whole < 400 * WORKERS, `${whole} B`);
});

it('shows 1,000 workers, sorts them and shows them all', { skip: noBrowser }, async (test) => {
  const { history, playRound } = largeRun();
  const dashboard = await startDashboard('127.0.0.1:0', history);
  const browser = await launchBrowser();
  try {
    const { page, complaints } = await openPage(browser, dashboard.url, { width: 1600, colorScheme: 'light' });
    const rows = page.locator('#workers tbody tr');
    await page.locator('#all-workers', { hasText: 'Show all 1,000' }).waitFor();
    assert.equal(await rows.count(), 50);
    await page.locator('#workers thead button', { hasText: 'Round trip' }).click();
    await page.locator('#workers tbody tr:first-child', { hasText: '116 ms' }).waitFor();
    await page.locator('#all-workers').click();
    await page.locator('#workers tbody tr:nth-child(1000)').waitFor();
    await keepPicture(page, 'workers-1000');
    const before = await page.evaluate('performance.now()');
    for (let round = ROUNDS + 1; round <= ROUNDS + 3; round++) {
      playRound(round);
      dashboard.onObservation(roundLine(round));
      await page.locator('#figures', { hasText: `${round.toLocaleString('en')} / 1,000` }).waitFor();
    }
    const spent = Number(await page.evaluate('performance.now()')) - Number(before);
    test.diagnostic(`3 rounds reached the page, all 1,000 rows shown, within ${spent.toFixed(0)} ms`);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    await dashboard.close();
  }
});
