/** Looks on as the trainer's core takes events: what no member, however hostile, may bring about. */
import { Notice_Kind } from '../../proto/gen/onebyte.ts';
import { entriesOf } from '../../proto/record.ts';
import type { RoundDetail } from '../../trainer/core/round-detail.ts';
import type { Effect, Event, Member, StreamId, TrainerState } from '../../trainer/core/state.ts';
import type { World } from './world.ts';

/**
 * Rounds in a row that a member may keep waiting in vain while no more than a third are silent: as many as its credit
 * lasts for. Below 0 it is left out, as all of them may be.
 */
const PATIENCE = 3;
/** As many rounds may wait in vain for all newcomers together, and one of so many more: of members with fewer answers, who came later. */
const NEWCOMER_ANSWERS = 32;

/** What was so before an event. */
interface Before {
  readonly round: number;
  readonly due: readonly Member[];
  readonly member: Member | undefined;
  readonly isFirstAnswer: boolean;
  /** The member whose name a hello says, while its lease runs. */
  readonly holder: Member | undefined;
  /** The stream showed the secret of that member, or is the worker's own. */
  readonly isHonest: boolean;
}

export class Watch {
  private readonly world: World;
  private readonly honest = new Map<StreamId, boolean>();
  /** Members that were ready as the open round began. */
  private sharers = 1;
  private readonly missed = new Map<number, number>();
  /** Rounds that those answered who came as rounds had been made, by worker, and rounds since the trainer was opened that waited in vain for some. */
  private readonly newcomers = new Map<number, Set<number>>();
  private rounds = 0;
  private inVain = 0;
  /** Names of those who were members when the trainer was opened again, less those who left since. */
  private known = new Set<string>();
  /** When their leases have run out, by the trainer's clock, less its pauses and leaps: nobody could be heard meanwhile. */
  private leasesEndMs = 0;

  constructor(world: World) {
    this.world = world;
  }

  /** @param known names of those who were members before */
  onOpened(state: TrainerState, known: Set<string>): void {
    const toCome = state.normaliser.round === 0 ? this.world.rules.settings.startWorkers : 1;
    this.sharers = Math.max(toCome, known.size);
    this.missed.clear();
    this.newcomers.clear();
    this.rounds = 0;
    this.inVain = 0;
    this.known = known;
    this.leasesEndMs = state.lastTickMs + this.world.rules.settings.leaseMs;
  }

  onStream(stream: StreamId, isHonest: boolean): void {
    this.honest.set(stream, isHonest);
  }

  before(state: TrainerState, event: Event): Before {
    const { round } = state.normaliser;
    const gapMs = event.kind === 'tick' ? event.atMs - state.lastTickMs : 0;
    if (gapMs > this.world.rules.settings.heartbeatMs) this.leasesEndMs += gapMs;
    const ready = [...state.members.values()].filter(({ expectedFrom }) => expectedFrom !== undefined);
    const due = ready.filter(({ expectedFrom }) => expectedFrom! <= round);
    const member = 'stream' in event ? state.members.get(state.workerOfStream.get(event.stream) ?? -1) : undefined;
    if (member && event.kind === 'contribution') {
      this.world.invariants.onContribution(member.worker);
      // One that is in time is an answer, also where its round was closed without it.
      const { measuredRound } = event.contribution;
      const staleness = round - measuredRound;
      if (staleness >= 0 && staleness <= this.world.rules.learning.maxStaleness + 1)
        this.newcomers.get(member.worker)?.add(measuredRound);
    }
    const name = event.kind === 'hello' ? event.hello.name : undefined;
    return {
      round,
      due,
      member,
      isFirstAnswer: member !== undefined && !state.answers.has(member.worker),
      holder: name === undefined ? undefined : [...state.members.values()].find((one) => one.name === name),
      isHonest: 'stream' in event && this.honest.get(event.stream) === true,
    };
  }

  after(before: Before, state: TrainerState, event: Event, effects: readonly Effect[]): void {
    if (state.phase !== 'done') this.checkHello(before, event, effects);
    this.checkHonest(before, state, event, effects);
    this.noteMembers(before.round, effects);
    for (const effect of effects) {
      if (effect.kind === 'append') this.checkFrames(before, state, effect, effects);
      if (effect.kind !== 'report' || effect.report.kind !== 'round') continue;
      const { trainingLoss, detail } = effect.report;
      const loss = trainingLoss?.perRow ?? 0;
      this.check(loss >= 0 && loss <= 1e6, `round ${before.round} says a training loss of ${loss}`);
      if (this.world.adversaries > 0) this.checkPatience(before.round, state, detail);
    }
    const { normaliser } = state;
    this.checkDeadline(state);
    if (normaliser.round === before.round) return;
    this.sharers = [...state.members.values()].filter(({ expectedFrom }) => expectedFrom !== undefined).length;
  }

  /** Who came and left. */
  private noteMembers(round: number, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'report') continue;
      const { report } = effect;
      if (report.kind === 'joined' && !report.resumed && round > 0 && !this.known.has(report.name))
        this.newcomers.set(report.worker, new Set());
      if (report.kind !== 'left') continue;
      this.known.delete(report.name);
      this.newcomers.delete(report.worker);
    }
  }

  /** Once most members were heard often, a round closes about when the usual one of them answers. */
  private checkDeadline({ members, deadlineMs, normaliser }: TrainerState): void {
    const known = [...members.values()].filter(({ arrivals }) => arrivals.length >= 4).length;
    if (!this.world.isCalm || 2 * known <= members.size) return;
    this.check(deadlineMs <= 2_000, `the deadline of round ${normaliser.round} is ${deadlineMs} ms`);
  }

  /** Nobody but its worker takes a name over while its lease runs. */
  private checkHello({ holder, isHonest }: Before, event: Event, effects: readonly Effect[]): void {
    if (event.kind !== 'hello') return;
    for (const effect of effects) {
      const message = effect.kind === 'send' && effect.stream === event.stream ? effect.message.message : undefined;
      if (message?.$case !== 'welcome') continue;
      this.world.invariants.onWelcome(event.hello.name, message.value.worker);
      const isTheft = holder !== undefined && !isHonest && holder.name.startsWith('w');
      this.check(!isTheft, `${holder?.name} was taken over while its lease ran`);
    }
  }

  /** A worker that does as it should is neither refused nor crowded out. */
  private checkHonest(
    { member, due, round, isHonest, isFirstAnswer }: Before,
    state: TrainerState,
    event: Event,
    effects: readonly Effect[],
  ): void {
    for (const effect of effects) {
      if (effect.kind === 'refuse' && this.honest.get(effect.stream) && ['invalid', 'full'].includes(effect.refusal))
        this.check(false, `an honest worker was refused: ${effect.text}`);
      const isLate =
        effect.kind === 'send' &&
        effect.message.message?.$case === 'notice' &&
        effect.message.message.value.kind === Notice_Kind.LATE;
      const isInTime = event.kind === 'contribution' && event.contribution.measuredRound === round;
      // In the first round shares shrink as workers join.
      if (round > 0 && isLate && isHonest && isInTime && isFirstAnswer && member && due.includes(member))
        this.check(false, `worker ${member.worker} was crowded out of round ${round} of ${state.sharers} members`);
    }
  }

  private checkFrames(
    before: Before,
    state: TrainerState,
    { frames }: Extract<Effect, { kind: 'append' }>,
    effects: readonly Effect[],
  ): void {
    const isRegular = !effects.some(
      ({ kind, ...effect }) => 'report' in effect && kind === 'report' && effect.report.kind === 'recovered',
    );
    for (const { frame } of frames) {
      if (frame?.$case === 'evaluation') {
        const { rows, correct, classified, lossSum } = frame.value;
        const mayBe = correct <= classified && classified <= rows && !(lossSum < 0);
        this.check(mayBe, `an evaluation says ${correct} of ${classified} of ${rows} rows, loss ${lossSum}`);
      }
      if (frame?.$case !== 'record' || !isRegular) continue;
      const shares = new Map<number, number>();
      for (const { worker, gradientBytes } of entriesOf(frame.value))
        shares.set(worker, (shares.get(worker) ?? 0) + gradientBytes.length);
      const share = Math.max(1, Math.floor(this.world.rules.gradientsPerRecord / Math.max(1, this.sharers)));
      for (const [worker, gradients] of shares)
        this.check(
          gradients <= share,
          `worker ${worker} has ${gradients} gradients of record ${before.round}, its share is ${share}`,
        );
      // Those who are left out count in no quorum; they are a third at most. The event itself may have ended a membership.
      const { quorum } = this.world.rules.settings;
      const due = before.due.filter((m) => state.members.get(m.worker) === m && m.expectedFrom !== undefined).length;
      const least = quorum === 'all' ? due : Math.ceil(quorum * (due - Math.floor(due / 3)));
      // In the first round shares shrink as workers join, so that some may answer without room for what they say.
      this.check(
        before.round === 0 || shares.size >= least,
        `record ${before.round} is of ${shares.size} of ${due} members`,
      );
      this.checkKnown(before.round, shares.size, state.lastTickMs);
    }
  }

  /** After a restart, as long as their leases run, each record is of a quorum of those who were members before. */
  private checkKnown(round: number, members: number, nowMs: number): void {
    const { quorum } = this.world.rules.settings;
    const { size } = this.known;
    // All means all that have caught up, among machines that trust each other. A third may have kept others waiting since.
    const least = quorum === 'all' ? 1 : Math.ceil(quorum * (size - Math.floor(size / 3)));
    this.check(
      round === 0 || nowMs >= this.leasesEndMs || members >= least,
      `record ${round} is of ${members} members; ${size} were there before the restart`,
    );
  }

  /** Members that do not answer are not waited for long, unless more than a third are silent at once. */
  private checkPatience(round: number, { members }: TrainerState, { missing, answeredMs }: RoundDetail): void {
    const ready = [...members.values()].filter(({ expectedFrom }) => expectedFrom !== undefined);
    const due = ready.filter(({ expectedFrom }) => expectedFrom! <= round);
    // Where nobody is left of those who were there as the round began, it is a round of those who came since.
    const asked = due.length > 0 ? due : ready;
    const areFew = asked.filter(({ worker }) => !answeredMs.has(worker)).length <= Math.floor(asked.length / 3);
    for (const worker of [...this.missed.keys()]) if (!areFew || !missing.includes(worker)) this.missed.delete(worker);
    if (areFew) for (const worker of missing) this.missed.set(worker, (this.missed.get(worker) ?? 0) + 1);
    const areNew = missing.some((worker) => (this.newcomers.get(worker)?.size ?? NEWCOMER_ANSWERS) < NEWCOMER_ANSWERS);
    this.rounds++;
    if (areFew && areNew) this.inVain++;
    const most = PATIENCE + this.rounds / (NEWCOMER_ANSWERS + 1);
    this.check(this.inVain <= most, `${this.inVain} of ${this.rounds} rounds waited in vain for newcomers`);
    const patient = [...this.missed].find(([, rounds]) => rounds > PATIENCE);
    this.check(!patient, `${patient?.[1]} rounds waited in vain for worker ${patient?.[0]}`);
  }

  private check(holds: boolean, text: string): void {
    this.world.invariants.check(holds, text);
  }
}
