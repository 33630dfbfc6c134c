/** All commands of `onebyte`, in the order of its help. Each is loaded when it is wanted: all together take half a second to load. */
import type { Command } from 'commander';

export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  plan: async () => (await import('./plan.ts')).planCommand,
  sweep: async () => (await import('./sweep.ts')).sweepCommand,
  simulate: async () => (await import('./simulate.ts')).simulateCommand,
  trainer: async () => (await import('./trainer.ts')).trainerCommand,
  worker: async () => (await import('./worker.ts')).workerCommand,
  status: async () => (await import('./status.ts')).statusCommand,
  view: async () => (await import('./view.ts')).viewCommand,
  eval: async () => (await import('./eval.ts')).evalCommand,
  generate: async () => (await import('./generate.ts')).generateCommand,
  replay: async () => (await import('./replay.ts')).replayCommand,
  merge: async () => (await import('./merge.ts')).mergeCommand,
  certs: async () => (await import('./certs.ts')).certsCommand,
  bench: async () => (await import('./bench.ts')).benchCommand,
  k8s: async () => (await import('./k8s.ts')).k8sCommand,
};
