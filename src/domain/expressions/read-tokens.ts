/** Text → tokens of CEL. Keywords are ordinary names here; the parser knows where they are not allowed. */

import { readStringLiteral } from "./string-literal.ts";
import { SyntaxProblem } from "./syntax-problem.ts";
import { Uint, type Value } from "./value.ts";

export type Token =
  | { readonly kind: "name"; readonly at: number; readonly text: string }
  /** A field in backticks: `` a.`content-type` ``. */
  | { readonly kind: "quotedName"; readonly at: number; readonly text: string }
  | { readonly kind: "literal"; readonly at: number; readonly value: Value }
  /** An int literal keeps its digits apart: only with a minus before it may it be -2^63. */
  | { readonly kind: "int"; readonly at: number; readonly digits: bigint }
  | { readonly kind: "sign"; readonly at: number; readonly text: string }
  | { readonly kind: "end"; readonly at: number };

const spacePattern = /(?:[ \t\r\n\f]+|\/\/[^\r\n]*)+/y;
const stringPattern = /(?:[rR][bB]?|[bB][rR]?)?(?:"|')/y;
const namePattern = /[A-Za-z_][A-Za-z0-9_]*/y;
const numberPattern = /0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|\d+[uU]?/y;
const signPattern = /&&|\|\||[=!<>]=|\.\?|\[\?|[-+*/%!<>?:.,()[\]{}]/y;
const quotedNamePattern = /`([A-Za-z0-9_.\-/ ]+)`/y;

export function readTokens(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source) ?? undefined;
  };
  for (;;) {
    at += match(spacePattern)?.[0].length ?? 0;
    if (at >= source.length) break;
    if (match(stringPattern)) {
      const literal = readStringLiteral(source, at);
      tokens.push({ kind: "literal", at, value: literal.value });
      at = literal.end;
      continue;
    }
    const name = match(namePattern);
    if (name) {
      tokens.push({ kind: "name", at, text: name[0] });
      at += name[0].length;
      continue;
    }
    const number = match(numberPattern);
    if (number) {
      const token = numberToken(number[0], at);
      tokens.push(token);
      at += number[0].length;
      if (match(namePattern)) throw new SyntaxProblem(`a number may not run into ${JSON.stringify(source.slice(at, at + 12))}`, at);
      continue;
    }
    const quotedName = match(quotedNamePattern);
    if (quotedName) {
      tokens.push({ kind: "quotedName", at, text: quotedName[1] as string });
      at += quotedName[0].length;
      continue;
    }
    const sign = match(signPattern);
    if (!sign) throw new SyntaxProblem(unexpectedCharacter(source, at), at);
    tokens.push({ kind: "sign", at, text: sign[0] });
    at += sign[0].length;
  }
  tokens.push({ kind: "end", at: source.length });
  return tokens;
}

function numberToken(text: string, at: number): Token {
  if (/[uU]$/.test(text)) {
    const value = BigInt(text.slice(0, -1));
    if (value >= 1n << 64n) throw new SyntaxProblem("the number is too large for uint (64 bits)", at);
    return { kind: "literal", at, value: new Uint(value) };
  }
  if (/^0[xX]/.test(text) || /^\d+$/.test(text)) {
    const digits = BigInt(text);
    if (digits > 1n << 63n) throw new SyntaxProblem("the number is too large for int (64 bits)", at);
    return { kind: "int", at, digits };
  }
  const value = Number(text);
  if (!Number.isFinite(value)) throw new SyntaxProblem("the number is too large for double", at);
  return { kind: "literal", at, value };
}

function unexpectedCharacter(source: string, at: number): string {
  const character = String.fromCodePoint(source.codePointAt(at) as number);
  switch (character) {
    case "=":
      return "`=` is not an operator; compare with `==`";
    case "&":
      return "`&` is not an operator; use `&&`";
    case "|":
      return "`|` is not an operator; use `||`, or call the function: `x.f()`";
    case "`":
      return "a name in backticks may hold letters, digits, `_ . - /` and spaces, and must be closed";
    default:
      return `${JSON.stringify(character)} does not belong into an expression`;
  }
}
