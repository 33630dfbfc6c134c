/** An honest worker without a model: the real protocol, a real replica, and seeded bytes in place of measured ones. */
import seedrandom from 'seedrandom';
import { referenceBackend } from '../../kernels/reference.ts';
import { applyRecord, initialReplica, type ReplicaState, replicaDigest } from '../../kernels/replica.ts';
import { initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../../kernels/run-replica.ts';
import { decodeSnapshot } from '../../kernels/snapshot.ts';
import { Notice_Kind } from '../../proto/gen/onebyte.ts';
import { DIGEST_EVERY } from '../../proto/limits.ts';
import { canonicalJson, type RunConfig, runConfigSha256 } from '../../proto/run-config.ts';
import { type ClientAccess, connectTrainer, nextMessage } from '../../worker/transport/trainer-client.ts';

export const PLAIN: ClientAccess = { tls: undefined, joinToken: undefined };

const LAST_WORDS: readonly Notice_Kind[] = [Notice_Kind.RUN_DONE, Notice_Kind.TRAINER_DRAINS];

export interface ProtocolWorkerOptions {
  readonly name: string;
  readonly config: RunConfig;
  readonly access?: ClientAccess;
  /** What it says of its device. */
  readonly computesOn?: string;
  /** Leaves, without a word, once it holds so many records. */
  readonly until?: number;
  readonly onRound?: (round: number) => void;
}

/** Takes part until the run is done, the trainer drains, or `until` records are applied. @returns its replica @throws what ended the stream otherwise */
export async function protocolWorker(address: string, options: ProtocolWorkerOptions): Promise<ReplicaState> {
  const { config, name, until = Number.POSITIVE_INFINITY, onRound, computesOn } = options;
  const connection = connectTrainer(address, options.access ?? PLAIN);
  const rule = learningRuleOf(config);
  const random = seedrandom(name);
  const gradientBytes = (): Buffer =>
    Buffer.from(Array.from({ length: config.learning.directions }, () => (random() < 0.5 ? 0 : 128) | (random() * 80)));
  let heartbeat: NodeJS.Timeout | undefined;
  try {
    const stream = connection.join();
    const runConfig = runConfigSha256(canonicalJson(config));
    const hello = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: runConfig, computesOn };
    stream.send({ $case: 'hello', value: hello });
    const welcome = await nextMessage(stream);
    if (welcome?.$case !== 'welcome') throw new Error(`expected a welcome, got ${welcome?.$case}`);
    heartbeat = setInterval(() => stream.send({ $case: 'heartbeat', value: {} }), welcome.value.heartbeatMs);
    let replica = initialReplica(rule, trainedPart(layoutOf(config), initialMatrices(config, Buffer.alloc(0))));
    if (welcome.value.round > 0) replica = decodeSnapshot(await connection.snapshot(), replica.theta.length);
    const sendDigest = (): void =>
      stream.send({ $case: 'digest', value: { round: replica.normaliser.round, sha256: replicaDigest(replica) } });
    const contribute = (): void =>
      stream.send({
        $case: 'contribution',
        value: { measuredRound: replica.normaliser.round, firstDirection: 0, gradientBytes: gradientBytes() },
      });
    sendDigest();
    contribute();
    for (;;) {
      const message = await nextMessage(stream);
      if (message?.$case === 'notice' && LAST_WORDS.includes(message.value.kind)) return replica;
      if (message?.$case === 'notice' && message.value.kind !== Notice_Kind.LATE) throw new Error(message.value.text);
      if (message?.$case === 'evaluate') {
        const { rows } = message.value;
        stream.send({
          $case: 'evaluation',
          value: { ...message.value, correct: rows, classified: rows, lossSum: rows },
        });
      }
      if (message?.$case !== 'record' || message.value.round < replica.normaliser.round) continue;
      replica = await applyRecord(replica, rule, message.value, referenceBackend);
      const { round } = replica.normaliser;
      onRound?.(round);
      if (round >= until) return replica;
      if (round % DIGEST_EVERY === 0) sendDigest();
      if (round < welcome.value.rounds) contribute();
    }
  } finally {
    clearInterval(heartbeat);
    connection.close();
  }
}
