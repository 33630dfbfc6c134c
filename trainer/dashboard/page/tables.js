/** What is text on the page, but for the table of workers: figures, tables, events. */
import { byId, bytes, clock, duration, make, nats, percent, wasSeen, whole } from './format.js';
import { exactly, fillBody, fillHead, set } from './rows.js';

/** @typedef {import('./page-state.d.ts').PageState} PageState */

/** @param {PageState} state */
export function drawHeader({ summary, run }) {
  const tones = { starting: '', training: 'good', waiting: 'warn', ended: summary.exitCode === 0 ? 'good' : 'bad' };
  const names = {
    starting: 'starting',
    training: 'training',
    waiting: 'waiting',
    ended: summary.exitCode === 0 ? 'done' : 'ended',
  };
  set(byId('state'), names[summary.state]);
  byId('state').dataset.tone = tones[summary.state];
  set(byId('name'), summary.name);
  set(byId('model'), modelOf(run));
  set(byId('state-text'), summary.text);
  document.title = `${summary.round}/${summary.rounds} ${summary.name} · onebyte`;
  const progress = /** @type {HTMLProgressElement} */ (byId('progress'));
  progress.max = Math.max(1, summary.rounds);
  progress.value = summary.round;
}

/** The last part of the base model's path or name. @param {PageState['run']} run */
function modelOf(run) {
  const adapter = /** @type {{ readonly baseModel?: unknown } | undefined} */ (run?.config.adapter);
  return typeof adapter?.baseModel === 'string' ? (adapter.baseModel.split('/').findLast((part) => part) ?? '') : '';
}

/** Without options in the rows there is no accuracy to show, and its place is the loss's. @param {PageState} state */
const hasAccuracy = ({ evaluations, run }) =>
  evaluations.length === 0 ? run?.devRows !== 0 : evaluations.some(({ accuracy }) => accuracy !== undefined);

/** @param {PageState} state */
export function drawFigures(state) {
  const { summary, workers, recent } = state;
  const { totals, evaluation, best } = summary;
  const live = workers.filter(({ state }) => state === 'active').length;
  const known = workers.filter(({ state }) => state !== 'left').length;
  const { learningRate: rate, trainingLoss } = recent.at(-1) ?? {};
  const bestText = best
    ? `best ${best.accuracy === undefined ? nats(best.loss) : percent(best.accuracy)} at round ${best.round}`
    : '';
  const seen = wasSeen(totals);
  const late = totals.missed / Math.max(1, totals.missed + totals.contributions);
  const elapsed = (summary.updatedAt ?? 0) - (summary.startedAt ?? 0);
  /** @type {[string, string, string]} */
  const accuracy = [
    'Dev accuracy',
    percent(evaluation?.accuracy),
    evaluation ? `at round ${whole(evaluation.round)}` : '',
  ];
  /** @type {[string, string, string][]} */
  const figures = [
    [
      'Round',
      `${whole(summary.round)} / ${whole(summary.rounds)}`,
      summary.roundsPerSecond > 0 ? `${summary.roundsPerSecond.toPrecision(3)} rounds/s` : '',
    ],
    [
      'Time left',
      summary.state === 'ended'
        ? '–'
        : duration(summary.secondsLeft === undefined ? undefined : summary.secondsLeft * 1000),
      elapsed > 0 ? `${duration(elapsed)} since the start` : '',
    ],
    ...(hasAccuracy(state) ? [accuracy] : []),
    [
      'Dev loss',
      nats(evaluation?.loss),
      evaluation ? `a row, ${nats(evaluation.lossPerToken)} a token; ${bestText}` : '',
    ],
    ['Training loss', nats(trainingLoss?.perRow), trainingLoss ? `a row, ${nats(trainingLoss.perToken)} a token` : ''],
    summary.state === 'ended'
      ? ['Workers', `${workers.length}`, 'took part']
      : ['Workers', `${live}`, live === known ? 'all active' : `of ${known} active`],
    [
      'On sockets',
      seen ? bytes(totals.wireUp + totals.wireDown) : '–',
      `float32 averaging: ${bytes(2 * totals.float32Bytes)}`,
    ],
    ['Learning rate', rate === undefined ? '–' : `${Number(rate.toPrecision(3))}`, 'of the last record'],
    ['Not in time', seen ? percent(late) : '–', 'of the answers'],
    ['Gradient bytes', bytes(totals.payloadBytes), `of ${whole(totals.gradients)} gradients`],
  ];
  const list = byId('figures');
  exactly(list, 'div', figures.length).forEach((div, i) => {
    if (div.children.length === 0)
      div.append(make('dt', undefined), make('dd', undefined, make('span', undefined), make('small', undefined)));
    const [name, value, note] = figures[i] ?? ['', '', ''];
    const [dt, span, small] = /** @type {HTMLElement[]} */ ([...div.querySelectorAll('dt, span, small')]);
    if (dt) set(dt, name);
    if (span) set(span, value);
    if (small) set(small, note);
  });
}

/** @param {PageState} state */
export function drawBytes({ summary: { totals } }) {
  if (totals.contributions === 0) return;
  const times = totals.float32Bytes / Math.max(1, totals.wireUp + totals.wireDown);
  const text = `${bytes(totals.wireUp)} received and ${bytes(totals.wireDown)} sent by the trainer, all workers together. Float32 gradients of the adapter would have been ${bytes(totals.float32Bytes)} received and as much sent: ${whole(2 * times)} times as much.`;
  set(
    byId('bytes-text'),
    wasSeen(totals)
      ? text
      : `${bytes(totals.payloadBytes)} of gradient bytes; float32 gradients would have been ${bytes(totals.float32Bytes)}.`,
  );
}

/** @param {PageState} state */
export function drawEvaluations(state) {
  const { evaluations } = state;
  const figure = byId('accuracy').closest('figure');
  if (figure) figure.hidden = !hasAccuracy(state);
  fillHead('evaluations', ['Round', 'Loss a row (nats)', 'A token', 'Accuracy', 'Rows', '']);
  fillBody(
    'evaluations',
    [...evaluations]
      .reverse()
      .slice(0, 200)
      .map(({ round, loss, lossPerToken, accuracy, rows, best }) => [
        { text: whole(round) },
        { text: nats(loss) },
        { text: nats(lossPerToken) },
        { text: percent(accuracy) },
        { text: whole(rows) },
        { text: best ? 'best so far' : '', className: 'name' },
      ]),
  );
}

/** @param {PageState} state */
export function drawRounds({ recent }) {
  fillHead('rounds', ['Round', 'Duration', 'Half answered', 'Slowest', 'Gradients', 'Clipped', 'Not waited for']);
  fillBody(
    'rounds',
    [...recent]
      .reverse()
      .map((line) => [
        { text: whole(line.round) },
        { text: duration(line.ms) },
        { text: duration(line.answerMs) },
        { text: line.slowest[0] ? `worker ${line.slowest[0][0]}, ${duration(line.slowest[0][1])}` : '–' },
        { text: whole(line.gradients) },
        { text: whole(line.clipped) },
        { text: missing(line), className: line.missed > 0 ? 'warn' : '' },
      ]),
  );
}

/** @param {PageState['recent'][number]} line */
const missing = ({ missed, missing: named }) =>
  missed === 0 ? '' : `${named.join(', ')}${missed > named.length ? ` and ${missed - named.length} more` : ''}`;

/** @param {PageState} state */
export function drawEvents({ events }) {
  const items = exactly(byId('events'), 'li', events.length);
  [...events].reverse().forEach(({ at, round, level, text }, i) => {
    const [time, place, what] = exactly(/** @type {HTMLElement} */ (items[i]), 'span', 3);
    if (time) set(time, clock(at), 'quiet');
    if (place) set(place, `round ${round}`, 'quiet');
    if (what) set(what, text, level);
  });
}

/** @param {PageState} state */
export function drawConfig({ run }) {
  const rows = flatten(run?.config ?? {}, '');
  fillBody(
    'config',
    rows.map(([key, value]) => [
      { text: key, className: 'name' },
      { text: value, className: 'name' },
    ]),
  );
}

/** @param {{ readonly [key: string]: unknown }} value @param {string} path @returns {[string, string][]} */
function flatten(value, path) {
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = path === '' ? key : `${path}.${key}`;
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner))
      return flatten(/** @type {{ readonly [key: string]: unknown }} */ (inner), name);
    return [/** @type {[string, string]} */ ([name, typeof inner === 'string' ? inner : JSON.stringify(inner)])];
  });
}
