/** The page: keeps what the trainer sends and draws it, at most once a frame. EventSource reconnects with the last id by itself. */
import { drawDistribution, drawTimeline } from './canvas.js';
import { createCharts } from './charts.js';
import { byId, readColours } from './format.js';
import { drawBytes, drawConfig, drawEvaluations, drawEvents, drawFigures, drawHeader, drawRounds } from './tables.js';
import { drawWorkers, prepareWorkers } from './workers.js';

/** @typedef {import('../page-update.ts').PageUpdate} PageUpdate */
/** @typedef {import('./page-state.d.ts').PageState} PageState */

/** @type {PageState | undefined} */
let state;
let colours = readColours();
let frame = 0;
const charts = createCharts(() => colours);
const distribution = /** @type {HTMLCanvasElement} */ (byId('distribution'));
const timeline = /** @type {HTMLCanvasElement} */ (byId('timeline'));

/** What `update` adds to what is known. @param {PageState | undefined} known @param {PageUpdate} update @returns {PageState} */
function merge(known, { from, columns, evaluationsFrom, evaluations, workers, ...rest }) {
  const names = /** @type {(keyof typeof columns)[]} */ (Object.keys(columns));
  const before = known?.columns;
  const joined = /** @type {typeof columns} */ ({});
  for (const name of names) joined[name] = [...(before?.[name] ?? []).slice(0, from), ...columns[name]];
  const evaluated = [...(known?.evaluations ?? []).slice(0, evaluationsFrom), ...evaluations];
  return { ...rest, columns: joined, evaluations: evaluated, workers: workers ?? known?.workers ?? [] };
}

function draw() {
  frame = 0;
  if (!state) return;
  drawHeader(state);
  drawFigures(state);
  drawBytes(state);
  for (const chart of charts) chart.draw(state);
  drawDistribution(distribution, state, colours);
  drawTimeline(timeline, state, colours);
  drawEvaluations(state);
  drawRounds(state);
  drawWorkers(state);
  drawEvents(state);
  drawConfig(state);
}

const redraw = () => {
  if (frame === 0) frame = requestAnimationFrame(draw);
};

function connect() {
  const source = new EventSource('events');
  source.addEventListener('message', (event) => {
    state = merge(state, /** @type {PageUpdate} */ (JSON.parse(event.data)));
    document.body.dataset.rows = String(state.columns.round.length);
    redraw();
  });
  source.addEventListener('error', () => {
    // The stream of a run that ended ends too: what is shown stays.
    if (state?.summary.state === 'ended' && state.summary.exitCode === 0) source.close();
    else {
      byId('state').textContent = 'connection lost, trying again';
      byId('state').dataset.tone = 'warn';
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    }
  });
}

prepareWorkers(redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  colours = readColours();
  for (const chart of charts) chart.recolour();
  redraw();
});
new ResizeObserver(redraw).observe(document.body);
connect();
