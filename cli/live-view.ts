/** What a person sees while a simulation runs: one line that renews itself on a terminal, plain lines elsewhere. */
import { type BriefReport, isEvent, told } from '../trainer/report-kinds.ts';
import { bytes, percent } from './format.ts';

export class LiveView {
  private readonly rounds: number;
  private readonly stream: NodeJS.WriteStream;
  private readonly nowMs: () => number;
  private round = 0;
  private gradients = 0;
  private workers = 0;
  private evaluation: { loss: number | undefined; accuracy: number | undefined } | undefined;
  private wire = { up: 0, down: 0 };
  private first: { round: number; atMs: number } | undefined;

  constructor(rounds: number, stream: NodeJS.WriteStream, nowMs: () => number) {
    this.rounds = rounds;
    this.stream = stream;
    this.nowMs = nowMs;
  }

  /** Takes in what the trainer tells. */
  onReport(report: BriefReport, wire: { up: number; down: number }): void {
    this.wire = wire;
    if (report.kind === 'round') {
      this.round = report.round;
      this.gradients += report.gradients;
      this.workers = report.members;
      this.first ??= { round: report.round, atMs: this.nowMs() };
      if (this.stream.isTTY) this.redraw();
    } else if (report.kind === 'evaluation') {
      this.evaluation = report;
      if (this.stream.isTTY) this.redraw();
      else this.say(this.line());
    } else if (isEvent(report)) {
      const { level, text } = told(report);
      if (level !== 'debug') this.say(text);
    }
  }

  /** A line of its own, above the one that renews itself. */
  say(text: string): void {
    if (this.stream.isTTY) this.stream.write('\r\x1b[2K');
    this.stream.write(`${text}\n`);
  }

  end(): void {
    if (this.stream.isTTY) this.stream.write('\r\x1b[2K');
  }

  private redraw(): void {
    this.stream.write(`\r\x1b[2K${this.line().slice(0, (this.stream.columns ?? 80) - 1)}`);
  }

  private line(): string {
    const parts = [`round ${this.round}/${this.rounds}`];
    if (this.evaluation) {
      parts.push(`dev loss ${this.evaluation.loss?.toFixed(3) ?? 'not finite'}`);
      if (this.evaluation.accuracy !== undefined) parts.push(`accuracy ${percent(this.evaluation.accuracy)}`);
    }
    const rate = this.roundsPerSecond();
    if (rate > 0) parts.push(`${rate.toFixed(1)} rounds/s`);
    parts.push(
      `${this.workers} workers`,
      `${bytes(this.gradients)} of gradients`,
      `${bytes(this.wire.up)} up`,
      `${bytes(this.wire.down)} down`,
    );
    if (rate > 0 && this.round < this.rounds) parts.push(`${Math.ceil((this.rounds - this.round) / rate)} s left`);
    return parts.join(', ');
  }

  private roundsPerSecond(): number {
    if (!this.first || this.round === this.first.round) return 0;
    return (1000 * (this.round - this.first.round)) / (this.nowMs() - this.first.atMs);
  }
}
