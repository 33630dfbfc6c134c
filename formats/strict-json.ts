/** JSON from a stranger: what JSON.parse accepts, less duplicate keys, `__proto__` and deep nesting. Knows nothing of what the value means. */

/**
 * Parses `text`.
 * JSON.parse keeps the last of two equal keys and says nothing, so a scan over the text, which need not be valid JSON yet,
 * finds them first; JSON.parse then decides about the syntax.
 * @param maxDepth containers inside each other, the outermost counted
 * @throws SyntaxError that names the key or the depth
 */
export function parseStrictJson(text: string, maxDepth: number): unknown {
  scanKeys(text, maxDepth);
  return JSON.parse(text);
}

function scanKeys(text: string, maxDepth: number): void {
  /** The keys seen in each open container; undefined in an array. */
  const open: (Set<string> | undefined)[] = [];
  let keyFollows = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = stringEnd(text, at);
        if (keyFollows) addKey(open.at(-1), text.slice(at, end));
        keyFollows = false;
        at = end - 1;
        break;
      }
      case '{':
      case '[':
        if (open.length === maxDepth) throw new SyntaxError(`nesting deeper than ${maxDepth} at character ${at}`);
        keyFollows = text[at] === '{';
        open.push(keyFollows ? new Set() : undefined);
        break;
      case '}':
      case ']':
        open.pop();
        keyFollows = false;
        break;
      case ',':
        keyFollows = open.at(-1) !== undefined;
        break;
    }
  }
}

/** Just past the closing quote of the string whose opening quote is at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  throw new SyntaxError(`a string that begins at character ${start} does not end`);
}

function addKey(keys: Set<string> | undefined, quoted: string): void {
  const key = quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
  if (key === '__proto__') throw new SyntaxError('the key "__proto__" is not allowed');
  if (keys?.has(key)) throw new SyntaxError(`the key ${JSON.stringify(key.slice(0, 200))} occurs twice`);
  keys?.add(key);
}
