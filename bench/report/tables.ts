/** The tables of the report, from results alone. */
import type { AveragingRow } from '../bandwidth/alternatives.ts';
import type { BandwidthRow } from '../bandwidth.ts';
import type { LearningRow } from '../learning.ts';
import { TABLES, type TableName } from '../learning-tables.ts';
import type { QualityRow } from '../quality.ts';
import { spread } from '../statistics.ts';
import { bitRate, byteCount, duration, percent, percentSpread, short, spreadOf } from './format.ts';
import { privacyTables } from './privacy-tables.ts';
import type { Results } from './results.ts';
import { scaleTable } from './scale.ts';
import type { Table } from './table.ts';

export const allTables = (results: Results): Table[] => [
  qualityTable(results),
  bytesTable(results),
  roundsTable(results),
  ...TABLES.map((name) => learningTable(name, results)),
  stepsTable(results),
  agreementTable(results),
  protocolTable(results),
  scaleTable(results),
  ...privacyTables(results),
];

const commandOf = (benchmark: string): string => `onebyte bench ${benchmark} --json > bench/results/${benchmark}.json`;
const from = (file: Table['from']): Pick<Table, 'from'> => (file ? { from: file } : {});

/** The loss on the dev split from which a run counts as having learnt, nats a row. */
const LEARNT = 0.5;

function minutesTo(limit: number, { curve }: QualityRow): string {
  const reached = curve.find(({ loss = limit }) => loss < limit);
  return reached ? short(reached.minutes) : '–';
}

function qualityTable({ quality }: Results): Table {
  const rows = quality?.rows ?? [];
  const estimators = [...new Set(rows.map(({ estimator }) => estimator))];
  return {
    name: 'quality',
    caption: 'SmolLM2-135M-Instruct on IMDB sentences, test split',
    head: [
      'estimator',
      'K',
      'seed',
      'before',
      'after',
      'loss before',
      'loss after',
      'directions',
      'minutes',
      `to dev loss ${LEARNT}`,
      'sent by a worker',
      'received',
    ],
    rows: [
      ...rows.map((row) => [
        row.estimator,
        String(row.directions),
        String(row.seed),
        percent(row.before.accuracy ?? Number.NaN),
        percent(row.after.accuracy ?? Number.NaN),
        short(row.before.loss),
        short(row.after.loss),
        short(row.gradients),
        short(row.minutes),
        minutesTo(LEARNT, row),
        byteCount(row.sentByWorker),
        byteCount(row.receivedByWorker),
      ]),
      ...estimators.map((estimator) => {
        const after = rows.flatMap((row) => (row.estimator === estimator ? (row.after.accuracy ?? []) : []));
        return [estimator, '', 'mean', '', percentSpread(spread(after)), '', '', '', '', '', '', ''];
      }),
    ],
    notes: [
      `After: the checkpoint that was best on the dev split. Minutes: from the first record to the last. To dev loss ${LEARNT}: minutes from the first record to the first evaluation below it.`,
    ],
    command: 'onebyte bench quality runs/smollm2-sentiment* --json > bench/results/quality.json',
    ...from(quality),
  };
}

const lineOf = ({ rate, roundTripMs }: Pick<BandwidthRow, 'rate' | 'roundTripMs'>): string =>
  rate === undefined ? 'none' : `${bitRate(rate)}, ${short(roundTripMs)} ms`;
const sized = (bytes: number | undefined): string => (bytes === undefined ? '–' : bytes.toFixed(2));

function bytesTable({ bandwidth }: Results): Table {
  const rows = (bandwidth?.rows ?? []).filter(({ workers, rate, maxStaleness, roundTripMs }) => {
    return workers === 4 && rate === 1e6 && roundTripMs === 50 && maxStaleness === 0;
  });
  return {
    name: 'bytes',
    caption: 'Bytes per gradient, 4 workers, joins apart',
    head: [
      'estimator',
      'K',
      'TLS',
      'payload',
      'socket up',
      'socket down',
      'interface up',
      'interface down',
      'join up',
      'join down',
    ],
    rows: rows.map((row) => [
      row.estimator ?? 'spsa',
      String(row.directions),
      row.tls ? 'yes' : 'no',
      sized(row.payload),
      ...[row.socket.up, row.socket.down, row.interface?.up, row.interface?.down].map(sized),
      ...[row.join.up, row.join.down].map(byteCount),
    ]),
    notes: [
      'K: gradients of one contribution. Up: of a worker, for each of its gradients. Down: of a worker, for each gradient of a record.',
      'Interface bytes hold Ethernet, IP and TCP headers and acknowledgements.',
    ],
    command: commandOf('bandwidth'),
    ...from(bandwidth),
  };
}

function roundsTable({ bandwidth }: Results): Table {
  const plain = (bandwidth?.rows ?? []).filter(
    ({ tls, directions, estimator }) => !tls && (directions === 8 || estimator === 'backward'),
  );
  const otherwise = (row: BandwidthRow): AveragingRow | undefined =>
    row.maxStaleness > 0
      ? undefined
      : bandwidth?.averaging.find(
          ({ rate, roundTripMs, workers }) =>
            rate === row.rate && roundTripMs === row.roundTripMs && workers === row.workers,
        );
  const seconds = (value: number | undefined): string => (value === undefined ? '–' : duration(1000 * value));
  return {
    name: 'rounds',
    caption: 'Rounds over slow links, tiny-reviews',
    head: [
      'estimator, K',
      'line, round trip',
      'workers',
      'staleness',
      'round',
      'expected',
      'gradients/s',
      'communication',
      'float32 averaging: gRPC',
      'gloo',
    ],
    rows: plain.map((row) => {
      const averaging = otherwise(row);
      const computed = averaging?.how === 'computed' ? ' (computed)' : '';
      return [
        `${row.estimator ?? 'spsa'}, ${row.directions}`,
        lineOf(row),
        String(row.workers),
        String(row.maxStaleness),
        duration(row.roundMs),
        row.expectedRoundMs === undefined ? '–' : duration(row.expectedRoundMs),
        short(row.gradientsPerSecond),
        row.communication === undefined ? '–' : percent(row.communication, 0),
        `${seconds(averaging?.grpcSeconds)}${computed}`,
        seconds(averaging?.glooSeconds),
      ];
    }),
    notes: [
      'Expected: a round without a link, the round trip, and a contribution up and a record down at the rate. Communication: the part of a round that a round without a link does not take.',
      `Float32 averaging: one step that sends the ${byteCount(4 * (bandwidth?.elements ?? 0))} of the adapter's float32 gradients up and their mean down, over the same gRPC; a first-order step is worth more than a round, and needs memory for backpropagation.`,
      ...(bandwidth?.notes ?? []),
    ],
    command: commandOf('bandwidth'),
    ...from(bandwidth),
  };
}

const LEARNING: { readonly [table in TableName]: { readonly caption: string; readonly column: string } } = {
  codecs: { caption: 'Codecs', column: 'codec' },
  workers: { caption: 'Workers, each with the same work', column: 'workers' },
  directions: { caption: 'Directions of a contribution', column: 'K' },
  estimator: { caption: 'Estimators', column: 'estimator' },
  train: { caption: 'What is trained', column: 'matrices' },
  rank: { caption: 'Ranks', column: 'rank' },
  stripes: { caption: 'Stripes', column: 'm' },
  staleness: { caption: 'Staleness, every gradient as late as it may be', column: 'rounds late' },
  cap: { caption: 'Gradients of a round, and the exponent of cap/n above the cap', column: 'gradients n, factor' },
};

function learningTable(table: TableName, results: Results): Table {
  const learning = results.learning.get(table);
  const rows = (learning?.rows ?? []).filter((row) => row.table === table);
  const rounds = (row: LearningRow | undefined): number | undefined => row?.to90?.rounds.mean;
  const speedUp = (row: LearningRow): string => {
    const [first, own] = [rounds(rows[0]), rounds(row)];
    return first === undefined || own === undefined ? '–' : `${short(first / own)}×`;
  };
  const { caption, column } = LEARNING[table];
  return {
    name: `learning-${table}`,
    caption: `${caption}, tiny-reviews, ${learning?.seeds ?? 3} seeds`,
    head: [
      column,
      'gradients a round',
      'accuracy',
      'loss',
      'directions to 90 %',
      'rounds to 90 %',
      'speed-up',
      'row forwards',
      'sent by a worker',
    ],
    rows: rows.map((row) => [
      row.choice,
      String(row.gradients),
      percentSpread(row.accuracy),
      spreadOf(row.loss),
      row.to90 ? `${spreadOf(row.to90.directions)}${missed(row, learning?.seeds)}` : 'not reached',
      row.to90 ? spreadOf(row.to90.rounds) : '–',
      speedUp(row),
      short(row.rowForwards),
      byteCount(row.bytes),
    ]),
    notes: [
      `Every run has ${table === 'cap' ? `${rows[0]?.rounds} rounds` : `${short(learning?.budget ?? 0)} directions`}; the learning rate falls over its rounds. Accuracy and loss on the dev split at its end. Speed-up: rounds to 90 % beside those of the first line.`,
    ],
    command: commandOf('learning'),
    ...from(learning),
  };
}

const missed = ({ to90 }: LearningRow, seeds: number | undefined): string =>
  to90 && seeds !== undefined && to90.seeds < seeds ? ` (${to90.seeds} of ${seeds} seeds)` : '';

function stepsTable({ steps }: Results): Table {
  const rows = steps?.rows ?? [];
  const peers = rows.filter(({ what }) => what.startsWith('PyTorch'));
  return {
    name: 'steps',
    caption: 'Whole training steps, SmolLM2-135M-Instruct on IMDB sentences, all linear layers, rank 8',
    head: [
      'what',
      'rows of a minibatch',
      'row-directions/s',
      'slowest, fastest turn',
      ...peers.map((p) => `beside ${p.what}`),
    ],
    rows: rows.map(({ what, batch, rowDirectionsPerSecond: rate, slowest, fastest }) => [
      what,
      String(batch),
      rate.toFixed(1),
      `${slowest.toFixed(1)}, ${fastest.toFixed(1)}`,
      ...peers.map((peer) => `${(rate / peer.rowDirectionsPerSecond).toFixed(2)}×`),
    ]),
    notes: [
      'Rows times directions a second, update included; all sides in turns on the same 64 rows. PyTorch: a two-sided MeZO step on a PEFT adapter at its fastest minibatch, logits at the labels only.',
    ],
    command: 'onebyte bench steps --python PYTHON --json > bench/results/steps.json',
    ...from(steps),
  };
}

function agreementTable({ agreement }: Results): Table {
  return {
    name: 'agreement',
    caption: 'Projected gradients against exact or float32 ones, SmolLM2-135M-Instruct on IMDB sentences, B = 0',
    head: ['what', 'against', 'directions', 'correlation', 'rms error', 'rms'],
    rows: (agreement?.rows ?? []).map((row) => [
      row.what,
      row.against,
      short(row.directions),
      row.correlation.toFixed(4),
      short(row.rmsError),
      short(row.rms),
    ]),
    notes: [
      'The same rows and directions; spsa with epsilon 1e-2, forward: the derivative itself; float32 unless it says otherwise.',
    ],
    command: commandOf('agreement'),
    ...from(agreement),
  };
}

function protocolTable({ protocol }: Results): Table {
  return {
    name: 'protocol',
    caption: 'Rounds of one trainer with many workers that only decode, on one machine',
    head: ['workers', 'median', 'p99', 'trainer CPU a round', 'workers CPU a round', 'bytes up', 'bytes down'],
    rows: (protocol?.rows ?? []).map((row) => [
      short(row.workers),
      ...[row.p50Ms, row.p99Ms, row.trainerCpuMs, row.workersCpuMs].map(duration),
      ...[row.bytesUp, row.bytesDown].map(byteCount),
    ]),
    notes: ['Socket bytes of one worker and round.'],
    command: 'onebyte bench protocol --workers 10 100 300 1000 --json > bench/results/protocol.json',
    ...from(protocol),
  };
}
