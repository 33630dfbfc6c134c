/** How a trainer runs its rounds: the keys of `trainer:` in a run file and their defaults. None of them changes a replica. */
import { z } from 'zod';

const count = z.int().min(1);
const milliseconds = z.int().min(1).max(86_400_000);
/** Some trainer ticks: a pause of the trainer is told by a tick that comes later than a heartbeat would. */
const SHORTEST_HEARTBEAT_MS = 100;

const Keys = z.strictObject({
  listen: z.string().default('127.0.0.1:0').describe('address and port; port 0: chosen by the system'),
  startWorkers: count.default(1).describe('workers to wait for before the first record'),
  quorum: z
    .union([z.literal('all'), z.number().gt(0).max(1)])
    .default(0.5)
    .describe('part of the members whose answer closes a round at its deadline; all: every member, no deadline'),
  deadlineFloorMs: milliseconds.default(200).describe('shortest deadline of a round'),
  deadlineCeilingMs: milliseconds.default(60_000).describe('longest deadline of a round, and the first ones'),
  leaseMs: milliseconds.default(15_000).describe('a worker not heard of for so long has left'),
  heartbeatMs: milliseconds
    .min(SHORTEST_HEARTBEAT_MS)
    .default(5_000)
    .describe('how often a silent worker says that it lives'),
  evaluateEvery: z
    .int()
    .min(0)
    .default(10)
    .describe('rounds between evaluations on the dev split, more where one takes longer; 0: only at the ends'),
  stopAt: z
    .strictObject({ loss: z.number().positive().optional(), accuracy: z.number().gt(0).max(1).optional() })
    .optional()
    .describe(
      'the run ends with the first evaluation whose dev loss (nats a row) is at most, or whose accuracy is at least this',
    ),
  patience: count.optional().describe('evaluations without a better one after which the run ends'),
  devRows: count
    .optional()
    .describe("rows of the workers' dev split, where the trainer itself is given no data.dev: it may not see the data"),
  checkpointEvery: z.int().min(0).default(50).describe('rounds between checkpoints; 0: only at the end'),
  keepCheckpoints: count.default(3).describe('how many of the newest checkpoints stay, beside the best'),
});

/** Keys by which an evaluation ends a run before its last round. */
export const EARLY_ENDS = ['stopAt', 'patience'] as const;

export const TrainerSettings = Keys.superRefine(
  ({ leaseMs, heartbeatMs, deadlineFloorMs, deadlineCeilingMs }, context) => {
    const complain = (key: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [key], message: `${key} ${message}` });
    // Else a worker that measures for longer than the lease is expelled again and again.
    if (leaseMs <= heartbeatMs) complain('leaseMs', `is ${leaseMs}, expected more than heartbeatMs (${heartbeatMs})`);
    if (deadlineFloorMs > deadlineCeilingMs)
      complain('deadlineFloorMs', `is ${deadlineFloorMs}, expected at most deadlineCeilingMs (${deadlineCeilingMs})`);
  },
);
export type TrainerSettings = z.infer<typeof TrainerSettings>;
