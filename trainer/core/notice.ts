/** What the trainer tells workers beside welcomes and records, and with what it refuses them. */
import type { Notice_Kind, TrainerMessage } from '../../proto/gen/onebyte.ts';
import type { Effect, Refusal, StreamId } from './state.ts';

export const notice = (kind: Notice_Kind, text: string): TrainerMessage => ({
  message: { $case: 'notice', value: { kind, text } },
});

/** A notice to one stream. */
export const tell = (stream: StreamId, kind: Notice_Kind, text: string): Effect => ({
  kind: 'send',
  stream,
  message: notice(kind, text),
});

/** The stream ends with these words. */
export const refuse = (stream: StreamId, refusal: Refusal, text: string): Effect[] => [
  { kind: 'refuse', stream, refusal, text },
];
