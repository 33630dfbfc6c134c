/** What a person sees while a simulation runs: one line that renews itself on a terminal, plain lines elsewhere. */
import { type Figures, lossText, percent } from '../proto/evaluation.ts';
import type { TrainingLoss } from '../proto/gen/onebyte.ts';
import { type BriefReport, isEvent, told } from '../trainer/report-kinds.ts';
import { bytes, duration, plural } from './format.ts';

/** Longest silence where lines are plain, ms: who reads a log file is to see that the run lives. */
export const LONGEST_SILENCE_MS = 15_000;

export class LiveView {
  private readonly rounds: number;
  private readonly stream: NodeJS.WriteStream;
  private readonly nowMs: () => number;
  private round = 0;
  private gradients = 0;
  private workers = 0;
  private trainingLoss: TrainingLoss | undefined;
  private evaluation: Figures | undefined;
  private wire = { up: 0, down: 0 };
  private first: { round: number; atMs: number } | undefined;
  private saidMs: number;

  constructor(rounds: number, stream: NodeJS.WriteStream, nowMs: () => number) {
    this.rounds = rounds;
    this.stream = stream;
    this.nowMs = nowMs;
    this.saidMs = nowMs();
  }

  /** Takes in what the trainer tells. */
  onReport(report: BriefReport, wire: { up: number; down: number }): void {
    this.wire = wire;
    if (report.kind === 'round') {
      this.round = report.round;
      this.gradients += report.gradients;
      this.workers = report.members;
      this.trainingLoss = report.trainingLoss;
      this.first ??= { round: report.round, atMs: this.nowMs() };
      if (this.stream.isTTY) this.redraw();
    } else if (report.kind === 'evaluation') {
      this.evaluation = report;
      // On a terminal the line goes on changing, and an evaluation is to be found again above it.
      if (this.stream.isTTY) this.say(told(report).text);
      else this.say(this.line());
    } else if (isEvent(report)) {
      const { level, text } = told(report);
      if (level !== 'debug') this.say(text);
    }
  }

  /** Time has passed. */
  tick(): void {
    if (this.stream.isTTY) this.redraw();
    else if (this.nowMs() - this.saidMs >= LONGEST_SILENCE_MS) this.say(this.line());
  }

  /** A line of its own, above the one that renews itself. */
  say(text: string): void {
    if (this.stream.isTTY) this.stream.write('\r\x1b[2K');
    this.stream.write(`${text}\n`);
    this.saidMs = this.nowMs();
  }

  end(): void {
    if (this.stream.isTTY) this.stream.write('\r\x1b[2K');
  }

  private redraw(): void {
    this.stream.write(`\r\x1b[2K${fitted(this.parts(perRow), (this.stream.columns ?? 80) - 1)}`);
  }

  /** All there is to say. */
  private line(): string {
    return this.parts((loss, lossPerToken) => lossText({ loss, lossPerToken }, 3)).join(', ');
  }

  /** The part that says most comes first, and the time that is left second where it is known. */
  private parts(said: (loss: number | undefined, lossPerToken: number | undefined) => string): string[] {
    if (this.first === undefined) return [`waiting for the first of ${plural(this.rounds, 'round')}`];
    const rate = this.roundsPerSecond();
    const parts = [`round ${this.round}/${this.rounds}`];
    if (rate > 0 && this.round < this.rounds) parts.push(`${duration((this.rounds - this.round) / rate)} left`);
    if (this.trainingLoss) parts.push(`training loss ${said(this.trainingLoss.perRow, this.trainingLoss.perToken)}`);
    if (this.evaluation) {
      parts.push(`dev loss ${said(this.evaluation.loss, this.evaluation.lossPerToken)}`);
      if (this.evaluation.accuracy !== undefined) parts.push(`accuracy ${percent(this.evaluation.accuracy)}`);
    }
    if (rate > 0) parts.push(`${rate.toFixed(1)} rounds/s`);
    parts.push(
      plural(this.workers, 'worker'),
      `${bytes(this.gradients)} of gradients`,
      `${bytes(this.wire.up)} up`,
      `${bytes(this.wire.down)} down`,
    );
    return parts;
  }

  private roundsPerSecond(): number {
    if (!this.first || this.round === this.first.round) return 0;
    return (1000 * (this.round - this.first.round)) / (this.nowMs() - this.first.atMs);
  }
}

/** Where there is little room: of a row alone. */
const perRow = (loss: number | undefined): string => loss?.toFixed(3) ?? 'not finite';

/** As many parts as fit `width` columns, from the first on. A line that is wrapped cannot be renewed. */
function fitted(parts: readonly string[], width: number): string {
  let line = '';
  for (const part of parts) {
    const longer = line === '' ? part : `${line}, ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line === '' ? parts[0]!.slice(0, width) : line;
}
