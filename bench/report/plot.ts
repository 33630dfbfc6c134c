/** A plot as SVG text: lines through points, linear or logarithmic axes, a legend. Colours are those of the page around it. */
import { short } from './format.ts';

export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

interface Axis {
  readonly label: string;
  readonly logarithmic?: boolean;
}

const [WIDTH, HEIGHT] = [640, 320];
const MARGIN = { left: 70, right: 150, top: 30, bottom: 45 };
const COLOURS = ['#0060a8', '#c04000', '#208040', '#8030a0', '#a07000', '#008080', '#606060'];
const TICKS = 5;

export const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

export function svg({ title, x, y, lines }: Plot): string {
  const points = lines.flatMap((line) => line.points);
  const across = scale(
    x,
    points.map(([value]) => value),
    MARGIN.left,
    WIDTH - MARGIN.right,
  );
  const up = scale(
    y,
    points.map(([, value]) => value),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  );
  const text = (at: string, content: string, more = ''): string => `<text ${at} ${more}>${escapeXml(content)}</text>`;
  const xTicks = across.ticks.map((value) => {
    const at = across.place(value).toFixed(1);
    return text(`x="${at}" y="${HEIGHT - MARGIN.bottom + 16}"`, short(value), 'text-anchor="middle"');
  });
  const yTicks = up.ticks.map((value) => {
    const at = up.place(value).toFixed(1);
    const grid = `<path d="M${MARGIN.left} ${at}H${WIDTH - MARGIN.right}" stroke="#ccc"/>`;
    return `${grid}${text(`x="${MARGIN.left - 8}" y="${at}"`, short(value), 'text-anchor="end" dominant-baseline="middle"')}`;
  });
  const drawn = lines.map(({ name, points: own }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = own.map(([a, b]) => `${across.place(a).toFixed(1)} ${up.place(b).toFixed(1)}`).join('L');
    const legend = text(`x="${WIDTH - MARGIN.right + 10}" y="${MARGIN.top + 16 * i}"`, name, `fill="${colour}"`);
    return own.length === 0 ? legend : `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>${legend}`;
  });
  const labels = [
    text(`x="${MARGIN.left}" y="16"`, title, 'font-weight="bold"'),
    text(`x="${(WIDTH - MARGIN.right + MARGIN.left) / 2}" y="${HEIGHT - 8}"`, x.label, 'text-anchor="middle"'),
    text(`transform="translate(14 ${HEIGHT / 2}) rotate(-90)"`, y.label, 'text-anchor="middle"'),
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(title)}">${[...labels, ...xTicks, ...yTicks, ...drawn].join('')}</svg>`;
}

/** Maps the range of `values` to that from `begin` to `end`. */
function scale({ logarithmic = false }: Axis, values: readonly number[], begin: number, end: number) {
  const bend = logarithmic ? Math.log10 : (value: number): number => value;
  const unbend = (value: number): number => (logarithmic ? 10 ** value : value);
  const bent = values.filter((value) => Number.isFinite(bend(value))).map(bend);
  const [low, high] = bent.length === 0 ? [0, 1] : [Math.min(...bent), Math.max(...bent)];
  const span = high - low || 1;
  return {
    place: (value: number): number => begin + ((bend(value) - low) / span) * (end - begin),
    ticks: Array.from({ length: TICKS }, (_, i) => unbend(low + (i / (TICKS - 1)) * span)),
  };
}
