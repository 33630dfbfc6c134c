/** Writes what tokenizer_ids.py encodes: the lines and the tokenizers of test/support, as one JSON object. */
import { nastyLines } from '../../support/nasty-text.ts';
import { tokenizerKinds } from '../../support/tokenizer-kinds.ts';

const lines = nastyLines('tokenizer', 2000).map((line) => line.replace(/\p{Surrogate}/gu, '\ufffd'));
process.stdout.write(JSON.stringify({ lines, tokenizers: tokenizerKinds() }));
