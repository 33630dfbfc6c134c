/** Short forms of messages the trainer sends. */
import type { Notice_Kind, TrainerMessage } from '../../proto/gen/onebyte.ts';

export const notice = (kind: Notice_Kind, text: string): TrainerMessage => ({
  message: { $case: 'notice', value: { kind, text } },
});
