/** String and bytes literals of CEL: one or three quotes, escapes, `r` for raw and `b` for bytes. */
import { SyntaxProblem } from "./syntax-problem.ts";

const shortEscapes = new Map([
  ["a", 7],
  ["b", 8],
  ["f", 12],
  ["n", 10],
  ["r", 13],
  ["t", 9],
  ["v", 11],
  ["\\", 92],
  ["'", 39],
  ['"', 34],
  ["`", 96],
  ["?", 63],
]);
const escapePattern = /\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|([abfnrtv\\'"`?]))/y;
const plainPattern = /[^\\]+/y;

/**
 * Where the literal that begins at `at` ends (after its closing quotes), or undefined when nothing closes it. Also used
 * to find the end of `{{ … }}`, which must not be looked for inside a literal.
 */
export function endOfStringLiteral(source: string, at: number): { readonly bodyAt: number; readonly bodyEnd: number; readonly end: number } | undefined {
  const prefix = (/^[rRbB]{0,2}/.exec(source.slice(at, at + 2)) as RegExpExecArray)[0];
  const raw = /[rR]/.test(prefix);
  const quote = source[at + prefix.length] as string;
  const triple = source.startsWith(quote.repeat(3), at + prefix.length);
  const closing = triple ? quote.repeat(3) : quote;
  const bodyAt = at + prefix.length + closing.length;
  for (let position = bodyAt; position < source.length; position++) {
    const character = source[position];
    if (character === "\\" && !raw) position++;
    else if (!triple && (character === "\n" || character === "\r")) return undefined;
    else if (character === quote && source.startsWith(closing, position)) return { bodyAt, bodyEnd: position, end: position + closing.length };
  }
  return undefined;
}

export function readStringLiteral(source: string, at: number): { readonly value: string | Uint8Array; readonly end: number } {
  const range = endOfStringLiteral(source, at);
  if (!range) throw new SyntaxProblem("the text is never closed with a quote", at);
  const prefix = source.slice(at, range.bodyAt);
  const body = source.slice(range.bodyAt, range.bodyEnd);
  const raw = /[rR]/.test(prefix);
  const bytes = /[bB]/.test(prefix);
  if (!body.isWellFormed()) throw new SyntaxProblem("the text holds half of a surrogate pair", at);
  if (raw || !body.includes("\\")) return { value: bytes ? Buffer.from(body, "utf8") : body, end: range.end };
  return { value: bytes ? unescapeBytes(body, range.bodyAt) : unescapeText(body, range.bodyAt), end: range.end };
}

function unescapeText(body: string, bodyAt: number): string {
  let text = "";
  forEachPiece(body, bodyAt, (plain, code, position) => {
    if (code !== undefined && ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff)) {
      throw new SyntaxProblem("the escape does not name a character", position);
    }
    text += code === undefined ? plain : String.fromCodePoint(code);
  });
  return text;
}

function unescapeBytes(body: string, bodyAt: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  forEachPiece(body, bodyAt, (plain, code, position, wide) => {
    if (wide) throw new SyntaxProblem("bytes take \\x and octal escapes only", position);
    pieces.push(code === undefined ? Buffer.from(plain, "utf8") : Uint8Array.of(code));
  });
  return Buffer.concat(pieces);
}

type OnPiece = (plain: string, code: number | undefined, position: number, wide: boolean) => void;

function forEachPiece(body: string, bodyAt: number, onPiece: OnPiece): void {
  for (let position = 0; position < body.length; ) {
    plainPattern.lastIndex = position;
    const plain = plainPattern.exec(body)?.[0];
    if (plain !== undefined) {
      onPiece(plain, undefined, bodyAt + position, false);
      position += plain.length;
      continue;
    }
    escapePattern.lastIndex = position;
    const match = escapePattern.exec(body);
    if (!match) throw new SyntaxProblem("`\\` must begin an escape such as `\\n`, `\\\\` or `\\u00e9`; patterns are easier as r'…'", bodyAt + position);
    const [whole, byte, four, eight, octal, short] = match;
    const hex = byte ?? four ?? eight;
    const code = hex !== undefined ? Number.parseInt(hex, 16) : octal !== undefined ? Number.parseInt(octal, 8) : shortEscapes.get(short as string);
    onPiece("", code, bodyAt + position, four !== undefined || eight !== undefined);
    position += whole.length;
  }
}
