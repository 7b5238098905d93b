/**
 * Positions in text as the wire counts them: Unicode code points.
 *
 * JavaScript counts UTF-16 units, in which a character outside the basic plane takes two.
 * Nothing else in the client may measure or cut answer text.
 */

function isPairAt(text: string, unit: number): boolean {
  const high = text.charCodeAt(unit);
  if (high < 0xd800 || high > 0xdbff) return false;
  const low = text.charCodeAt(unit + 1);
  return low >= 0xdc00 && low <= 0xdfff;
}

export function lengthInCodePoints(text: string): number {
  let length = 0;
  for (let unit = 0; unit < text.length; unit += isPairAt(text, unit) ? 2 : 1) length += 1;
  return length;
}

/** The UTF-16 index at which code point number `offset` starts; the text's end if it is shorter. */
function unitAt(text: string, offset: number): number {
  let unit = 0;
  for (let seen = 0; seen < offset && unit < text.length; seen += 1) {
    unit += isPairAt(text, unit) ? 2 : 1;
  }
  return unit;
}

export function firstCodePoints(text: string, count: number): string {
  return text.slice(0, unitAt(text, count));
}

export function afterCodePoints(text: string, count: number): string {
  return text.slice(unitAt(text, count));
}

/** Bytes of `text` in UTF-8, which is what the size limit of a frame counts. */
export function lengthInUtf8Bytes(text: string): number {
  let length_bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    length_bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return length_bytes;
}
