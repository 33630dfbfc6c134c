/** The model of a command, by directory or name, and what the command says while it is downloaded. */
import { type DownloadProgress, resolveModel } from '../model/hub/hub.ts';
import { bytes } from './format.ts';

/** Between two lines about a download. */
const PROGRESS_MS = 2000;

/** Its directory. @throws as `resolveModel` */
export const findModel = (model: string, say: (text: string) => void, signal?: AbortSignal): Promise<string> =>
  resolveModel(model, {
    ...(signal && { signal }),
    onNotice: say,
    onProgress: downloadReport(model, say, () => performance.now()),
  });

/** Says nothing of what is there already; else a line every two seconds, and one at the end. */
export function downloadReport(model: string, say: (text: string) => void, nowMs: () => number) {
  let saidMs = nowMs();
  let saidBytes: number | undefined;
  return ({ file, bytes: done, totalBytes }: DownloadProgress): void => {
    const ended = saidBytes !== undefined && saidBytes < totalBytes && done === totalBytes;
    if (!ended && nowMs() - saidMs < PROGRESS_MS) return;
    say(`model ${model}: ${bytes(done)} of ${bytes(totalBytes)} are here (${file})`);
    saidMs = nowMs();
    saidBytes = done;
  };
}
