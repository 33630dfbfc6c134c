/** PyTorch on the same machine: a process that runs mezo_lora.py and answers requests, a line each. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { TokenRow } from '../../model/token-row.ts';
import { usageError } from '../../proto/operating-error.ts';

export const PEER_DTYPES = ['float32', 'bfloat16'] as const;
export type PeerDtype = (typeof PEER_DTYPES)[number];

/** One pass of MeZO steps over the rows. */
export interface PeerPass {
  readonly seconds: number;
  /** Rows × directions measured, two-sided. */
  readonly rowDirections: number;
}

export class Peer {
  /** Names of the libraries → versions. */
  versions: { readonly [library: string]: string } = {};
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly answers: AsyncIterator<string>;

  private constructor(python: string, model: string, threads: number) {
    const script = fileURLToPath(new URL('mezo_lora.py', import.meta.url));
    const env = { ...process.env, HF_HUB_OFFLINE: '1', OMP_WAIT_POLICY: 'passive' };
    this.child = spawn(python, [script, model, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'], env });
    this.answers = createInterface(this.child.stdout)[Symbol.asyncIterator]();
  }

  /** @param python an interpreter with torch, transformers and peft @throws OperatingError usage: it has them not */
  static async start(python: string, model: string, threads: number, rows: readonly TokenRow[]): Promise<Peer> {
    const peer = new Peer(python, model, threads);
    const spawned = new Promise<never>((_, reject) => peer.child.on('error', reject));
    peer.versions = (await Promise.race([peer.ask({ rows }), spawned]).catch((cause: Error) => {
      throw usageError(`${python} cannot run the PyTorch side (${cause.message}). Install it: bench/peers/install.sh`);
    })) as Peer['versions'];
    return peer;
  }

  /** Steps over all rows once, in minibatches of `batch` rows. */
  pass(dtype: PeerDtype, batch: number): Promise<PeerPass> {
    return this.ask({ dtype, batch }) as Promise<PeerPass>;
  }

  close(): void {
    this.child.stdin.end();
  }

  private async ask(request: object): Promise<unknown> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.answers.next();
    if (done) throw new Error('it ended');
    return JSON.parse(value);
  }
}
