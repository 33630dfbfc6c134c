/** The line charts over rounds, by uPlot. */
import { byId, bytes, duration, nats, wasSeen, whole } from './format.js';
import uPlot from './uPlot.esm.js';

/** @typedef {import('./page-state.d.ts').PageState} PageState */
/** @typedef {import('./format.js').ColourName} ColourName */
/** @typedef {(number | null)[]} Values */
/** @typedef {{ label: string, colour: ColourName, width?: number, points?: boolean, dash?: number[] }} Line */
/**
 * @typedef {object} Chart
 * @property {(state: PageState) => void} draw
 * @property {() => void} recolour
 */

/**
 * @typedef {object} Plan
 * @property {string} id of the element that holds the chart
 * @property {Line[]} lines
 * @property {boolean} [log]
 * @property {(high: number) => number} [leastSpan] of the axis
 * @property {(y: number) => string} format
 * @property {(state: PageState) => Values[]} data rounds, then the values of each line
 * @property {(state: PageState) => string} say for who does not see it
 */

/** @param {Plan} plan @param {() => Record<ColourName, string>} colours @returns {Chart} */
function createChart({ id, lines, log = false, leastSpan = () => 0, format, data, say }, colours) {
  const element = byId(id);
  const only = log ? decades() : undefined;
  /** @param {typeof only} [filters] */
  const axis = (filters) => ({
    stroke: () => colours().quiet,
    font: '12px system-ui, sans-serif',
    filter: filters?.filter,
    grid: { stroke: () => colours().line, width: 1, ...filters?.grid },
    ticks: { stroke: () => colours().line, width: 1, ...filters?.ticks },
  });
  const size = () => ({ width: Math.max(200, element.clientWidth), height: innerWidth < 500 ? 180 : 210 });
  const plot = new uPlot(
    {
      ...size(),
      scales: { x: { time: false }, y: log ? { distr: 3, log: 10 } : { range: calm(leastSpan) } },
      cursor: { points: { size: 6 } },
      axes: [
        { ...axis(), size: 30, incrs: WHOLE, values: (_, ticks) => ticks.map(whole) },
        { ...axis(only), size: 68, values: (_, ticks) => ticks.map((y) => (y === null ? '' : format(y))) },
      ],
      series: [
        { label: 'round', value: atRest(whole) },
        ...lines.map(({ label, colour, width = 2, points = false, dash }) => ({
          label,
          width,
          dash,
          stroke: () => colours()[colour],
          fill: undefined,
          points: { show: points, size: 5, stroke: () => colours()[colour], fill: () => colours()[colour] },
          spanGaps: true,
          value: atRest(format),
        })),
      ],
    },
    /** @type {any} */ ([[], ...lines.map(() => [])]),
    element,
  );
  new ResizeObserver(() => plot.setSize(size())).observe(element);
  return {
    draw(state) {
      const values = data(state);
      plot.setData(/** @type {any} */ (values));
      element.classList.toggle('empty', values[0]?.length === 0);
      element.setAttribute('aria-label', say(state));
    },
    recolour: () => plot.redraw(),
  };
}

/**
 * A legend's text: the last value that is not behind the pointer, and the last of all where there is no pointer. Not every curve has
 * a point everywhere. @param {(y: number) => string} format
 */
const atRest = (format) =>
  /** @type {any} */ (
    (
      /** @type {{ data: (number | null | undefined)[][] }} */ plot,
      /** @type {number | null} */ _,
      /** @type {number} */ line,
      /** @type {number | null} */ at,
    ) => {
      const until = (at ?? Number.POSITIVE_INFINITY) + 1;
      const shown = plot.data[line]?.slice(0, until).findLast((y) => y !== null && y !== undefined);
      return shown === null || shown === undefined ? '–' : format(shown);
    }
  );

/** An axis that is never shorter than `leastSpan`: noise is to look like noise. @param {(high: number) => number} leastSpan */
const calm = (leastSpan) =>
  /** @type {any} */ (
    (/** @type {unknown} */ _, /** @type {number | null} */ low, /** @type {number | null} */ high) => {
      if (low === null || high === null) return [0, 1];
      const span = Math.max((high - low) * 1.1, leastSpan(high));
      const from = Math.max(0, (low + high - span) / 2);
      return [from, from + span];
    }
  );

/** Steps of the axis of rounds. */
const WHOLE = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();

/** A label and a line at every power of ten; at twice and five times it too, where the axis spans few of them. */
function decades() {
  const filter = (/** @type {unknown} */ _, /** @type {number[]} */ splits) => {
    const few = (splits.at(-1) ?? 1) < 100 * (splits[0] ?? 1);
    const digits = few ? [1, 2, 5] : [1];
    return splits.map((y) => (digits.includes(Math.round(y / 10 ** Math.floor(Math.log10(y) + 1e-9))) ? y : null));
  };
  const show = /** @type {any} */ (filter);
  return { filter: show, grid: { filter: show }, ticks: { filter: show } };
}

/** Each value with half the weight of its neighbours on both sides: noise goes, nothing moves to the right. @param {Values} values @returns {Values} */
const smooth = (values) =>
  values.map((value, i) => {
    // It begins where the run began.
    if (value === null || i === 0) return value;
    const [before, after] = [values[i - 1] ?? value, values[i + 1] ?? value];
    return (before + 2 * value + after) / 4;
  });

/** The dev loss and its smoothed curve at the rounds that were evaluated, and the training loss at all rounds. @param {PageState} state @returns {Values[]} */
function losses(state) {
  const measured = measuredAt(state, 'loss', 1);
  const trained = state.columns.trainingLoss.map((loss) => (loss > 0 ? loss : null));
  const tables = [
    [evaluationsOf(state), measured, smooth(measured)],
    [state.columns.round, trained],
  ];
  return /** @type {any} */ (uPlot).join(tables);
}

const evaluationsOf = (/** @type {PageState} */ { evaluations }) => evaluations.map(({ round }) => round);

/** @param {PageState} state @param {'loss' | 'accuracy'} key @param {number} scale @returns {Values} */
const measuredAt = (state, key, scale) =>
  state.evaluations.map((evaluation) => {
    const value = evaluation[key];
    return value === undefined ? null : value * scale;
  });

/** @param {PageState} state @param {'loss' | 'accuracy'} key @param {string} name @param {(x: number) => string} format */
function sayEvaluations({ evaluations }, key, name, format) {
  const known = evaluations.flatMap((evaluation) => {
    const value = evaluation[key];
    return value === undefined ? [] : [{ round: evaluation.round, value }];
  });
  const [first, last] = [known[0], known.at(-1)];
  if (!first || !last) return `${name}: nothing evaluated yet`;
  return `${name}: ${format(first.value)} at round ${first.round}, ${format(last.value)} at round ${last.round}`;
}

const percent = (/** @type {number} */ y) => `${Math.round(y * 10) / 10} %`;
const ms = (/** @type {number} */ y) =>
  y < 1000 ? `${Number(y.toPrecision(3))} ms` : `${Number((y / 1000).toPrecision(3))} s`;
const positive = (/** @type {number[]} */ column) => column.map((n) => (n > 0 ? n : null));

/** @type {readonly Plan[]} */
const PLANS = [
  {
    id: 'loss',
    lines: [
      { label: 'dev', colour: 'three', width: 1, points: true },
      { label: 'dev, smoothed', colour: 'one' },
      { label: 'training', colour: 'two', width: 1 },
    ],
    format: nats,
    leastSpan: (high) => high / 10,
    data: losses,
    say: (state) =>
      `${sayEvaluations(state, 'loss', 'Dev loss', nats)}; training loss: ${nats(state.recent.at(-1)?.trainingLoss?.perRow)}`,
  },
  {
    id: 'accuracy',
    lines: [
      { label: 'measured', colour: 'three', width: 1, points: true },
      { label: 'smoothed', colour: 'one' },
    ],
    format: percent,
    leastSpan: () => 10,
    data: (state) => {
      const values = measuredAt(state, 'accuracy', 100);
      return [evaluationsOf(state), values, smooth(values)];
    },
    say: (state) => sayEvaluations(state, 'accuracy', 'Dev accuracy', (x) => percent(100 * x)),
  },
  {
    id: 'bytes',
    lines: [
      { label: 'float32 gradients', colour: 'three', dash: [6, 4] },
      { label: 'received', colour: 'one' },
      { label: 'sent', colour: 'two' },
      { label: 'gradient bytes', colour: 'good' },
    ],
    log: true,
    format: bytes,
    data: ({ columns }) => [
      columns.round,
      positive(columns.float32Bytes),
      positive(columns.wireUp),
      positive(columns.wireDown),
      positive(columns.payloadBytes),
    ],
    say: ({ summary: { totals } }) =>
      `Bytes so far: ${bytes(totals.payloadBytes)} of gradient bytes${wasSeen(totals) ? `, ${bytes(totals.wireUp)} received and ${bytes(totals.wireDown)} sent on sockets` : ''}; float32 gradients would have been ${bytes(totals.float32Bytes)} received`,
  },
  {
    id: 'durations',
    lines: [
      { label: 'round', colour: 'one', width: 1 },
      { label: 'slowest answer', colour: 'two', width: 1 },
    ],
    log: true,
    format: ms,
    data: ({ columns }) => [
      columns.round,
      columns.ms.map((sum, i) => (sum > 0 ? sum / (columns.rounds[i] ?? 1) : null)),
      positive(columns.slowestMs),
    ],
    say: ({ recent }) => `Duration of rounds: the last took ${duration(recent.at(-1)?.ms)}`,
  },
];

/** All charts of the page. @param {() => Record<ColourName, string>} colours @returns {Chart[]} */
export const createCharts = (colours) => PLANS.map((plan) => createChart(plan, colours));
