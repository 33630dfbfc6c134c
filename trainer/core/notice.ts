/** What the trainer tells workers beside welcomes and records. */
import type { Notice_Kind, TrainerMessage } from '../../proto/gen/onebyte.ts';
import type { Effect, StreamId } from './state.ts';

export const notice = (kind: Notice_Kind, text: string): TrainerMessage => ({
  message: { $case: 'notice', value: { kind, text } },
});

/** A notice to one stream. */
export const tell = (stream: StreamId, kind: Notice_Kind, text: string): Effect => ({
  kind: 'send',
  stream,
  message: notice(kind, text),
});
