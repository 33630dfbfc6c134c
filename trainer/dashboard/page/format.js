/** Numbers, times and colours as a person reads them. */

/** 1234567 → "1.23 MB". @param {number} n @returns {string} */
export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return unit === 0 ? `${Math.round(n)} B` : `${n.toPrecision(3)} ${units[unit]}`;
}

/** @param {number | undefined} ms @returns {string} */
export function duration(ms) {
  if (ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} days ${Math.floor((s % 86_400) / 3600)} h`;
}

/** @param {number | undefined} x a part of 1 @returns {string} */
export const percent = (x) => (x === undefined ? '–' : `${(100 * x).toFixed(1)} %`);

/** @param {number} n @returns {string} */
export const whole = (n) => Math.round(n).toLocaleString('en');

/** @param {number | undefined} x @returns {string} */
export const nats = (x) => (x === undefined ? '–' : x.toFixed(Math.abs(x) < 10 ? 3 : 1));

const CLOCK = new Intl.DateTimeFormat('en', {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** The day and the time of it: a run may take weeks. @param {number} at ms since 1970 @returns {string} */
export const clock = (at) => (at === 0 ? '' : CLOCK.format(at));

/**
 * False where all that is known comes from the round log: nobody noted bytes on sockets, or who was late.
 * @param {{ readonly wireUp: number }} totals
 */
export const wasSeen = ({ wireUp }) => wireUp > 0;

/** @typedef {'text' | 'quiet' | 'line' | 'card' | 'one' | 'two' | 'three' | 'good' | 'warn' | 'bad'} ColourName */

/** The page's colours as they are in the theme of the moment. @returns {Record<ColourName, string>} */
export function readColours() {
  const probe = document.body.appendChild(document.createElement('span'));
  /** @type {ColourName[]} */
  const names = ['text', 'quiet', 'line', 'card', 'one', 'two', 'three', 'good', 'warn', 'bad'];
  const colours = /** @type {Record<ColourName, string>} */ ({});
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * A new element with text or children. Text is never read as HTML.
 * @param {string} tag @param {string | undefined} className @param {...(string | Node)} content @returns {HTMLElement}
 */
export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}
