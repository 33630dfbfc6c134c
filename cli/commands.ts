/** All commands of `onebyte`, in the order of its help. */
import type { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { certsCommand } from './certs.ts';
import { evalCommand } from './eval.ts';
import { generateCommand } from './generate.ts';
import { k8sCommand } from './k8s.ts';
import { mergeCommand } from './merge.ts';
import { planCommand } from './plan.ts';
import { replayCommand } from './replay.ts';
import { simulateCommand } from './simulate.ts';
import { statusCommand } from './status.ts';
import { sweepCommand } from './sweep.ts';
import { trainerCommand } from './trainer.ts';
import { viewCommand } from './view.ts';
import { workerCommand } from './worker.ts';

export const COMMANDS: readonly Command[] = [
  planCommand,
  sweepCommand,
  simulateCommand,
  trainerCommand,
  workerCommand,
  statusCommand,
  viewCommand,
  evalCommand,
  generateCommand,
  replayCommand,
  mergeCommand,
  certsCommand,
  benchCommand,
  k8sCommand,
];
