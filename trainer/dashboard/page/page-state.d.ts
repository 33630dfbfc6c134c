/** What page.js keeps of the updates: the last of each part, and all columns. */

import type { WorkerRow } from '../../metrics/line.ts';
import type { PageUpdate } from '../page-update.ts';

export interface PageState extends Omit<PageUpdate, 'workers' | 'from' | 'evaluationsFrom'> {
  readonly workers: readonly WorkerRow[];
}
