/** The two drawings that are no line charts: the distribution of the gradient bytes and the timeline of the last rounds. */
import { bytes, duration, whole } from './format.js';

/** @typedef {import('./page-state.d.ts').PageState} PageState */
/** @typedef {import('./format.js').ColourName} ColourName */
/** @typedef {Record<ColourName, string>} Colours */

/** Makes the canvas as fine as the screen. @param {HTMLCanvasElement} canvas @param {Colours} colours */
function prepare(canvas, colours) {
  const ratio = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no 2d canvas');
  context.scale(ratio, ratio);
  context.font = '12px system-ui, sans-serif';
  context.fillStyle = colours.quiet;
  return { context, width, height };
}

/** @param {readonly number[]} buckets 33 of them @returns {number[]} 32, from the most negative to the most positive */
const inOrder = (buckets) => [...buckets.slice(16, 32).reverse(), ...buckets.slice(0, 16)];

/** Bars: the last round. Line: the recent ones together. @param {HTMLCanvasElement} canvas @param {PageState} state @param {Colours} colours */
export function drawDistribution(canvas, { recent }, colours) {
  const { context, width, height } = prepare(canvas, colours);
  const last = recent.at(-1);
  if (!last) return;
  const round = inOrder(last.buckets);
  const all = inOrder(last.buckets.map((_, i) => recent.reduce((sum, line) => sum + (line.buckets[i] ?? 0), 0)));
  const share = (/** @type {number[]} */ counts) => {
    const total = Math.max(
      1,
      counts.reduce((sum, n) => sum + n, 0),
    );
    return counts.map((n) => n / total);
  };
  const [bars, outline] = [share(round), share(all)];
  const most = Math.max(...bars, ...outline);
  const [left, bottom, top] = [38, height - 34, 8];
  const step = (width - left - 4) / 32;
  const y = (/** @type {number} */ part) => bottom - ((bottom - top) * part) / most;
  context.textAlign = 'right';
  for (const part of [0, most / 2, most]) {
    context.fillText(`${Math.round(100 * part)} %`, left - 5, y(part) + 4);
    context.fillStyle = colours.line;
    context.fillRect(left, y(part), width - left, 1);
    context.fillStyle = colours.quiet;
  }
  context.fillStyle = colours.one;
  bars.forEach((part, i) => {
    context.fillRect(left + i * step + 1, y(part), Math.max(1, step - 2), bottom - y(part));
  });
  context.strokeStyle = colours.text;
  context.lineWidth = 1.5;
  context.beginPath();
  outline.forEach((part, i) => {
    context.lineTo(left + i * step, y(part));
    context.lineTo(left + (i + 1) * step, y(part));
  });
  context.stroke();
  context.fillStyle = colours.quiet;
  context.textAlign = 'center';
  // Bucket e of a sign begins at 2^(e − 7); the first holds 0 and the subnormals.
  for (const e of width < 500 ? [7, 11] : [3, 7, 11, 15]) {
    const label = e === 15 ? '448' : `${2 ** (e - 6)}`;
    context.fillText(label, left + (16 + e + 1) * step - (e === 15 ? 10 : 0), bottom + 14);
    context.fillText(`−${label}`, left + (15 - e) * step + (e === 15 ? 12 : 0), bottom + 14);
  }
  context.fillText('0', left + 16 * step, bottom + 14);
  context.fillText(
    `bars: round ${last.round} (${bytes(last.payloadBytes)}, s = ${String(last.exponent).replace('-', '−')}) · line: last ${recent.length} rounds`,
    left + 16 * step,
    bottom + 30,
  );
  const abstained = last.buckets[32] ?? 0;
  canvas.setAttribute(
    'aria-label',
    `Gradient bytes of round ${last.round}: ${whole(last.payloadBytes)}, ${whole(last.clipped)} clipped, ${whole(abstained)} abstained; root mean square ${last.rms.toPrecision(3)}`,
  );
}

/** One column per round: its length, when half and the slowest had answered, whom it did not wait for. @param {HTMLCanvasElement} canvas @param {PageState} state @param {Colours} colours */
export function drawTimeline(canvas, { recent }, colours) {
  const { context, width, height } = prepare(canvas, colours);
  const timed = recent.filter(({ ms }) => ms !== undefined);
  if (timed.length === 0) {
    const text = 'No times are known of these rounds.';
    context.fillText(text, 8, 20);
    canvas.setAttribute('aria-label', text);
    return;
  }
  const durations = timed.map(({ ms }) => ms ?? 0);
  const median = [...durations].sort((a, b) => a - b)[durations.length >> 1] ?? 0;
  // One long wait must not flatten all other rounds: it is cut, and marked.
  const longest = Math.max(1, Math.min(Math.max(...durations), 6 * median));
  const [left, bottom, top] = [52, height - 20, 16];
  const step = Math.min(24, (width - left - 4) / timed.length);
  const y = (/** @type {number} */ ms) => bottom - ((bottom - top) * Math.min(ms, longest)) / longest;
  context.textAlign = 'right';
  for (const ms of [0, longest / 2, longest]) {
    context.fillStyle = colours.quiet;
    context.fillText(duration(ms), left - 5, y(ms) + 4);
    context.fillStyle = colours.line;
    context.fillRect(left, y(ms), width - left, 1);
  }
  timed.forEach((line, i) => {
    const x = left + i * step;
    const ms = line.ms ?? 0;
    context.fillStyle = line.missed > 0 ? colours.warn : colours.one;
    context.fillRect(x + 1, y(ms), Math.max(1, step - 2), bottom - y(ms));
    if (ms > longest) {
      context.fillStyle = colours.card;
      context.fillRect(x, top + 6, step, 3);
    }
    if (line.answerMs !== undefined && line.answerMs <= longest) {
      context.fillStyle = colours.text;
      context.fillRect(x, y(line.answerMs) - 1, Math.max(2, step), 2);
    }
  });
  context.fillStyle = colours.quiet;
  context.textAlign = 'left';
  context.fillText(`round ${timed[0]?.round}`, left, bottom + 15);
  context.textAlign = 'right';
  const end = left + step * timed.length;
  if (end - left > 150) context.fillText(`${timed.at(-1)?.round}`, end, bottom + 15);
  const last = timed.at(-1);
  const missed = timed.reduce((sum, line) => sum + line.missed, 0);
  canvas.setAttribute(
    'aria-label',
    `The last ${timed.length} rounds: longest ${duration(Math.max(...durations))}, last ${duration(last?.ms)}; ${missed} answers were not waited for`,
  );
}
