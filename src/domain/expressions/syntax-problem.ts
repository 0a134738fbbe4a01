/** Thrown while a text is read; `compileExpression` turns it into a fault. */
export class SyntaxProblem {
  readonly message: string;
  /** Offset in the source. */
  readonly at: number;
  readonly reason: "EXPRESSION_INVALID" | "LIMIT_EXCEEDED";
  constructor(message: string, at: number, reason: "EXPRESSION_INVALID" | "LIMIT_EXCEEDED" = "EXPRESSION_INVALID") {
    this.message = message;
    this.at = at;
    this.reason = reason;
  }
}
