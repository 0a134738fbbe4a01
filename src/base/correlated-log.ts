/**
 * Adds the correlation id to every log line that names an execution. Whoever writes the line need not know it: this process
 * remembers it of each execution that it has driven lately.
 */
import type { Log } from "./log.ts";

/** Of the executions driven last; a few megabytes. */
const knownMax = 20_000;

export class KnownCorrelations {
  readonly #ids = new Map<string, string>();

  note(executionId: string, correlationId: string): void {
    this.#ids.delete(executionId);
    this.#ids.set(executionId, correlationId);
    if (this.#ids.size > knownMax) this.#ids.delete(this.#ids.keys().next().value as string);
  }

  of(executionId: string): string | undefined {
    return this.#ids.get(executionId);
  }
}

export function correlatedLog(log: Log, known: KnownCorrelations): Log {
  const filled = (fields: object): object => {
    const { executionId, correlationId } = fields as { readonly executionId?: unknown; readonly correlationId?: unknown };
    if (typeof executionId !== "string" || correlationId !== undefined) return fields;
    const found = known.of(executionId);
    return found === undefined ? fields : { ...fields, correlationId: found };
  };
  return {
    debug: (fields, message) => log.debug(filled(fields), message),
    info: (fields, message) => log.info(filled(fields), message),
    warn: (fields, message) => log.warn(filled(fields), message),
    error: (fields, message) => log.error(filled(fields), message),
    child: (fields) => correlatedLog(log.child(filled(fields)), known),
  };
}
