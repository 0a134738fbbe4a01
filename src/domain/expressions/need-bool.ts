import { Problem } from "./problem.ts";
import { kindOf, type Value } from "./value.ts";

/** A condition, or the problem that it is none: CEL knows no truthy values. `what` begins the message. */
export function needBool(value: Value, what: string): boolean {
  if (typeof value === "boolean") return value;
  throw new Problem(`${what} must be true or false, not ${kindOf(value)}`);
}
