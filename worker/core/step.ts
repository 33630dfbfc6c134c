/**
 * The worker's core: says hello, catches up, contributes, applies records in order, and comes back when the way breaks.
 * `step` is a pure state machine like the trainer's. It gives the compute one task at a time.
 */
import {
  type Notice,
  Notice_Kind,
  type ReplicaDigest,
  type TrainerMessage,
  type Welcome,
  Welcome_CatchUp,
} from '../../proto/gen/onebyte.ts';
import { contributionsPerRound, DIGEST_EVERY, MAX_NOTICE_LENGTH, MAX_RECENT_RECORDS } from '../../proto/limits.ts';
import { EXIT, type ExitCode } from '../../proto/operating-error.ts';
import { peerText } from '../../proto/peer-text.ts';
import { heartbeat, onBudget, onLosses } from './heartbeat.ts';
import type { Task, TaskResult, WorkerEffect, WorkerEvent, WorkerState } from './state.ts';

/** Waits between attempts to reach the trainer, ms: doubled each time, with a jitter of half. */
const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 5_000;

/** Takes `event` in and returns the effects it asks for. `state` is updated in place. */
export function step(state: WorkerState, event: WorkerEvent): WorkerEffect[] {
  if (state.phase === 'over') return [];
  switch (event.kind) {
    case 'start':
    case 'retry':
      return connect(state);
    case 'opened':
      return [...onOpened(state, event), ...goOn(state)];
    case 'message':
      if (!isConnected(state)) return [];
      state.lastContactMs = event.atMs;
      state.backoffMs = FIRST_BACKOFF_MS;
      state.inbox.push(event.message);
      return goOn(state);
    case 'snapshot':
      if (state.phase !== 'catchingUp') return [];
      state.phase = 'working';
      state.todo.push({ kind: 'restore', bytes: event.bytes }, { kind: 'digest', purpose: 'report' });
      return goOn(state);
    case 'computed':
      return [...onComputed(state, event.result), ...goOn(state)];
    case 'lost':
      return state.phase === 'away' ? [] : onLost(state, event);
    case 'refused':
      return finish(state, EXIT.refused, event.text);
    case 'heartbeat':
      return state.phase === 'catchingUp' || state.phase === 'working' ? [heartbeat(state)] : [];
    case 'drain':
      return onDrain(state);
  }
}

const isConnected = ({ phase }: WorkerState): boolean => phase !== 'away' && phase !== 'connecting';

function connect(state: WorkerState): WorkerEffect[] {
  if (state.phase !== 'away') return [];
  state.phase = 'connecting';
  state.session++;
  state.inbox = [];
  state.todo = [];
  state.digestAt = undefined;
  return [{ kind: 'connect' }];
}

function onOpened(state: WorkerState, { atMs, terms }: Extract<WorkerEvent, { kind: 'opened' }>): WorkerEffect[] {
  if (state.phase !== 'connecting') return [];
  state.phase = 'greeting';
  state.terms = terms;
  // Loading a model takes its time. Later on a trainer that opens streams and welcomes nobody is none that was reached.
  if (state.worker === undefined) state.lastContactMs = atMs;
  if (state.worker === undefined || !state.holdsRun) return [hello(state, undefined)];
  state.todo.push({ kind: 'digest', purpose: 'hello' });
  return [];
}

function hello({ rules, resumeSecret, terms, epoch }: WorkerState, replica: ReplicaDigest | undefined): WorkerEffect {
  const { name, requestedWorker } = rules;
  const { runConfigSha256, computesOn, isPrivate: noEvaluation } = terms!;
  const value = { name, requestedWorker, resumeSecret, replica, runConfigSha256, epoch, computesOn, noEvaluation };
  return { kind: 'send', message: { $case: 'hello', value } };
}

/** Gives the compute its next task, or handles messages until there is one. */
function goOn(state: WorkerState): WorkerEffect[] {
  const effects: WorkerEffect[] = [];
  while (!state.running && isConnected(state)) {
    const task = state.todo.shift();
    if (task) return [...effects, run(state, task)];
    const message = state.phase === 'catchingUp' ? undefined : state.inbox.shift();
    if (message) effects.push(...onMessage(state, message));
    else if (mayMeasure(state))
      return [...effects, run(state, { kind: 'measure', firstDirection: state.nextDirection })];
    else return effects;
  }
  return effects;
}

function run(state: WorkerState, task: Task): WorkerEffect {
  state.running = { task, session: state.session };
  return { kind: 'compute', task };
}

function mayMeasure({ phase, terms, round, rounds, nextDirection, digestAt }: WorkerState): boolean {
  const { directions, maxStaleness, isPrivate } = terms!;
  const contributions = isPrivate ? 1 : contributionsPerRound(maxStaleness);
  return phase === 'working' && digestAt === undefined && round < rounds && nextDirection < contributions * directions;
}

function onMessage(state: WorkerState, { message }: TrainerMessage): WorkerEffect[] {
  switch (message?.$case) {
    case 'welcome':
      return state.phase === 'greeting' ? onWelcome(state, message.value) : [];
    case 'record':
      if (message.value.round < state.round) return [];
      if (message.value.round > state.round)
        return wait(state, `record ${message.value.round} came, record ${state.round} is missing`);
      state.recent.push(message.value);
      if (state.recent.length > MAX_RECENT_RECORDS) state.recent.shift();
      state.todo.push({ kind: 'apply', record: message.value });
      return [];
    case 'evaluate':
      if (message.value.round === state.round && !state.terms!.isPrivate)
        state.todo.push({ kind: 'evaluate', request: message.value });
      return [];
    case 'notice':
      return heed(state, message.value);
    default:
      return [];
  }
}

function onWelcome(state: WorkerState, welcome: Welcome): WorkerEffect[] {
  if (welcome.epoch < (state.epoch ?? 0))
    return wait(state, `a trainer of epoch ${welcome.epoch} answered; this worker follows epoch ${state.epoch}`);
  const { worker, round, rounds, resumeSecret, epoch, heartbeatMs, catchUp, devRows } = welcome;
  // A trainer that was started again may have another dev split, or more rounds.
  const isLonger = state.rounds !== rounds && state.terms!.isPrivate;
  const reads = state.worker !== worker || state.devRows !== devRows || isLonger;
  Object.assign(state, {
    worker,
    devRows,
    rounds,
    resumeSecret,
    epoch,
    phase: 'working',
    nextDirection: 0,
    toldLosses: false,
  });
  if (reads) state.todo.push({ kind: 'readData', worker, devRows, rounds });
  const effects: WorkerEffect[] = [
    { kind: 'keepSecret', secret: resumeSecret },
    { kind: 'heartbeatEvery', ms: heartbeatMs },
    // A trainer that was started again does not know it, and would take what this worker sends for a run that diverged.
    ...(state.privacy?.exhausted ? [heartbeat(state)] : []),
  ];
  // A trainer before its first record takes whoever shows no replica for a newcomer.
  if (catchUp === Welcome_CatchUp.SNAPSHOT || !state.holdsRun) return [...effects, ...askForSnapshot(state)];
  switch (catchUp) {
    case Welcome_CatchUp.RECORDS:
      state.digestAt = round;
      return effects;
    case Welcome_CatchUp.GIVE_RECORDS:
      for (const record of state.recent)
        if (record.round >= round) effects.push({ kind: 'send', message: { $case: 'recordGiven', value: record } });
  }
  state.todo.push({ kind: 'digest', purpose: 'report' });
  return effects;
}

/** What was applied so far does not count any more: records held may not be the run's. */
function askForSnapshot(state: WorkerState): WorkerEffect[] {
  state.phase = 'catchingUp';
  state.holdsRun = false;
  state.recent = [];
  state.nextDirection = 0;
  return [{ kind: 'fetchSnapshot' }];
}

function heed(state: WorkerState, { kind, text: said }: Notice): WorkerEffect[] {
  const text = peerText(said, MAX_NOTICE_LENGTH);
  switch (kind) {
    case Notice_Kind.RUN_DONE:
      return finish(state, EXIT.done, text);
    case Notice_Kind.RUN_FAILED:
      return finish(state, EXIT.diverged, `the run stopped: ${text}`);
    case Notice_Kind.TRAINER_DRAINS:
      return wait(state, text);
    case Notice_Kind.CATCH_UP:
      return askForSnapshot(state);
    default:
      return [{ kind: 'report', report: { kind: 'late', text } }];
  }
}

function onComputed(state: WorkerState, result: TaskResult): WorkerEffect[] {
  const { task, session } = state.running!;
  state.running = undefined;
  const isOurs = session === state.session && isConnected(state);
  switch (result.kind) {
    case 'readData':
      state.privacy = result.data.budget?.stand;
      return [
        { kind: 'report', report: { kind: 'joined', worker: state.worker!, round: state.round, data: result.data } },
      ];
    case 'restore': {
      state.round = result.digest.round;
      state.holdsRun = true;
      const bytes = task.kind === 'restore' ? task.bytes.length : 0;
      return [{ kind: 'report', report: { kind: 'snapshot', round: state.round, bytes } }];
    }
    case 'apply':
      return onApplied(state, result.round, isOurs);
    case 'digest':
      if (!isOurs || task.kind !== 'digest') return [];
      if (task.purpose === 'hello') return [hello(state, result.digest)];
      return [
        { kind: 'send', message: { $case: 'digest', value: result.digest } },
        // Many rounds may pass between two heartbeats.
        ...(state.untold.rows > 0 ? [heartbeat(state)] : []),
      ];
    case 'measure':
      // No message is handled while it measures: on the same stream the round is the same too.
      if (!isOurs) return [];
      state.nextDirection = result.contribution.firstDirection + state.terms!.directions;
      return [
        ...onBudget(state, result),
        { kind: 'send', message: { $case: 'contribution', value: result.contribution } },
        ...onLosses(state, result),
      ];
    case 'evaluate':
      return isOurs ? [{ kind: 'send', message: { $case: 'evaluation', value: result.counts } }] : [];
  }
}

/** `isOurs`: of this stream. The replica has moved in any case; a digest of it is owed to the stream that sent the record. */
function onApplied(state: WorkerState, round: number, isOurs: boolean): WorkerEffect[] {
  state.round = round;
  state.nextDirection = 0;
  const report: WorkerEffect = { kind: 'report', report: { kind: 'round', round } };
  if (!isOurs) return [report];
  const owed = state.digestAt !== undefined ? round >= state.digestAt : round % DIGEST_EVERY === 0;
  if (owed || round === state.rounds) state.todo.unshift({ kind: 'digest', purpose: 'report' });
  if (state.digestAt !== undefined && round >= state.digestAt) state.digestAt = undefined;
  return [report];
}

const isRunDone = ({ message }: TrainerMessage): boolean =>
  message?.$case === 'notice' && message.value.kind === Notice_Kind.RUN_DONE;

/**
 * Whether the trainer was there until now: a stream with a welcome was kept alive even where there was nothing to say for hours, and one
 * on which the hello still waits for a task of before could get no welcome.
 */
const wasReached = ({ phase, running, session }: WorkerState): boolean =>
  phase === 'catchingUp' ||
  phase === 'working' ||
  (phase === 'greeting' && running !== undefined && running.session !== session);

function onLost(state: WorkerState, { atMs, reason, jitter }: Extract<WorkerEvent, { kind: 'lost' }>): WorkerEffect[] {
  // The trainer had said all: the records before its last word are still applied. Only a snapshot cannot come any more.
  if (state.inbox.some(isRunDone))
    return state.phase === 'catchingUp' ? finish(state, EXIT.done, 'the run is done') : [];
  if (wasReached(state)) state.lastContactMs = atMs;
  const silentMs = atMs - state.lastContactMs;
  if (silentMs > state.rules.giveUpMs) {
    return finish(state, EXIT.trainerUnreachable, `gave up after ${Math.round(silentMs / 1000)} s: ${reason}`);
  }
  return wait(state, reason, jitter);
}

/** Leaves the stream, if there is one, and tries again later. */
function wait(state: WorkerState, reason: string, jitter = 0): WorkerEffect[] {
  const backoffMs = Math.max(FIRST_BACKOFF_MS, state.backoffMs);
  const waitMs = Math.round(backoffMs * (0.5 + jitter / 2));
  state.backoffMs = Math.min(LAST_BACKOFF_MS, backoffMs * 2);
  state.phase = 'away';
  return [
    { kind: 'hangUp' },
    { kind: 'report', report: { kind: 'retrying', reason, waitMs } },
    { kind: 'retryIn', ms: waitMs },
  ];
}

function onDrain(state: WorkerState): WorkerEffect[] {
  const greeted = state.phase === 'catchingUp' || state.phase === 'working';
  const leave: WorkerEffect[] = greeted
    ? [{ kind: 'send', message: { $case: 'leave', value: { reason: 'drained' } } }]
    : [];
  return [...leave, ...finish(state, EXIT.drained, 'left before the run was done')];
}

function finish(state: WorkerState, exitCode: ExitCode, text: string): WorkerEffect[] {
  state.phase = 'over';
  return [{ kind: 'hangUp' }, { kind: 'finish', exitCode, text }];
}
