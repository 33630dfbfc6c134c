/** The process that evaluates the test split of a run, with the model loaded once: under one adapter after another. */

import { type Deferred, deferred } from '../platform/deferred.ts';
import { type Child, childFailure, startChild } from '../processes/child-process.ts';
import type { EvaluatorRequest } from '../processes/evaluator-messages.ts';
import type { Figures } from '../proto/evaluation.ts';

/** A process that was killed so often while it evaluated one adapter is not started again: for want of memory, most likely. */
const MAX_DEATHS = 3;

interface Evaluator {
  readonly child: Child;
  /** Who waits for its next answers. */
  readonly waiting: Deferred<Figures>[];
}

export class TestEvaluator {
  private readonly runFile: string;
  private readonly logFile: string;
  private readonly say: (text: string) => void;
  private evaluator: Evaluator | undefined;
  private stopped = false;

  constructor(runFile: string, logFile: string, say: (text: string) => void) {
    this.runFile = runFile;
    this.logFile = logFile;
    this.say = say;
  }

  /** Under the adapter of that directory, or without one. @throws OperatingError when the process fails, or is stopped meanwhile */
  async evaluate(adapter: string | undefined): Promise<Figures> {
    for (let deaths = 1; ; deaths++) {
      this.evaluator ??= this.start();
      const { child, waiting } = this.evaluator;
      const answer = deferred<Figures>();
      waiting.push(answer);
      // Where it cannot be sent the process is ending.
      child.process.send({ adapter } satisfies EvaluatorRequest, () => {});
      const outcome = await Promise.race([answer.promise, child.exit]);
      if (!('signal' in outcome)) return outcome;
      const how = outcome.signal === null ? 'failed' : `was killed by ${outcome.signal}`;
      if (outcome.signal === null || this.stopped || deaths === MAX_DEATHS)
        throw childFailure(`evaluation of the test split ${how}`, child, outcome.code);
      this.say(`evaluation of the test split ${how}; starting it again`);
    }
  }

  stop(): void {
    this.stopped = true;
    this.evaluator?.child.process.kill('SIGKILL');
  }

  private start(): Evaluator {
    const waiting: Deferred<Figures>[] = [];
    const child = startChild(['eval', '--serve', '--run', this.runFile], this.logFile, (message) => {
      if (message.kind === 'evaluated') waiting.shift()?.resolve(message.figures);
    });
    const forget = (): void => {
      this.evaluator = undefined;
    };
    // Where its log cannot be written whoever waits hears of it.
    void child.exit.catch(() => child.process.kill('SIGKILL')).then(forget);
    return { child, waiting };
  }
}
