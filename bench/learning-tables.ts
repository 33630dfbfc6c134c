/** The tables of `onebyte bench learning`. */
export const TABLES = [
  'codecs',
  'workers',
  'directions',
  'estimator',
  'train',
  'rank',
  'stripes',
  'staleness',
  'cap',
] as const;
export type TableName = (typeof TABLES)[number];
