/**
 * How an evaluation ends early. Both classes are thrown inside this folder only; `evaluate-expression.ts` turns them
 * into a Failure. They do not extend Error: a failed element inside `exists` costs a throw, and a stack trace would
 * make it ten times dearer.
 */

/** The expression does not fit the data: missing key, wrong type, overflow. `&&`, `||`, `all` and `exists` may absorb it. */
export class Problem {
  readonly message: string;
  /** The dotted path that was missing, when there is one. */
  readonly path: string | undefined;
  constructor(message: string, path?: string) {
    this.message = message;
    this.path = path;
  }
}

/** The expression is too expensive. Nothing absorbs it. */
export class LimitProblem {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** A name from the data, short enough for a message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60).toWellFormed()}…` : text);
}
