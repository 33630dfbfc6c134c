/** The join token: a secret that every call to a trainer must carry. It is never logged and never part of a message. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { usageError } from './operating-error.ts';

/** The gRPC metadata key under which it travels. */
export const JOIN_TOKEN_KEY = 'onebyte-join-token';

/** Characters; at least 16 so that guessing over the network is hopeless. */
const TOKEN = /^[\x21-\x7e]{16,1024}$/;

/**
 * The token in `text`, less white space around it.
 * @param from names where the text is from; the text itself is a secret and stays out of the message
 * @throws OperatingError (usage)
 */
export function parseJoinToken(text: string, from: string): string {
  const token = text.trim();
  if (!TOKEN.test(token))
    throw usageError(
      `${from}: ${token.length} characters that are no join token; expected 16…1024 visible ASCII characters`,
    );
  return token;
}

/** Compares in a time that says nothing about where, or at which length, two tokens differ. */
export const sameToken = (a: string, b: string): boolean => timingSafeEqual(sha256(a), sha256(b));

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
