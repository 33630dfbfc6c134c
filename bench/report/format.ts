/** Numbers as people read them. */
import type { MeanAndSpread } from '../statistics.ts';

export const percent = (part: number, digits = 1): string => `${(100 * part).toFixed(digits)} %`;

/** Three significant digits, without an exponent. */
export const short = (x: number): string =>
  Math.abs(x) >= 100 ? Math.round(x).toLocaleString('en-US') : String(Number(x.toPrecision(3)));

/** 9600 → "9.6 kbit/s". */
export const bitRate = (rate: number): string =>
  rate >= 1e6 ? `${short(rate / 1e6)} Mbit/s` : `${short(rate / 1e3)} kbit/s`;

/** 196608 → "197 kB". */
export function byteCount(bytes: number): string {
  if (bytes < 1000) return `${short(bytes)} B`;
  if (bytes < 1e6) return `${short(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${short(bytes / 1e6)} MB` : `${short(bytes / 1e9)} GB`;
}

/** Milliseconds or seconds. */
export const duration = (ms: number): string => (ms < 1000 ? `${short(ms)} ms` : `${short(ms / 1000)} s`);

/** "99.3 ± 0.3 %". */
export const percentSpread = ({ mean, sd }: MeanAndSpread): string =>
  `${(100 * mean).toFixed(1)}${sd === undefined ? '' : ` ± ${(100 * sd).toFixed(1)}`} %`;

export const spreadOf = ({ mean, sd }: MeanAndSpread): string =>
  sd === undefined ? short(mean) : `${short(mean)} ± ${short(sd)}`;
