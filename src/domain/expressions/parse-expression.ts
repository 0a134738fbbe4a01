/**
 * CEL text → tree.
 *
 * Why not the parser and planner of @bufbuild/cel (0.6.1): they know neither `a.?b` nor a limit. Three nested maps over
 * 200 items run for seconds and cannot be stopped, an error in `1 +` is reported at the `+` as "expecting end of
 * input", 4,000 spaces cost 150 ms, and every JSON value has to be copied into its maps first. What must be ours for
 * the limits (the walk) is the larger half, so the grammar is ours too. That both agree is tested: the conformance
 * suite of the language runs against this folder, and that library serves as oracle in a property test.
 *
 * Grammar, loosest first: `c ? a : b` · `||` · `&&` · `== != < <= > >= in` · `+ -` · `* / %` · `! -` · `.f .?f [i] [?i] (…)`.
 */
import { limits } from "../../base/limits.ts";
import { expandMacro } from "./expand-macro.ts";
import { readTokens, type Token } from "./read-tokens.ts";
import type { BinaryOperator, ListItem, MapEntry, Node } from "./syntax.ts";
import { SyntaxProblem } from "./syntax-problem.ts";

/** Words that name nothing in the language. */
export const reservedWords: ReadonlySet<string> = new Set([
  "as",
  "break",
  "const",
  "continue",
  "else",
  "for",
  "function",
  "if",
  "import",
  "in",
  "let",
  "loop",
  "package",
  "namespace",
  "return",
  "var",
  "void",
  "while",
]);
const relations = new Set(["==", "!=", "<", "<=", ">", ">=", "in"]);
const sums = new Set(["+", "-"]);
const products = new Set(["*", "/", "%"]);

/** The tree of `source`; throws SyntaxProblem. */
export function parseExpression(source: string): Node {
  if (source.length > limits.expressionCharactersMax) {
    throw new SyntaxProblem(`is ${source.length} characters long; at most ${limits.expressionCharactersMax} are allowed`, 0, "LIMIT_EXCEEDED");
  }
  const reader = new Reader(readTokens(source));
  const node = reader.expression();
  reader.expectEnd();
  return node;
}

/** Lives for one parse: the tokens and how far they are read. */
class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = -1;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  expression(): Node {
    this.#depth++;
    if (this.#depth > limits.expressionDepthMax) throw this.#tooDeep();
    const test = this.#logic("||");
    const at = this.#peek().at;
    let node = test;
    if (this.#take("?")) {
      const then = this.expression();
      this.#expect(":", "between the two values of `c ? a : b`");
      node = { kind: "conditional", at, test, then, otherwise: this.expression() };
    }
    this.#depth--;
    return node;
  }

  expectEnd(): void {
    const token = this.#peek();
    if (token.kind === "end") return;
    if (isSign(token, "{")) throw new SyntaxProblem("messages cannot be built; write a map: {'key': value}", token.at);
    throw new SyntaxProblem(`${describe(token)} cannot follow here; an operator is missing, or a bracket is not closed`, token.at);
  }

  #logic(operator: "&&" | "||"): Node {
    const at = this.#peek().at;
    const operand = () => (operator === "||" ? this.#logic("&&") : this.#relation());
    const terms = [operand()];
    while (this.#take(operator)) terms.push(operand());
    return terms.length === 1 ? (terms[0] as Node) : { kind: "logic", at, operator, terms };
  }

  #relation(): Node {
    return this.#binary(relations, () => this.#binary(sums, () => this.#binary(products, () => this.#unary())));
  }

  #binary(operators: ReadonlySet<string>, operand: () => Node): Node {
    let left = operand();
    for (;;) {
      const token = this.#peek();
      if ((token.kind !== "sign" && token.kind !== "name") || !operators.has(token.text)) return left;
      this.#next++;
      left = { kind: "binary", at: token.at, operator: token.text as BinaryOperator, left, right: operand() };
    }
  }

  #unary(): Node {
    const signs: Token[] = [];
    while (isSign(this.#peek(), "!") || isSign(this.#peek(), "-")) signs.push(this.#tokens[this.#next++] as Token);
    if (signs.length > limits.expressionDepthMax) throw this.#tooDeep();
    const number = this.#peek();
    const last = signs.at(-1);
    let node: Node;
    if (last && isSign(last, "-") && (number.kind === "int" || (number.kind === "literal" && typeof number.value === "number"))) {
      signs.pop();
      this.#next++;
      node = { kind: "literal", at: last.at, value: number.kind === "int" ? -number.digits : -(number.value as number) };
    } else {
      node = this.#member();
    }
    for (const sign of signs.reverse()) node = { kind: "unary", at: sign.at, operator: isSign(sign, "!") ? "!" : "-", operand: node };
    return node;
  }

  #member(): Node {
    let node = this.#primary();
    for (;;) {
      const token = this.#peek();
      if (token.kind !== "sign") return node;
      if (token.text === "." || token.text === ".?") {
        this.#next++;
        node = this.#afterDot(node, token.text === ".?");
      } else if (token.text === "[" || token.text === "[?") {
        this.#next++;
        const index = this.expression();
        this.#expect("]", "after the index");
        node = { kind: "index", at: token.at, operand: node, index, optional: token.text === "[?" };
      } else {
        return node;
      }
    }
  }

  #afterDot(operand: Node, optional: boolean): Node {
    const token = this.#peek();
    if (token.kind !== "name" && token.kind !== "quotedName") {
      throw new SyntaxProblem(`a field name is expected after the dot, not ${describe(token)}`, token.at);
    }
    this.#next++;
    if (token.kind === "quotedName" || optional || !isSign(this.#peek(), "(")) {
      return { kind: "select", at: token.at, operand, field: token.text, optional };
    }
    this.#next++;
    const args = this.#arguments();
    return expandMacro(operand, token.text, args, token.at) ?? { kind: "method", at: token.at, target: operand, name: token.text, args };
  }

  #primary(): Node {
    const token = this.#peek();
    this.#next++;
    switch (token.kind) {
      case "literal":
        return token;
      case "int":
        if (token.digits >= 1n << 63n) throw new SyntaxProblem("the number is too large for int (64 bits)", token.at);
        return { kind: "literal", at: token.at, value: token.digits };
      case "name":
        return this.#name(token.text, token.at);
      case "sign":
        if (token.text === "(") {
          const node = this.expression();
          this.#expect(")", "to close the bracket");
          return node;
        }
        if (token.text === "[" || token.text === "[?") return this.#list(token.at, token.text === "[?");
        if (token.text === "{") return this.#map(token.at);
    }
    throw new SyntaxProblem(token.kind === "end" ? "the expression ends where a value is expected" : `a value is expected, not ${describe(token)}`, token.at);
  }

  #name(name: string, at: number): Node {
    if (name === "true" || name === "false") return { kind: "literal", at, value: name === "true" };
    if (name === "null") return { kind: "literal", at, value: null };
    if (reservedWords.has(name)) throw new SyntaxProblem(`\`${name}\` is a reserved word and cannot stand here`, at);
    if (!this.#take("(")) return { kind: "name", at, name };
    const args = this.#arguments();
    if (name !== "has") return { kind: "call", at, name, args };
    const argument = args[0];
    if (args.length !== 1 || argument?.kind !== "select") throw new SyntaxProblem("has() takes one field: has(a.b)", at);
    return { kind: "has", at, operand: argument.operand, field: argument.field };
  }

  #arguments(): Node[] {
    const args: Node[] = [];
    if (this.#take(")")) return args;
    do args.push(this.expression());
    while (this.#take(","));
    this.#expect(")", "after the arguments");
    return args;
  }

  #list(at: number, firstIsOptional: boolean): Node {
    const items: ListItem[] = [];
    let optional = firstIsOptional;
    while (optional || !isSign(this.#peek(), "]")) {
      optional ||= this.#take("?");
      items.push({ value: this.expression(), optional });
      optional = false;
      if (!this.#take(",")) break;
    }
    this.#expect("]", "to close the list");
    return { kind: "list", at, items };
  }

  #map(at: number): Node {
    const entries: MapEntry[] = [];
    while (!isSign(this.#peek(), "}")) {
      const optional = this.#take("?");
      const key = this.expression();
      this.#expect(":", "between key and value of the map");
      entries.push({ key, value: this.expression(), optional });
      if (!this.#take(",")) break;
    }
    this.#expect("}", "to close the map");
    return { kind: "map", at, entries };
  }

  #tooDeep(): SyntaxProblem {
    return new SyntaxProblem(`is nested deeper than ${limits.expressionDepthMax} levels`, this.#peek().at, "LIMIT_EXCEEDED");
  }

  #peek(): Token {
    return this.#tokens[this.#next] as Token;
  }

  #take(text: string): boolean {
    if (!isSign(this.#peek(), text)) return false;
    this.#next++;
    return true;
  }

  #expect(text: string, purpose: string): void {
    if (this.#take(text)) return;
    const token = this.#peek();
    throw new SyntaxProblem(`\`${text}\` is expected ${purpose}, not ${describe(token)}`, token.at);
  }
}

function isSign(token: Token, text: string): boolean {
  return token.kind === "sign" && token.text === text;
}

function describe(token: Token): string {
  switch (token.kind) {
    case "end":
      return "the end";
    case "literal":
      return typeof token.value === "string" ? "a text" : "a value";
    case "int":
      return "a number";
    default:
      return `\`${token.text.slice(0, 40)}\``;
  }
}
