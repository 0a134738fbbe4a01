/**
 * Values that PostgreSQL refuses, caught before a statement is made of them. The ORM writes values into the statement's text,
 * where a NUL character would end the text early and look like a broken connection.
 */
import { violationsError } from "../base/errors.ts";
import { findJsonFault } from "../base/json.ts";
import { limits } from "../base/limits.ts";

/** The values stand inside an input object, which is no part of their own depth. */
const depthMax = limits.jsonDepthMax + 4;

/** Whether PostgreSQL takes these texts; what it refuses cannot be the value of any row either. */
export function isStorable(value: unknown): boolean {
  return findJsonFault(value, depthMax) === undefined;
}

/** @throws AppError VALIDATION_FAILED naming the place of the first value that cannot be stored */
export function assertStorable(input: object): void {
  const present = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  const fault = findJsonFault(present, depthMax);
  if (fault) throw violationsError([{ field: fault.path, reason: "VALIDATION_FAILED", description: `${fault.problem}, which cannot be stored` }]);
}
