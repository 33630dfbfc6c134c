/** Text that a peer sent, as it may stand in a log, a metric, a page and a person's terminal. */

/** At most `length` characters of `text`, on one line: what a terminal would act on, not show, becomes U+FFFD. */
export const peerText = (text: string, length: number): string =>
  text.slice(0, length).replace(/\p{C}|\p{Zl}|\p{Zp}/gu, '\ufffd');
