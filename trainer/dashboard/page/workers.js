/** The table of workers: its columns, their order, and how many rows are shown. */
import { byId, duration, make, percent, wasSeen, whole } from './format.js';
import { fillBody, set } from './rows.js';

/** @typedef {import('./page-state.d.ts').PageState} PageState */
/** @typedef {PageState['workers'][number]} WorkerRow */
/** @typedef {import('./rows.js').Cell} Cell */

/** Worker rows that are shown before "show all". */
const FIRST_WORKERS = 50;

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
    cell: (row) => ({
      text: lateIsKnown ? percent(lateShare(row)) : '–',
      className: lateShare(row) > 0.1 ? 'warn' : '',
    }),
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
    title: 'Computes on',
    key: ({ computesOn }) => computesOn ?? '',
    cell: ({ computesOn }) => ({ text: computesOn ?? '–', className: 'name' }),
  },
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
let lateIsKnown = false;
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
  lateIsKnown = wasSeen(summary.totals);
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
  const slow = `Contributions that came too late: ${whole(late)}. Answers that a round did not wait for: ${whole(missed)}.`;
  set(byId('workers-text'), `${states.join(', ')}. ${lateIsKnown ? slow : ''}`);
  const button = byId('all-workers');
  button.hidden = workers.length <= FIRST_WORKERS;
  set(button, showsAll ? `Show the first ${FIRST_WORKERS}` : `Show all ${whole(workers.length)}`);
}
