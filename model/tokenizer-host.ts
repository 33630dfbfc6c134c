/** The other side of tokenizer-process.ts: starts it when it is needed, asks, and makes errors of how it ends. */
import { type Deferred, deferred } from '../platform/deferred.ts';
import { forkModule } from '../platform/fork-module.ts';
import { EXIT, OperatingError, usageError } from '../proto/operating-error.ts';
import type { EncodedText } from './rust-tokenizer.ts';
import type { TokenizerReply, TokenizerRequest } from './tokenizer-process.ts';

/** What the process writes before it ends is kept up to here, in characters. */
const MAX_STDERR = 2 ** 16;
/** A panic of the library: where, then why. */
const PANIC = /panicked at [^\n]*\n([^\n]*)/;

type LoadRequest = Extract<TokenizerRequest, { kind: 'load' }>;

/** One tokenizer.json in a process of its own, which runs from a request until `stop` and does not keep this one alive. */
export class TokenizerHost {
  private readonly loading: LoadRequest;
  private running: Running | undefined;
  /** Settles when no request is under way. */
  private idle: Promise<unknown> = Promise.resolve();

  constructor(loading: LoadRequest) {
    this.loading = loading;
  }

  /** The id of the request's eosToken; undefined for an unknown one. @throws OperatingError (usage) that names the file */
  async load(): Promise<number | undefined> {
    const { file } = this.loading;
    this.running = startProcess();
    const reply = await this.running.ask(this.loading).catch((error: unknown) => {
      throw asPanic(error, `${file}: not a tokenizer that is supported`);
    });
    if (reply.kind === 'loaded') return reply.eosId;
    this.stop();
    const reason = reply.kind === 'failed' ? reply.reason : reply.kind;
    throw usageError(reason.startsWith(file) ? reason : `${file}: not a tokenizer that is supported: ${reason}`);
  }

  /** @throws OperatingError (usage) that names the file and the text; one text is tried after the other to find it */
  encode(texts: readonly string[]): Promise<readonly EncodedText[]> {
    return this.whenIdle(() => this.encodeNow(texts));
  }

  /** @throws OperatingError (usage) that names the file */
  decode(ids: readonly (readonly number[])[]): Promise<readonly string[]> {
    const where = `${this.loading.file}: cannot decode ${ids.at(-1)?.slice(-20).join(' ')}`;
    return this.whenIdle(async () => {
      const reply = await this.answer({ kind: 'decode', ids }, where);
      if (reply.kind === 'decoded') return reply.texts;
      throw refused(reply, where);
    });
  }

  stop(): void {
    this.running?.stop();
    this.running = undefined;
  }

  private async encodeNow(texts: readonly string[]): Promise<readonly EncodedText[]> {
    const where = `${this.loading.file}: cannot encode ${JSON.stringify(texts[0]?.slice(0, 100))}`;
    let failure: unknown;
    try {
      const reply = await this.answer({ kind: 'encode', texts }, where);
      if (reply.kind === 'encoded') return reply.texts;
      failure = refused(reply, where);
    } catch (error) {
      failure = error;
    }
    if (texts.length > 1) for (const text of texts) await this.encodeNow([text]);
    throw failure;
  }

  /** Starts the process where it does not run. @throws OperatingError (usage) that begins with `where` */
  private async answer(request: TokenizerRequest, where: string): Promise<TokenizerReply> {
    try {
      if (this.running === undefined) await this.load();
      return await this.running!.ask(request);
    } catch (error) {
      this.stop();
      throw asPanic(error, where);
    }
  }

  private whenIdle<T>(work: () => Promise<T>): Promise<T> {
    const result = this.idle.then(work);
    this.idle = result.catch(() => {});
    return result;
  }
}

/** A process that was started. */
interface Running {
  /** One request at a time. @throws ProcessEnded when the process ends, or has ended, without an answer */
  ask(request: TokenizerRequest): Promise<TokenizerReply>;
  stop(): void;
}

function startProcess(): Running {
  const child = forkModule(new URL('./tokenizer-process', import.meta.url), [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
    env: { ...process.env, RUST_BACKTRACE: '0' },
    // Ctrl-C in a terminal reaches this process alone.
    detached: true,
  });
  let said = '';
  let waiting: Deferred<TokenizerReply> | undefined;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    waiting?.reject(ended);
  };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < MAX_STDERR) said += text;
  });
  child.on('message', (reply: TokenizerReply) => waiting?.resolve(reply));
  child.on('error', end);
  child.on('close', (code, signal) => end(new ProcessEnded(code ?? signal, said)));
  const stderr = child.stderr as unknown as { ref(): void; unref(): void };
  /** Whether the process keeps this one alive. */
  const hold = (held: boolean): void => {
    for (const handle of [child, stderr, child.channel]) handle?.[held ? 'ref' : 'unref']();
  };
  return {
    async ask(request) {
      if (ended) throw ended;
      waiting = deferred();
      hold(true);
      // When it cannot be sent, `close` says why.
      child.send(request, () => {});
      try {
        return await waiting.promise;
      } finally {
        waiting = undefined;
        hold(false);
      }
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

class ProcessEnded extends Error {
  readonly panic: string | undefined;

  constructor(how: number | string | null, said: string) {
    super(`the tokenizer's process ended with ${how}: ${said.trim().slice(-500)}`);
    this.panic = PANIC.exec(said)?.[1];
  }
}

const refused = (reply: TokenizerReply, where: string): Error =>
  usageError(`${where}: ${reply.kind === 'failed' ? reply.reason : reply.kind}`);

/** A panic at somebody's file or text is the file's or the text's fault; any other end is not. */
function asPanic(error: unknown, where: string): unknown {
  if (!(error instanceof ProcessEnded)) return error;
  if (error.panic === undefined) return new OperatingError(EXIT.internal, `${where}: ${error.message}`);
  return usageError(`${where}: the tokenizers library gave up: ${error.panic.slice(0, 500)}`, { cause: error });
}
