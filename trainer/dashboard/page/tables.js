/** Everything on the page that is text: figures, tables, events. Rows are kept and changed in place, so that focus and selection stay. */
import { byId, bytes, clock, duration, make, nats, percent, whole } from './format.js';

/** @typedef {import('./page-state.d.ts').PageState} PageState */
/** @typedef {PageState['workers'][number]} WorkerRow */

/** Worker rows that are shown before "show all". */
const FIRST_WORKERS = 50;

/** @param {HTMLElement} parent @param {string} tag @param {number} count @returns {HTMLElement[]} */
function exactly(parent, tag, count) {
  while (parent.children.length > count) parent.lastElementChild?.remove();
  while (parent.children.length < count) parent.append(document.createElement(tag));
  return /** @type {HTMLElement[]} */ ([...parent.children]);
}

/** Sets text only where it differs. @param {HTMLElement} element @param {string} text @param {string} [className] */
function set(element, text, className) {
  if (element.textContent !== text) element.textContent = text;
  if (className !== undefined && element.className !== className) element.className = className;
}

/** @typedef {{ text: string, className?: string }} Cell */

/** @param {string} id @param {readonly (readonly Cell[])[]} rows @param {(row: number) => string} [rowClass] */
function fillBody(id, rows, rowClass) {
  const table = byId(id);
  const body = /** @type {HTMLElement} */ (table.querySelector('tbody') ?? table.appendChild(make('tbody', undefined)));
  exactly(body, 'tr', rows.length).forEach((tr, i) => {
    const cells = rows[i] ?? [];
    if (rowClass) tr.className = rowClass(i);
    exactly(tr, 'td', cells.length).forEach((td, k) => {
      set(td, cells[k]?.text ?? '', cells[k]?.className ?? '');
    });
  });
}

/** @param {string} id @param {readonly string[]} titles */
function fillHead(id, titles) {
  const table = byId(id);
  if (table.querySelector('thead')) return;
  const row = make('tr', undefined);
  for (const title of titles) {
    const th = make('th', undefined, title);
    th.setAttribute('scope', 'col');
    row.append(th);
  }
  table.append(make('thead', undefined, row));
}

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
const hasAccuracy = ({ evaluations }) =>
  evaluations.length === 0 || evaluations.some(({ accuracy }) => accuracy !== undefined);

/** @param {PageState} state */
export function drawFigures(state) {
  const { summary, workers, recent } = state;
  const { totals, evaluation, best } = summary;
  const live = workers.filter(({ state }) => state === 'active').length;
  const known = workers.filter(({ state }) => state !== 'left').length;
  const rate = recent.at(-1)?.learningRate;
  const bestText = best
    ? `best ${best.accuracy === undefined ? nats(best.loss) : percent(best.accuracy)} at round ${best.round}`
    : '';
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
    ['Dev loss', nats(evaluation?.loss), evaluation ? `a row; ${bestText}` : ''],
    summary.state === 'ended'
      ? ['Workers', `${workers.length}`, 'took part']
      : ['Workers', `${live}`, live === known ? 'all active' : `of ${known} active`],
    ['On sockets', bytes(totals.wireUp + totals.wireDown), `float32 averaging: ${bytes(2 * totals.float32Bytes)}`],
    ['Learning rate', rate === undefined ? '–' : `${Number(rate.toPrecision(3))}`, 'of the last record'],
    ['Not in time', percent(totals.missed / Math.max(1, totals.missed + totals.contributions)), 'of the answers'],
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
    totals.wireUp > 0
      ? text
      : `${bytes(totals.payloadBytes)} of gradient bytes; float32 gradients would have been ${bytes(totals.float32Bytes)}.`,
  );
}

/** @param {PageState} state */
export function drawEvaluations(state) {
  const { evaluations } = state;
  const figure = byId('accuracy').closest('figure');
  if (figure) figure.hidden = !hasAccuracy(state);
  fillHead('evaluations', ['Round', 'Loss (nats)', 'Accuracy', 'Rows', '']);
  fillBody(
    'evaluations',
    [...evaluations]
      .reverse()
      .slice(0, 200)
      .map(({ round, loss, accuracy, rows, best }) => [
        { text: whole(round) },
        { text: nats(loss) },
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

const STATES = ['disconnected', 'joining', 'active', 'left'];
/** Share of a worker's contributions that did not count in time. @param {WorkerRow} row */
const lateShare = ({ late, missed, contributions }) => {
  const slow = Math.max(late, missed);
  return slow === 0 ? 0 : slow / (slow + contributions);
};

/** @type {readonly { title: string, key: (row: WorkerRow) => number | string, cell: (row: WorkerRow) => Cell }[]} */
const COLUMNS = [
  { title: 'Worker', key: ({ worker }) => worker, cell: ({ worker }) => ({ text: `${worker}` }) },
  { title: 'Name', key: ({ name }) => name, cell: ({ name }) => ({ text: name, className: 'name' }) },
  {
    title: 'State',
    key: ({ state }) => STATES.indexOf(state),
    cell: ({ state }) => ({ text: stateText(state), className: `name dot ${runEnded ? 'ended' : state}` }),
  },
  {
    title: 'Round trip',
    key: ({ answerMs }) => -(answerMs ?? 0),
    cell: ({ answerMs }) => ({ text: duration(answerMs) }),
  },
  {
    title: 'Late',
    key: (row) => -lateShare(row),
    cell: (row) => ({ text: percent(lateShare(row)), className: lateShare(row) > 0.1 ? 'warn' : '' }),
  },
  { title: 'Gradients', key: ({ gradients }) => -gradients, cell: ({ gradients }) => ({ text: whole(gradients) }) },
  {
    title: 'Privacy',
    key: ({ privacy }) => -(privacy?.spent ?? -1),
    cell: ({ privacy }) => ({
      text: privacy ? `ε ${privacy.spent.toFixed(2)} of ${privacy.epsilon}${privacy.exhausted ? ', spent' : ''}` : '–',
      className: privacy?.exhausted ? 'warn' : '',
    }),
  },
  { title: 'Shard', key: ({ shard }) => shard, cell: ({ shard }) => ({ text: `${shard}` }) },
  {
    title: 'Last digest',
    key: ({ digest }) => (digest ? (digest.agrees ? digest.round : -1) : Number.MAX_VALUE),
    cell: ({ digest }) =>
      digest
        ? {
            text: `${digest.sha256.slice(0, 8)} at ${digest.round}${digest.agrees ? '' : ', DIFFERS'}`,
            className: digest.agrees ? 'name' : 'name bad',
          }
        : { text: '–', className: 'name' },
  },
];

let runEnded = false;
/** Nobody is active in a run that is over. @param {string} state */
const stateText = (state) => (runEnded && state !== 'left' ? 'saw the end' : state);

let sortedBy = 0;
let descending = false;
let showsAll = false;

/** @param {() => void} redraw asked for when the order changes */
export function prepareWorkers(redraw) {
  const row = make('tr', undefined);
  COLUMNS.forEach(({ title }, i) => {
    const button = make('button', undefined, title);
    button.setAttribute('type', 'button');
    button.addEventListener('click', () => {
      descending = sortedBy === i && !descending;
      sortedBy = i;
      redraw();
    });
    const th = make(
      'th',
      title === 'Name' || title === 'State' || title === 'Last digest' ? 'name' : undefined,
      button,
    );
    th.setAttribute('scope', 'col');
    row.append(th);
  });
  byId('workers').append(make('thead', undefined, row));
  byId('all-workers').addEventListener('click', () => {
    showsAll = !showsAll;
    redraw();
  });
}

/** @param {PageState} state */
export function drawWorkers({ workers, summary }) {
  runEnded = summary.state === 'ended';
  const key = COLUMNS[sortedBy]?.key ?? (({ worker }) => worker);
  const sign = descending ? -1 : 1;
  const sorted = workers
    .map((row) => ({ row, key: key(row) }))
    .sort((a, b) => sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : a.row.worker - b.row.worker))
    .map(({ row }) => row);
  const shown = showsAll ? sorted : sorted.slice(0, FIRST_WORKERS);
  fillBody(
    'workers',
    shown.map((row) => COLUMNS.map(({ cell }) => cell(row))),
    (i) => (shown[i]?.state === 'left' ? 'left' : ''),
  );
  [...byId('workers').querySelectorAll('thead th')].forEach((th, i) => {
    if (i === sortedBy) th.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    else th.removeAttribute('aria-sort');
  });
  const count = (/** @type {string} */ state) => workers.filter((row) => row.state === state).length;
  const states = STATES.filter((state) => count(state) > 0).map((state) => `${count(state)} ${stateText(state)}`);
  const { late, missed } = summary.totals;
  set(
    byId('workers-text'),
    `${states.join(', ')}. Contributions that came too late: ${whole(late)}. Answers that a round did not wait for: ${whole(missed)}.`,
  );
  const button = byId('all-workers');
  button.hidden = workers.length <= FIRST_WORKERS;
  set(button, showsAll ? `Show the first ${FIRST_WORKERS}` : `Show all ${whole(workers.length)}`);
}

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
