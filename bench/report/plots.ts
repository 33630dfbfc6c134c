/** The plots of the report, from results alone. */
import { TABLES } from '../learning-tables.ts';
import type { Plot } from './plot.ts';
import { leakagePlot } from './privacy-tables.ts';
import type { Results } from './results.ts';

/** By the table that they stand under. */
export function allPlots(results: Results): ReadonlyMap<string, Plot> {
  const { learning, quality, bandwidth } = results;
  const plots = new Map<string, Plot>();
  if (quality)
    plots.set('quality', {
      title: 'Dev accuracy',
      x: { label: 'minutes' },
      y: { label: 'accuracy, %' },
      lines: quality.rows.map(({ estimator, seed, curve }) => ({
        name: `${estimator}, seed ${seed}`,
        points: curve.flatMap(({ minutes, accuracy }) =>
          accuracy === undefined ? [] : [[minutes, 100 * accuracy] as const],
        ),
      })),
    });
  if (bandwidth) plots.set('rounds', roundsPlot(bandwidth));
  const leakage = leakagePlot(results);
  if (leakage) plots.set('leakage-which', leakage);
  for (const table of TABLES) {
    const rows = learning.get(table)?.rows.filter((row) => row.table === table) ?? [];
    if (rows.length > 0)
      plots.set(`learning-${table}`, {
        title: `${table}: dev accuracy, mean of the seeds`,
        x: { label: 'directions' },
        y: { label: 'accuracy, %' },
        lines: rows.map(({ choice, curve, gradients }) => ({
          name: choice,
          points: curve.map(({ round, accuracy }) => [round * gradients, 100 * accuracy] as const),
        })),
      });
  }
  return plots;
}

/** Over the rate, at the round trip and number of workers that most cells have. */
function roundsPlot({ rows, averaging }: NonNullable<Results['bandwidth']>): Plot {
  const cells = rows.filter(
    ({ rate, roundTripMs, workers, directions, tls, maxStaleness }) =>
      rate !== undefined && roundTripMs === 50 && workers === 4 && directions === 8 && !tls && maxStaleness === 0,
  );
  const byRate = (points: [number, number][]): [number, number][] => points.sort(([a], [b]) => a - b);
  const steps = averaging.filter(({ roundTripMs, workers }) => roundTripMs === 50 && workers === 4);
  return {
    title: 'A round, and a step that averages float32 gradients; round trip 50 ms',
    x: { label: 'line, bit/s', logarithmic: true },
    y: { label: 'seconds', logarithmic: true },
    lines: [
      { name: 'round', points: byRate(cells.map(({ rate, roundMs }) => [rate!, roundMs / 1000])) },
      {
        name: 'round, expected',
        points: byRate(cells.map(({ rate, expectedRoundMs = Number.NaN }) => [rate!, expectedRoundMs / 1000])),
      },
      { name: 'float32 step', points: byRate(steps.map(({ rate, grpcSeconds }) => [rate, grpcSeconds])) },
    ],
  };
}
