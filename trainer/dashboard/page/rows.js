/** Elements and table rows that are kept and changed in place, so that focus and selection stay. */
import { byId, make } from './format.js';

/** @param {HTMLElement} parent @param {string} tag @param {number} count @returns {HTMLElement[]} */
export function exactly(parent, tag, count) {
  while (parent.children.length > count) parent.lastElementChild?.remove();
  while (parent.children.length < count) parent.append(document.createElement(tag));
  return /** @type {HTMLElement[]} */ ([...parent.children]);
}

/** Sets text only where it differs. @param {HTMLElement} element @param {string} text @param {string} [className] */
export function set(element, text, className) {
  if (element.textContent !== text) element.textContent = text;
  if (className !== undefined && element.className !== className) element.className = className;
}

/** @typedef {{ text: string, className?: string }} Cell */

/** @param {string} id @param {readonly (readonly Cell[])[]} rows @param {(row: number) => string} [rowClass] */
export function fillBody(id, rows, rowClass) {
  const table = byId(id);
  const body = /** @type {HTMLElement} */ (table.querySelector('tbody') ?? table.appendChild(make('tbody', undefined)));
  exactly(body, 'tr', rows.length).forEach((tr, i) => {
    const cells = rows[i] ?? [];
    if (rowClass) tr.className = rowClass(i);
    exactly(tr, 'td', cells.length).forEach((td, k) => {
      set(td, cells[k]?.text ?? '', cells[k]?.className ?? '');
    });
  });
}

/** @param {string} id @param {readonly string[]} titles */
export function fillHead(id, titles) {
  const table = byId(id);
  if (table.querySelector('thead')) return;
  const row = make('tr', undefined);
  for (const title of titles) {
    const th = make('th', undefined, title);
    th.setAttribute('scope', 'col');
    row.append(th);
  }
  table.append(make('thead', undefined, row));
}
