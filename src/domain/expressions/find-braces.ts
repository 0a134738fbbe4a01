/**
 * Where `{{ … }}` stand in a text. The end is looked for outside of string literals and brackets, so that
 * `{{'}}'}}` and `{{ {'a': {'b': 1}} }}` are read as their authors mean them.
 */

import { endOfStringLiteral } from "./string-literal.ts";
import { SyntaxProblem } from "./syntax-problem.ts";

/** Literal text, or an expression whose source begins at `at`. */
export type Piece = { readonly kind: "text"; readonly text: string } | { readonly kind: "source"; readonly source: string; readonly at: number };

/** The pieces in order, without empty texts. Throws SyntaxProblem for `{{` that is never closed. */
export function findBraces(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (let open = text.indexOf("{{"); open >= 0; open = text.indexOf("{{", from)) {
    if (open > from) pieces.push({ kind: "text", text: text.slice(from, open) });
    const close = findClose(text, open + 2);
    if (close === undefined) throw new SyntaxProblem("`{{` is never closed with `}}` (write {{'{{'}} for the braces themselves)", open);
    pieces.push({ kind: "source", source: text.slice(open + 2, close), at: open + 2 });
    from = close + 2;
  }
  if (from < text.length) pieces.push({ kind: "text", text: text.slice(from) });
  return pieces;
}

function findClose(text: string, from: number): number | undefined {
  let braces = 0;
  for (let position = from; position < text.length; position++) {
    const character = text[position] as string;
    if (character === "'" || character === '"') {
      const literal = endOfStringLiteral(text, literalStart(text, position, from));
      if (!literal) throw new SyntaxProblem("the text is never closed with a quote", position);
      position = literal.end - 1;
    } else if (character === "{") {
      braces++;
    } else if (character === "}") {
      if (braces === 0 && text[position + 1] === "}") return position;
      braces = Math.max(0, braces - 1);
    }
  }
  return undefined;
}

/** A literal may begin with `r` and `b`, unless they are the end of a name. */
function literalStart(text: string, quoteAt: number, from: number): number {
  let start = quoteAt;
  while (start > from && quoteAt - start < 2 && /[rRbB]/.test(text[start - 1] as string)) start--;
  return start > from && /[A-Za-z0-9_]/.test(text[start - 1] as string) ? quoteAt : start;
}
