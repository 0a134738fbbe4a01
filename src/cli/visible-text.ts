/**
 * Nothing that comes from the service may steer a terminal: names and messages are other people's text. What would move the
 * cursor, colour, ring or turn the direction of writing is shown as an escape instead.
 */

/** C0 and C1 controls, DEL, line and paragraph separators, and the characters that change the direction of text. */
const steering = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
/** The line ends are those of its indentation: inside of texts JSON has none. */
const steeringInJson = /[[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]--[\n]]/gv;

/** One line of text for people. */
export function visibleText(text: string): string {
  return text.toWellFormed().replace(steering, escaped);
}

/** JSON text: JSON escapes C0 by itself; the others become escapes too, so its value stays the same. */
export function visibleJson(json: string): string {
  return json.replace(steeringInJson, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;

/** Columns that the text takes on a terminal, nearly: what is wide there counts twice, what combines not at all. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += /\p{M}/u.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}

/** At most so many columns; `…` shows that something is missing. */
export function clipped(text: string, columnsMax: number): string {
  if (columnsOf(text) <= columnsMax) return text;
  let kept = "";
  for (const character of text) {
    if (columnsOf(kept + character) > columnsMax - 1) break;
    kept += character;
  }
  return `${kept}…`;
}
