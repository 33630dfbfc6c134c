/** A plot as SVG text: lines through points, linear or logarithmic axes, a legend. On white, whatever is around it. */
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
/** Between ticks of a linear axis, at most one more. */
const INTERVALS = 5;

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
  const attributes = `xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui,sans-serif" font-size="12"`;
  return `<svg ${attributes} role="img" aria-label="${escapeXml(title)}"><rect width="100%" height="100%" fill="#fff"/>${[...labels, ...xTicks, ...yTicks, ...drawn].join('')}</svg>`;
}

/** Maps values to places from `begin` to `end`; the axis begins and ends at ticks: powers of ten, or multiples of a round step. */
function scale({ logarithmic = false }: Axis, values: readonly number[], begin: number, end: number) {
  const bend = logarithmic ? Math.log10 : (value: number): number => value;
  const bent = values.map(bend).filter(Number.isFinite);
  const [low, high] = bent.length === 0 ? [0, 1] : [Math.min(...bent), Math.max(...bent)];
  const step = logarithmic ? 1 : roundStep((high - low || 1) / INTERVALS);
  const [first, last] = [Math.floor(low / step), Math.max(Math.ceil(high / step), Math.floor(low / step) + 1)];
  return {
    place: (value: number): number => begin + ((bend(value) / step - first) / (last - first)) * (end - begin),
    ticks: Array.from({ length: last - first + 1 }, (_, i) => (logarithmic ? 10 ** (first + i) : (first + i) * step)),
  };
}

/** The smallest of 1, 2, 5 and their decimal multiples that is not below `least`. */
function roundStep(least: number): number {
  const decade = 10 ** Math.floor(Math.log10(least));
  return decade * [1, 2, 5, 10].find((factor) => factor * decade >= least)!;
}
