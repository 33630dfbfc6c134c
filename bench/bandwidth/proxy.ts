/** Process: a TCP proxy that is the link of every connection through it, each its own. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { DelayLine, type LinkProperties } from './link.ts';

/** What the parent process says; it hears the port. An absent rate has no limit: JSON knows no Infinity. */
export interface ProxyAssignment {
  readonly listenHost: string;
  readonly target: { readonly host: string; readonly port: number };
  readonly rate: number | undefined;
  readonly roundTripMs: number;
}

/** Payload that a direction holds before it stops reading, so that senders feel the link. */
const MAX_HELD_BYTES = 65536;

/** Carries what `from` sends to `to`, as the link would. */
function carry(from: Socket, to: Socket, link: LinkProperties): void {
  const line = new DelayLine<Buffer>(link);
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const move = (): void => {
    timer = undefined;
    for (const chunk of line.leave(performance.now())) to.write(chunk);
    if (line.bytes <= MAX_HELD_BYTES) from.resume();
    if (line.nextMs !== undefined) timer = setTimeout(move, Math.max(0, line.nextMs - performance.now()));
    else if (ended) to.end();
  };
  from.on('data', (chunk) => {
    line.enter(performance.now(), chunk);
    if (line.bytes > MAX_HELD_BYTES) from.pause();
    if (timer === undefined) move();
  });
  from.on('end', () => {
    ended = true;
    if (timer === undefined) move();
  });
  from.on('error', () => to.destroy());
  from.on('close', () => {
    if (!ended) to.destroy();
  });
}

process.once('message', ({ listenHost, target, rate = Number.POSITIVE_INFINITY, roundTripMs }: ProxyAssignment) => {
  const link = { rate, roundTripMs };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ ...target, noDelay: true, allowHalfOpen: true });
    carry(near, far, link);
    carry(far, near, link);
  });
  server.listen(0, listenHost, () => process.send?.((server.address() as AddressInfo).port));
  process.once('disconnect', () => process.exit());
});
