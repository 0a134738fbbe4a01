/**
 * What leaves the store when PostgreSQL refuses. A server error carries values of the row it speaks of (`detail`, `where`)
 * and the ORM's errors carry whole statements with their literals, so neither reaches a log or a caller: they are
 * replaced here by a sentence made of codes and names.
 */
import { AppError } from "../base/errors.ts";

const networkCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOENT",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EACCES",
]);
/** 25006: a standby after failover. 40001 and 40P01: lost to another transaction; nothing was changed. */
const serverCodes: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "57P05", "25006", "40001", "40P01"]);
/** Values that the edge should have refused already. */
const unstorableCodes: ReadonlySet<string> = new Set(["22021", "22P05", "22P02", "22003"]);
/** How `pg` reports a connection that ended while it was used or a pool that gave none in time; it sets no code then. */
const lossMessages =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Driver has already been destroyed/;

interface ServerError {
  readonly message?: string;
  readonly code?: unknown;
  readonly constraint?: unknown;
  readonly table?: unknown;
}

/** The SQLSTATE or network code of an error, or an empty text. */
export function databaseCode(error: unknown): string {
  const code = (error as ServerError | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Whether the statement may be repeated later because the server, not the statement, is the trouble. */
export function isStorageUnavailable(error: unknown): boolean {
  const code = databaseCode(error);
  if (networkCodes.has(code) || serverCodes.has(code)) return true;
  if (/^(08|53)/.test(code)) return true;
  return code === "" && error instanceof Error && lossMessages.test(error.message);
}

/** Whether a unique index of that name refused the row. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  return databaseCode(error) === "23505" && (error as ServerError).constraint === constraint;
}

/**
 * The error to pass on instead of `error`: an AppError stays as it is; STORAGE_UNAVAILABLE when the server cannot be used,
 * DEADLINE_EXCEEDED when a statement ran into its timeout; VALIDATION_FAILED when a value cannot be stored; otherwise an Error without any value of the statement.
 */
function databaseError(error: unknown): Error {
  if (error instanceof AppError) return error;
  const code = databaseCode(error);
  if (code === "57014") return new AppError("DEADLINE_EXCEEDED", "the database did not answer in time; narrow the filter or ask for a smaller page");
  if (isStorageUnavailable(error)) {
    return new AppError("STORAGE_UNAVAILABLE", `the database cannot be used at the moment${code && ` (${code})`}; try again`, { retryAfterMs: 1_000 });
  }
  if (unstorableCodes.has(code)) {
    return new AppError("VALIDATION_FAILED", `a value cannot be stored (${code}): it holds a NUL character, half of a surrogate pair or a number out of range`);
  }
  if (!/^[0-9A-Z]{5}$/.test(code)) return error instanceof Error ? error : new Error(String(error));
  const { constraint, table } = error as ServerError;
  const about = [table, constraint].filter((name) => typeof name === "string").join(", ");
  return new Error(`PostgreSQL refused a statement with SQLSTATE ${code}${about && ` (${about})`}`);
}

/** Runs `work` and passes its failure on as `databaseError` says. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw databaseError(error);
  }
}
