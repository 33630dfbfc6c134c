/** A file that the run can do without: written for as long as that works. */
import type { WriteStream } from 'node:fs';

export interface MetricsStream {
  write(data: string | Uint8Array): void;
  /** Resolves once all of it is handed to the system. */
  close(): Promise<void>;
}

/** Opens with the first write. What goes wrong is told once, and the file let go. */
export function metricsStream(open: () => WriteStream, onError: (error: Error) => void): MetricsStream {
  let stream: WriteStream | undefined;
  let failed = false;
  const fail = (error: Error): void => {
    failed = true;
    onError(error);
  };
  return {
    write(data) {
      if (failed) return;
      try {
        stream ??= open().on('error', fail);
        stream.write(data);
      } catch (error) {
        fail(error as Error);
      }
    },
    close: () => new Promise((resolve) => (failed || !stream ? resolve() : stream.once('close', resolve).end())),
  };
}
